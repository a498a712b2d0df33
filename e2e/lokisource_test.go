package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/e2e/servers"
)

// TestLokiSource holds what reads a real Loki to the same contract as the
// embedded store. The contract is of methods that only their package can call,
// so the test is that package's.
func TestLokiSource(t *testing.T) {
	loki := servers.StartLoki(t, servers.LokiConfig{})
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestSources$", "../federation/logs", "-loki", loki.URL).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSources/loki ") {
		t.Errorf("%v\n%s", err, out)
	}
}
