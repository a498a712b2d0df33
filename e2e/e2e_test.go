// Package e2e tests parley from outside: the built binary against real
// servers, asked by real clients.
//
//	TestFederation   three organizations, each a real Prometheus that scrapes
//	                 real exporters and a gateway that is a process
//	TestPushDown     what a real Prometheus evaluates equals the view
//	TestSources      what is read from a real Prometheus equals an embedded store
//	TestLokiSource   what is read from a real Loki is what was written to it
//	TestLokiDoor     what a gateway that hides nothing answers is what its Loki does
//	TestLogs         three organizations, each a real Loki and a gateway, asked by logcli
//	TestTail         logcli tails three real Lokis, one of whose gateways is killed
//	TestJaegerDoor   what a gateway that hides nothing answers is what its Jaeger does
//	TestTraces       three organizations whose services call one another, with real
//	                 SDKs and Jaegers
//	TestTracesOracle what is found in a real Jaeger is what is found in memory, and
//	                 what a slow evaluation finds in traces as they are shown
//	TestScripts      the command line, one story a file in testdata/script
//
// Real servers come from e2e/servers, which builds them when they aren't there.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(binaryDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// testVersion is what the binary under test says its version is.
const testVersion = "v0.0.0-e2e"

// binaryDir is where the binary is, once parley was called. It goes with the
// test run.
var binaryDir = filepath.Join(os.TempDir(), fmt.Sprintf("parley-e2e-%d", os.Getpid()))

var buildOnce = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "parley")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version="+testVersion, "-o", path, "../cmd/parley")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building parley: %w\n%s", err, out)
	}
	return path, nil
})

// parley is the path of the binary, built from the tree as it is now.
func parley(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits until nothing is missing any more, and fails the test with
// what is missing after half a minute.
func eventually(t testing.TB, missing func() string) {
	t.Helper()
	const within = 30 * time.Second
	deadline := time.After(within)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		what := missing()
		if what == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", within, what)
		case <-again.C:
		}
	}
}
