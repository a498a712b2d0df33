package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/credentials"

	"github.com/parley-gateway/parley/tenants"
)

// TracingConfig says where the gateway's own traces go. The zero value traces
// nothing, but passes on the trace context it is given.
type TracingConfig struct {
	// Org is the resource attribute parley.org.
	Org tenants.OrgID
	// Version of the binary: the resource attribute service.version.
	Version string
	// Endpoint is host:port of an OTLP receiver over gRPC. Empty: no traces.
	Endpoint string
	// Insecure sends in clear text: for a collector on the same host.
	Insecure bool
	// TLS is used unless Insecure; nil trusts the system's roots.
	TLS *tls.Config
	// SampleRatio of the traces that begin here are exported, 0 to 1. A trace
	// that began elsewhere follows the decision of its beginning.
	SampleRatio float64
}

// Tracing makes spans and exports them.
type Tracing struct {
	provider trace.TracerProvider
	stop     func(context.Context) error
}

const (
	// shutdownTimeout bounds Shutdown: a collector that is down must not keep a
	// gateway from ending.
	shutdownTimeout = 5 * time.Second
	// exportTimeout bounds one export, its retries included.
	exportTimeout = 10 * time.Second
)

// NewTracing starts tracing. It doesn't wait for the receiver, and reports one
// that can't be reached to the logger alone.
func NewTracing(ctx context.Context, c TracingConfig, logger *slog.Logger) (*Tracing, error) {
	if c.Endpoint == "" {
		return &Tracing{
			provider: noop.NewTracerProvider(),
			stop:     func(context.Context) error { return nil },
		}, nil
	}
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) {
		return nil, fmt.Errorf("telemetry: sampling ratio %v: want 0 to 1", c.SampleRatio)
	}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(c.Endpoint),
		otlptracegrpc.WithTimeout(exportTimeout),
	}
	if c.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	} else {
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
	}
	client, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("telemetry: traces to %s: %w", c.Endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "parley"),
			attribute.String("service.version", c.Version),
			attribute.String("parley.org", string(c.Org)),
		)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.SampleRatio))),
		sdktrace.WithBatcher(exporter{client, logger}, sdktrace.WithExportTimeout(exportTimeout)),
	)
	return &Tracing{
		provider: provider,
		// The second call cancels an export that the first one gave up on.
		stop: func(ctx context.Context) error {
			return errors.Join(provider.Shutdown(ctx), client.Shutdown(ctx))
		},
	}, nil
}

// Provider is for libraries that make spans themselves.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Tracer makes spans for a package, named by its path below the module.
func (t *Tracing) Tracer(pkg string) trace.Tracer {
	return t.provider.Tracer("github.com/parley-gateway/parley/" + pkg)
}

// Propagator carries the trace between gateways: W3C trace context, and no
// baggage, in which a client could send anything on to our partners.
func (t *Tracing) Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Shutdown exports what is left, for at most five seconds.
func (t *Tracing) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := t.stop(ctx); err != nil {
		return fmt.Errorf("telemetry: export the last traces: %w", err)
	}
	return nil
}

// exporter redacts spans and logs what goes wrong, which would end at
// OpenTelemetry's global error handler otherwise.
type exporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

func (e exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		out[i] = redactedSpan{s}
	}
	if err := e.SpanExporter.ExportSpans(ctx, out); err != nil {
		e.log.Warn("traces of our own were not exported", "spans", len(spans), "error", err)
	}
	return nil
}

// redactedSpan is a span without private values.
type redactedSpan struct{ sdktrace.ReadOnlySpan }

func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactSpan(s.ReadOnlySpan.Attributes())
}

func (s redactedSpan) Events() []sdktrace.Event {
	events := append([]sdktrace.Event(nil), s.ReadOnlySpan.Events()...)
	for i := range events {
		events[i].Attributes = redactSpan(events[i].Attributes)
	}
	return events
}

func (s redactedSpan) Links() []sdktrace.Link {
	links := append([]sdktrace.Link(nil), s.ReadOnlySpan.Links()...)
	for i := range links {
		links[i].Attributes = redactSpan(links[i].Attributes)
	}
	return links
}
