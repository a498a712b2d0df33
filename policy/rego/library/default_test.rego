package parley.default_test

test_a_partner_without_a_policy_gets_nothing if not data.parley.default.answer.decision.allow

test_our_own_users_see_everything if {
	decision := data.parley.default.own.decision
	decision.allow
	decision.datasets[0].series == ["{}"]
	decision.datasets[0].labels == {"*": "keep"}
}

agreements := {"globex": {"signals": ["metrics"], "purposes": ["slo-review"]}}

ask(owner, signal, purpose) := decision if {
	decision := data.parley.default.ask.decision with data.parley.agreements as agreements
		with input as {"owner": owner, "signal": signal, "principal": {"org": "acme", "purpose": purpose}}
}

test_ask_what_was_agreed if ask("globex", "metrics", "slo-review").allow

test_ask_ourselves if ask("acme", "logs", "audit").allow

test_ask_for_another_purpose if not ask("globex", "metrics", "audit").allow

test_ask_another_signal if not ask("globex", "logs", "slo-review").allow

test_ask_a_stranger if not ask("initech", "metrics", "slo-review").allow
