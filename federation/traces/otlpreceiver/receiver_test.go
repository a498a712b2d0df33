package otlpreceiver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/otlpreceiver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded is a store that also remembers what it was given.
type recorded struct {
	*traces.Store
	mu    sync.Mutex
	names []string
	wait  chan struct{} // nil: nothing is waited for
}

func (r *recorded) Append(spans ptrace.Traces) error {
	if r.wait != nil {
		r.wait <- struct{}{} // it is being written
		r.wait <- struct{}{} // it may go on
	}
	r.mu.Lock()
	for _, resource := range spans.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				r.names = append(r.names, span.Name())
			}
		}
	}
	r.mu.Unlock()
	return r.Store.Append(spans)
}

func (r *recorded) got() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.names, " ")
}

// running is a receiver that listens.
type running struct {
	store      *recorded
	grpc, http string // addresses
	client     *http.Client
}

func start(t *testing.T, c otlpreceiver.Config) running {
	t.Helper()
	store := &recorded{Store: traces.NewStore(traces.StoreConfig{})}
	if c.Store == nil {
		c.Store = store
	}
	receiver := otlpreceiver.New(c)
	var served sync.WaitGroup
	listen := func(serve func(net.Listener) error) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served.Go(func() {
			if err := serve(listener); err != nil {
				t.Error(err)
			}
		})
		return listener.Addr().String()
	}
	out := running{store, listen(receiver.ServeGRPC), listen(receiver.ServeHTTP), &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
	t.Cleanup(func() {
		if err := receiver.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return out
}

func (r running) exporter(t *testing.T) ptraceotlp.GRPCClient {
	t.Helper()
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return ptraceotlp.NewGRPCClient(conn)
}

// post sends a body, and returns the answer, whose type is that of the body.
func (r running) post(t *testing.T, kind, encoding string, body []byte) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+r.http+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, answer
}

// spansNamed are spans of one trace; one that is called bad has no id.
func spansNamed(names ...string) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i, name := range names {
		span := spans.AppendEmpty()
		span.SetName(name)
		span.SetTraceID(pcommon.TraceID{1})
		if name != "bad" {
			span.SetSpanID(pcommon.SpanID{byte(i + 1)})
		}
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

func mustMarshal(t *testing.T, marshal func() ([]byte, error)) []byte {
	t.Helper()
	text, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSDKExportsSpans(t *testing.T) {
	for _, compressor := range []string{"", "gzip"} {
		r := start(t, otlpreceiver.Config{})
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(r.grpc), otlptracegrpc.WithInsecure()}
		if compressor != "" {
			options = append(options, otlptracegrpc.WithCompressor(compressor))
		}
		exporter, err := otlptracegrpc.New(t.Context(), options...)
		if err != nil {
			t.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
		ctx, parent := provider.Tracer("test").Start(t.Context(), "parent")
		_, child := provider.Tracer("test").Start(ctx, "child")
		child.SetAttributes(attribute.String("user.id", "u1"))
		child.End()
		parent.End()
		if err := provider.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.store.got(); got != "child parent" {
			t.Errorf("compressed with %q, %q came", compressor, got)
		}
	}
}

func TestSpansComeOverHTTP(t *testing.T) {
	for kind, marshal := range map[string]func(ptraceotlp.ExportRequest) ([]byte, error){
		"application/x-protobuf": ptraceotlp.ExportRequest.MarshalProto, "application/json": ptraceotlp.ExportRequest.MarshalJSON,
	} {
		for _, encoding := range []string{"", "identity", "gzip"} {
			r := start(t, otlpreceiver.Config{})
			body := mustMarshal(t, func() ([]byte, error) { return marshal(spansNamed("a", "b")) })
			if encoding == "gzip" {
				body = zipped(t, body)
			}
			code, header, answer := r.post(t, kind, encoding, body)
			if code != http.StatusOK || header.Get("Content-Type") != kind || strings.Contains(string(answer), "artial") {
				t.Errorf("%s %s: status %d, %v, %s", kind, encoding, code, header, answer)
			}
			if got := r.store.got(); got != "a b" {
				t.Errorf("%s %s: %q came", kind, encoding, got)
			}
		}
	}
}

func TestWhatIsNotTakenIsTold(t *testing.T) {
	r := start(t, otlpreceiver.Config{})
	const reason = "1 without a span id"
	response, err := r.exporter(t).Export(t.Context(), spansNamed("a", "bad", "b"))
	if err != nil || response.PartialSuccess().RejectedSpans() != 1 || response.PartialSuccess().ErrorMessage() != reason {
		t.Errorf("over gRPC: %v, %d, %q", err, response.PartialSuccess().RejectedSpans(), response.PartialSuccess().ErrorMessage())
	}
	code, _, answer := r.post(t, "application/json", "", mustMarshal(t, spansNamed("bad").MarshalJSON))
	told := ptraceotlp.NewExportResponse()
	if err := told.UnmarshalJSON(answer); err != nil || code != http.StatusOK || told.PartialSuccess().RejectedSpans() != 1 || told.PartialSuccess().ErrorMessage() != reason {
		t.Errorf("over HTTP: status %d, %v, %s", code, err, answer)
	}
	if response, err = r.exporter(t).Export(t.Context(), spansNamed("a")); err != nil || response.PartialSuccess().RejectedSpans() != 0 || response.PartialSuccess().ErrorMessage() != "" {
		t.Errorf("all was taken, and it is told otherwise: %v", err)
	}
}

func TestWhoComesWhileItIsFullTriesAgain(t *testing.T) {
	store := &recorded{Store: traces.NewStore(traces.StoreConfig{}), wait: make(chan struct{})}
	r := start(t, otlpreceiver.Config{Store: store, MaxConcurrent: 1})
	first := make(chan error, 1)
	exporter := r.exporter(t)
	go func() {
		_, err := exporter.Export(context.Background(), spansNamed("a"))
		first <- err
	}()
	<-store.wait // it is being written
	_, err := r.exporter(t).Export(t.Context(), spansNamed("b"))
	var retry *errdetails.RetryInfo
	for _, detail := range status.Convert(err).Details() {
		retry, _ = detail.(*errdetails.RetryInfo)
	}
	if status.Code(err) != codes.ResourceExhausted || retry.GetRetryDelay().AsDuration() != time.Second {
		t.Errorf("over gRPC: %v, to be tried again after %v", err, retry)
	}
	code, header, answer := r.post(t, "application/json", "", mustMarshal(t, spansNamed("b").MarshalJSON))
	var said rpcstatus.Status
	if err := protojson.Unmarshal(answer, &said); err != nil || code != http.StatusTooManyRequests || header.Get("Retry-After") != "1" || codes.Code(said.GetCode()) != codes.ResourceExhausted {
		t.Errorf("over HTTP: status %d, %v, %s", code, header, answer)
	}
	<-store.wait
	if err := <-first; err != nil {
		t.Error(err)
	}
	store.wait = nil
	if _, err := r.exporter(t).Export(t.Context(), spansNamed("c")); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if got := store.got(); got != "a c" {
		t.Errorf("%q was written", got)
	}
}

// nested is a span with an attribute of lists in one another.
func nested(depth int) []byte {
	value := []byte{}
	message := func(number protowire.Number, inside []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), inside)
	}
	for range depth {
		value = message(5, message(1, value))
	}
	span := append(message(1, bytes.Repeat([]byte{1}, 16)), message(2, bytes.Repeat([]byte{1}, 8))...)
	span = protowire.AppendFixed64(protowire.AppendTag(span, 7, protowire.Fixed64Type), uint64(time.Now().UnixNano()))
	span = append(span, message(9, append(message(1, []byte("a")), message(2, value)...))...)
	return message(1, message(2, message(2, span)))
}

func TestBadRequestsAreRefused(t *testing.T) {
	r := start(t, otlpreceiver.Config{MaxRequest: 100_000})
	good := mustMarshal(t, spansNamed("a").MarshalProto)
	bomb := zipped(t, bytes.Repeat([]byte{0}, 10_000_000))
	for name, c := range map[string]struct {
		kind, encoding string
		body           []byte
		want           int
	}{
		"no protobuf":            {"application/x-protobuf", "", []byte("hello"), 400},
		"no JSON":                {"application/json", "", []byte("{"), 400},
		"an id that isn't hex":   {"application/json", "", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}`), 400},
		"nested too deep":        {"application/x-protobuf", "", nested(1000), 400},
		"nested too deep JSON":   {"application/json", "", []byte(strings.Repeat(`{"a":`, 15_000)), 400},
		"too large":              {"application/x-protobuf", "", make([]byte, 100_001), 413},
		"a decompression bomb":   {"application/x-protobuf", "gzip", bomb, 413},
		"no gzip":                {"application/x-protobuf", "gzip", good, 400},
		"a gzip that is cut":     {"application/x-protobuf", "gzip", zipped(t, good)[:20], 400},
		"another compression":    {"application/x-protobuf", "zstd", good, 400},
		"another type":           {"text/plain", "", good, 415},
		"no type":                {"", "", good, 415},
		"a good one as the last": {"application/x-protobuf; charset=x", "", good, 200},
		"an empty one":           {"application/x-protobuf", "", nil, 200},
	} {
		code, _, answer := r.post(t, c.kind, c.encoding, c.body)
		if code != c.want {
			t.Errorf("%s: status %d, want %d: %s", name, code, c.want, answer)
		}
		var said rpcstatus.Status
		if c.want == 400 && c.kind == "application/x-protobuf" && (proto.Unmarshal(answer, &said) != nil || codes.Code(said.GetCode()) != codes.InvalidArgument) {
			t.Errorf("%s: the answer isn't a status: %q", name, answer)
		}
	}
	if got := r.store.got(); got != "a" {
		t.Errorf("of all that is bad, %q came", got)
	}
	for path, method := range map[string]string{"/v1/traces": http.MethodGet, "/v1/metrics": http.MethodPost, "/": http.MethodPost} {
		request, err := http.NewRequest(method, "http://"+r.http+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := r.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode < 400 {
			t.Errorf("%s %s: status %d", method, path, response.StatusCode)
		}
	}
}

func TestBadCallsAreRefused(t *testing.T) {
	r := start(t, otlpreceiver.Config{MaxRequest: 100_000})
	large := spansNamed("a")
	large.Traces().ResourceSpans().At(0).Resource().Attributes().PutStr("a", strings.Repeat("x", 200_000))
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
		if _, err := r.exporter(t).Export(t.Context(), large, options...); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) > 0 {
			t.Errorf("too large, and the error is %v", err)
		}
	}
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, body := range map[string][]byte{"hello": []byte("hello"), "nested": nested(1000)} {
		err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &body, &[]byte{}, grpc.ForceCodec(asItIs{}))
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.store.got(); got != "" {
		t.Errorf("of all that is bad, %q came", got)
	}
}

// asItIs sends bytes.
type asItIs struct{}

func (asItIs) Name() string                       { return "proto" }
func (asItIs) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (asItIs) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// FuzzOTLP: what isn't OTLP is refused, and of what is, each span is taken or
// told to be rejected.
func FuzzOTLP(f *testing.F) {
	for _, names := range [][]string{{"a"}, {"a", "bad", "a"}, nil} {
		request := spansNamed(names...)
		for _, marshal := range []func() ([]byte, error){request.MarshalProto, request.MarshalJSON} {
			text, err := marshal()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, len(names) > 1)
		}
	}
	f.Add(nested(3), false)
	f.Add(nested(200), false)
	f.Add([]byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b"}]}}}]},"scopeSpans":[{}]}]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		decode := traces.Decode
		if isJSON {
			decode = traces.DecodeJSON
		}
		spans, err := decode(text)
		if err != nil {
			return
		}
		store := traces.NewStore(traces.StoreConfig{})
		var rejected *traces.Rejected
		taken := spans.SpanCount()
		if err := store.Append(spans); errors.As(err, &rejected) {
			taken -= rejected.Spans
		} else if err != nil {
			t.Fatal(err)
		}
		size := store.Size()
		if size.Spans > taken || (size.Spans == 0) != (taken == 0) { // some may come twice
			t.Errorf("of %d spans %d are there, and %d were not rejected", spans.SpanCount(), size.Spans, taken)
		}
		if err := store.Append(spans); err != nil && !errors.As(err, &rejected) {
			t.Fatal(err)
		}
		if again := store.Size(); again != size {
			t.Errorf("the same once more makes %+v of %+v", again, size)
		}
	})
}
