# What initech answers acme: customers by pseudonym, and no target at all.
package parley.partners.acme

import data.parley.lib

default decision := {"allow": false, "reasons": ["acme is answered for slo-review and incident-response"]}

decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [
	{"name": "up", "series": ["up"], "release": "row", "labels": {"job": "keep"}},
	{"name": "machines", "series": ["node_cpu_seconds_total"], "release": "row", "labels": {"mode": "keep"}},
	{"name": "orders", "series": lib.named(["orders_total", "order_seconds.*"]), "release": "row", "labels": {
		"region": "keep",
		"customer": "pseudonym",
		"le": "keep",
		"trace_id": "keep",
	}},
]} if input.principal.purpose in {"slo-review", "incident-response"}
