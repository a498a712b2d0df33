package servers

import "testing"

// NodeExporter starts a node_exporter, which serves this machine's own numbers
// under /metrics.
func NodeExporter(t testing.TB) *Server {
	t.Helper()
	return launch{
		name:    "node_exporter",
		program: Program(t, "node_exporter", "node_exporter"),
		arguments: func(address string) []string {
			return []string{"--web.listen-address=" + address}
		},
		ready: "/",
	}.start(t)
}
