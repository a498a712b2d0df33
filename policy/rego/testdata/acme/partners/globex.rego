# What acme answers globex: requests for slo-review, more during an incident.
package parley.partners.globex

import data.parley.lib

default decision := {"allow": false, "reasons": ["not for this purpose"]}

decision := {"allow": true, "datasets": [requests], "max_age": "7d", "limits": {"series": 1000, "bytes": 1000000}} if {
	input.principal.purpose == "slo-review"
}

decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [requests, queues, secrets]} if {
	input.principal.purpose == "incident-response"
	input.principal.case != ""
}

requests := {
	"name": "requests",
	"series": lib.matching(["http_.*"], {"env": "prod"}),
	"release": "row",
	"labels": {"region": "keep", "status": lib.status_class, "pod": "pseudonym", "user": "drop"},
}

queues := {
	"name": "queues",
	"series": ["agent_queue_length", `{__name__=~"workflow_.*",env!="dev"}`],
	"release": "row",
	"labels": {"queue": {"generalize": {"prefix": 3}}, "*": "keep"},
}

secrets := {"name": "secrets", "series": ["{__name__=~\".*_secret\"}"], "release": "deny"}
