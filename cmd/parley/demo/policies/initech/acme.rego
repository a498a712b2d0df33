# What initech answers acme: requests and traces of them for slo-review, what is
# waiting and how fast people answer as well during an incident.
package parley.partners.acme

import data.initech.released

default decision := {"allow": false, "reasons": ["acme is answered for slo-review and incident-response"]}

decision := {"allow": true, "datasets": [released.requests, released.steps, released.entries]} if input.principal.purpose == "slo-review"

decision := {"allow": true, "datasets": [released.requests, released.waiting, released.people, released.lines, released.steps, released.entries]} if {
	input.principal.purpose == "incident-response"
}
