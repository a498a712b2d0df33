# What globex answers initech: how many requests there are and how they end, and
# where a request enters and leaves; nothing about latency, pods or agents.
package parley.partners.initech

import data.parley.lib

default decision := {"allow": false, "reasons": ["initech is answered for slo-review"]}

decision := {
	"allow": true,
	"limits": {"range": "1d", "series": 500},
	"datasets": [{
		"name": "requests",
		"series": ["http_requests_total"],
		"release": "row",
		"labels": {"region": "keep", "status": lib.status_class},
	}, {
		"name": "traces",
		"spans": ["{\"resource.service.name\"=~\".+\"}"],
		"release": "row",
		"span": "boundary",
		"labels": {"resource.service.name": "keep", "status": "keep"},
	}],
} if {
	input.principal.purpose == "slo-review"
}
