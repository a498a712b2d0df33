# What globex answers acme: for each purpose another policy, so that each can be
# attacked alone.
package parley.partners.acme

import data.parley.lib

default decision := {"allow": false, "reasons": ["acme is answered for what is agreed"]}

asked_for(purpose) if input.principal.purpose == purpose

# Rows, with labels as the demo's globex releases them.
decision := rows([requests, agents, denied]) if asked_for("slo-review")

rows(datasets) := {"allow": true, "pseudonym_epoch": "1d", "datasets": datasets}

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

# Sums over at least six users.
decision := {"allow": true, "datasets": [cells, denied], "queries": [published]} if asked_for("capacity")

cells := {
	"name": "cells",
	"series": lib.named(["http_.*", "agent_.*"]),
	"release": "aggregate",
	"dimensions": ["service", "region", "status"],
	"labels": {"status": lib.status_class},
	"units": ["user"],
	"k": 6,
	"dominance": 0.9,
}

published := {
	"name": "service:jobs:sum",
	"expr": "sum(agent_jobs{service=~\"$parameter\", region=~\"eu|us\"})",
	"parameters": {"parameter": {"type": "string", "pattern": "w[0-9]+"}},
}

# The same, no finer than five minutes.
decision := {"allow": true, "datasets": [cells, denied], "resolution": "5m"} if asked_for("capacity-review")

# Events, of which an interval has none or at least six.
decision := {"allow": true, "datasets": [events, denied], "resolution": "10m"} if asked_for("audit")

events := {
	"name": "events",
	"series": ["signups_total"],
	"release": "aggregate",
	"dimensions": ["service", "region"],
	"unit": "event",
	"k": 6,
}

# Rows that are neither fine nor recent nor old.
decision := floors if asked_for("incident-response")

floors := {"allow": true, "datasets": [queues, denied], "resolution": "5m", "delay": "70m", "max_age": "140m"}

queues := {
	"name": "queues",
	"series": ["queue_depth"],
	"release": "row",
	"labels": {"service": "keep", "queue": "keep"},
	"round": {"base": 100},
}

# Each of these is one of the above, but for one thing that it doesn't hide.
decision := rows([showing(requests, label), showing(agents, label), denied]) if {
	some label in ["user", "pod", "status", "customer"]
	asked_for(sprintf("unhidden-%s", [label]))
}

showing(dataset, label) := object.union(dataset, {"labels": {label: "keep"}})

decision := rows([requests, agents, others]) if asked_for("unhidden-denied")

others := {
	"name": "others",
	"series": lib.named(["payroll_.*", "internal_.*", "up", "scrape_.*", "ALERTS.*"]),
	"release": "row",
	"labels": {"*": "keep"},
}

decision := {"allow": true, "datasets": [object.union(cells, {"k": 2, "dominance": 1}), denied]} if asked_for("unhidden-small")

decision := {"allow": true, "datasets": [object.union(cells, {"dominance": 1}), denied]} if asked_for("unhidden-dominant")

decision := {"allow": true, "datasets": [object.union(events, {"k": 2}), denied], "resolution": "10m"} if asked_for("unhidden-few")

decision := {"allow": true, "datasets": [events, denied], "resolution": "1m"} if asked_for("unhidden-minute")

decision := object.union(floors, {"datasets": [object.remove(queues, ["round"]), denied]}) if asked_for("unhidden-digits")

decision := object.remove(floors, ["resolution"]) if asked_for("unhidden-between")

decision := object.remove(floors, ["delay"]) if asked_for("unhidden-recent")

decision := object.remove(floors, ["max_age"]) if asked_for("unhidden-old")

decision := rows([{"name": "everything", "series": ["{}"], "release": "row", "labels": {"*": "keep"}}]) if asked_for("unhidden-everything")

# Spans of what is shared with some of their attributes; the others are denied.
decision := rows([spans, denied_spans]) if asked_for("traces")

spans := {
	"name": "spans",
	"spans": ["{\"resource.tenant\"=\"shared\"}"],
	"release": "row",
	"span": "attributes",
	"labels": {"name": "keep", "status": "keep", "resource.service.name": "keep"},
}

denied_spans := {"name": "denied spans", "spans": ["{\"resource.tenant\"=\"internal\"}"], "release": "deny"}

# Of these only those with which requests enter and leave.
decision := rows([boundary, denied_spans]) if asked_for("boundary")

boundary := object.union(spans, {"span": "boundary", "durations": "withheld"})

decision := rows([object.union(spans, {"labels": {"span.user.id": "keep", "span.session.id": "keep"}}), denied_spans]) if asked_for("unhidden-attributes")

decision := rows([spans, object.union(denied_spans, {"release": "row", "span": "full"})]) if asked_for("unhidden-denied-spans")

decision := rows([spans, denied_spans]) if asked_for("unhidden-inside")
