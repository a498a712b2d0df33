# What acme releases at all: its partners' policies choose from these.
package acme.released

import data.parley.lib

# Requests, errors and latency. Labels not named, the user among them, are dropped.
requests := {
	"name": "requests",
	"series": lib.named(["http_requests_total", "http_request_duration_.*"]),
	"release": "row",
	"labels": {"service": "keep", "region": "keep", "status": "keep", "le": "keep", "pod": "pseudonym", "trace_id": "keep"},
}

# How the agents are doing; never for which customer.
agents := {
	"name": "agents",
	"series": lib.named(["agent_.*", "workflow_active", "human_response_.*"]),
	"release": "row",
	"labels": {"region": "keep", "queue": "keep", "workflow": "keep", "agent": "keep", "le": "keep", "pod": "pseudonym"},
}

# Spans, for who takes part in the same request: which service did what for how
# long, and how it ended. Who asked is a pseudonym; statements of databases, what
# exceptions say and all that isn't named are dropped.
spans := {
	"name": "traces",
	"spans": ["{\"resource.service.name\"=~\".+\"}"],
	"release": "row",
	"span": "attributes",
	"labels": {
		"name": "keep", "status": "keep", "resource.service.name": "keep", "resource.region": "keep",
		"span.http.request.method": "keep", "span.http.route": "keep", "span.http.response.status_code": "keep",
		"span.workflow_id": "keep", "span.agent.name": "keep", "span.user.id": "pseudonym",
		"event.name": "keep", "event.exception.type": "keep",
	},
}

# Whatever else is released, these aren't there.
never := {"name": "never", "series": lib.named(["billing_.*", "payroll_.*", "internal_.*"]), "release": "deny"}
