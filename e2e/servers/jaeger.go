package servers

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// JaegerConfig says what a Jaeger does. The zero value is the all-in-one of
// version 1, which keeps in memory what it is sent.
type JaegerConfig struct {
	// V2 starts a Jaeger of version 2, which is an OpenTelemetry collector, with
	// jaeger/jaeger-v2.yaml beside this package.
	V2 bool
	// Flags are added to the command line.
	Flags []string
}

// Jaeger is a running Jaeger. Its URL is that of its query service, under which
// are /api and /api/v3.
type Jaeger struct {
	*Server
	QueryGRPC string // host:port of jaeger.api_v3.QueryService
	OTLPGRPC  string // host:port that takes OTLP over gRPC
	OTLPHTTP  string // base URL of /v1/traces
}

// StartJaeger starts a Jaeger.
func StartJaeger(t testing.TB, c JaegerConfig) Jaeger {
	t.Helper()
	var (
		addresses map[string]string
		health    = "/"
	)
	l := launch{
		name:    "jaeger",
		program: Program(t, "jaeger", "all-in-one"),
		ready:   "/api/services",
		// It would trace itself, and not end before nobody took its spans.
		environment: []string{"OTEL_TRACES_SAMPLER=always_off"},
		arguments: func(address string) []string {
			addresses = jaegerAddresses(t, address)
			return append(allInOne(t, addresses), c.Flags...)
		},
	}
	if c.V2 {
		text, err := os.ReadFile(filepath.Join(root(t), "e2e", "servers", "jaeger", "jaeger-v2.yaml"))
		if err != nil {
			t.Fatalf("reading Jaeger's configuration: %v", err)
		}
		config := filepath.Join(t.TempDir(), "jaeger.yaml")
		health = "/status"
		l.program = Program(t, "jaeger", "jaeger")
		l.arguments = func(address string) []string {
			addresses = jaegerAddresses(t, address)
			if err := os.WriteFile(config, []byte(withAddresses(string(text), addresses)), 0o600); err != nil { //nolint:gosec // the folder is the test's
				t.Fatalf("writing Jaeger's configuration: %v", err)
			}
			return append([]string{"--config=" + config}, c.Flags...)
		}
	}
	j := Jaeger{Server: l.start(t)}
	// What takes spans may be ready later than what is asked for them.
	if err := j.waitReady("http://" + addresses["$HEALTH"] + health); err != nil {
		t.Fatalf("starting jaeger: %v", err)
	}
	j.QueryGRPC, j.OTLPGRPC, j.OTLPHTTP = addresses["$QUERY_GRPC"], addresses["$OTLP_GRPC"], "http://"+addresses["$OTLP_HTTP"]
	return j
}

func jaegerAddresses(t testing.TB, query string) map[string]string {
	t.Helper()
	out := map[string]string{"$QUERY": query}
	for _, name := range []string{"$QUERY_GRPC", "$OTLP_GRPC", "$OTLP_HTTP", "$HEALTH"} {
		out[name] = freeAddress(t)
	}
	return out
}

// allInOne is the command line of version 1.
func allInOne(t testing.TB, addresses map[string]string) []string {
	t.Helper()
	return []string{
		"--query.http-server.host-port=" + addresses["$QUERY"],
		"--query.grpc-server.host-port=" + addresses["$QUERY_GRPC"],
		"--collector.otlp.grpc.host-port=" + addresses["$OTLP_GRPC"],
		"--collector.otlp.http.host-port=" + addresses["$OTLP_HTTP"],
		"--admin.http.host-port=" + addresses["$HEALTH"],
		"--collector.grpc-server.host-port=" + freeAddress(t),
		"--collector.http-server.host-port=" + freeAddress(t),
		"--log-level=warn",
	}
}

// withAddresses is the configuration of version 2. The longest names come first:
// $QUERY is the beginning of $QUERY_GRPC.
func withAddresses(text string, addresses map[string]string) string {
	names := slices.SortedFunc(maps.Keys(addresses), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, name := range names {
		text = strings.ReplaceAll(text, name, addresses[name])
	}
	return text
}
