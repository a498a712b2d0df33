package traces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	apiv3 "github.com/parley-gateway/parley/proto/jaeger/api_v3"
)

// quietClient leaves no connection behind.
var quietClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// realJaeger is the one that the flags name.
func realJaeger(t *testing.T, depth int, overHTTP bool, area int) writable {
	t.Helper()
	config := JaegerConfig{SearchDepth: depth}
	if overHTTP {
		config.URL, config.Client = mustURL(t, *jaegerURLFlag), quietClient
	} else {
		config.GRPC = dial(t, *jaegerGRPCFlag)
	}
	jaeger, err := NewJaeger(config)
	if err != nil {
		t.Fatal(err)
	}
	written := map[pcommon.TraceID]int{}
	return writable{jaeger, func(t *testing.T, spans ptrace.Traces) {
		t.Helper()
		writeToJaeger(t, jaeger, spans, written)
	}, area}
}

// writeToJaeger returns when all that was written of the traces is there.
func writeToJaeger(t *testing.T, jaeger *Jaeger, spans ptrace.Traces, written map[pcommon.TraceID]int) {
	t.Helper()
	var m ptrace.ProtoMarshaler
	body, err := m.MarshalTraces(spans)
	if err != nil {
		t.Fatal(err)
	}
	response, err := quietClient.Post(*jaegerOTLPFlag+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("writing to Jaeger: status %d", response.StatusCode)
	}
	var ids []pcommon.TraceID
	for id, part := range byTrace(spans) {
		written[id] += part.SpanCount()
		ids = append(ids, id)
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for ctx := t.Context(); !areThere(ctx, t, jaeger, ids, written); {
		select {
		case <-again.C:
		case <-time.After(30 * time.Second):
			t.Fatal("Jaeger doesn't show what was written to it")
		}
	}
}

func areThere(ctx context.Context, t *testing.T, jaeger *Jaeger, ids []pcommon.TraceID, written map[pcommon.TraceID]int) bool {
	t.Helper()
	there := 0
	for trace, err := range jaeger.tracesRaw(ctx, ids) {
		if err != nil {
			t.Fatal(err)
		}
		if trace.SpanCount() == written[oneTrace(t, trace)] {
			there++
		}
	}
	return there == len(ids)
}

// TestJaegerIsAsItIsTaken is what the source relies on, against a real one.
func TestJaegerIsAsItIsTaken(t *testing.T) {
	if *jaegerOTLPFlag == "" {
		t.Log("no Jaeger is given: TestJaegerSource of e2e gives one")
		return
	}
	start := worldStart(100)
	source := realJaeger(t, 500, false, 0)
	jaeger := source.Source.(*Jaeger)
	spans := ptrace.NewTraces()
	for trace := range byte(9) {
		for span := range byte(3) { // one, a minute later another, and after that a third
			td := spanOf(trace+1, span+1, 0)
			td.ResourceSpans().At(0).Resource().Attributes().PutStr(serviceName, []string{"limits", "limits", "elsewhere"}[span])
			s := firstSpan(td)
			s.SetTraceID(pcommon.TraceID{9, 9, 15: trace + 1})
			s.SetName(fmt.Sprint("span ", span))
			at := start.Add(time.Duration(trace)*time.Second + time.Duration(span)*time.Minute)
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Hour)))
			td.ResourceSpans().MoveAndAppendTo(spans.ResourceSpans())
		}
	}
	source.write(t, spans)
	url := mustURL(t, *jaegerURLFlag)
	for name, api := range map[string]jaegerAPI{"gRPC": jaeger.api, "HTTP": &jaegerHTTP{newHTTPAPI(url, quietClient)}} {
		find := func(q jaegerQuery) string {
			t.Helper()
			var h haul
			if err := api.find(t.Context(), q, h.take); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var out []string
			for id := byte(1); id < 10; id++ {
				if trace, is := h.traces[pcommon.TraceID{9, 9, 15: id}]; is {
					out = append(out, fmt.Sprintf("%d:%d", id, trace.SpanCount()))
				}
			}
			if len(out) != len(h.traces) {
				t.Errorf("%s: others came: %d, and %v", name, len(h.traces), out)
			}
			return strings.Join(out, " ")
		}
		second := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
		for _, c := range []struct {
			what string
			q    jaegerQuery
			want string
		}{
			{"both ends are included, and a trace comes whole", jaegerQuery{service: "limits", start: second(2), end: second(4), depth: 50}, "3:3 4:3 5:3"},
			{"what begins a microsecond outside isn't", jaegerQuery{service: "limits", start: second(2).Add(time.Microsecond), end: second(4).Add(-time.Microsecond), depth: 50}, "4:3"},
			{"it is spans that begin within", jaegerQuery{service: "limits", start: second(62), end: second(63), depth: 50}, "3:3 4:3"},
			{"they don't have to begin the trace", jaegerQuery{service: "limits", start: second(20), end: second(59), depth: 50}, ""},
			{"it is the same span that is of the service", jaegerQuery{service: "elsewhere", start: second(60), end: second(70), depth: 50}, ""},
			{"and of the operation", jaegerQuery{service: "limits", operation: "span 1", start: second(60), end: second(61), depth: 50}, "1:3 2:3"},
			{"which another is not", jaegerQuery{service: "limits", operation: "span 0", start: second(60), end: second(61), depth: 50}, ""},
			{"a service that isn't there", jaegerQuery{service: "nobody's", start: second(0), end: second(61), depth: 50}, ""},
		} {
			if got := find(c.q); got != c.want {
				t.Errorf("%s: %s: got %s, want %s", name, c.what, got, c.want)
			}
		}
		for depth, want := range map[int]int{1: 1, 4: 4, 8: 8, 9: 9, 10: 9} {
			got := find(jaegerQuery{service: "limits", start: second(0), end: second(100), depth: depth})
			if n := len(strings.Fields(got)); n != want {
				t.Errorf("%s: %d traces of 9 were asked for, and %d came: %s", name, depth, n, got)
			}
		}
		if err := api.trace(t.Context(), pcommon.TraceID{1, 2, 3}, func(ptrace.Traces) error { return errors.New("it came") }); err != nil {
			t.Errorf("%s: a trace that isn't there: %v", name, err)
		}
	}
}

// fakeJaeger answers what the test tells it to.
type fakeJaeger struct {
	apiv3.UnimplementedQueryServiceServer
	trace func(*apiv3.GetTraceRequest, grpc.ServerStreamingServer[apiv3.SpansChunk]) error
	find  func(*apiv3.FindTracesRequest, grpc.ServerStreamingServer[apiv3.SpansChunk]) error
}

func (f *fakeJaeger) GetTrace(r *apiv3.GetTraceRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
	return f.trace(r, s)
}

func (f *fakeJaeger) FindTraces(r *apiv3.FindTracesRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
	return f.find(r, s)
}

func (f *fakeJaeger) GetServices(context.Context, *apiv3.GetServicesRequest) (*apiv3.GetServicesResponse, error) {
	return &apiv3.GetServicesResponse{Services: []string{"shop", "bank"}}, nil
}

func startFake(t *testing.T, f *fakeJaeger, depth int) *Jaeger {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	apiv3.RegisterQueryServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	jaeger, err := NewJaeger(JaegerConfig{GRPC: dial(t, listener.Addr().String()), SearchDepth: depth})
	if err != nil {
		t.Fatal(err)
	}
	return jaeger
}

// chunk is spans as they are on Jaeger's wire.
func chunk(t *testing.T, spans ptrace.Traces) *apiv3.SpansChunk {
	t.Helper()
	var m ptrace.ProtoMarshaler
	text, err := m.MarshalTraces(spans)
	if err != nil {
		t.Fatal(err)
	}
	out := &apiv3.SpansChunk{}
	if err := proto.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// errorOf is the error in which a sequence ends, and how many traces came before.
func errorOf(source Source, s selection) (came int, err error) {
	for _, err := range source.searchRaw(context.Background(), s, func(int64) bool { return true }) {
		if err != nil {
			return came, err
		}
		came++
	}
	return came, nil
}

func TestJaegerTracesComeInPieces(t *testing.T) {
	jaeger := startFake(t, &fakeJaeger{find: func(r *apiv3.FindTracesRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
		if r.GetQuery().GetServiceName() != "shop" {
			return nil
		}
		for _, span := range []byte{1, 2, 3} { // the traces change places
			both := spanOf(1, span, 0)
			spanOf(2, span, 0).ResourceSpans().MoveAndAppendTo(both.ResourceSpans())
			if err := s.Send(chunk(t, both)); err != nil {
				return err
			}
		}
		return nil
	}}, 0)
	var came []string
	at := storeStart.UnixNano()
	for trace, err := range jaeger.searchRaw(t.Context(), selection{start: at, end: at + 1}, func(int64) bool { return true }) {
		if err != nil {
			t.Fatal(err)
		}
		came = append(came, fmt.Sprintf("%d:%d", oneTrace(t, trace)[15], trace.SpanCount()))
	}
	if got := strings.Join(came, " "); got != "1:3 2:3" {
		t.Errorf("came %s", got)
	}
}

func TestJaegerFails(t *testing.T) {
	for code, want := range map[codes.Code]federation.Kind{
		codes.Unavailable: federation.Unavailable, codes.Unknown: federation.Unavailable, codes.Internal: federation.Unavailable,
		codes.DeadlineExceeded: federation.DeadlineExceeded, codes.PermissionDenied: federation.Unavailable, codes.NotFound: federation.Unavailable,
	} {
		jaeger := startFake(t, &fakeJaeger{find: func(_ *apiv3.FindTracesRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
			if err := s.Send(chunk(t, spanOf(1, 1, 0))); err != nil {
				return err
			}
			return status.Error(code, "the secret of bob")
		}}, 0)
		at := storeStart.UnixNano()
		came, err := errorOf(jaeger, selection{start: at, end: at + 1})
		if e := federation.AsError(err); err == nil || e.Kind != want || came > 0 {
			t.Errorf("%s: %d came, and the error is %v", code, came, err)
		}
		if err != nil && strings.Contains(err.Error(), "bob") {
			t.Errorf("%s: the error says what the server says: %v", code, err)
		}
	}
}

func TestJaegerTraceThatIsNotThere(t *testing.T) {
	jaeger := startFake(t, &fakeJaeger{trace: func(r *apiv3.GetTraceRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
		if !r.GetRawTraces() {
			t.Error("it asks for spans that aren't as they are stored")
		}
		switch r.GetTraceId()[31] {
		case '1':
			return status.Error(codes.NotFound, "trace not found")
		case '2':
			return s.Send(chunk(t, spanOf(9, 1, 0))) // of another trace
		}
		return nil
	}}, 0)
	for _, err := range jaeger.tracesRaw(t.Context(), []pcommon.TraceID{{15: 1}, {15: 3}}) {
		t.Errorf("it came, or %v", err)
	}
	var e *federation.Error
	for _, err := range jaeger.tracesRaw(t.Context(), []pcommon.TraceID{{15: 2}}) {
		if !errors.As(err, &e) || e.Kind != federation.Unavailable {
			t.Errorf("another trace came, and the error is %v", err)
		}
	}
	if e == nil {
		t.Error("another trace is none")
	}
}

// More traces begin at one time than are given at once: it can't be gone on.
func TestJaegerThatHasMoreThanItGives(t *testing.T) {
	asked := 0
	jaeger := startFake(t, &fakeJaeger{find: func(r *apiv3.FindTracesRequest, s grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
		asked++
		at := storeStart
		if r.GetQuery().GetStartTimeMin().AsTime().After(at) || r.GetQuery().GetStartTimeMax().AsTime().Before(at) {
			return nil
		}
		for trace := range byte(2) {
			if err := s.Send(chunk(t, spanOf(trace+1, 1, 0))); err != nil {
				return err
			}
		}
		return nil
	}}, 2)
	start := storeStart.Add(-time.Hour).UnixNano()
	came, err := errorOf(jaeger, selection{start: start, end: start + 2*int64(time.Hour), services: []string{"shop"}})
	if e := federation.AsError(err); err == nil || e.Kind != federation.Unavailable || came > 0 || !strings.Contains(err.Error(), "begin at once") {
		t.Errorf("%d came, and the error is %v", came, err)
	}
	if asked > 200 {
		t.Errorf("it asked %d times", asked)
	}
}

func TestJaegerOverHTTPFails(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		body string
		want string // empty: no trace
	}{
		"not there":            {404, `{"error": {"httpCode": 404, "message": "No traces found"}}`, ""},
		"no such path":         {404, "404 page not found", "status 404"},
		"another such path":    {404, `{"message": "no Route matched"}`, "status 404"},
		"failed":               {500, `{"error": {"httpCode": 500, "message": "the secret of bob"}}`, "status 500"},
		"unauthorized":         {401, "bob", "status 401"},
		"slow":                 {504, "bob", "ran out of time"},
		"a page":               {200, "<html>bob</html>", "isn't the JSON"},
		"an error and a trace": {200, `{"result": {"resourceSpans": []}, "error": {"httpCode": 500}}`, "is an error"},
		"not OTLP":             {200, `{"result": {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "bob"}]}]}]}}`, "aren't the OTLP"},
		"too long":             {200, strings.Repeat(" ", 2000), "too long"},
		"cut":                  {200, `{"result": {"resourceSpans": [`, "isn't the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := "/base/api/v3/traces/0000000000000000000000000000000f"; r.URL.Path != want {
					t.Errorf("it asks for %s, want %s", r.URL.Path, want)
				}
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			jaeger, err := NewJaeger(JaegerConfig{URL: mustURL(t, server.URL+"/base"), Client: quietClient})
			if err != nil {
				t.Fatal(err)
			}
			jaeger.api.(*jaegerHTTP).maxAnswer = 1000
			var got error
			for _, err := range jaeger.tracesRaw(t.Context(), []pcommon.TraceID{{15: 15}}) {
				if got = err; err == nil {
					t.Error("a trace came")
				}
			}
			switch {
			case c.want == "" && got != nil:
				t.Error(got)
			case c.want != "" && (got == nil || !strings.Contains(got.Error(), c.want)):
				t.Errorf("got %v, want %s", got, c.want)
			case got != nil && strings.Contains(got.Error(), "bob"):
				t.Errorf("it says what the server says: %v", got)
			}
		})
	}
}

// An answer with many traces is longer than is read; of a shorter time it isn't.
func TestJaegerOverHTTPIsAskedForLess(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		edge := func(name string) time.Time {
			at, err := time.Parse(time.RFC3339Nano, r.FormValue("query."+name))
			if err != nil {
				t.Error(err)
			}
			return at
		}
		from, to := edge("start_time_min"), edge("start_time_max")
		all := ptrace.NewTraces()
		for trace := range byte(8) { // one an hour
			if after := time.Duration(trace) * time.Hour; !storeStart.Add(after).Before(from) && !storeStart.Add(after).After(to) {
				spanOf(trace+1, 1, after).ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
			}
		}
		text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(all)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"result": %s}`, text)
	}))
	defer server.Close()
	jaeger, err := NewJaeger(JaegerConfig{URL: mustURL(t, server.URL), Client: quietClient})
	if err != nil {
		t.Fatal(err)
	}
	jaeger.api.(*jaegerHTTP).maxAnswer = 2600 // all of them
	s := selection{start: storeStart.UnixNano(), end: storeStart.Add(8 * time.Hour).UnixNano(), services: []string{"shop"}}
	if came, err := errorOf(jaeger, s); err != nil || came != 8 || asked != 1 {
		t.Errorf("%d came of one answer of %d: %v", came, asked, err)
	}
	jaeger.api.(*jaegerHTTP).maxAnswer = 1700
	if came, err := errorOf(jaeger, s); err != nil || came != 8 || asked < 4 {
		t.Errorf("%d came of %d answers: %v", came, asked-1, err)
	}
	jaeger.api.(*jaegerHTTP).maxAnswer = 100 // less than one
	if _, err := errorOf(jaeger, s); err == nil || !strings.Contains(err.Error(), "begin at once") {
		t.Errorf("no trace can be read, and the error is %v", err)
	}
}

func TestJaegerConfigs(t *testing.T) {
	for _, c := range []JaegerConfig{
		{},
		{URL: mustURL(t, "http://localhost"), GRPC: dial(t, "localhost:1")},
		{URL: mustURL(t, "http://localhost"), SearchDepth: -1},
	} {
		if _, err := NewJaeger(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
