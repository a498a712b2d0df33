package parley.partners.example_test

import data.parley.partners.example

asked_for(purpose, id) := d if {
	d := example.decision with input as {"principal": {"org": "example", "purpose": purpose, "case": id}}
}

names(d) := {dataset.name | some dataset in d.datasets}

test_an_incident_with_a_case if names(asked_for("incident-response", "INC-7")) == {"slo", "room", "people", "lines", "journeys"}

test_an_incident_without_a_case if not asked_for("incident-response", "").allow

test_sums_are_of_the_same_customers if asked_for("incident-response", "INC-7").resolution == "1m"

test_slo_review_needs_no_case if names(asked_for("slo-review", "")) == {"slo"}

test_nothing_else_is_answered if not asked_for("capacity", "INC-7").allow

test_pods_are_pseudonyms if {
	every dataset in [example.slo, example.room, example.lines] { dataset.labels.pod == "pseudonym" }
}

test_of_lines_templates_leave if {
	example.lines.line == "shape"
	object.get(example.lines.labels, "*", "drop") == "drop"
}

test_of_spans_nothing_leaves_that_people_wrote if {
	example.journeys.span == "attributes"
	every name in data.parley.lib.free_text | data.parley.lib.personal_attributes { not example.journeys.labels[name] }
	not example.journeys.labels["*"]
}

test_customers_are_counted_and_never_seen if {
	example.people.units == ["customer"]
	example.people.k >= 5
	not "customer" in example.people.dimensions
}
