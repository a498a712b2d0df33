# What initech answers globex: requests, and only to questions about requests, and
# what traces of them show.
package parley.partners.globex

import data.initech.released
import data.parley.lib

default decision := {"allow": false, "reasons": ["globex is answered for slo-review, about requests"]}

decision := {"allow": true, "datasets": [released.requests]} if {
	input.principal.purpose == "slo-review"
	lib.asks_only(["http_.*"])
}

decision := {"allow": true, "datasets": [released.steps, released.entries]} if {
	input.principal.purpose == "slo-review"
	input.signal == "traces"
}
