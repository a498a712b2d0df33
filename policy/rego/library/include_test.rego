# A rule that a dataset names as its include is tested as any other rule, with a
# series, a stream or a span as the input has it.
package parley.include_test

teams := ["web", "api"]

include if {
	input.series.env == "prod"
	input.series.team in teams
	not startswith(input.series.__name__, "internal_")
}

requests := {"__name__": "http_requests_total", "env": "prod", "team": "web"}

test_a_series_of_ours if include with input.series as requests

test_another_team if not include with input.series as object.union(requests, {"team": "billing"})

test_no_team if not include with input.series as object.remove(requests, ["team"])

test_an_internal_metric if not include with input.series as object.union(requests, {"__name__": "internal_flags"})

# What selectors can't say can be written in Rego, and not loaded.
test_a_missing_label_is_undefined if {
	not input.series.env == "dev" with input.series as {}
	not left_out with input.series as {}
}

left_out if not input.series.env in ["dev"]

# Of streams, those of services that are ours.
streams if {
	input.stream.team in teams
	not input.stream.level == "debug"
}

test_a_stream_of_ours if streams with input.stream as {"team": "web", "level": "info"}

test_a_stream_without_a_level if streams with input.stream as {"team": "web"}

test_another_stream if not streams with input.stream as {"team": "web", "level": "debug"}

# Of spans, those that come in and failed.
spans if {
	input.span.kind == "server"
	startswith(input.span["span.http.response.status_code"], "5")
}

failed := {"name": "GET /pay", "kind": "server", "resource.service.name": "checkout", "span.http.response.status_code": "503"}

test_a_failed_span if spans with input.span as failed

test_a_span_inside if not spans with input.span as object.union(failed, {"kind": "internal"})

test_a_span_without_a_status if not spans with input.span as object.remove(failed, ["span.http.response.status_code"])
