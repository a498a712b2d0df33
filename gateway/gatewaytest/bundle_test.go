package gatewaytest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
	"github.com/parley-gateway/parley/policy/rego"
)

// globex's policies come as signed bundles from a server, and nothing depends
// on the server but what is new.
func TestPoliciesComeFromABundleServer(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	key := bundletest.NewKey(t)
	including := func(decision, rules string) map[string]string {
		files := map[string]string{}
		for _, partner := range []string{"acme", "initech"} {
			files[partner+".rego"] = "package parley.partners." + partner + "\n\ndecision := " + decision + "\n\n" + rules + "\n"
		}
		return files
	}
	var archive atomic.Pointer[[]byte] // nil: the server is down
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if a := archive.Load(); a != nil {
			_, _ = w.Write(*a)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	serves := func(a []byte) { archive.Store(&a) }
	at, err := url.Parse(server.URL + "/globex.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	globex.PolicyBundle = &rego.BundleConfig{
		Server: bundle.NewHTTPServer(at, bundle.HTTPConfig{Client: server.Client(), Timeout: time.Minute}),
		Keys:   bundle.Keys{PEM: []string{key.Public}, Algorithm: bundletest.Algorithm},
		Kept:   filepath.Join(globex.Dir, "policy.tar.gz"),
	}

	// There is no policy yet, so nobody is answered, and globex says so.
	world.Start()
	missing(t, acme.Asks(byOrg), "globex", federation.Denied, "")
	if ready, checks := globex.Ready(); ready || checks["policy"].OK || !strings.Contains(checks["policy"].Detail, "503 Service Unavailable") {
		t.Errorf("%t %+v", ready, checks)
	}
	if v := globex.Metric("parley_policy_last_reload_success_timestamp_seconds"); v != 0 {
		t.Errorf("there was a policy at %v", v)
	}

	serves(key.Sign(t, including(releaseRequests, "")))
	globex.Eventually("there is a policy", func() bool { ready, _ := globex.Ready(); return ready })
	everybodyAnswers(t, acme)

	serves(key.Sign(t, including(`{"allow": true, "datasets": [{"name": "requests", "include": "include", "release": "row", "labels": {"region": "keep"}}]}`,
		`include if { input.series.__name__ == "http_requests_total"; not input.series.region == "us" }`)))
	eu := map[string]string{`{org="globex", region="eu"}`: "2"}
	acme.Eventually("us is hidden", func() bool { return cmp.Equal(eu, acme.Asks(regions).Vector(t)) })

	serves(bundletest.NewKey(t).Sign(t, including(releaseRequests, "")))
	globex.Eventually("somebody else's bundle is refused", func() bool {
		ready, checks := globex.Ready()
		return ready && strings.Contains(checks["policy"].Detail, "kept from before") && strings.Contains(checks["policy"].Detail, "none of the keys")
	})
	if v := globex.Metric("parley_policy_last_reload_successful"); v != 0 {
		t.Errorf("parley_policy_last_reload_successful is %v", v)
	}
	if diff := cmp.Diff(eu, acme.Asks(regions).Vector(t)); diff != "" {
		t.Error(diff)
	}

	archive.Store(nil)
	globex.Stop()
	globex.Start()
	acme.Eventually("globex is back, with the policy that it had", func() bool { return cmp.Equal(eu, acme.Asks(regions).Vector(t)) })
	if ready, checks := globex.Ready(); !ready {
		t.Errorf("%+v", checks)
	}
}
