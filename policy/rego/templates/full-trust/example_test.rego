package parley.partners.example_test

import data.parley.partners.example

test_people_are_pseudonyms if {
	every label in ["user", "email", "customer"] { example.all.labels[label] == "pseudonym" }
}

test_money_is_not_there if {
	example.never in example.decision.datasets
	example.never.release == "deny"
}
