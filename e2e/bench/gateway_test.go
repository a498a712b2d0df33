package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/gateway/identity"
)

// org is an organization: a gateway, and its Prometheus or Loki, each a process.
type org struct {
	name    string
	server  *servers.Server // nil: it has none, and asks
	stores  string          // the server, in the gateway's configuration
	process *exec.Cmd       // the gateway
	dir     string
	front   string // host:port of its doors
	peer    string
}

func newOrg(t testing.TB, name string) *org {
	t.Helper()
	return &org{name: name, dir: t.TempDir(), front: freeAddress(t), peer: freeAddress(t)}
}

// world starts organizations with a Prometheus each that have agreed with one
// another. Each answers the others by releases, by organization, and where it is
// given its own users by own; the first asks.
func world(t testing.TB, releases, own map[string]string) []*org {
	t.Helper()
	var orgs []*org
	for _, name := range []string{"acme", "globex", "initech"} {
		if _, ok := releases[name]; ok {
			orgs = append(orgs, overPrometheus(t, name, store(t, name)))
		}
	}
	federate(t, "metrics", orgs, releases, own)
	return orgs
}

// overPrometheus is an organization with a Prometheus over a database, before its
// gateway is started.
func overPrometheus(t testing.TB, name, data string) *org {
	t.Helper()
	o := newOrg(t, name)
	o.server = servers.Prometheus(t, servers.PrometheusConfig{Data: data, Config: "scrape_configs: []"})
	o.stores = fmt.Sprintf("metrics: {prometheus: {url: %q}}", o.server.URL)
	return o
}

// federate starts the gateways of organizations that agree about a signal.
func federate(t testing.TB, signal string, orgs []*org, releases, own map[string]string) {
	t.Helper()
	for _, o := range orgs {
		o.prepare(t)
	}
	for _, o := range orgs {
		for _, partner := range orgs {
			if partner != o {
				o.agree(t, partner, signal, releases[o.name])
			}
		}
		if release, ok := own[o.name]; ok {
			o.write(t, "policies/own.rego", "package parley.own\n\n"+release+"\n")
		}
		o.start(t)
	}
	for _, o := range orgs {
		o.awaitReady(t)
	}
}

func (o *org) trustDomain() spiffeid.TrustDomain {
	return spiffeid.RequireTrustDomainFromString(o.name + ".example")
}

// prepare makes what stands before any agreement.
func (o *org) prepare(t testing.TB) {
	t.Helper()
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: o.trustDomain()})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(filepath.Join(o.dir, "ca")); err != nil {
		t.Fatal(err)
	}
	o.write(t, "pseudonyms.key", strings.Repeat(o.name, 32))
	for _, folder := range []string{"agreements", "policies"} {
		if err := os.Mkdir(filepath.Join(o.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// agree writes the agreement with a partner about a signal and the policy that
// answers it. The limits are the defaults but for the number of questions.
func (o *org) agree(t testing.TB, partner *org, signal, release string) {
	t.Helper()
	o.write(t, "agreements/"+partner.name+".yml", fmt.Sprintf(`partner: %[1]s
trust_domain: %[1]s.example
gateway_id: spiffe://%[1]s.example/parley
addresses: [%[2]s]
bundle: {file: %[3]s}
signals: [%[5]s]
traces: {restarts: true}
purposes: [slo-review, incident-response]
not_after: %[4]s
policy: parley.partners.%[1]s
limits: {queries_per_minute: 1_000_000}
`, partner.name, partner.peer, filepath.Join(partner.dir, "ca", identity.DevCABundleFile), time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339), signal))
	o.write(t, "policies/"+partner.name+".rego", fmt.Sprintf("package parley.partners.%s\n\n%s\n", partner.name, release))
}

func (o *org) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the gateway until the test ends.
func (o *org) start(t testing.TB) {
	t.Helper()
	o.write(t, "gateway.yml", fmt.Sprintf(`org: %[1]s
trust_domain: %[1]s.example
identity: {development: {dir: ca}}
front: {listen: "%[2]s", default_purpose: slo-review, query_timeout: 5m, pprof: true}
peer: {listen: "%[3]s"}
agreements: {dir: agreements}
policy: {dir: policies}
%[4]s
pseudonyms: {key_file: pseudonyms.key}
audit: {dir: audit}
`, o.name, o.front, o.peer, o.stores))
	var output bytes.Buffer
	o.process = exec.Command(binary(t), "serve", "--config", filepath.Join(o.dir, "gateway.yml"))
	o.process.Stderr = &output
	if err := o.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A gateway that has already ended needs no signal; Wait says how it did.
		_ = o.process.Process.Signal(syscall.SIGTERM)
		if err := o.process.Wait(); err != nil || t.Failed() {
			lines := strings.Split(strings.TrimSpace(output.String()), "\n")
			t.Errorf("the gateway of %s: %v; its last lines:\n%s", o.name, err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
}

// awaitReady waits until the gateway is ready and has its partners' bundles.
func (o *org) awaitReady(t testing.TB) {
	t.Helper()
	c := newClient(t)
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		body, err := c.get(t.Context(), "http://"+o.front+"/-/ready", nil)
		if err == nil && !bytes.Contains(body, []byte("not there yet")) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the gateway of %s isn't ready: %v %s", o.name, err, body)
		case <-again.C:
		}
	}
}

// pids are those of the organizations' processes.
func pids(orgs []*org) []int {
	var out []int
	for _, o := range orgs {
		out = append(out, o.process.Process.Pid)
		if o.server != nil {
			out = append(out, o.server.PID)
		}
	}
	slices.Sort(out)
	return out
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // nothing was sent
	return listener.Addr().String()
}
