package parley.default_test

test_a_partner_without_a_policy_gets_nothing if not data.parley.default.answer.decision.allow

test_our_own_users_see_everything if {
	decision := data.parley.default.own.decision
	decision.allow
	decision.datasets[0].series == ["{}"]
	decision.datasets[0].labels == {"*": "keep"}
	decision.datasets[1].streams == ["{}"]
	decision.datasets[1].labels == {"*": "keep"}
	decision.datasets[1].line == "keep"
	decision.datasets[2].spans == ["{}"]
	decision.datasets[2].span == "full"
}

agreements := {"globex": {"signals": ["metrics"], "purposes": ["increase-service-robustness"]}}

broader := {
	"slo-review": ["increase-service-robustness", "service-provision", "slo-review"],
	"increase-service-robustness": ["increase-service-robustness", "service-provision"],
	"service-provision": ["service-provision"],
	"audit": ["audit", "organisation-governance"],
}

ask(owner, signal, purpose) := decision if {
	principal := {"org": "acme", "purpose": purpose, "purposes": broader[purpose]}
	decision := data.parley.default.ask.decision with data.parley.agreements as agreements
		with input as {"owner": owner, "signal": signal, "principal": principal}
}

test_ask_what_was_agreed if ask("globex", "metrics", "increase-service-robustness").allow

test_ask_for_a_narrower_purpose if ask("globex", "metrics", "slo-review").allow

test_ask_for_a_broader_purpose if not ask("globex", "metrics", "service-provision").allow

test_ask_ourselves if ask("acme", "logs", "audit").allow

test_ask_for_another_purpose if not ask("globex", "metrics", "audit").allow

test_ask_another_signal if not ask("globex", "logs", "slo-review").allow

test_ask_a_stranger if not ask("initech", "metrics", "slo-review").allow
