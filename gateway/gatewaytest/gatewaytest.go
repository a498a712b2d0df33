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
//
// What goes wrong in a story is real as well: a Proxy is a network that stalls
// or breaks, a Backend is a metrics store that doesn't come back, an Auditor a
// disk that is full, Plays a partner whose gateway does what it likes, and a
// Caller a workload that speaks to a peer door by itself.
package gatewaytest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/assembly"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// World is the organizations of a story.
type World struct {
	t      testing.TB
	orgs   []*Org // in the order given
	client *http.Client
}

// Org is one organization.
type Org struct {
	ID  tenants.OrgID
	CA  *identity.DevCA
	Dir string
	// Source, when set before Start, is where the metrics are.
	Source metrics.Source
	// Logs, when set before Start, is where the logs are; nil is none.
	Logs logs.Source
	// Traces, when set before Start, is where the traces are; nil is none.
	Traces traces.Source
	// Auditor, when set before Start, records instead of a log in AuditDir.
	Auditor gateway.Auditor
	// Authentication, when set before Start, is how its users are known.
	Authentication func(*identity.Verifier) (*identity.Authenticator, error)
	// SVIDTTL is how long its SVIDs live; zero is an hour.
	SVIDTTL time.Duration
	// PolicyBundle, when set before Start, is where its policies are, rather than
	// in a folder. A server is asked all the time.
	PolicyBundle *rego.BundleConfig
	// QueryTimeout bounds a question of its own users; zero is 30s.
	QueryTimeout time.Duration
	// Now is the clock of its break-glass grants; nil is time.Now.
	Now func() time.Time
	// Log collects what the gateway logs.
	Log *Log

	world             *World
	front, peer       net.Listener
	frontAddr, peerAt string
	identity          identity.Source
	cancel            context.CancelFunc
	done              chan error
}

// New makes organizations that have agreements with one another for the
// purposes slo-review and incident-response, hold nothing and release nothing.
func New(t testing.TB, ids ...tenants.OrgID) *World {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := &World{t: t, client: &http.Client{Transport: transport}}
	for _, id := range ids {
		w.orgs = append(w.orgs, newOrg(w, id))
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

func newOrg(w *World, id tenants.OrgID) *Org {
	w.t.Helper()
	o := &Org{ID: id, Dir: w.t.TempDir(), Log: &Log{}, world: w, front: listen(w.t), peer: listen(w.t)}
	o.frontAddr, o.peerAt = o.front.Addr().String(), o.peer.Addr().String()
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: o.TrustDomain()})
	if err != nil {
		w.t.Fatal(err)
	}
	o.CA = ca
	for _, dir := range []string{"agreements", "policies", "ca"} {
		if err := os.Mkdir(filepath.Join(o.Dir, dir), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := ca.Save(filepath.Join(o.Dir, "ca")); err != nil {
		w.t.Fatal(err)
	}
	return o
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

// AuditDir is where its audit log is.
func (o *Org) AuditDir() string { return filepath.Join(o.Dir, "audit") }

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
	if o.QueryTimeout == 0 {
		o.QueryTimeout = 30 * time.Second
	}
	o.relisten()
	ctx, cancel := context.WithCancel(context.Background())
	log := o.logger()
	g, err := assembly.New(ctx, assembly.Config{
		Org: o.ID, TrustDomain: o.TrustDomain(), Version: "test", Identity: o.proveIdentity(),
		BreakGlassDir: filepath.Join(o.Dir, "break-glass"), Now: o.Now,
		AgreementsDir: filepath.Join(o.Dir, "agreements"), PolicyDir: filepath.Join(o.Dir, "policies"),
		PolicyBundle: o.PolicyBundle, PolicyInterval: 100 * time.Millisecond,
		Source: o.Source, Logs: o.Logs, Traces: o.Traces, Secret: []byte(strings.Repeat(string(o.ID), 32)), Auditor: o.Auditor, AuditDir: o.AuditDir(),
		Front: o.front, Peer: o.peer, Authentication: o.Authentication, DefaultPurpose: "slo-review", QueryTimeout: o.QueryTimeout,
		Reload: 100 * time.Millisecond, Log: log,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	o.run(cancel, func() error { return g.Run(ctx) })
	o.Eventually("the front door answers and knows the partners' bundles", func() bool {
		reply, err := o.Do(ctx, "/-/ready", nil)
		return err == nil && !strings.Contains(string(reply.Body), "not there yet")
	})
}

func (o *Org) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// proveIdentity begins to issue SVIDs.
func (o *Org) proveIdentity() identity.Source {
	o.world.t.Helper()
	source, err := o.CA.Source(identity.DevSourceConfig{ID: o.GatewayID(), TTL: o.SVIDTTL, Logger: o.logger()})
	if err != nil {
		o.world.t.Fatal(err)
	}
	o.identity = source
	return source
}

// SVID is what its gateway shows at the moment.
func (o *Org) SVID() *x509svid.SVID {
	o.world.t.Helper()
	svid, err := o.identity.GetX509SVID()
	if err != nil {
		o.world.t.Fatal(err)
	}
	return svid
}

// StopsRenewing leaves its gateway with the SVID that it has.
func (o *Org) StopsRenewing() {
	o.world.t.Helper()
	if err := o.identity.Close(); err != nil {
		o.world.t.Error(err)
	}
}

// run serves until Stop.
func (o *Org) run(cancel context.CancelFunc, serve func() error) {
	o.cancel, o.done = cancel, make(chan error, 1)
	go func() { o.done <- serve() }()
	o.world.t.Cleanup(o.Stop)
}

// relisten opens the listeners that an earlier Stop closed.
func (o *Org) relisten() {
	o.world.t.Helper()
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

// Eventually waits until the condition holds, for a minute at most.
func (o *Org) Eventually(what string, condition func() bool) {
	o.world.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			o.world.t.Fatalf("%s: never: %s\n%s", o.ID, what, o.Log.Events())
		case <-tick.C:
		}
	}
}
