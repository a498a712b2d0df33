// Package assembly puts one gateway together from its parts and runs its
// doors:
//
//	g, err := assembly.New(ctx, assembly.Config{Org: "acme", ...})
//	if err != nil { ... }
//	err = g.Run(ctx) // until ctx ends or a door fails
//
// The parts that differ between a real gateway, the demo and a test (where the
// SVID comes from, where the metrics are, which listeners) are handed in; how
// they hang together is here alone.
package assembly

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/otlpreceiver"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/breakglass"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/peerfront"
	"github.com/parley-gateway/parley/gateway/shadow"
	"github.com/parley-gateway/parley/gateway/telemetry"
	"github.com/parley-gateway/parley/gateway/transfer"
	"github.com/parley-gateway/parley/gateway/workflows"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what a gateway is put together from. Fields without "default" or
// "nil" are required.
type Config struct {
	Org         tenants.OrgID
	TrustDomain spiffeid.TrustDomain
	Version     string

	// Identity is our SVID and bundle. It is the caller's to close, after Run.
	Identity identity.Source
	// BundleCacheDir keeps partners' last known bundles; default: they are not
	// kept over a restart.
	BundleCacheDir string
	// BreakGlassDir keeps the grants of emergencies; default: none is given.
	BreakGlassDir string
	AgreementsDir string
	// ShadowDir is a folder of Rego that decides beside; default: none does.
	ShadowDir string
	// PolicyDir is the folder of Rego; default: the built-in policies.
	PolicyDir string
	// PolicyBundle, instead of PolicyDir, is an OPA bundle. One at a server is
	// asked for every PolicyInterval, default a minute.
	PolicyBundle   *rego.BundleConfig
	PolicyInterval time.Duration
	// Source is where our metrics are. It is the caller's to close, after Run.
	Source metrics.Source
	// Logs is where our logs are; nil: we have none to be asked for. It is the
	// caller's to close, after Run.
	Logs logs.Source
	// Traces is where our traces are; nil: we have none to be asked for. It is the
	// caller's to close, after Run.
	Traces traces.Source
	// KeptTracesDir is where traces are kept that somebody asked to keep, for
	// KeepTracesFor, default a week; default: in memory.
	KeptTracesDir string
	KeepTracesFor time.Duration
	// Workflows are those that are measured; nil: none.
	Workflows  *Workflows
	Lookback   time.Duration // default 5m
	MaxSamples int           // default 50 million
	// Secret is what pseudonyms are derived from, 32 bytes or more.
	Secret []byte
	// Auditor records exchanges; nil: a log in AuditDir.
	Auditor  gateway.Auditor
	AuditDir string

	// Front is the listener of our own users, Peer of partners and Bundle of
	// our bundle endpoint. Peer and Bundle may be nil: those doors stay shut.
	Front, Peer, Bundle net.Listener
	// Spans takes spans into our own store of traces, over gRPC and HTTP at the
	// listeners that aren't nil; nil: they come otherwise.
	Spans                *otlpreceiver.Receiver
	SpansGRPC, SpansHTTP net.Listener
	// FrontCertificate is what the front door presents, asked at every
	// handshake; nil: plain HTTP.
	FrontCertificate func() (*tls.Certificate, error)
	// PeerHealth and PeerReflection serve gRPC's health and reflection to
	// partners.
	PeerHealth, PeerReflection bool
	// BundleTLS is the bundle endpoint's; nil: our SVID, profile https_spiffe.
	BundleTLS *tls.Config
	// Authentication is how our users are known; nil: nobody is asked.
	Authentication func(*identity.Verifier) (*identity.Authenticator, error)
	// FrontHosts are the names, beside those of loopback, that our users on this
	// machine call the front door by.
	FrontHosts     []string
	DefaultPurpose tenants.Purpose
	DefaultCase    tenants.CaseID
	QueryTimeout   time.Duration // default 30s
	Profiling      bool
	// Reload is how often folders are looked at; default a second.
	Reload time.Duration

	// Now is the clock of grants; default time.Now.
	Now func() time.Time

	Log     *slog.Logger
	Tracing *telemetry.Tracing // nil: no traces
}

// Workflows are measured from a sample of traces; see workflows.Config.
type Workflows struct {
	Purpose         tenants.Purpose
	Search          string
	Interval, Delay time.Duration
	Sample          int
}

// Gateway is a gateway that can run.
type Gateway struct {
	config    Config
	registry  *prometheus.Registry
	directory *tenants.Directory
	policies  *rego.Policies
	shadow    *shadow.Shadow // nil: nothing decides beside
	bundles   *identity.Bundles
	auth      *identity.Authenticator
	auditor   gateway.Auditor
	meter     *transfer.Meter
	pool      *peer.Pool
	pipeline  *gateway.Gateway
	workflows *workflows.Watch // nil: none are measured
	front     *front.Front
	peerDoor  *peerfront.Server
	closers   []ending // in order of making; the audit log is the first
}

const (
	defaultReload         = time.Second
	defaultPolicyInterval = time.Minute
)

// New puts the parts together. Nothing listens before Run. ctx bounds the
// loading of policies.
func New(ctx context.Context, c Config) (_ *Gateway, err error) {
	if c.Reload == 0 {
		c.Reload = defaultReload
	}
	if c.PolicyInterval == 0 {
		c.PolicyInterval = defaultPolicyInterval
	}
	g := &Gateway{config: c, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	for _, step := range []func(context.Context) error{
		g.makeDirectory, g.makePolicies, g.makeShadow, g.makeMeter, g.makeAudit, g.makeBundles, g.makePipeline, g.makeWorkflows, g.makeFront, g.makePeerDoor, g.makeMetrics,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// makeAudit comes before whatever else has to be closed, so that the audit log
// is closed when nothing is left that could have something to record.
func (g *Gateway) makeAudit(context.Context) error {
	g.auditor = g.config.Auditor
	if g.auditor != nil {
		return nil
	}
	log, err := audit.Open(audit.Config{Dir: g.config.AuditDir, Logger: g.config.Log})
	if err != nil {
		return err
	}
	g.auditor = log
	g.closers = append(g.closers, ending{"the audit log", auditTimeout, log.Close})
	return nil
}

func (g *Gateway) makeDirectory(context.Context) (err error) {
	g.directory, err = tenants.OpenDirectory(tenants.DirectoryConfig{
		Dir: g.config.AgreementsDir, Self: tenants.Self{Org: g.config.Org, TrustDomain: g.config.TrustDomain},
		Interval: g.config.Reload, Logger: g.config.Log, Registerer: g.registry,
	})
	return err
}

func (g *Gateway) makePolicies(ctx context.Context) (err error) {
	g.policies, err = rego.New(ctx, rego.Config{
		Org: g.config.Org, Dir: g.config.PolicyDir, Bundle: g.config.PolicyBundle, Agreements: g.directory.Partners, Now: time.Now, Log: g.config.Log,
	})
	return err
}

func (g *Gateway) makeShadow(ctx context.Context) (err error) {
	if g.config.ShadowDir == "" {
		return nil
	}
	g.shadow, err = shadow.New(ctx, shadow.Config{
		Org: g.config.Org, Dir: g.config.ShadowDir, Agreements: g.directory.Partners, Registerer: g.registry, Log: g.config.Log, Now: time.Now,
	})
	return err
}

func (g *Gateway) makeMeter(context.Context) (err error) {
	g.meter, err = transfer.New(g.registry, transfer.Config{Org: g.config.Org, Known: g.knows})
	return err
}

func (g *Gateway) makeBundles(context.Context) (err error) {
	g.bundles, err = identity.NewBundles(identity.BundlesConfig{
		TrustDomain: g.config.TrustDomain, Own: g.config.Identity, CacheDir: g.config.BundleCacheDir,
		Logger: g.config.Log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	g.closes("the bundles of partners", g.bundles.Close)
	g.pool = g.newPool()
	g.closes("the connections to partners", g.pool.Close)
	cancel := g.directory.Subscribe(func(agreements []tenants.Agreement) {
		g.pool.Retain(agreements)
		if err := g.bundles.SetPartners(agreements); err != nil {
			g.config.Log.Error("agreements changed, but not all of the change took effect", "error", err)
		}
	})
	g.closes("the watch on agreements", func() error { cancel(); return nil })
	return identity.RegisterSVIDExpiry(g.registry, g.config.Identity)
}

func (g *Gateway) makePipeline(context.Context) error {
	local, err := metrics.NewLocal(metrics.LocalConfig{
		Org: g.config.Org, Source: g.config.Source, Secret: g.config.Secret, Lookback: g.config.Lookback,
		MaxSamples: g.config.MaxSamples, Logger: g.config.Log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	ofLogs, err := g.logs()
	if err != nil {
		return err
	}
	ofTraces, err := g.traces()
	if err != nil {
		return err
	}
	c := gateway.Config{
		Org: g.config.Org, Directory: g.directory, Decider: g.policies,
		Signals: map[tenants.Signal]gateway.Signal{
			tenants.Metrics: {
				Answer:   gateway.AnswerFrom(local),
				Federate: gateway.FederateWith(metrics.NewFederated(g.config.MaxSamples, g.config.Lookback, nil)),
			},
			tenants.Logs:   ofLogs,
			tenants.Traces: ofTraces,
		},
		Peers: g.pool, Auditor: g.auditor, Meter: g.meter, Log: g.config.Log, Timeout: g.config.QueryTimeout,
	}
	if g.config.BreakGlassDir != "" {
		grants, err := breakglass.Open(breakglass.Config{
			Org: g.config.Org, Dir: g.config.BreakGlassDir, Directory: g.directory, Log: g.config.Log, Registerer: g.registry, Now: g.config.Now,
		})
		if err != nil {
			return err
		}
		g.closes("the webhooks of break-glass grants", grants.Close)
		c.BreakGlass = grants
	}
	if g.shadow != nil {
		c.Shadow = g.shadow
	}
	if g.config.Tracing != nil {
		c.Tracer = g.config.Tracing.Provider()
	}
	g.pipeline, err = gateway.New(c)
	return err
}

// makeWorkflows measures workflows as one of our own users.
func (g *Gateway) makeWorkflows(context.Context) (err error) {
	w := g.config.Workflows
	if w == nil {
		return nil
	}
	g.workflows, err = workflows.New(workflows.Config{
		Answerer: front.Answers(g.pipeline), Principal: tenants.Principal{Org: g.config.Org, Purpose: w.Purpose},
		Search: w.Search, Interval: w.Interval, Sample: w.Sample, Delay: w.Delay, Registerer: g.registry, Log: g.config.Log,
	})
	return err
}

// logs is the logs signal.
func (g *Gateway) logs() (gateway.Signal, error) {
	federated := logs.NewFederated(g.config.MaxSamples, nil)
	signal := gateway.Signal{Federate: gateway.FederateWith(federated), Follow: gateway.FollowWith(federated)}
	if g.config.Logs == nil {
		return signal, nil
	}
	own, err := logs.NewLocal(logs.LocalConfig{
		Org: g.config.Org, Source: g.config.Logs, Secret: g.config.Secret, MaxSamples: g.config.MaxSamples, Logger: g.config.Log, Registerer: g.registry,
	})
	if err != nil {
		return signal, err
	}
	signal.Answer, signal.Tail = gateway.AnswerFrom(own), gateway.TailFrom(own)
	return signal, nil
}

// traces is the traces signal.
func (g *Gateway) traces() (gateway.Signal, error) {
	signal := gateway.Signal{Federate: gateway.FederateWith(traces.NewFederated(traces.FederatedConfig{Correlation: g.correlation, Restarts: g.restarts, Sampling: g.sampling}))}
	if g.config.Traces == nil {
		return signal, nil
	}
	keeping, err := traces.NewKeeping(g.config.Traces, traces.KeepingConfig{Dir: g.config.KeptTracesDir, For: g.config.KeepTracesFor, Logger: g.config.Log})
	if err != nil {
		return signal, err
	}
	own, err := traces.NewLocal(traces.LocalConfig{
		Org: g.config.Org, Source: keeping, Secret: g.config.Secret, Logger: g.config.Log, Registerer: g.registry,
	})
	if err != nil {
		return signal, err
	}
	signal.Answer = gateway.AnswerFrom(own)
	return signal, nil
}

// correlation are the attributes of spans by which requests are recognized, as
// agreed with a partner.
func (g *Gateway) correlation(org tenants.OrgID) []string {
	agreement, _ := g.directory.Partner(org)
	return agreement.Traces.Correlation
}

// restarts says whether traces begin anew between us and a partner, as agreed.
func (g *Gateway) restarts(org tenants.OrgID) bool {
	agreement, _ := g.directory.Partner(org)
	return agreement.Traces.Restarts
}

// sampling is which traces a partner keeps, as agreed.
func (g *Gateway) sampling(org tenants.OrgID) tenants.SamplingProbability {
	agreement, _ := g.directory.Partner(org)
	return agreement.Traces.Sampling
}

func (g *Gateway) knows(org tenants.OrgID) bool {
	_, ok := g.directory.Partner(org)
	return ok
}

func (g *Gateway) verifier() *identity.Verifier { return identity.NewVerifier(g.bundles, nil) }

func (g *Gateway) makeFront(context.Context) (err error) {
	verifier := g.verifier()
	if g.config.Authentication != nil {
		g.auth, err = g.config.Authentication(verifier)
	} else {
		g.auth, err = identity.NewAuthenticator(identity.AuthConfig{})
	}
	if err != nil {
		return err
	}
	g.closes("authentication", g.auth.Close)
	if !g.auth.Configured() {
		if err := onlyLoopback(g.config.Front); err != nil {
			return err
		}
		g.config.Log.Warn("no authentication is configured: the front door serves this machine only", "address", g.config.Front.Addr().String())
	}
	g.front, err = front.New(front.Config{
		Org: g.config.Org, Answerer: front.Answers(g.pipeline), Tails: g.pipeline, Authenticator: g.auth, DefaultPurpose: g.config.DefaultPurpose, DefaultCase: g.config.DefaultCase,
		Timeout: g.config.QueryTimeout,
		Version: g.config.Version, Logger: g.config.Log, Ready: g.ready, Profiling: g.config.Profiling,
		LocalOnly: !g.auth.Configured() || g.auth.TrustsLoopback(), Hosts: g.config.FrontHosts,
		Metrics: promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
	})
	return err
}

// onlyLoopback holds the rule that nobody who wasn't asked who they are comes
// from another machine.
func onlyLoopback(l net.Listener) error {
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("the front door listens on %s without authentication: configure front.authentication, or listen on a loopback address", l.Addr())
}

func (g *Gateway) makePeerDoor(context.Context) (err error) {
	if g.config.Peer == nil {
		return nil
	}
	verifier := g.verifier()
	c := peerfront.Config{
		Org: g.config.Org, Version: g.config.Version, TLS: identity.ServerTLS(g.config.Identity, g.bundles, nil),
		Identify: func(state tls.ConnectionState) (spiffeid.ID, error) {
			return verifier.Verify(context.Background(), state)
		},
		Agreement: g.directory.ByWorkload, Gateway: peerfront.Of(g.pipeline), Log: g.config.Log,
		Health: g.config.PeerHealth, Reflection: g.config.PeerReflection, Registerer: g.registry,
		Count: func(partner tenants.OrgID, f wire.Flow, n int) { g.meter.Wire(partner, transfer.Answered, f, n) },
	}
	if g.config.Tracing != nil {
		c.Tracer, c.Propagator = g.config.Tracing.Provider(), g.config.Tracing.Propagator()
	}
	g.peerDoor, err = peerfront.New(c)
	return err
}

// newPool asks partners' gateways.
func (g *Gateway) newPool() *peer.Pool {
	verifier := g.verifier()
	c := peer.Config{
		Log: g.config.Log, Timeout: g.config.QueryTimeout,
		Verify: func(state tls.ConnectionState) (spiffeid.ID, error) {
			return verifier.Verify(context.Background(), state)
		},
		Count: func(partner tenants.OrgID, f wire.Flow, n int) { g.meter.Wire(partner, transfer.Asked, f, n) },
	}
	if g.config.Tracing != nil {
		c.Tracer, c.Propagator = g.config.Tracing.Provider(), g.config.Tracing.Propagator()
	}
	return peer.NewPool(c, func(gateway spiffeid.ID) *tls.Config {
		return identity.ClientTLS(g.config.Identity, g.bundles, nil, gateway)
	})
}

// closes remembers how a part is closed.
func (g *Gateway) closes(what string, end func() error) {
	g.closers = append(g.closers, ending{what, closeTimeout, end})
}

// Close releases what New made, in reverse order. Run closes by itself.
func (g *Gateway) Close() error {
	all := g.closers
	g.closers = nil
	return backwards(all)
}
