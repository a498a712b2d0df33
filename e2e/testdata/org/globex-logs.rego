# What globex answers acme of its logs: no customer and no pod, and of search
# only how many lines there are.
package parley.partners.acme

labels := {"service_name": "keep", "level": "keep"}

decision := {"allow": true, "datasets": [
	{
		"name": "checkout", "streams": ["{service_name=\"checkout\"}"], "release": "row", "labels": labels,
		"line": [{"json": {"status": "keep", "took": "keep", "message": "keep", "level": "keep", "user.vip": "keep"}}],
	},
	{
		"name": "mail", "include": "of_mail", "release": "row", "labels": labels,
		"line": [{"mask": ["email"]}],
	},
	{"name": "search", "streams": ["{service_name=\"search\"}"], "release": "row", "labels": labels, "line": "none"},
]}

of_mail if input.stream.service_name == "mail"
