package parley.partners.example_test

import data.parley.partners.example

asked_for(purpose) := d if {
	d := example.decision with input as {"principal": {"org": "example", "purpose": purpose}}
}

test_slo_review_is_answered if asked_for("slo-review").allow

test_nothing_else_is_answered if {
	every purpose in ["incident-response", "capacity", "audit"] { not asked_for(purpose).allow }
}

test_nobody_is_seen if {
	every label in ["user", "customer", "pod", "instance"] { not label in object.keys(example.slo.labels) }
}

# Status codes leave as classes.
test_status_codes_leave_as_classes if example.slo.labels.status.generalize.replacement == "${1}xx"
