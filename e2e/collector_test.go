package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/tenants"
)

// sink takes what a collector exports.
type sink struct {
	ptraceotlp.UnimplementedGRPCServer
	mu    sync.Mutex
	spans map[pcommon.TraceID]ptrace.Span // guarded by mu
}

func (s *sink) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range r.Traces().ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				s.spans[span.TraceID()] = span
			}
		}
	}
	return ptraceotlp.NewExportResponse(), nil
}

func (s *sink) taken() map[pcommon.TraceID]ptrace.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.spans)
}

// newSink listens on loopback.
func newSink(t *testing.T) (*sink, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{spans: map[pcommon.TraceID]ptrace.Span{}}
	server := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, listener.Addr().String()
}

// sendThrough sends spans of so many traces through a collector with the sample
// configuration, and waits for those that agreed sampling keeps.
func sendThrough(t *testing.T, processors string, keeps func(pcommon.TraceID) bool) map[pcommon.TraceID]ptrace.Span {
	t.Helper()
	taken, address := newSink(t)
	c := servers.CollectorConfig{Config: filepath.Join("..", "deploy", "otel-collector", "collector.yml"), Environment: []string{"STORE_OTLP_GRPC=" + address}}
	if processors != "" {
		c.Set = []string{"service::pipelines::traces::processors=" + processors}
	}
	collector := servers.StartCollector(t, c)
	conn, err := grpc.NewClient(collector.OTLPGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("baggage.host", "secret")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	r := rand.New(rand.NewPCG(1, 2))
	want := 0
	for range 400 {
		span := spans.AppendEmpty()
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[:], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64())
		span.SetTraceID(id)
		span.SetSpanID(pcommon.SpanID{1})
		span.TraceState().FromRaw("vendor=a,other=secret")
		span.Attributes().PutStr("baggage.tenant", "t1")
		span.Attributes().PutStr("baggage.user", "secret")
		span.Attributes().PutStr("http.route", "/cart")
		if keeps(id) {
			want++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(traces)); err != nil {
		t.Fatal(err)
	}
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if got := taken.taken(); len(got) >= want {
			tick.Stop()
			collector.Stop(t) // so that whatever else would come has
			return taken.taken()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d traces came", len(taken.taken()), want)
		}
	}
}

// The sample configuration of a collector does what its comments say, for each of
// the choices there are; and its sampler keeps the traces of which an agreement of
// the same share says that they are kept.
func TestCollectorConfiguration(t *testing.T) {
	t.Parallel()
	everything := func(pcommon.TraceID) bool { return true }
	agreed := tenants.SamplingProbability(0.25)
	for name, c := range map[string]struct {
		processors string
		keeps      func(pcommon.TraceID) bool
		state      string
		attributes map[string]any
	}{
		"as it is written": {"", func(id pcommon.TraceID) bool { return agreed.Keeps(id) }, "ot=th:" + agreed.Threshold(), map[string]any{"http.route": "/cart"}},
		"lists":            {"[transform/allow_tracestate, transform/allow_baggage]", everything, "vendor=a", map[string]any{"http.route": "/cart", "baggage.tenant": "t1"}},
		"nothing":          {"[]", everything, "vendor=a,other=secret", map[string]any{"http.route": "/cart", "baggage.tenant": "t1", "baggage.user": "secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := sendThrough(t, c.processors, c.keeps)
			for id, span := range got {
				if !c.keeps(id) {
					t.Errorf("%s came, and isn't kept", id)
				}
				if state := span.TraceState().AsRaw(); state != c.state {
					t.Errorf("tracestate is %q, want %q", state, c.state)
				}
				attributes := maps.Clone(span.Attributes().AsRaw())
				maps.DeleteFunc(attributes, func(key string, _ any) bool { return strings.HasPrefix(key, "sampling.") })
				if fmt.Sprint(attributes) != fmt.Sprint(c.attributes) {
					t.Errorf("attributes are %v, want %v", attributes, c.attributes)
				}
			}
		})
	}
}
