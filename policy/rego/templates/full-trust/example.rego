# Nearly everything, for example, as between parts of one company: every metric
# and label but those named here, for every purpose that was agreed. A metric or
# label that somebody adds tomorrow leaves by itself. parley policy lint would call
# that an error; the comment below tells it that it is meant.
package parley.partners.example

import data.parley.lib

decision := {
	"allow": true,
	"datasets": [all, never],
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

# Whatever else is released, these aren't there.
never := {
	"name": "never",
	"series": lib.named(["billing_.*", "payroll_.*", "revenue_.*", ".*_secret_.*"]),
	"release": "deny",
}
