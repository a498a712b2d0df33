# Data about people, for example, under rules: no series, only rounded sums over
# at least ten people, of which none makes up most, a day late; and few questions
# about the same.
package parley.partners.example

default decision := {"allow": false, "reasons": ["example is answered for audit, with a case"]}

decision := {
	"allow": true,
	"datasets": [people],
	"functions": ["avg", "count", "increase", "rate", "sum"],
	"resolution": "1h",
	"delay": "1d",
	"max_age": "90d",
	"limits": {"series": 200, "range": "31d"},
	"differencing": {"budget": 50, "within": "1d", "action": "refuse"},
} if {
	input.principal.purpose == "audit"
	input.principal.case != ""
	input.principal.user != ""
}

people := {
	"name": "people",
	"series": ["treatments_total", "claims_total", "transactions_total"],
	"release": "aggregate",
	"dimensions": ["region", "category"],
	"units": ["person"],
	"k": 10,
	"dominance": 0.5,
	"round": {"digits": 2},
}
