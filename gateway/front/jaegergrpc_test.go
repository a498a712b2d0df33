package front_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	apiv3 "github.com/parley-gateway/parley/proto/jaeger/api_v3"
)

// overGRPC is a client of a door, with the options changed.
func overGRPC(t *testing.T, change ...func(*front.Config)) (apiv3.QueryServiceClient, *door) {
	t.Helper()
	tr := newTravels(t)
	d := open(t, &pipeline{}, append([]func(*front.Config){func(c *front.Config) {
		c.Answerer, c.Now = tr, func() time.Time { return begun.Add(time.Hour) }
	}}, change...)...)
	server := httptest.NewUnstartedServer(nil)
	server.Config = front.NewServer("", d.handler)
	server.Start()
	t.Cleanup(server.Close)
	conn, err := grpc.NewClient(strings.TrimPrefix(server.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return apiv3.NewQueryServiceClient(conn), d
}

// received are the spans of a stream, as OTLP reads them.
func received(t *testing.T, stream grpc.ServerStreamingClient[apiv3.SpansChunk]) (ptrace.Traces, error) {
	t.Helper()
	all := ptrace.NewTraces()
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		text, err := proto.Marshal(chunk)
		if err != nil {
			t.Fatal(err)
		}
		var u ptrace.ProtoUnmarshaler
		some, err := u.UnmarshalTraces(text)
		if err != nil {
			t.Fatalf("a chunk that isn't OTLP: %v", err)
		}
		if n := some.SpanCount(); n == 0 || n > 500 {
			t.Errorf("a chunk of %d spans", n)
		}
		some.ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
	}
}

func namesOf(td ptrace.Traces) (out []string) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				out = append(out, span.Name())
			}
		}
	}
	slices.Sort(out)
	return out
}

// Jaeger's query protocol over gRPC answers as its HTTP API does.
func TestJaegerOverGRPC(t *testing.T) {
	client, _ := overGRPC(t)
	ctx := t.Context()
	services, err := client.GetServices(ctx, &apiv3.GetServicesRequest{})
	if want := []string{"cron/night", "globex", "pay", "web"}; err != nil || !slices.Equal(services.GetServices(), want) {
		t.Errorf("services %v, %v", services.GetServices(), err)
	}
	var header metadata.MD
	operations, err := client.GetOperations(ctx, &apiv3.GetOperationsRequest{Service: "web", SpanKind: "client"}, grpc.Header(&header))
	if err != nil || len(operations.GetOperations()) != 1 || operations.GetOperations()[0].GetName() != "POST" || operations.GetOperations()[0].GetSpanKind() != "client" {
		t.Errorf("operations %v, %v", operations, err)
	}
	if len(header.Get(front.ExchangeHeader)) != 1 || !strings.Contains(strings.Join(header.Get(front.CompletenessHeader), ""), "initech") {
		t.Errorf("metadata %v", header)
	}
	stream, err := client.GetTrace(ctx, &apiv3.GetTraceRequest{TraceId: "aa000000000000000000000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	td, err := received(t, stream)
	if want := []string{"GET /checkout", "POST", "POST /charge", "withheld"}; err != nil || !slices.Equal(namesOf(td), want) {
		t.Errorf("a trace of %v, %v", namesOf(td), err)
	}
	for name, c := range map[string]struct {
		query *apiv3.TraceQueryParameters
		want  []string
	}{
		"by service":   {&apiv3.TraceQueryParameters{ServiceName: "cron/night"}, []string{"missing", `sweep "a\b"`}},
		"by attribute": {&apiv3.TraceQueryParameters{Attributes: map[string]string{`odd "key"`: "x\\y"}, SearchDepth: 3}, []string{"missing", `sweep "a\b"`}},
		"by duration":  {&apiv3.TraceQueryParameters{ServiceName: "web", DurationMin: durationpb.New(time.Minute)}, nil},
		"none":         {&apiv3.TraceQueryParameters{ServiceName: "nobody"}, nil},
	} {
		c.query.StartTimeMin, c.query.StartTimeMax = timestamppb.New(begun), timestamppb.New(begun.Add(time.Hour))
		found, err := client.FindTraces(ctx, &apiv3.FindTracesRequest{Query: c.query})
		if err != nil {
			t.Fatal(err)
		}
		if td, err := received(t, found); err != nil || !slices.Equal(namesOf(td), c.want) {
			t.Errorf("%s: %v, %v, want %v", name, namesOf(td), err, c.want)
		}
	}
}

// What can't be answered has a code that says why.
func TestJaegerOverGRPCRefuses(t *testing.T) {
	client, _ := overGRPC(t)
	trace := func(r *apiv3.GetTraceRequest) error {
		stream, err := client.GetTrace(t.Context(), r)
		if err == nil {
			_, err = received(t, stream)
		}
		return err
	}
	find := func(r *apiv3.TraceQueryParameters) error {
		stream, err := client.FindTraces(t.Context(), &apiv3.FindTracesRequest{Query: r})
		if err == nil {
			_, err = received(t, stream)
		}
		return err
	}
	from, until := timestamppb.New(begun), timestamppb.New(begun.Add(time.Hour))
	_, noService := client.GetOperations(t.Context(), &apiv3.GetOperationsRequest{})
	_, noKind := client.GetOperations(t.Context(), &apiv3.GetOperationsRequest{Service: "web", SpanKind: "SERVER"})
	for name, c := range map[string]struct {
		err  error
		want codes.Code
	}{
		"no trace id":        {trace(&apiv3.GetTraceRequest{TraceId: "hello"}), codes.InvalidArgument},
		"nobody's trace":     {trace(&apiv3.GetTraceRequest{TraceId: "1"}), codes.NotFound},
		"at no time":         {trace(&apiv3.GetTraceRequest{TraceId: "1", StartTime: until, EndTime: from}), codes.InvalidArgument},
		"before all time":    {trace(&apiv3.GetTraceRequest{TraceId: "1", StartTime: timestamppb.New(time.Unix(-1, 0))}), codes.InvalidArgument},
		"no query":           {find(nil), codes.InvalidArgument},
		"no times":           {find(&apiv3.TraceQueryParameters{ServiceName: "web"}), codes.InvalidArgument},
		"a negative limit":   {find(&apiv3.TraceQueryParameters{StartTimeMin: from, StartTimeMax: until, SearchDepth: -1}), codes.InvalidArgument},
		"a tag without name": {find(&apiv3.TraceQueryParameters{StartTimeMin: from, StartTimeMax: until, Attributes: map[string]string{"": "x"}}), codes.InvalidArgument},
		"no duration":        {find(&apiv3.TraceQueryParameters{StartTimeMin: from, StartTimeMax: until, DurationMin: durationpb.New(2), DurationMax: durationpb.New(1)}), codes.InvalidArgument},
		"no service":         {noService, codes.InvalidArgument},
		"no kind":            {noKind, codes.InvalidArgument},
	} {
		if status.Code(c.err) != c.want {
			t.Errorf("%s: %v, want %s", name, c.err, c.want)
		}
	}
}

// failing answers with an error, or panics without one.
type failing struct{ err error }

func (f failing) Ask(context.Context, gateway.Question) (front.Result, error) {
	if f.err == nil {
		panic("a defect of acme's")
	}
	return front.Result{}, f.err
}

func TestJaegerOverGRPCFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{federation.Errorf(federation.Refused, "policy refuses"), codes.PermissionDenied},
		{federation.Errorf(federation.OverLimit, "too many spans"), codes.ResourceExhausted},
		{federation.Errorf(federation.Unavailable, "can't be reached"), codes.Unavailable},
		{federation.Errorf(federation.DeadlineExceeded, "too slow"), codes.DeadlineExceeded},
		{errors.New("secret detail"), codes.Internal},
		{nil, codes.Internal},
	} {
		client, _ := overGRPC(t, func(fc *front.Config) { fc.Answerer = failing{c.err} })
		_, err := client.GetServices(t.Context(), &apiv3.GetServicesRequest{})
		if status.Code(err) != c.want || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "defect") {
			t.Errorf("%v: %v", c.err, err)
		}
		stream, err := client.GetTrace(t.Context(), &apiv3.GetTraceRequest{TraceId: "1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != c.want {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	client, _ := overGRPC(t, func(fc *front.Config) { fc.Authenticator = everybody{errors.New("no token")} })
	if _, err := client.GetServices(t.Context(), &apiv3.GetServicesRequest{}); status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), "no token") {
		t.Errorf("nobody is answered: %v", err)
	}
}

// The headers that say why a question is asked are gRPC's metadata.
func TestJaegerOverGRPCSaysWhy(t *testing.T) {
	var got gateway.Question
	client, _ := overGRPC(t, func(fc *front.Config) {
		fc.Answerer = asking(func(q gateway.Question) { got = q })
	})
	ctx := metadata.AppendToOutgoingContext(t.Context(), front.PurposeHeader, "incident-response", front.CaseHeader, "INC-7")
	if _, err := client.GetServices(ctx, &apiv3.GetServicesRequest{}); err != nil {
		t.Fatal(err)
	}
	if p := got.Principal; p.Purpose != "incident-response" || p.Case != "INC-7" || p.User.Subject != "ada" || got.Door != gateway.FrontDoor {
		t.Errorf("%+v", got)
	}
}

type asking func(gateway.Question)

func (a asking) Ask(_ context.Context, q gateway.Question) (front.Result, error) {
	a(q)
	return front.Result{Released: traces.Received(traces.Answer{})}, nil
}

// A trace of many spans comes in pieces, and whole.
func TestALongTraceOverGRPC(t *testing.T) {
	td := ptrace.NewTraces()
	for range 3 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", "web")
		for range 2 {
			ss := rs.ScopeSpans().AppendEmpty()
			for i := range 333 {
				span := ss.Spans().AppendEmpty()
				span.SetName("x")
				if i%3 == 0 { // 500 of them are more than a client takes at once
					span.Events().AppendEmpty().Attributes().PutStr("exception.stacktrace", strings.Repeat("at checkout.Pay\n", 2000))
				}
			}
		}
	}
	client, _ := overGRPC(t, func(fc *front.Config) {
		fc.Answerer = released{traces.Received(traces.Answer{Traces: []traces.Trace{{Spans: td}}})}
	})
	stream, err := client.GetTrace(t.Context(), &apiv3.GetTraceRequest{TraceId: "1"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := received(t, stream)
	if err != nil || got.SpanCount() != td.SpanCount() {
		t.Errorf("%d of %d spans, %v", got.SpanCount(), td.SpanCount(), err)
	}
	for _, rs := range got.ResourceSpans().All() {
		if rs.Resource().Attributes().Len() != 1 {
			t.Error("a piece without its resource")
		}
	}
}

type released struct{ *traces.Released }

func (r released) Ask(context.Context, gateway.Question) (front.Result, error) {
	return front.Result{Released: r.Released}, nil
}
