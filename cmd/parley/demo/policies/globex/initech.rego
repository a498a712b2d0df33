# What globex answers initech: how many requests there are and how they end,
# nothing about latency, pods or agents.
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
	}],
} if {
	input.principal.purpose == "slo-review"
}
