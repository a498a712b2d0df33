package assembly

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/policy/rego"
)

// Run opens the doors and serves until ctx ends, then lets questions under way
// finish and closes everything, the audit log last. The error is that of the
// door that failed, and names what hung.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	background := func(f func() error) {
		running.Go(func() {
			if err := f(); err != nil {
				stop(err)
			}
		})
	}
	background(func() error { g.directory.Watch(ctx); return nil })
	background(func() error {
		tick := time.NewTicker(g.config.Reload)
		defer tick.Stop()
		g.policies.Watch(ctx, tick.C)
		return nil
	})
	background(func() error { g.policies.Poll(ctx, g.config.PolicyInterval); return nil })
	if g.shadow != nil {
		background(func() error { g.shadow.Run(ctx); return nil })
		background(func() error {
			tick := time.NewTicker(g.config.Reload)
			defer tick.Stop()
			g.shadow.Watch(ctx, tick.C)
			return nil
		})
	}
	if g.workflows != nil {
		background(func() error { g.workflows.Run(ctx); return nil })
	}
	frontDoor := front.NewServer(g.config.Front.Addr().String(), g.front)
	frontDoor.Handler = g.traced(g.front)
	background(func() error { return serveHTTP(frontDoor, secured(g.config.Front, g.frontTLS())) })
	var doors []ending
	door := func(what string, shut func(context.Context) error) {
		doors = append(doors, ending{what, shutdownTimeout + closeTimeout, func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
			defer cancel()
			return shut(ctx)
		}})
	}
	door("the front door", func(ctx context.Context) error {
		return errors.Join(g.front.EndTails(ctx), shutdown(ctx, frontDoor))
	})
	if g.peerDoor != nil {
		background(func() error { return g.peerDoor.Serve(g.config.Peer) })
		door("the peer door", func(ctx context.Context) error { g.peerDoor.Shutdown(ctx); return nil })
	}
	if g.config.Bundle != nil {
		bundleDoor := g.bundleDoor()
		background(func() error { return serveHTTP(bundleDoor, secured(g.config.Bundle, g.bundleTLS())) })
		door("the bundle endpoint", func(ctx context.Context) error { return shutdown(ctx, bundleDoor) })
	}
	if g.config.Spans != nil {
		if l := g.config.SpansGRPC; l != nil {
			background(func() error { return g.config.Spans.ServeGRPC(l) })
		}
		if l := g.config.SpansHTTP; l != nil {
			background(func() error { return g.config.Spans.ServeHTTP(l) })
		}
		door("the receiver of spans", g.config.Spans.Shutdown)
	}
	<-ctx.Done()
	var errs []error
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		errs = append(errs, cause)
	}
	errs = append(errs, together(doors))
	stop(nil)
	errs = append(errs, ending{"work in the background", closeTimeout, func() error { running.Wait(); return nil }}.run())
	return errors.Join(append(errs, g.Close())...)
}

func (g *Gateway) bundleDoor() *http.Server {
	return &http.Server{
		Handler: identity.NewBundleHandler(identity.BundleEndpointConfig{
			TrustDomain: g.config.TrustDomain, Own: g.config.Identity, Logger: g.config.Log,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}

// traced makes a question part of the trace its client is in.
func (g *Gateway) traced(h http.Handler) http.Handler {
	if g.config.Tracing == nil {
		return h
	}
	return otelhttp.NewHandler(h, "parley.front",
		otelhttp.WithTracerProvider(g.config.Tracing.Provider()), otelhttp.WithPropagators(g.config.Tracing.Propagator()),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()))
}

func (g *Gateway) frontTLS() *tls.Config {
	if g.config.FrontCertificate == nil {
		return nil
	}
	return identity.UsersTLS(g.config.FrontCertificate, g.bundles, nil)
}

func (g *Gateway) bundleTLS() *tls.Config {
	if g.config.BundleTLS != nil {
		return g.config.BundleTLS
	}
	return identity.BundleTLS(g.config.Identity)
}

func secured(l net.Listener, c *tls.Config) net.Listener {
	if c == nil {
		return l
	}
	return tls.NewListener(l, c)
}

func serveHTTP(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// ready is what stands behind /-/ready.
func (g *Gateway) ready() []front.Check {
	return append([]front.Check{
		check("identity", g.config.Identity.Ready()),
		check("authentication", g.auth.Ready()),
		keptFrom("agreements", g.directory.Problem()),
		policyCheck(g.policies.Status()),
		check("audit", g.auditable()),
	}, append(g.shadowChecks(), g.bundleChecks()...)...)
}

// shadowChecks tell of policies that decide beside, which make nothing unready.
func (g *Gateway) shadowChecks() []front.Check {
	if g.shadow == nil {
		return nil
	}
	c := front.Check{Name: "shadow policy", OK: true}
	if err := g.shadow.Problem(); err != nil {
		c.Detail = "not the one in its folder, because " + err.Error()
	}
	return []front.Check{c}
}

func check(name string, err error) front.Check {
	if err != nil {
		return front.Check{Name: name, Detail: err.Error()}
	}
	return front.Check{Name: name, OK: true}
}

// keptFrom is a check of something that stays as it was while its files are
// broken. A typing error must not take every replica out of service.
func keptFrom(name string, err error) front.Check {
	if err != nil {
		return front.Check{Name: name, OK: true, Detail: "kept from before, because " + err.Error()}
	}
	return front.Check{Name: name, OK: true}
}

// policyCheck tells of the policy. As long as there is none, nobody is answered.
func policyCheck(s rego.Status) front.Check {
	if s.Revision == "" {
		return check("policy", s.Err)
	}
	return keptFrom("policy", s.Err)
}

func (g *Gateway) auditable() error {
	log, ok := g.auditor.(interface{ Check(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return log.Check(ctx)
}

// bundleChecks tell of partners' bundles. A partner that is down does not make
// us unready.
func (g *Gateway) bundleChecks() []front.Check {
	var out []front.Check
	for _, s := range g.bundles.Status() {
		c := front.Check{Name: "bundle of " + string(s.Partner), OK: true}
		switch {
		case !s.Known:
			c.Detail = "not there yet"
		case s.Err != nil:
			c.Detail = "kept from before"
		}
		if s.Err != nil {
			c.Detail += ": " + s.Err.Error()
		}
		out = append(out, c)
	}
	return out
}

// makeMetrics adds what no part has of its own.
func (g *Gateway) makeMetrics(context.Context) error {
	successful := func(err error) float64 {
		if err != nil {
			return 0
		}
		return 1
	}
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "parley_build_info", Help: "Always 1; the labels say what this gateway is.",
		ConstLabels: prometheus.Labels{"version": g.config.Version, "goversion": runtime.Version()},
	})
	built.Set(1)
	var errs []error
	for _, c := range []prometheus.Collector{
		built,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_policy_last_reload_successful", Help: "Whether the policies as they are now in their folder or bundle are those that decide.",
		}, func() float64 { return successful(g.policies.Status().Err) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_policy_last_reload_success_timestamp_seconds", Help: "When the policies that decide were loaded; 0 if there are none yet.",
		}, func() float64 { return float64(max(0, g.policies.Status().Loaded.Unix())) }),
	} {
		errs = append(errs, g.registry.Register(c))
	}
	return errors.Join(errs...)
}
