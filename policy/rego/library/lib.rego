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
