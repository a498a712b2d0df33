# initech shows acme all it logs.
package parley.partners.acme

decision := {"allow": true, "datasets": [{"name": "all", "streams": ["{}"], "release": "row", "labels": {"*": "keep"}, "line": "keep"}]}
