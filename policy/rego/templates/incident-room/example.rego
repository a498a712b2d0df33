# What is going on, for example, while we are in an incident together: requests,
# queues and saturation, pod by pod under pseudonyms that hold for the day, what kinds
# of lines are logged, and what each service did of a request that went through both. Only for questions that
# name a case, only of the last day, and minute by minute, so
# that sums over customers are of the same ones at every moment.
package parley.partners.example

import data.parley.lib

default decision := {"allow": false, "reasons": ["example is answered for slo-review, and in an incident with a case"]}

decision := {
	"allow": true,
	"datasets": [slo],
	"max_age": "31d",
	"limits": {"series": 5000, "range": "31d"},
} if input.principal.purpose == "slo-review"

decision := {
	"allow": true,
	"datasets": [slo, room, people, lines, journeys],
	"resolution": "1m",
	"max_age": "1d",
	"pseudonym_epoch": "1d",
	"limits": {"series": 5000, "range": "1d"},
} if {
	input.principal.purpose == "incident-response"
	lib.has_case
}

slo := {
	"name": "slo",
	"series": lib.named(lib.slo_metrics),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "status": "keep", "le": "keep", "pod": "pseudonym"},
}

# Where it is tight: names of queues and services, no payload.
room := {
	"name": "room",
	"series": lib.named(["up", ".*_queue_length", ".*_in_flight", ".*_saturation_ratio"]),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "queue": "keep", "pod": "pseudonym"},
}

# Logs: which service says what kind of thing, at which level and how often. Of a line
# only its template leaves, all that varies in it masked. To show more, name what may
# be seen, as "line": [{"json": {"message": "keep"}}, {"mask": ["email"]}].
lines := {
	"name": "lines",
	"streams": ["{service=~\".+\"}", "{service_name=~\".+\"}"],
	"release": "row",
	"labels": {"service": "keep", "service_name": "keep", "level": "keep", "region": "keep", "trace_id": "keep", "pod": "pseudonym"},
	"line": "shape",
}

# Traces: which service did what, for how long, and how it ended; never for whom,
# nor what messages, statements and addresses say.
journeys := {
	"name": "journeys",
	"spans": ["{\"resource.service.name\"=~\".+\"}"],
	"release": "row",
	"span": "attributes",
	"labels": {name: "keep" | some name in lib.request_attributes},
}

# Who is hit, as a number: sums over at least five customers.
people := {
	"name": "people",
	"series": lib.named(["customer_requests_total", "customer_errors_total"]),
	"release": "aggregate",
	"dimensions": ["service", "region"],
	"units": ["customer"],
	"k": 5,
}
