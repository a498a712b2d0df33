# How well our services do, for example: requests, errors and latency by
# service, and nothing about who they are for.
package parley.partners.example

import data.parley.lib

default decision := {"allow": false, "reasons": ["example is answered for slo-review"]}

decision := {
	"allow": true,
	"datasets": [slo],
	"max_age": "31d",
	"limits": {"series": 5000, "range": "31d"},
} if input.principal.purpose == "slo-review"

slo := {
	"name": "slo",
	"series": lib.named(lib.slo_metrics),
	"release": "row",
	"labels": {"service": "keep", "status": lib.status_class, "le": "keep"},
}
