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

# How long the queues are and how many steps wait for a person, by region.
waiting := {
	"name": "waiting",
	"series": lib.named(["agent_queue_length", "human_response_pending"]),
	"release": "row",
	"labels": {"region": "keep", "queue": "keep", "workflow": "keep"},
}

# How fast people answer: never one of them, only sums over five at least.
people := {
	"name": "people",
	"series": lib.named(["human_response_seconds_.*"]),
	"release": "aggregate",
	"dimensions": ["workflow"],
	"units": ["reviewer"],
	"k": 5,
}

# How long each step of a request took and what it called: names and attributes
# How long each step of a request took and what it called, without names.
steps := {
	"name": "steps",
	"spans": ["{\"resource.service.name\"=~\".+\",kind!=\"server\"}"],
	"release": "row",
	"span": "shape",
	"counts": true,
}

# Where requests come in, with names and classes of status codes.
entries := {
	"name": "entries",
	"spans": ["{\"resource.service.name\"=~\".+\",kind=\"server\"}"],
	"release": "row",
	"span": "attributes",
	"labels": {
		"name": "keep", "status": "keep", "resource.service.name": "keep", "span.http.route": "keep",
		"span.http.response.status_code": lib.status_class, "span.workflow_id": "keep",
	},
}

# How many lines of logs there are, and none of them.
lines := {
	"name": "logs",
	"streams": ["{service=~\".+\"}"],
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "level": "keep"},
	"line": "none",
}
