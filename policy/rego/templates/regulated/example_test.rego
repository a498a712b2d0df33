package parley.partners.example_test

import data.parley.partners.example

asked(purpose, id, user) := d if {
	d := example.decision with input as {"principal": {"org": "example", "purpose": purpose, "case": id, "user": user}}
}

test_an_audit_with_a_case_and_a_name if asked("audit", "A-1", "somebody").allow

test_an_audit_without_a_case if not asked("audit", "", "somebody").allow

test_an_audit_of_nobody if not asked("audit", "A-1", "").allow

test_nothing_else_is_answered if not asked("slo-review", "A-1", "somebody").allow

test_no_series_leave if {
	d := asked("audit", "A-1", "somebody")
	every dataset in d.datasets {
		dataset.release == "aggregate"
		dataset.k >= 10
		dataset.dominance <= 0.5
	}
}

test_people_are_never_seen if not "person" in example.people.dimensions
