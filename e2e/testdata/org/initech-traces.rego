# What initech answers acme of its traces: where requests enter and leave.
package parley.partners.acme

decision := {"allow": true, "datasets": [{
	"name": "all", "spans": ["{}"], "release": "row", "span": "boundary", "counts": true,
	"labels": {"name": "keep", "status": "keep", "resource.service.name": "keep", "span.rpc.method": "keep", "span.messaging.destination.name": "keep"},
}]}
