# What globex answers acme, its closest partner: requests and where they enter and
# leave for slo-review, everything about agents and queues during an incident.
package parley.partners.acme

import data.parley.lib

default decision := {"allow": false, "reasons": ["acme is answered for slo-review and incident-response"]}

decision := {"allow": true, "datasets": [requests, spans]} if input.principal.purpose == "slo-review"

decision := {"allow": true, "datasets": [requests, agents, lines, spans], "pseudonym_epoch": "1d"} if {
	input.principal.purpose == "incident-response"
}

# Logs during an incident: who asked is a pseudonym, as in metrics, and what looks like an e-mail address is masked.
lines := {
	"name": "logs",
	"streams": ["{service=~\".+\"}"],
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "level": "keep", "pod": "pseudonym", "trace_id": "keep"},
	"line": [
		{"json": {
			"timestamp": "keep", "level": "keep", "service": "keep", "trace_id": "keep", "user_id": "pseudonym",
			"message": "keep", "status": "keep", "duration_ms": "keep",
		}},
		{"mask": ["email"]},
	],
}

# Where requests of acme's enter and leave globex, and how long that took; what is inside stays there.
spans := {
	"name": "traces",
	"spans": ["{\"resource.service.name\"=~\".+\"}"],
	"release": "row",
	"span": "boundary",
	"labels": {
		"name": "keep", "status": "keep", "resource.service.name": "keep",
		"span.http.request.method": "keep", "span.http.route": "keep", "span.http.response.status_code": "keep",
		"span.workflow_id": "keep",
	},
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
