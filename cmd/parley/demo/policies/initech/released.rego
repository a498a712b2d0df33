# What initech releases at all. Its partners see classes of status codes, never
# the codes.
package initech.released

import data.parley.lib

requests := {
	"name": "requests",
	"series": lib.named(["http_requests_total", "http_request_duration_.*"]),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "status": lib.status_class, "le": "keep", "pod": "pseudonym"},
}

# How long the queues are and how fast people answer, by region.
waiting := {
	"name": "waiting",
	"series": lib.named(["agent_queue_length", "human_response_.*"]),
	"release": "row",
	"labels": {"region": "keep", "queue": "keep", "workflow": "keep", "le": "keep"},
}
