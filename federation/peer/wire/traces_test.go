package wire_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// globexTrace is a trace as globex's view has it, with so many spans.
func globexTrace(id byte, spans int) traces.Trace {
	out := ptrace.NewTraces()
	rs := out.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(traces.OrgAttribute, "globex")
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName("http")
	for i := range spans {
		span := scope.Spans().AppendEmpty()
		span.SetTraceID(pcommon.TraceID{id})
		span.SetSpanID(pcommon.SpanID{id, byte(i >> 8), byte(i), 1})
		if i > 0 {
			span.SetParentSpanID(pcommon.SpanID{id, 0, 0, 1})
		}
		span.SetName("GET /cart")
		span.SetKind(ptrace.SpanKindServer)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(begin))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(begin.Add(time.Second)))
		span.Attributes().PutStr(traces.RedactionAttribute, string(traces.Boundary))
		span.Attributes().PutEmptyMap("nested").PutEmptySlice("list").AppendEmpty().SetInt(3)
		span.Events().AppendEmpty().SetName("exception")
		span.Links().AppendEmpty().SetTraceID(pcommon.TraceID{9})
		span.Status().SetCode(ptrace.StatusCodeError)
	}
	return traces.Trace{ID: pcommon.TraceID{id}, Spans: out}
}

type tracesAnswer struct {
	q traces.Question
	a traces.Answer
}

// tracesAnswers are questions about traces of every kind, each with an answer.
func tracesAnswers() []tracesAnswer {
	ids := []pcommon.TraceID{{1}, {2}}
	filter := `{resource.service.name="checkout"}`
	all := []tracesAnswer{
		{traces.Question{Kind: policy.Trace, IDs: ids}, traces.Answer{Traces: []traces.Trace{globexTrace(1, 3), globexTrace(2, 1)}}},
		{traces.Question{Kind: policy.Trace, IDs: ids}, traces.Answer{}},
		{traces.Question{Kind: policy.Search, Expression: filter, Limit: 2}, traces.Answer{Traces: []traces.Trace{globexTrace(5, 3000)}}},
		{traces.Question{Kind: policy.KeepTrace, IDs: ids}, traces.Answer{Names: []string{ids[0].String()}}},
		{traces.Question{Kind: policy.LabelNames, Label: "resource"}, traces.Answer{Names: []string{"resource.service.name", "span.http.route"}}},
		{traces.Question{Kind: policy.LabelValues, Label: "span.n", Expression: filter, Limit: 5}, traces.Answer{
			Values: []traces.Value{{Type: "int", Text: "3"}, {Type: "string", Text: "3"}},
		}},
		{traces.Question{Kind: policy.Operations, Label: "checkout"}, traces.Answer{Operations: []traces.Operation{
			{Service: "checkout", Name: "GET", Kind: ptrace.SpanKindClient, Org: "globex"}, {Service: "web", Org: "globex"},
		}}},
		{traces.Question{Kind: policy.Dependencies}, traces.Answer{Dependencies: []traces.Dependency{
			{Parent: "a", Child: "b", ParentOrg: "globex", ChildOrg: "globex", Calls: 7},
		}}},
	}
	for i := range all {
		if len(all[i].q.IDs) == 0 {
			all[i].q.Start, all[i].q.End = begin, begin.Add(time.Hour)
		}
	}
	return all
}

func receiveTraces(q traces.Question, l wire.Limits, messages []*federationv1.AskResponse) (*traces.Released, federation.Part, error) {
	receiver, err := wire.NewReceiver("globex", q, l)
	if err != nil {
		return nil, federation.Part{}, err
	}
	for _, m := range messages {
		if err := receiver.Add(m); err != nil {
			return nil, federation.Part{}, err
		}
	}
	released, part, err := receiver.Finish()
	if err != nil {
		return nil, part, err
	}
	return released.(*traces.Released), part, nil
}

// otlp is all of an answer's traces.
func otlp(t testing.TB, r *traces.Released) string {
	t.Helper()
	var out strings.Builder
	var marshaler ptrace.ProtoMarshaler
	for _, trace := range r.Traces() {
		text, err := marshaler.MarshalTraces(trace.Spans)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(trace.ID.String())
		out.Write(text)
	}
	return out.String()
}

// Every kind of question about traces arrives as it was asked, and its answer as
// it was given. No other kind of question takes that answer.
func TestTracesQuestionsAndAnswers(t *testing.T) {
	all := tracesAnswers()
	for _, c := range all {
		request, err := wire.EncodeAsk(wire.Ask{ExchangeID: exchangeID, Purpose: "audit", Question: c.q})
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		asked, err := wire.DecodeAsk(request)
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		if diff := cmp.Diff(federation.Question(c.q), asked.Question); diff != "" {
			t.Errorf("%s changes on the way: %s", c.q.Kind, diff)
		}
		sent := traces.Received(c.a)
		messages, size, err := wire.EncodeAnswer(sent, complete())
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		got, part, err := receiveTraces(c.q, wire.Limits{}, messages)
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		if part.Cost.Bytes != size || part.Cost.Spans != sent.Disclosed().Spans || part.Cost.Series != sent.Disclosed().Series {
			t.Errorf("%s: cost %+v, want %d bytes, %+v", c.q.Kind, part.Cost, size, sent.Disclosed())
		}
		if otlp(t, got) != otlp(t, sent) {
			t.Errorf("%s: other spans arrived", c.q.Kind)
		}
		for _, diff := range []string{
			cmp.Diff(sent.Names(), got.Names()), cmp.Diff(sent.Values(), got.Values()),
			cmp.Diff(sent.Operations(), got.Operations()), cmp.Diff(sent.Dependencies(), got.Dependencies()),
		} {
			if diff != "" {
				t.Errorf("%s (-sent +received):\n%s", c.q.Kind, diff)
			}
		}
		for _, other := range all {
			if len(messages) == 1 || other.q.Kind == c.q.Kind || len(c.a.Traces) > 0 && other.q.Kind == policy.Search || len(c.a.Names) > 0 && len(other.a.Names) > 0 {
				continue // a search may find any traces, and names are names
			}
			if _, _, err := receiveTraces(other.q, wire.Limits{}, messages); err == nil {
				t.Errorf("the answer to %s is taken for one to %s", c.q.Kind, other.q.Kind)
			}
		}
	}
}

func TestTracesQuestionsThatAreRefused(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 16)
	for name, q := range map[string]*federationv1.TracesQuestion{
		"an unknown kind":              {Kind: "compare", StartNs: 1, EndNs: 2},
		"a trace of no id":             {Kind: "trace"},
		"a trace of a short id":        {Kind: "trace", Ids: [][]byte{id[:8]}},
		"a trace of an empty id":       {Kind: "trace", Ids: [][]byte{make([]byte, 16)}},
		"a trace twice":                {Kind: "trace", Ids: [][]byte{id, id}},
		"a trace with an expression":   {Kind: "trace", Ids: [][]byte{id}, Expression: "{}"},
		"a trace with a limit":         {Kind: "trace", Ids: [][]byte{id}, Limit: 1},
		"a search of nothing":          {Kind: "search", Limit: 1, StartNs: 1, EndNs: 2},
		"a search without a limit":     {Kind: "search", Expression: "{}", StartNs: 1, EndNs: 2},
		"a search of many":             {Kind: "search", Expression: "{}", StartNs: 1, EndNs: 2, Limit: 100_000},
		"a search of all time":         {Kind: "search", Expression: "{}", Limit: 1},
		"a search by id":               {Kind: "search", Expression: "{}", Limit: 1, StartNs: 1, EndNs: 2, Ids: [][]byte{id}},
		"values of nothing":            {Kind: "label_values", StartNs: 1, EndNs: 2},
		"dependencies with a limit":    {Kind: "dependencies", StartNs: 1, EndNs: 2, Limit: 1},
		"dependencies of a label":      {Kind: "dependencies", StartNs: 1, EndNs: 2, Label: "a"},
		"time that runs backwards":     {Kind: "labels", StartNs: 2, EndNs: 1},
		"time longer than there is":    {Kind: "labels", StartNs: -1 << 63, EndNs: 1<<63 - 1},
		"an expression without an end": {Kind: "search", Expression: strings.Repeat("{} || ", 20_000) + "{}", Limit: 1, StartNs: 1, EndNs: 2},
	} {
		_, err := wire.DecodeAsk(&federationv1.AskRequest{ExchangeId: exchangeID, Purpose: "audit", Question: &federationv1.AskRequest_Traces{Traces: q}})
		if err == nil || federation.AsError(err).Kind != federation.BadQuestion {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spoiled is an answer with one trace, after something was done to it.
func spoiled(t *testing.T, change func(ptrace.Traces)) []*federationv1.AskResponse {
	t.Helper()
	trace := globexTrace(1, 2)
	change(trace.Spans)
	var marshaler ptrace.ProtoMarshaler
	data, err := marshaler.MarshalTraces(trace.Spans)
	if err != nil {
		t.Fatal(err)
	}
	return chunksOf(data, trace.Spans.SpanCount())
}

func chunksOf(data []byte, spans int) []*federationv1.AskResponse {
	return []*federationv1.AskResponse{
		{Message: &federationv1.AskResponse_Trace{Trace: &federationv1.TraceChunk{Otlp: data}}},
		{Message: &federationv1.AskResponse_Part{Part: &federationv1.Part{Status: "complete", Spans: int64(spans)}}},
	}
}

// What a partner sends as a trace is its own, is what was asked for, and is
// nothing that this version doesn't know.
func TestTracesThatAreRefused(t *testing.T) {
	resource := func(ts ptrace.Traces) pcommon.Map { return ts.ResourceSpans().At(0).Resource().Attributes() }
	span := func(ts ptrace.Traces) ptrace.Span { return ts.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1) }
	for name, change := range map[string]func(ptrace.Traces){
		"another organization's": func(ts ptrace.Traces) { resource(ts).PutStr(traces.OrgAttribute, "initech") },
		"nobody's":               func(ts ptrace.Traces) { resource(ts).Remove(traces.OrgAttribute) },
		"a number's":             func(ts ptrace.Traces) { resource(ts).PutInt(traces.OrgAttribute, 3) },
		"a clock set":            func(ts ptrace.Traces) { resource(ts).PutInt(traces.ShiftAttribute, 3) },
		"a placeholder":          func(ts ptrace.Traces) { span(ts).Attributes().PutStr(traces.PlaceholderAttribute, "denied") },
		"said to be one": func(ts ptrace.Traces) {
			span(ts).Attributes().PutStr(traces.RedactionAttribute, string(traces.Placeholder))
		},
		"what parley may say": func(ts ptrace.Traces) { span(ts).Events().At(0).Attributes().PutStr("parley.later", "x") },
		"said of a link":      func(ts ptrace.Traces) { span(ts).Links().At(0).Attributes().PutStr("parley.later", "x") },
		"said of a scope": func(ts ptrace.Traces) {
			ts.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes().PutStr(traces.OrgAttribute, "globex")
		},
		"two traces":     func(ts ptrace.Traces) { span(ts).SetTraceID(pcommon.TraceID{2}) },
		"no span id":     func(ts ptrace.Traces) { span(ts).SetSpanID(pcommon.SpanID{}) },
		"backwards":      func(ts ptrace.Traces) { span(ts).SetEndTimestamp(1) },
		"no text":        func(ts ptrace.Traces) { span(ts).SetName("\xff") },
		"no text within": func(ts ptrace.Traces) { span(ts).Attributes().PutEmptyMap("a").PutEmptyMap("b").PutStr("c", "\xff") },
		"no spans": func(ts ptrace.Traces) {
			ts.ResourceSpans().At(0).ScopeSpans().RemoveIf(func(ptrace.ScopeSpans) bool { return true })
		},
		"unasked": func(ts ptrace.Traces) {
			for _, s := range ts.ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
				s.SetTraceID(pcommon.TraceID{3})
			}
		},
		"too deep": func(ts ptrace.Traces) {
			nest(span(ts).Events().At(0).Attributes(), traces.MaxNesting+1)
		},
	} {
		if _, _, err := receiveTraces(traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, wire.Limits{}, spoiled(t, change)); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, _, err := receiveTraces(traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, wire.Limits{}, spoiled(t, func(ptrace.Traces) {})); err != nil {
		t.Errorf("unspoiled: %v", err)
	}
}

// nest puts an attribute of maps into one another there, so many of them.
func nest(at pcommon.Map, maps int) {
	for range maps {
		at = at.PutEmptyMap("deep")
	}
	at.PutStr("deep", "down")
}

// What a store takes can be sent: a single span that couldn't would be the end of
// every answer that it is in.
func TestWhatAStoreTakesArrives(t *testing.T) {
	deep := globexTrace(1, 1)
	span := deep.Spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	for _, at := range []pcommon.Map{span.Attributes(), span.Events().At(0).Attributes(), span.Links().At(0).Attributes()} {
		nest(at, traces.MaxNesting)
	}
	store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return begin }})
	if err := store.Append(deep.Spans); err != nil {
		t.Fatal(err)
	}
	messages, _, err := wire.EncodeAnswer(traces.Received(traces.Answer{Traces: []traces.Trace{deep}}), complete())
	if err != nil {
		t.Fatal(err)
	}
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	if got, _, err := receiveTraces(q, wire.Limits{}, messages); err != nil || got.Disclosed().Spans != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// A span of two bytes is hundreds in memory: what comes is counted as what it
// becomes, before it does. Fields that OTLP doesn't have yet are refused.
func TestTracesAreLookedAtBeforeTheyAreRead(t *testing.T) {
	wrap := func(number protowire.Number, inside []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), inside)
	}
	bomb := wrap(1, wrap(2, bytes.Repeat([]byte{0x12, 0}, 1<<20)))
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	allocated := testing.AllocsPerRun(1, func() {
		_, _, err := receiveTraces(q, wire.Limits{Bytes: 16 << 20}, chunksOf(bomb, 1<<20))
		if federation.AsError(err).Kind != federation.OverLimit {
			t.Errorf("got %v, want over-limit", err)
		}
	})
	if allocated > 10_000 {
		t.Errorf("%v allocations for what is refused", allocated)
	}
	later := wrap(1, wrap(2, wrap(2, protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))))
	if _, _, err := receiveTraces(q, wire.Limits{}, chunksOf(later, 1)); err == nil || !strings.Contains(err.Error(), "doesn't know") {
		t.Errorf("a field that OTLP may have later: %v", err)
	}
	var marshaler ptrace.ProtoMarshaler
	data, err := marshaler.MarshalTraces(globexTrace(1, 1).Spans)
	if err != nil {
		t.Fatal(err)
	}
	whole := chunksOf(data, 1)
	for name, messages := range map[string][]*federationv1.AskResponse{
		"twice":        {whole[0], whole[0], whole[1]},
		"cut":          chunksOf(data[:len(data)-1], 1),
		"not whole":    {{Message: &federationv1.AskResponse_Trace{Trace: &federationv1.TraceChunk{Otlp: data, More: true}}}, whole[1]},
		"empty":        chunksOf(nil, 0),
		"more counted": chunksOf(data, 2),
	} {
		if _, _, err := receiveTraces(q, wire.Limits{}, messages); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, _, err := receiveTraces(q, wire.Limits{Spans: 2}, mustEncode(t, traces.Answer{Traces: []traces.Trace{globexTrace(1, 3)}})); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("three spans where two are accepted: %v", err)
	}
}

func mustEncode(t *testing.T, a traces.Answer) []*federationv1.AskResponse {
	t.Helper()
	messages, _, err := wire.EncodeAnswer(traces.Received(a), complete())
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// FuzzTracesResponse reads arbitrary bytes as the messages of an answer about
// traces, each after its length. What is accepted can be sent again.
func FuzzTracesResponse(f *testing.F) {
	all := tracesAnswers()
	for i, c := range all {
		if len(c.a.Traces) == 1 {
			c.a.Traces[0] = globexTrace(5, 2) // a corpus of megabytes finds nothing
		}
		messages, _, err := wire.EncodeAnswer(traces.Received(c.a), complete())
		if err != nil {
			f.Fatal(err)
		}
		var buf bytes.Buffer
		for _, m := range messages {
			if _, err := protodelim.MarshalTo(&buf, m); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(byte(i), buf.Bytes())
	}
	limits := wire.Limits{Series: 1000, Spans: 1000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		q := all[int(kind)%len(all)].q
		var messages []*federationv1.AskResponse
		for r := bytes.NewReader(data); r.Len() > 0; {
			m := &federationv1.AskResponse{}
			if protodelim.UnmarshalFrom(r, m) != nil {
				break
			}
			messages = append(messages, m)
		}
		released, part, err := receiveTraces(q, limits, messages)
		if err != nil {
			return
		}
		for _, trace := range released.Traces() {
			if _, err := traces.CheckReceived("globex", trace.Spans); err != nil {
				t.Fatalf("accepted: %v", err)
			}
		}
		again, _, err := wire.EncodeAnswer(released, part)
		if err != nil {
			t.Fatalf("was accepted but can't be sent: %v", err)
		}
		second, _, err := receiveTraces(q, wire.Limits{}, again)
		if err != nil {
			t.Fatalf("was accepted but not a second time: %v", err)
		}
		if otlp(t, released) != otlp(t, second) {
			t.Fatal("other spans the second time")
		}
	})
}
