package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is an OTLP receiver on loopback.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string
	// answer is what an export gets; nil is success.
	answer func(context.Context) error

	mu    sync.Mutex
	spans []*tracepb.ResourceSpans
}

func newReceiver(t *testing.T, answer func(context.Context) error) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: listener.Addr().String(), answer: answer}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return r
}

func (r *receiver) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	if r.answer != nil {
		if err := r.answer(ctx); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, req.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

// attributes are those of the resource and of all spans and events, with the names of spans.
func (r *receiver) attributes() (resource map[string]string, names []string, all map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	resource, all = map[string]string{}, map[string]string{}
	put := func(to map[string]string, kvs []*commonpb.KeyValue) {
		for _, kv := range kvs {
			to[kv.GetKey()] = kv.GetValue().GetStringValue()
		}
	}
	for _, rs := range r.spans {
		put(resource, rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				names = append(names, s.GetName())
				put(all, s.GetAttributes())
				for _, e := range s.GetEvents() {
					put(all, e.GetAttributes())
				}
				for _, l := range s.GetLinks() {
					put(all, l.GetAttributes())
				}
			}
		}
	}
	return resource, names, all
}

func newTracing(t *testing.T, c TracingConfig, logger *slog.Logger) *Tracing {
	t.Helper()
	tracing, err := NewTracing(t.Context(), c, logger)
	if err != nil {
		t.Fatal(err)
	}
	return tracing
}

var discard = slog.New(slog.DiscardHandler)

func TestSpansReachTheReceiver(t *testing.T) {
	r := newReceiver(t, nil)
	tracing := newTracing(t, TracingConfig{Org: "acme", Version: "1.2.3", Endpoint: r.address, Insecure: true, SampleRatio: 1}, discard)
	ctx, parent := tracing.Tracer("gateway").Start(t.Context(), "answer")
	_, child := tracing.Tracer("gateway").Start(ctx, "decide", trace.WithAttributes(
		attribute.String("signal", "metrics"), attribute.String("query", "hush"), attribute.String("url.query", "hush")),
		trace.WithLinks(trace.Link{SpanContext: aSpan, Attributes: []attribute.KeyValue{attribute.String("authorization", "hush")}}))
	child.AddEvent("looked up", trace.WithAttributes(attribute.String("user", "hush"), attribute.Int("token", 7)))
	child.End()
	parent.End()
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	resource, names, attributes := r.attributes()
	for key, want := range map[string]string{"service.name": "parley", "service.version": "1.2.3", "parley.org": "acme"} {
		if resource[key] != want {
			t.Errorf("resource %s is %q, want %q", key, resource[key], want)
		}
	}
	if strings.Join(names, " ") != "decide answer" {
		t.Errorf("spans %v", names)
	}
	for key, want := range map[string]string{
		"signal": "metrics", "query": redacted, "url.query": redacted, "user": redacted, "token": redacted, "authorization": redacted,
	} {
		if attributes[key] != want {
			t.Errorf("attribute %s is %q, want %q", key, attributes[key], want)
		}
	}
}

func TestNothingIsRegisteredGlobally(t *testing.T) {
	provider, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	r := newReceiver(t, nil)
	tracing := newTracing(t, TracingConfig{Endpoint: r.address, Insecure: true, SampleRatio: 1}, discard)
	if otel.GetTracerProvider() != provider || otel.GetTextMapPropagator() != propagator {
		t.Error("the global provider or propagator changed")
	}
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// crossed is the trace context with which a question leaves that came in with
// traceparent.
func crossed(t *testing.T, tracing *Tracing) string {
	t.Helper()
	in := propagation.MapCarrier{"traceparent": traceparent, "baggage": "user=alice"}
	ctx, span := tracing.Tracer("gateway").Start(tracing.Propagator().Extract(t.Context(), in), "answer")
	defer span.End()
	out := propagation.MapCarrier{}
	tracing.Propagator().Inject(ctx, out)
	if out["baggage"] != "" {
		t.Errorf("baggage went on: %q", out["baggage"])
	}
	return out["traceparent"]
}

func TestWithoutAnEndpointTheTraceStillPassesThrough(t *testing.T) {
	tracing := newTracing(t, TracingConfig{}, discard)
	if got := crossed(t, tracing); got != traceparent {
		t.Errorf("traceparent is %q, want that of the caller", got)
	}
	_, span := tracing.Tracer("gateway").Start(t.Context(), "answer")
	if span.IsRecording() || span.SpanContext().IsValid() {
		t.Error("a span was recorded")
	}
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSamplingFollowsTheCaller(t *testing.T) {
	r := newReceiver(t, nil)
	tracing := newTracing(t, TracingConfig{Endpoint: r.address, Insecure: true, SampleRatio: 0}, discard)
	got := crossed(t, tracing)
	if !strings.HasPrefix(got, traceparent[:35]) || got == traceparent || !strings.HasSuffix(got, "-01") {
		t.Errorf("traceparent is %q: want the caller's trace, a span of ours, sampled", got)
	}
	_, span := tracing.Tracer("gateway").Start(t.Context(), "of our own")
	span.End()
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, names, _ := r.attributes(); strings.Join(names, " ") != "answer" {
		t.Errorf("spans %v", names)
	}
}

func TestBadRatio(t *testing.T) {
	for _, ratio := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if _, err := NewTracing(t.Context(), TracingConfig{Endpoint: "127.0.0.1:1", SampleRatio: ratio}, discard); err == nil {
			t.Errorf("%v was accepted", ratio)
		}
	}
}

func TestAReceiverThatHangsDoesNotKeepUs(t *testing.T) {
	reached := make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	r := newReceiver(t, func(ctx context.Context) error { once(); <-ctx.Done(); return ctx.Err() })
	tracing := newTracing(t, TracingConfig{Endpoint: r.address, Insecure: true, SampleRatio: 1}, discard)
	_, span := tracing.Tracer("gateway").Start(t.Context(), "answer")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	begin := time.Now()
	if err := tracing.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(begin); took > shutdownTimeout {
		t.Errorf("shutdown took %v", took)
	}
}

func TestAFailedExportIsLogged(t *testing.T) {
	r := newReceiver(t, func(context.Context) error { return status.Error(codes.PermissionDenied, "no") })
	var log lockedBuffer
	tracing := newTracing(t, TracingConfig{Endpoint: r.address, Insecure: true, SampleRatio: 1}, NewLogger(&log, slog.LevelInfo))
	_, span := tracing.Tracer("gateway").Start(t.Context(), "answer")
	span.End()
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "PermissionDenied") || !strings.Contains(got, `"spans":1`) {
		t.Errorf("log: %q", got)
	}
}

func TestATLSReceiverIsNotSpokenToInClear(t *testing.T) {
	r := newReceiver(t, nil) // speaks clear text
	tracing := newTracing(t, TracingConfig{Endpoint: r.address, SampleRatio: 1}, discard)
	_, span := tracing.Tracer("gateway").Start(t.Context(), "answer")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := tracing.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if _, names, _ := r.attributes(); len(names) > 0 {
		t.Errorf("spans %v arrived in clear text", names)
	}
}

// lockedBuffer can be written to by the exporter while the test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
