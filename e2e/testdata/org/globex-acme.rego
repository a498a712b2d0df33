# What globex answers acme: no customer at all, and which targets there are
# only by pseudonym.
package parley.partners.acme

import data.parley.lib

default decision := {"allow": false, "reasons": ["acme is answered for slo-review"]}

decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [
	{"name": "up", "series": ["up"], "release": "row", "labels": {"job": "keep", "instance": "pseudonym"}},
	{"name": "machines", "series": ["node_cpu_seconds_total"], "release": "row", "labels": {"mode": "keep"}},
	{"name": "orders", "series": lib.named(["orders_total", "order_seconds.*"]), "release": "row", "labels": {
		"region": "keep",
		"le": "keep",
		"trace_id": "keep",
	}},
	{"name": "gateway", "series": ["parley_questions_total"], "release": "row", "labels": {
		"partner": "keep",
		"direction": "keep",
		"outcome": "keep",
	}},
]} if input.principal.purpose == "slo-review"
