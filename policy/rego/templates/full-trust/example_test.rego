package parley.partners.example_test

import data.parley.partners.example

test_people_are_pseudonyms if {
	every label in ["user", "email", "customer"] { example.all.labels[label] == "pseudonym" }
}

test_people_are_pseudonyms_in_streams if {
	every label in data.parley.lib.personal_labels { example.lines.labels[label] == "pseudonym" }
}

test_lines_are_masked if {
	every kind in ["email", "ipv4", "ipv6", "bearer", "card", "iban", "phone"] { kind in example.lines.line[0].mask }
}

test_lines_of_payroll_are_not_there if {
	example.never_lines in example.decision.datasets
	example.never_lines.release == "deny"
}

test_money_is_not_there if {
	example.never in example.decision.datasets
	example.never.release == "deny"
}

test_people_are_pseudonyms_in_spans if {
	every name in data.parley.lib.personal_attributes { example.spans.labels[name] == "pseudonym" }
}

test_free_text_of_spans_stays if {
	every name in data.parley.lib.free_text { example.spans.labels[name] == "drop" }
}

test_spans_of_payroll_are_not_there if {
	example.never_spans in example.decision.datasets
	example.never_spans.release == "deny"
}
