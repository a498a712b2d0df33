# What acme answers initech: requests and traces of them, of the last day, for
# slo-review and incident-response alike.
package parley.partners.initech

import data.acme.released

default decision := {"allow": false, "reasons": ["initech is answered for slo-review and incident-response"]}

decision := {"allow": true, "datasets": [released.requests, released.spans, released.never], "max_age": "1d"} if {
	input.principal.purpose in {"slo-review", "incident-response"}
}
