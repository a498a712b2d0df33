# How much there is and how much of it is used, for example: by region and
# service, as sums over at least five instances, every five minutes, an hour late.
package parley.partners.example

import data.parley.lib

default decision := {"allow": false, "reasons": ["example is answered for capacity"]}

decision := {
	"allow": true,
	"datasets": [used],
	"resolution": "5m",
	"delay": "1h",
	"max_age": "90d",
	"limits": {"range": "90d"},
} if {
	input.principal.purpose == "capacity"
}

used := {
	"name": "used",
	"series": lib.named(["node_cpu_seconds_total", "node_memory_.*_bytes", "node_filesystem_.*_bytes", "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"]),
	"release": "aggregate",
	"dimensions": ["region", "service", "mode"],
	"units": ["instance"],
	"k": 5,
	"round": {"digits": 3},
}
