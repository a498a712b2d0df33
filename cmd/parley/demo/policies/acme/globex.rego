# What acme answers globex: requests and traces of them for slo-review, the agents
# too during an incident that has a case.
package parley.partners.globex

import data.acme.released

default decision := {"allow": false, "reasons": ["globex is answered for slo-review, and for incident-response with a case"]}

decision := {"allow": true, "datasets": [released.requests, released.spans, released.never]} if {
	input.principal.purpose == "slo-review"
}

decision := {
	"allow": true,
	"datasets": [released.requests, released.agents, released.spans, released.never],
	"pseudonym_epoch": "1d",
} if {
	input.principal.purpose == "incident-response"
	input.principal.case != ""
}
