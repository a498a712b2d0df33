# Nearly everything, for example, as between parts of one company: every metric
# and label but those named here, for every purpose that was agreed. A metric or
# label that somebody adds tomorrow leaves by itself; parley policy lint says so,
# as it should.
package parley.partners.example

import data.parley.lib

decision := {"allow": true, "datasets": [all, never], "pseudonym_epoch": "7d"}

# People by pseudonym, wherever they are.
all := {
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
