# What globex answers acme: for each purpose another policy, so that each can be
# attacked alone.
package parley.partners.acme

import data.parley.lib

# Everything, so that it is known that attacks work through these doors.
decision := {"allow": true, "datasets": [{"name": "everything", "series": ["{}"], "release": "row", "labels": {"*": "keep"}}]} if {
	input.principal.purpose == "control"
}

default decision := {"allow": false, "reasons": ["acme is answered for six purposes"]}

# Rows, with labels as the demo's globex releases them.
decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [requests, agents, denied]} if {
	input.principal.purpose == "slo-review"
}

requests := {
	"name": "requests",
	"series": lib.named(["http_.*"]),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "status": lib.status_class, "le": "keep", "pod": "pseudonym", "trace_id": "keep"},
}

agents := {
	"name": "agents",
	"series": lib.named(["agent_.*"]),
	"release": "row",
	"labels": {"customer": "drop", "user": "pseudonym", "reviewer": "pseudonym", "pod": "pseudonym", "*": "keep"},
}

denied := {
	"name": "denied",
	"series": array.concat(lib.named(["billing_.*", "payroll_.*", "internal_.*"]), ["{realm=\"staff\"}"]),
	"release": "deny",
}

# Sums over at least five users.
decision := {"allow": true, "datasets": [cells, denied], "queries": [published]} if {
	input.principal.purpose == "capacity"
}

published := {
	"name": "service:jobs:sum",
	"expr": "sum(agent_jobs{service=~\"$parameter\", region=~\"eu|us\"})",
	"parameters": {"parameter": {"type": "string", "pattern": "w[0-9]+"}},
}

cells := {
	"name": "cells",
	"series": lib.named(["http_.*", "agent_.*"]),
	"release": "aggregate",
	"dimensions": ["service", "region", "status"],
	"labels": {"status": lib.status_class},
	"units": ["user"],
	"k": 5,
	"dominance": 0.9,
}

# The same, no finer than five minutes.
decision := {"allow": true, "datasets": [cells, denied], "resolution": "5m"} if {
	input.principal.purpose == "capacity-review"
}

# Events, of which an interval has none or at least five.
decision := {"allow": true, "datasets": [events, denied], "resolution": "10m"} if {
	input.principal.purpose == "audit"
}

events := {
	"name": "events",
	"series": ["signups_total"],
	"release": "aggregate",
	"dimensions": ["service", "region"],
	"unit": "event",
	"k": 5,
}

# Rows that are neither fine nor recent nor old.
decision := {
	"allow": true,
	"datasets": [queues, denied],
	"resolution": "5m",
	"delay": "70m",
	"max_age": "140m",
} if input.principal.purpose == "incident-response"

queues := {
	"name": "queues",
	"series": ["queue_depth"],
	"release": "row",
	"labels": {"service": "keep", "queue": "keep"},
	"round": {"base": 100},
}
