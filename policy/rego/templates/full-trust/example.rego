# Nearly everything, for example, as between parts of one company: every metric and
# label, every line of logs, and every span and attribute, but those named here, for
# every purpose that was agreed. What somebody adds tomorrow leaves by itself. parley policy lint would call
# that an error; the comment below tells it that it is meant.
package parley.partners.example

import data.parley.lib

decision := {
	"allow": true,
	"datasets": [all, never, lines, never_lines, spans, never_spans],
	"pseudonym_epoch": "7d",
	"max_age": "90d",
	"limits": {"series": 50000, "range": "90d"},
}

# People by pseudonym, wherever they are.
all := {
	# lint ignore everything: it is agreed that all leaves which isn't denied
	"name": "all",
	"series": ["{}"],
	"release": "row",
	"labels": object.union({"*": "keep"}, {label: "pseudonym" | some label in lib.personal_labels}),
}

# Lines of logs, in which what looks like a person's address, number or token is
# masked. A name or an id that is written out in a line leaves with it: where that
# must not be, keep fields by name instead, as {"json": {"message": "keep"}}.
lines := {
	# lint ignore everything: it is agreed that all leaves which isn't denied
	"name": "lines",
	"streams": ["{}"],
	"release": "row",
	"labels": object.union({"*": "keep"}, {label: "pseudonym" | some label in lib.personal_labels}),
	"line": [{"mask": ["email", "ipv6", "ipv4", "bearer", "card", "iban", "phone"]}],
}

# Spans with all that is in them but what anything may stand in, people by pseudonym.
spans := {
	# lint ignore everything: it is agreed that all leaves which isn't denied
	"name": "spans",
	"spans": ["{}"],
	"release": "row",
	"span": "attributes",
	"labels": object.union_n([
		{"*": "keep"},
		{name: "pseudonym" | some name in lib.personal_attributes},
		{name: "drop" | some name in lib.free_text},
	]),
}

# Whatever else is released, these aren't there.
never := {
	"name": "never",
	"series": lib.named(["billing_.*", "payroll_.*", "revenue_.*", ".*_secret_.*"]),
	"release": "deny",
}

never_lines := {
	"name": "never",
	"streams": ["{service=~\"billing.*|payroll.*\"}", "{service_name=~\"billing.*|payroll.*\"}"],
	"release": "deny",
}

never_spans := {
	"name": "never",
	"spans": ["{\"resource.service.name\"=~\"billing.*|payroll.*\"}"],
	"release": "deny",
}
