package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/e2e/servers"
)

// TestJaegerSource holds what reads a real Jaeger, of either version, to the same
// contract as the embedded store. The contract is of methods that only their
// package can call, so the test is that package's.
func TestJaegerSource(t *testing.T) {
	for name, v2 := range map[string]bool{"version 1": false, "version 2": true} {
		t.Run(name, func(t *testing.T) {
			jaeger := servers.StartJaeger(t, servers.JaegerConfig{V2: v2})
			out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^(TestSources|TestJaegerIsAsItIsTaken)$", "../federation/traces",
				"-jaeger-grpc", jaeger.QueryGRPC, "-jaeger-url", jaeger.URL, "-jaeger-otlp", jaeger.OTLPHTTP).CombinedOutput()
			for _, want := range []string{
				"--- PASS: TestSources/jaeger ", "--- PASS: TestSources/jaeger_in_small_steps ", "--- PASS: TestSources/jaeger_over_HTTP ", "--- PASS: TestJaegerIsAsItIsTaken ",
			} {
				if err != nil || !strings.Contains(string(out), want) {
					t.Fatalf("%v: without %q:\n%s", err, want, out)
				}
			}
		})
	}
}
