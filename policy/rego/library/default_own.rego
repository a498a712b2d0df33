# What our own users see of our own data: all of it, as it is.
# A package parley.own in the policy folder takes the place of this one.
package parley.default.own

decision := {
	"allow": true,
	"datasets": [
		{"name": "everything", "series": ["{}"], "release": "row", "labels": {"*": "keep"}},
		{"name": "all logs", "streams": ["{}"], "release": "row", "labels": {"*": "keep"}, "line": "keep"},
		{"name": "all traces", "spans": ["{}"], "release": "row", "span": "full"},
	],
}
