package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway/assembly"
	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/telemetry"
	"github.com/parley-gateway/parley/tenants"
)

type serveCommand struct {
	Config string `required:"" placeholder:"FILE" type:"path" help:"The gateway's config; parley config manual explains every key."`
}

// Help is shown by parley serve --help.
func (*serveCommand) Help() string {
	return `Examples:

  parley config check /etc/parley/gateway.yml
  parley serve --config /etc/parley/gateway.yml

Agreements, policies, certificates and bundles are picked up when they change;
the config itself is read at start. SIGTERM ends it when the questions under
way are answered.`
}

// Run serves until it is told to stop.
func (c *serveCommand) Run(k *kong.Kong) error {
	settings, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := telemetry.NewLogger(k.Stderr, settings.Telemetry.LogLevel)
	return serve(ctx, settings, log)
}

// serve makes the parts that a config describes, in order, and runs them.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) (err error) {
	var closers []func() error
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
	}()
	tracing, err := newTracing(ctx, c, log)
	if err != nil {
		return err
	}
	closers = append(closers, func() error { return tracing.Shutdown(context.WithoutCancel(ctx)) })
	svid, err := newIdentity(c, log)
	if err != nil {
		return err
	}
	closers = append(closers, svid.Close)
	source, closeSource, err := newSource(c, log)
	if err != nil {
		return err
	}
	closers = append(closers, closeSource)
	logsSource, closeLogs, err := newLogsSource(c)
	if err != nil {
		return err
	}
	closers = append(closers, closeLogs)
	ofTraces, err := newTracesSource(c, log)
	if err != nil {
		return err
	}
	closers = append(closers, ofTraces.close)
	policies, stop, err := newPolicyBundle(c)
	if err != nil {
		return err
	}
	closers = append(closers, func() error { stop(); return nil })
	secret, err := c.Pseudonyms.Key()
	if err != nil {
		return err
	}
	listeners, err := listen(c)
	if err != nil {
		return err
	}
	closers = append(closers, listeners.close)
	settings := assembly.Config{
		Org: c.Org, TrustDomain: c.TrustDomain, Version: version,
		Identity: svid, BundleCacheDir: filepath.Join(c.State.Dir, "bundles"),
		AgreementsDir: c.Agreements.Dir, PolicyDir: c.Policy.Dir, PolicyBundle: policies, ShadowDir: c.Policy.Shadow,
		Traces: ofTraces.source, Spans: ofTraces.spans, SpansGRPC: listeners.spansGRPC, SpansHTTP: listeners.spansHTTP,
		Logs: logsSource, Source: source, Lookback: c.Metrics.LookbackDelta, MaxSamples: c.Metrics.MaxSamples,
		Secret: secret, AuditDir: c.Audit.Dir,
		Front: listeners.front, Peer: listeners.peer, Bundle: listeners.bundle,
		Authentication: authentication(c, log), FrontHosts: c.Front.Hosts, DefaultPurpose: c.Front.DefaultPurpose, DefaultCase: c.Front.DefaultCase,
		QueryTimeout: c.Front.QueryTimeout, Profiling: c.Front.Pprof,
		Log: log, Tracing: tracing,
	}
	if c.Traces != nil {
		settings.KeptTracesDir, settings.KeepTracesFor = keptTraces(c), c.Traces.KeepFor
	}
	settings.Workflows = measured(c)
	if b := c.Policy.Bundle; b != nil {
		settings.PolicyInterval = b.Interval
	}
	if p := c.Peer; p != nil {
		settings.PeerHealth, settings.PeerReflection = p.Health, p.Reflection
	}
	settings.BreakGlassDir = filepath.Join(c.State.Dir, "break-glass")
	if err := serveTLS(&settings, c, svid, log); err != nil {
		return err
	}
	gateway, err := assembly.New(ctx, settings)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "serving", "org", string(c.Org), "version", version,
		"front", listeners.front.Addr().String(), "peer", address(listeners.peer), "bundle_endpoint", address(listeners.bundle),
		"otlp_grpc", address(listeners.spansGRPC), "otlp_http", address(listeners.spansHTTP))
	return gateway.Run(ctx)
}

// keptTraces is the folder of the traces that somebody asked to keep.
func keptTraces(c *config.Config) string { return filepath.Join(c.State.Dir, "kept-traces") }

// measured is which workflows are measured; nil: none.
func measured(c *config.Config) *assembly.Workflows {
	w := c.Workflows
	if w == nil {
		return nil
	}
	return &assembly.Workflows{Purpose: w.Purpose, Search: w.Search, Interval: w.Interval, Sample: w.Sample, Delay: w.Delay}
}

func newTracing(ctx context.Context, c *config.Config, log *slog.Logger) (*telemetry.Tracing, error) {
	t := telemetry.TracingConfig{Org: c.Org, Version: version}
	if o := c.Telemetry.OTLP; o != nil {
		t.Endpoint, t.Insecure, t.SampleRatio = o.Endpoint, o.Insecure, o.SamplingRatio
	}
	return telemetry.NewTracing(ctx, t, log)
}

func newIdentity(c *config.Config, log *slog.Logger) (identity.Source, error) {
	switch i := c.Identity; {
	case i.WorkloadAPI != nil:
		return identity.NewWorkloadAPI(identity.WorkloadAPIConfig{
			TrustDomain: c.TrustDomain, Address: i.WorkloadAPI.Socket, ID: i.GatewayID, Logger: log,
		})
	case i.Files != nil:
		return identity.NewFiles(identity.FilesConfig{
			TrustDomain: c.TrustDomain, ID: i.GatewayID, CertFile: i.Files.CertFile, KeyFile: i.Files.KeyFile, BundleFile: i.Files.BundleFile, Logger: log,
		})
	case i.Development != nil:
		ca, err := identity.OpenDevCA(i.Development.Dir, identity.DevCAConfig{TrustDomain: c.TrustDomain})
		if err != nil {
			return nil, err
		}
		id := i.GatewayID
		if id.IsZero() {
			if id, err = spiffeid.FromPath(c.TrustDomain, "/parley"); err != nil {
				return nil, err
			}
		}
		log.Warn("the gateway's identity comes from a development CA, which is for trying things out", "id", id.String())
		return ca.Source(identity.DevSourceConfig{ID: id, Logger: log})
	}
	return nil, errors.New("identity: one of workload_api, files and development is needed")
}

func newSource(c *config.Config, log *slog.Logger) (metrics.Source, func() error, error) {
	if t := c.Metrics.TSDB; t != nil {
		store, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: t.Dir, Retention: t.Retention, Logger: log})
		if err != nil {
			return nil, nil, err
		}
		return store, store.Close, nil
	}
	p := c.Metrics.Prometheus
	client, err := backend{"metrics", grafanaTenant, p.Tenant, p.BearerTokenFile, p.CAFile}.client()
	if err != nil {
		return nil, nil, err
	}
	source, err := metrics.NewPrometheus(metrics.PrometheusConfig{
		URL: p.URL, ReadPath: p.RemoteReadPath, Client: client, NoPushDown: !p.PushDown, ExternalLabels: p.ExternalLabels, Logger: log,
	})
	return source, func() error { client.CloseIdleConnections(); return nil }, err
}

// newLogsSource returns nil when the config names no logs.
func newLogsSource(c *config.Config) (logs.Source, func() error, error) {
	if c.Logs == nil {
		return nil, func() error { return nil }, nil
	}
	l := c.Logs.Loki
	client, err := backend{"logs", grafanaTenant, l.Tenant, l.BearerTokenFile, l.CAFile}.client()
	if err != nil {
		return nil, nil, err
	}
	source, err := logs.NewLoki(logs.LokiConfig{URL: l.URL, Client: client, PageEntries: l.PageEntries})
	return source, func() error { client.CloseIdleConnections(); return nil }, err
}

// doors are the listeners; those of doors that stay shut are nil.
type doors struct{ front, peer, bundle, spansGRPC, spansHTTP net.Listener }

func listen(c *config.Config) (_ doors, err error) {
	var d doors
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.front, err = net.Listen("tcp", c.Front.Listen); err != nil {
		return d, fmt.Errorf("front door: %w", err)
	}
	if c.Peer != nil {
		if d.peer, err = net.Listen("tcp", c.Peer.Listen); err != nil {
			return d, fmt.Errorf("peer door: %w", err)
		}
	}
	if c.BundleEndpoint != nil {
		if d.bundle, err = net.Listen("tcp", c.BundleEndpoint.Listen); err != nil {
			return d, fmt.Errorf("bundle endpoint: %w", err)
		}
	}
	return d, d.listenForSpans(c.Traces)
}

func (d *doors) listenForSpans(t *config.Traces) (err error) {
	if t == nil || t.Store == nil {
		return nil
	}
	if t.Store.OTLPGRPCListen != "" {
		if d.spansGRPC, err = net.Listen("tcp", t.Store.OTLPGRPCListen); err != nil {
			return fmt.Errorf("OTLP over gRPC: %w", err)
		}
	}
	if t.Store.OTLPHTTPListen != "" {
		if d.spansHTTP, err = net.Listen("tcp", t.Store.OTLPHTTPListen); err != nil {
			return fmt.Errorf("OTLP over HTTP: %w", err)
		}
	}
	return nil
}

// address is where a door listens, for the log.
func address(l net.Listener) string {
	if l == nil {
		return "none"
	}
	return l.Addr().String()
}

// close closes the listeners that no door has closed.
func (d doors) close() error {
	var errs []error
	for _, l := range []net.Listener{d.front, d.peer, d.bundle, d.spansGRPC, d.spansHTTP} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// authentication is how the front door knows its users; nil when nothing is
// configured.
func authentication(c *config.Config, log *slog.Logger) func(*identity.Verifier) (*identity.Authenticator, error) {
	a := c.Front.Authentication
	if !a.MTLS && a.JWT == nil && len(a.TrustedProxies) == 0 {
		return nil
	}
	return func(v *identity.Verifier) (*identity.Authenticator, error) {
		settings := identity.AuthConfig{TrustedProxies: a.TrustedProxies}
		if a.MTLS {
			settings.SVID = &identity.SVIDAuth{TrustDomain: c.TrustDomain, Verify: v.Verify}
		}
		if j := a.JWT; j != nil {
			settings.JWT = &identity.JWTConfig{
				JWKS: j.JWKSFile, Issuer: j.Issuer, Audience: j.Audience, SubjectClaim: j.SubjectClaim, Logger: log,
			}
			if j.JWKSURL != nil {
				settings.JWT.JWKS = j.JWKSURL.String()
			}
			for _, algorithm := range j.Algorithms {
				settings.JWT.Algorithms = append(settings.JWT.Algorithms, string(algorithm))
			}
		}
		return identity.NewAuthenticator(settings)
	}
}

// serveTLS says what the HTTP doors present.
func serveTLS(s *assembly.Config, c *config.Config, svid identity.Source, log *slog.Logger) error {
	if t := c.Front.TLS; t != nil {
		s.FrontCertificate = identity.CertOf(svid)
		if !t.SVID {
			cert, err := identity.NewWebCert(t.CertFile, t.KeyFile, nil, log)
			if err != nil {
				return err
			}
			s.FrontCertificate = cert.Get
		}
	}
	if b := c.BundleEndpoint; b != nil && b.Profile == tenants.HTTPSWeb {
		cert, err := identity.NewWebCert(b.CertFile, b.KeyFile, nil, log)
		if err != nil {
			return err
		}
		s.BundleTLS = identity.WebTLS(cert.Get)
	}
	return nil
}
