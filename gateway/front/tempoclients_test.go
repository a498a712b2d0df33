package front_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
)

// spans answers questions about traces from those that it holds, as if all of
// what it has were released.
type spans struct {
	traces       []traces.Trace
	completeness federation.Completeness
	asked        []traces.Question
}

// journeys are a checkout through acme and globex, and a sweep of acme's alone,
// while initech is away and globex redacts.
func journeys() *spans {
	checkout := ptrace.NewTraces()
	web := serviceOf(checkout, "acme", "web")
	root := spanIn(web, 1, 1, 0, "GET /checkout", ptrace.SpanKindServer, 0, 1200)
	root.Attributes().PutInt("http.status_code", 502)
	root.Attributes().PutBool("retried", true)
	root.Attributes().PutDouble("share", 0.5)
	root.Attributes().PutEmptySlice("tags").AppendEmpty().SetStr("red")
	root.Attributes().PutEmptyBytes("raw").FromRaw([]byte{1, 2})
	root.Attributes().PutEmptyMap("cart").PutInt("items", 3)
	root.Attributes().PutEmpty("nothing")
	root.Status().SetCode(ptrace.StatusCodeError)
	root.Status().SetMessage("upstream")
	root.TraceState().FromRaw("a=b")
	event := root.Events().AppendEmpty()
	event.SetName("exception")
	event.SetTimestamp(root.StartTimestamp() + 5)
	event.Attributes().PutStr("exception.type", "Upstream")
	link := root.Links().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{15: 9})
	link.SetSpanID(pcommon.SpanID{7: 9})
	spanIn(web, 1, 2, 1, "POST /pay", ptrace.SpanKindClient, 100, 1000)
	pay := serviceOf(checkout, "globex", "pay")
	charge := spanIn(pay, 1, 3, 2, "withheld", ptrace.SpanKindServer, 200, 800)
	charge.Attributes().PutStr(traces.RedactionAttribute, string(traces.Shape))
	charge.Status().SetCode(ptrace.StatusCodeError)

	sweep := ptrace.NewTraces()
	spanIn(serviceOf(sweep, "acme", "cron"), 2, 1, 0, "sweep a b", ptrace.SpanKindInternal, 500, 20).Attributes().PutStr("a b", "x/y")
	return &spans{
		traces: []traces.Trace{{ID: pcommon.TraceID{15: 2}, Spans: sweep}, {ID: pcommon.TraceID{15: 1}, Spans: checkout}},
		completeness: federation.Completeness{
			{Org: "acme", Status: federation.Complete, Coverage: policy.Window{Start: begun, End: begun.Add(time.Hour)}},
			{Org: "globex", Status: federation.Complete, Coverage: policy.Window{Start: begun.Add(time.Minute), End: begun.Add(time.Hour)}, Notices: []string{"of some spans only time and kind are shown"}},
			{Org: "initech", Status: federation.Unreachable, Reason: "can't be reached"},
		},
	}
}

func serviceOf(td ptrace.Traces, org, name string) ptrace.ResourceSpans {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", name)
	rs.Resource().Attributes().PutStr(traces.OrgAttribute, org)
	rs.ScopeSpans().AppendEmpty()
	return rs
}

func spanIn(rs ptrace.ResourceSpans, trace, id, parent byte, name string, kind ptrace.SpanKind, start, lasts int) ptrace.Span {
	span := rs.ScopeSpans().At(0).Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{15: trace})
	span.SetSpanID(pcommon.SpanID{7: id})
	span.SetParentSpanID(pcommon.SpanID{7: parent})
	span.SetName(name)
	span.SetKind(kind)
	begin := begun.Add(time.Duration(start) * time.Millisecond)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(begin))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(begin.Add(time.Duration(lasts) * time.Millisecond)))
	return span
}

func (s *spans) Ask(_ context.Context, q gateway.Question) (front.Result, error) {
	asked, ok := q.Asked.(traces.Question)
	if !ok {
		return front.Result{}, federation.Errorf(federation.BadQuestion, "only questions about traces are answered here")
	}
	s.asked = append(s.asked, asked)
	if _, err := asked.Request(); err != nil {
		return front.Result{}, federation.AsError(err)
	}
	if asked.Expression == `{ name = "denied" }` {
		return front.Result{Completeness: federation.Completeness{{Org: "acme", Status: federation.Denied}}}, federation.Errorf(federation.Refused, "no policy allows this")
	}
	answer, err := s.answer(asked)
	if err != nil {
		return front.Result{}, federation.AsError(err)
	}
	return front.Result{Released: traces.Received(answer), Completeness: s.completeness}, nil
}

func (s *spans) answer(q traces.Question) (traces.Answer, error) {
	var out traces.Answer
	expression := q.Expression
	if expression == "" {
		expression = "{}"
	}
	expr, err := traceql.Parse(expression)
	if err != nil {
		return out, err
	}
	for _, t := range s.traces {
		index := traceql.NewTrace(t.Spans)
		switch q.Kind {
		case policy.Trace:
			if slices.Contains(q.IDs, t.ID) {
				out.Traces = append(out.Traces, t)
			}
		case policy.Search:
			if len(expr.Select(index)) > 0 && len(out.Traces) < q.Limit {
				out.Traces = append(out.Traces, t)
			}
		case policy.LabelNames, policy.LabelValues:
			if err := list(&out, q, index, expr.Select(index)); err != nil {
				return out, err
			}
		}
	}
	slices.Sort(out.Names)
	out.Names = slices.Compact(out.Names)
	slices.SortFunc(out.Values, traces.CompareValues)
	out.Values = slices.Compact(out.Values)
	return out, nil
}

func list(out *traces.Answer, q traces.Question, t *traceql.Trace, selected []int) error {
	for _, i := range selected {
		if q.Kind == policy.LabelNames {
			for _, a := range t.Attributes(i) {
				if q.Label == "" || q.Label == string(a.Scope) {
					out.Names = append(out.Names, a.String())
				}
			}
			continue
		}
		a, err := traceql.ParseAttribute(q.Label)
		if err != nil {
			return err
		}
		for _, v := range t.Values(i, a) {
			kind := v.Type().String()
			if v.Type() == traceql.StatusValue || v.Type() == traceql.KindValue {
				kind = "keyword"
			}
			out.Values = append(out.Values, traces.Value{Type: kind, Text: v.String()})
		}
	}
	return nil
}

// tracesDoor is a front door at which it is an hour after the first span.
func tracesDoor(t testing.TB, s *spans) *door {
	t.Helper()
	return open(t, &pipeline{}, func(c *front.Config) {
		c.Answerer = s
		c.Now = func() time.Time { return begun.Add(time.Hour) }
	})
}

// The requests that Grafana's Tempo data source sends, each with what is asked
// and the answer that it gets. testdata/tempo.txt has them, as loki.txt has those
// of Loki's clients.
func TestRequestsOfTempoClients(t *testing.T) {
	golden := readGolden(t, "testdata/tempo.txt")
	for i, g := range golden {
		s := journeys()
		path, query, _ := strings.Cut(g.request, "?")
		// An & in a query is written as it is sent, %26, since it divides parameters.
		query = strings.ReplaceAll(encoded(t, query), "%2526", "%26")
		got := tracesDoor(t, s).get(path + "?" + query)
		golden[i].answer = nil
		for _, q := range s.asked {
			golden[i].answer = append(golden[i].answer, askedInWords(q))
		}
		body := strings.TrimSpace(got.raw)
		if !strings.HasPrefix(body, "{") {
			body = "said: " + body
		}
		golden[i].answer = append(golden[i].answer, http.StatusText(got.status)+", "+got.header.Get("Content-Type"), body)
		if diff := cmp.Diff(g.answer, golden[i].answer); diff != "" {
			t.Errorf("%s\n%s (-want +got):\n%s", g.name, g.request, diff)
		}
		if said := got.header.Get(front.CompletenessHeader); (said != "") != (len(s.asked) > 0) {
			t.Errorf("%s: the completeness %q of %d questions", g.name, said, len(s.asked))
		}
	}
	if *updateGolden {
		writeGolden(t, "testdata/tempo.txt", golden)
	}
}

// askedInWords is a question in a line.
func askedInWords(q traces.Question) string {
	out := "asked: " + string(q.Kind)
	for _, id := range q.IDs {
		out += " " + id.String()
	}
	for _, part := range []struct{ name, value string }{{"of", q.Label}, {"where", q.Expression}} {
		if part.value != "" {
			out += " " + part.name + " " + part.value
		}
	}
	if !q.Start.IsZero() || !q.End.IsZero() {
		out += fmt.Sprintf(" from %d to %d", q.Start.Unix()-begun.Unix(), q.End.Unix()-begun.Unix())
	}
	if q.Limit > 0 {
		out += fmt.Sprintf(" at most %d", q.Limit)
	}
	return out
}

// Grafana reads traces as protobuf: of the second version a TraceByIDResponse with
// a trace always, and what is missing beside it.
func TestTraceAsProtobuf(t *testing.T) {
	s := journeys()
	d := tracesDoor(t, s)
	get := func(path string) reply {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("Accept", "application/protobuf")
		return d.do(req)
	}
	v1, v2 := get("/tempo/api/traces/1"), get("/tempo/api/v2/traces/00000000000000000000000000000001")
	for _, r := range []reply{v1, v2} {
		if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/protobuf" {
			t.Fatalf("%d, %s: %q", r.status, r.header.Get("Content-Type"), r.raw)
		}
	}
	var marshal ptrace.ProtoMarshaler
	want, err := marshal.MarshalTraces(s.traces[1].Spans)
	if err != nil {
		t.Fatal(err)
	}
	if v1.raw != string(want) {
		t.Error("a trace isn't OTLP's bytes")
	}
	fields := fieldsOf(t, []byte(v2.raw))
	const message = "This answer is incomplete: initech is unreachable (can't be reached). Redacted by the owner. globex: of some spans only time and kind are shown."
	if fields[1] != string(want) || fields[2] != "" || fields[3] != "1" || fields[4] != message {
		t.Errorf("a TraceByIDResponse with the fields %q", fields)
	}

	s.completeness = federation.Completeness{{Org: "acme", Status: federation.Complete}}
	fields = fieldsOf(t, []byte(get("/tempo/api/v2/traces/1").raw))
	if _, has := fields[3]; has || fields[1] != string(want) || fields[4] != "" {
		t.Errorf("a whole trace has the fields %q", fields)
	}
	if r := get("/tempo/api/v2/traces/7"); r.status != http.StatusNotFound {
		t.Errorf("no trace: %d %s", r.status, r.raw)
	}
}

// A scope that isn't there makes Grafana panic.
func TestSpansHaveAScopeAndAResource(t *testing.T) {
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("a")
	s := &spans{traces: []traces.Trace{{ID: pcommon.TraceID{15: 1}, Spans: td}}, completeness: federation.Completeness{{Org: "acme", Status: federation.Complete}}}
	req := httptest.NewRequest(http.MethodGet, "/tempo/api/v2/traces/1", nil)
	req.Header.Set("Accept", "application/protobuf")
	trace := fieldsOf(t, []byte(tracesDoor(t, s).do(req).raw))[1]
	resourceSpans := fieldsOf(t, []byte(trace))[1]
	if _, ok := fieldsOf(t, []byte(resourceSpans))[1]; !ok {
		t.Error("no resource")
	}
	scopeSpans := fieldsOf(t, []byte(resourceSpans))[2]
	if _, ok := fieldsOf(t, []byte(scopeSpans))[1]; !ok {
		t.Error("no scope")
	}
}

// fieldsOf are the fields of a message, the last of each.
func fieldsOf(t *testing.T, b []byte) map[protowire.Number]string {
	t.Helper()
	out := map[protowire.Number]string{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(b)
			out[number] = string(v)
		case protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			out[number] = fmt.Sprint(v)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return out
}

// Grafana's streaming client knocks with HTTP/2 even where streaming is off. It
// is answered with settings, and the door serves the next.
func TestStrayHTTP2Preface(t *testing.T) {
	d := tracesDoor(t, journeys())
	server := front.NewServer("", d.handler)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	const settings = 4 // the type of the frame
	if _, err := io.ReadFull(conn, answer); err != nil || answer[3] != settings {
		t.Errorf("got %q, %v", answer, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/tempo/api/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", resp.Status)
	}
}
