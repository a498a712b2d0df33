# What globex answers acme of its traces: of the bank and the archive what they
# do, without whom it is about; of what looks for fraud nothing.
package parley.partners.acme

decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [
	{
		"name": "services", "include": "shared", "release": "row", "span": "attributes",
		"labels": {
			"name": "keep", "status": "keep", "event.name": "keep", "resource.service.name": "keep",
			"span.http.route": "keep", "span.http.response.status_code": "keep", "span.customer.id": "pseudonym",
			"span.messaging.destination.name": "keep",
		},
	},
	{"name": "fraud", "include": "fraud", "release": "deny"},
]}

shared if input.span["resource.service.name"] in ["bank", "archive"]

fraud if input.span["resource.service.name"] == "fraud"
