# A rule that a dataset names as its include is tested as any other rule, with a
# series as the input has it.
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
