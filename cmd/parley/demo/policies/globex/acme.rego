# What globex answers acme, its closest partner: requests for slo-review,
# everything about agents and queues during an incident.
package parley.partners.acme

import data.parley.lib

default decision := {"allow": false, "reasons": ["acme is answered for slo-review and incident-response"]}

decision := {"allow": true, "datasets": [requests]} if input.principal.purpose == "slo-review"

decision := {"allow": true, "datasets": [requests, agents], "pseudonym_epoch": "1d"} if {
	input.principal.purpose == "incident-response"
}

requests := {
	"name": "requests",
	"series": lib.named(["http_requests_total", "http_request_duration_.*"]),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "status": "keep", "le": "keep", "pod": "pseudonym", "trace_id": "keep"},
}

# Every label but the customer, which is dropped, and who and where, which are pseudonyms.
agents := {
	"name": "agents",
	"series": lib.named(["agent_.*", "workflow_active", "human_response_.*"]),
	"release": "row",
	"labels": {"customer": "drop", "user": "pseudonym", "reviewer": "pseudonym", "pod": "pseudonym", "*": "keep"},
}
