package parley.lib_test

import data.parley.lib

test_named if {
	lib.named(["up", "http_.*"]) == [[{"name": "__name__", "op": "=~", "value": "up|http_.*"}]]
}

test_matching if {
	lib.matching(["up"], {"env": "prod"}) == [[
		{"name": "__name__", "op": "=~", "value": "up"},
		{"name": "env", "op": "=", "value": "prod"},
	]]
}

selector(name, op) := [{"name": "__name__", "op": op, "value": name}]

test_asks_only_what_is_named if {
	lib.asks_only(["http_.*"]) with input as {"selectors": [selector("http_requests_total", "=")]}
}

test_asks_only_refuses_another_metric if {
	not lib.asks_only(["http_.*"]) with input as {"selectors": [selector("http_requests_total", "="), selector("up", "=")]}
}

test_asks_only_refuses_part_of_a_name if {
	not lib.asks_only(["http"]) with input as {"selectors": [selector("http_requests_total", "=")]}
}

test_asks_only_refuses_an_expression_for_a_name if {
	not lib.asks_only(["http_.*"]) with input as {"selectors": [selector("http_requests_total", "=~")]}
}

test_asks_only_refuses_a_question_without_selectors if {
	not lib.asks_only([".*"]) with input as {"selectors": []}
}

test_has_case if lib.has_case with input.principal.case as "INC-7"

test_has_no_case if not lib.has_case with input.principal.case as ""
