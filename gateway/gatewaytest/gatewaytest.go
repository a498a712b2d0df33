// Package gatewaytest runs several organizations in one process, for tests
// that read as stories:
//
//	world := gatewaytest.New(t, "acme", "globex")
//	world.Org("globex").Holds(series...)
//	world.Org("globex").Releases("acme", `{"allow": true, "datasets": [...]}`)
//	world.Start()
//	answer := world.Org("acme").Asks("sum by (org) (up)")
//
// Each organization has its own trust domain, development CA, store, folders
// of agreements and policies, audit log and listeners on loopback. Everything
// is real but the CA: gateways speak gRPC over mTLS with one another.
package gatewaytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/assembly"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// World is the organizations of a story.
type World struct {
	t    testing.TB
	orgs []*Org // sorted as given
}

// Org is one organization.
type Org struct {
	ID  tenants.OrgID
	CA  *identity.DevCA
	Dir string
	// Source, when set before Start, is where the metrics are.
	Source metrics.Source
	// Auditor, when set before Start, records instead of the log in Dir.
	Auditor gateway.Auditor
	// SVIDTTL is how long its SVIDs live; zero is an hour.
	SVIDTTL time.Duration
	// QueryTimeout bounds a question of its own users; zero is 10s.
	QueryTimeout time.Duration
	// Log collects what the gateway logs.
	Log *Log

	world             *World
	front, peer       net.Listener
	frontAddr, peerAt string
	identity          identity.Source
	gateway           *assembly.Gateway
	cancel            context.CancelFunc
	done              chan error
}

// New makes organizations that have agreements with one another for the
// purposes slo-review and incident-response, hold nothing and release nothing.
func New(t testing.TB, ids ...tenants.OrgID) *World {
	t.Helper()
	w := &World{t: t}
	for _, id := range ids {
		o := &Org{ID: id, Dir: t.TempDir(), Log: &Log{}, world: w, front: listen(t), peer: listen(t)}
		o.frontAddr, o.peerAt = o.front.Addr().String(), o.peer.Addr().String()
		ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: o.TrustDomain()})
		if err != nil {
			t.Fatal(err)
		}
		o.CA = ca
		for _, dir := range []string{"agreements", "policies", "ca"} {
			if err := os.Mkdir(filepath.Join(o.Dir, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := ca.Save(filepath.Join(o.Dir, "ca")); err != nil {
			t.Fatal(err)
		}
		w.orgs = append(w.orgs, o)
	}
	for _, a := range w.orgs {
		for _, b := range w.orgs {
			if a != b {
				a.Agrees(b.ID, nil)
			}
		}
	}
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // closed by its door unless that never opened
	return l
}

// Org returns the organization with the name.
func (w *World) Org(id tenants.OrgID) *Org {
	w.t.Helper()
	i := slices.IndexFunc(w.orgs, func(o *Org) bool { return o.ID == id })
	if i < 0 {
		w.t.Fatalf("no organization %s in this story", id)
	}
	return w.orgs[i]
}

// Start runs all gateways until the test ends.
func (w *World) Start() {
	w.t.Helper()
	for _, o := range w.orgs {
		o.Start()
	}
}

// TrustDomain is the organization's: ID.example.
func (o *Org) TrustDomain() spiffeid.TrustDomain {
	return spiffeid.RequireTrustDomainFromString(string(o.ID) + ".example")
}

// GatewayID is the SPIFFE ID of its gateway.
func (o *Org) GatewayID() spiffeid.ID { return spiffeid.RequireFromPath(o.TrustDomain(), "/parley") }

// PeerAddress is where partners reach its gateway.
func (o *Org) PeerAddress() string { return o.peerAt }

// Agreement is what an agreement file says, as a story may change it.
type Agreement struct {
	Addresses []string
	Purposes  []string
	NotAfter  time.Time
	Limits    string // YAML of the key limits
}

// Agrees writes the organization's agreement with a partner; change may alter
// it before.
func (o *Org) Agrees(partner tenants.OrgID, change func(*Agreement)) {
	o.world.t.Helper()
	p := o.world.Org(partner)
	a := Agreement{
		Addresses: []string{p.peerAt}, Purposes: []string{"slo-review", "incident-response"},
		NotAfter: time.Now().Add(24 * time.Hour), Limits: "{}",
	}
	if change != nil {
		change(&a)
	}
	text := fmt.Sprintf(`partner: %s
trust_domain: %s
gateway_id: %s
addresses: [%s]
bundle: {file: %s}
signals: [metrics]
purposes: [%s]
not_after: %s
policy: parley.partners.%s
limits: %s
`, partner, p.TrustDomain().Name(), p.GatewayID(), strings.Join(a.Addresses, ", "), filepath.Join(p.Dir, "ca", identity.DevCABundleFile),
		strings.Join(a.Purposes, ", "), a.NotAfter.UTC().Format(time.RFC3339), partner, a.Limits)
	if _, err := os.Stat(o.policyFile(partner)); err != nil {
		o.Releases(partner, `{"allow": false, "reasons": ["nothing is released yet"]}`)
	}
	o.write(filepath.Join("agreements", string(partner)+".yml"), text)
}

// Revokes removes the agreement with a partner.
func (o *Org) Revokes(partner tenants.OrgID) {
	o.world.t.Helper()
	if err := os.Remove(filepath.Join(o.Dir, "agreements", string(partner)+".yml")); err != nil {
		o.world.t.Fatal(err)
	}
}

func (o *Org) policyFile(partner tenants.OrgID) string {
	return filepath.Join(o.Dir, "policies", string(partner)+".rego")
}

// Releases writes the policy for a partner: one decision for every question.
func (o *Org) Releases(partner tenants.OrgID, decision string) {
	o.world.t.Helper()
	o.Policy(string(partner)+".rego", fmt.Sprintf("package parley.partners.%s\n\ndecision := %s\n", partner, decision))
}

// Policy writes a file of the policy folder.
func (o *Org) Policy(name, rego string) {
	o.world.t.Helper()
	o.write(filepath.Join("policies", name), rego)
}

// write replaces a file at once, as a careful operator would.
func (o *Org) write(name, text string) {
	o.world.t.Helper()
	path := filepath.Join(o.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		o.world.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		o.world.t.Fatal(err)
	}
}

// Holds gives the organization a store with the series.
func (o *Org) Holds(series ...metricstest.Series) *metrics.TSDB {
	o.world.t.Helper()
	store := metricstest.Store(o.world.t, series)
	o.Source = store
	return store
}

// Start runs the organization's gateway until Stop or the end of the test.
func (o *Org) Start() {
	t := o.world.t
	t.Helper()
	if o.Source == nil {
		o.Source = metricstest.Open(t)
	}
	if o.SVIDTTL == 0 {
		o.SVIDTTL = time.Hour
	}
	if o.QueryTimeout == 0 {
		o.QueryTimeout = 10 * time.Second
	}
	o.relisten()
	log := slog.New(slog.NewJSONHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	source, err := o.CA.Source(identity.DevSourceConfig{ID: o.GatewayID(), TTL: o.SVIDTTL, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, err := assembly.New(ctx, assembly.Config{
		Org: o.ID, TrustDomain: o.TrustDomain(), Version: "test", Identity: source,
		AgreementsDir: filepath.Join(o.Dir, "agreements"), PolicyDir: filepath.Join(o.Dir, "policies"),
		Source: o.Source, Secret: []byte(strings.Repeat(string(o.ID), 32)), Auditor: o.Auditor, AuditDir: filepath.Join(o.Dir, "audit"),
		Front: o.front, Peer: o.peer, DefaultPurpose: "slo-review", QueryTimeout: o.QueryTimeout,
		Reload: 20 * time.Millisecond, Log: log,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	o.identity, o.gateway, o.cancel, o.done = source, g, cancel, make(chan error, 1)
	go func() { o.done <- g.Run(ctx) }()
	t.Cleanup(func() { o.Stop() })
	o.Eventually("the front door answers", func() bool {
		response, err := http.Get(o.URL() + "/-/healthy")
		if err != nil {
			return false
		}
		_ = response.Body.Close() // read nothing
		return response.StatusCode == http.StatusOK
	})
}

// relisten opens the listeners that an earlier Stop closed.
func (o *Org) relisten() {
	if o.done == nil {
		return
	}
	for _, door := range []struct {
		l    *net.Listener
		addr string
	}{{&o.front, o.frontAddr}, {&o.peer, o.peerAt}} {
		l, err := net.Listen("tcp", door.addr)
		if err != nil {
			o.world.t.Fatal(err)
		}
		*door.l = l
	}
}

// Stop ends the organization's gateway and waits for it.
func (o *Org) Stop() {
	o.world.t.Helper()
	if o.cancel == nil {
		return
	}
	o.cancel()
	o.cancel = nil
	if err := <-o.done; err != nil {
		o.world.t.Errorf("%s: %v", o.ID, err)
	}
	if err := o.identity.Close(); err != nil {
		o.world.t.Errorf("%s: %v", o.ID, err)
	}
}

// URL is the base of its front door.
func (o *Org) URL() string { return "http://" + o.frontAddr }

// Reply is what its front door said.
type Reply struct {
	Code   int
	Header http.Header
	Body   []byte
}

// Completeness is the reply's, by organization.
func (r Reply) Completeness(t testing.TB) map[tenants.OrgID]federation.Part {
	t.Helper()
	var parts federation.Completeness
	if err := json.Unmarshal([]byte(r.Header.Get("X-Parley-Completeness")), &parts); err != nil {
		t.Fatalf("completeness %q: %v", r.Header.Get("X-Parley-Completeness"), err)
	}
	out := map[tenants.OrgID]federation.Part{}
	for _, p := range parts {
		out[p.Org] = p
	}
	return out
}

// Get sends a request to its front door as one of its own users; header is a
// list of name, value pairs.
func (o *Org) Get(path string, query url.Values, header ...string) Reply {
	o.world.t.Helper()
	request, err := http.NewRequest(http.MethodGet, o.URL()+path+"?"+query.Encode(), nil)
	if err != nil {
		o.world.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		o.world.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(response.Body)
	if err != nil {
		o.world.t.Fatal(err)
	}
	return Reply{Code: response.StatusCode, Header: response.Header, Body: body}
}

// Asks asks PromQL at the time of the last sample of metricstest's stores.
func (o *Org) Asks(expr string, header ...string) Reply {
	o.world.t.Helper()
	at := fmt.Sprintf("%d", metricstest.End().Unix())
	return o.Get("/api/v1/query", url.Values{"query": {expr}, "time": {at}}, header...)
}

// Audited is what its gateway recorded so far.
func (o *Org) Audited() []audit.Record {
	o.world.t.Helper()
	var out []audit.Record
	for record, err := range audit.Read(os.DirFS(filepath.Join(o.Dir, "audit"))) {
		if err != nil {
			o.world.t.Fatal(err)
		}
		out = append(out, record)
	}
	return out
}

// Eventually waits until the condition holds, for ten seconds at most.
func (o *Org) Eventually(what string, condition func() bool) {
	o.world.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			o.world.t.Fatalf("%s: never: %s\n%s", o.ID, what, o.Log)
		case <-tick.C:
		}
	}
}
