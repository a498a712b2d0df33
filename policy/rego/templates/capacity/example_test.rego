package parley.partners.example_test

import data.parley.partners.example

asked_for(purpose) := d if {
	d := example.decision with input as {"principal": {"org": "example", "purpose": purpose}}
}

test_capacity_is_answered_late_and_coarsely if {
	d := asked_for("capacity")
	d.allow
	d.delay == "1h"
	d.resolution == "5m"
}

test_nothing_else_is_answered if {
	every purpose in ["incident-response", "slo-review", "audit"] { not asked_for(purpose).allow }
}

test_instances_are_counted_and_never_seen if {
	example.used.release == "aggregate"
	example.used.units == ["instance"]
	example.used.k >= 5
}
