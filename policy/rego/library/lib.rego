# What policies have in common, to be used as data.parley.lib.<name>.
package parley.lib

# named(["up", "http_.*"]) is the series list of the metrics whose whole name
# matches one of the regular expressions.
named(names) := [[{"name": "__name__", "op": "=~", "value": concat("|", names)}]]

# matching(["up", "http_.*"], {"env": "prod"}) is the same, of the series that
# also have these labels.
matching(names, equal) := [array.concat(
	named(names)[0],
	[{"name": label, "op": "=", "value": value} | some label, value in equal],
)]

# status_class turns a status code such as 404 into its class, 4xx.
status_class := {"generalize": {"regex": "([1-5])[0-9][0-9]", "replacement": "${1}xx", "else": "other"}}

# slo_metrics are what requests, errors and latency are usually called.
slo_metrics := [
	"http_requests_total", "http_request_duration_seconds_(bucket|count|sum)",
	"grpc_server_handled_total", "grpc_server_handling_seconds_(bucket|count|sum)",
]

# personal_labels are what labels of people are usually called.
personal_labels := {"customer", "customer_id", "email", "ip", "person", "phone", "session", "user", "user_id", "username"}

# personal_attributes are what attributes of people are usually called, in spans.
personal_attributes := {
	"span.user.id", "span.user.email", "span.user.name", "span.user.full_name", "span.enduser.id", "span.session.id",
	"span.client.address", "span.http.client_ip", "span.net.peer.ip", "span.customer.id",
}

# free_text is where anything may stand in spans: messages, stack traces,
# statements, addresses with what was asked for.
free_text := {
	"status_message", "event.exception.message", "event.exception.stacktrace", "span.db.statement", "span.db.query.text",
	"span.url.full", "span.url.query", "span.http.url", "span.http.target",
}

# request_attributes say what a span did, and not for whom.
request_attributes := {
	"name", "status", "resource.service.name", "resource.service.version", "resource.deployment.environment.name",
	"span.http.request.method", "span.http.route", "span.http.response.status_code", "span.rpc.system", "span.rpc.service", "span.rpc.method",
	"span.rpc.grpc.status_code", "span.messaging.system", "span.messaging.operation.type", "span.error.type", "event.name", "event.exception.type",
}

# has_case: the question names the incident, ticket or audit that it belongs to.
has_case if input.principal.case != ""

# asks_only(["http_.*"]): every selector of the question names one metric, and
# its name matches one of the regular expressions.
asks_only(names) if {
	count(input.selectors) > 0
	every selector in input.selectors {
		some matcher in selector
		matcher.name == "__name__"
		matcher.op == "="
		regex.match(sprintf("^(?:%s)$", [concat("|", names)]), matcher.value)
	}
}
