package traces_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Stores that are made to betray what is hidden in them, each by something that a
// random one doesn't have.

// cunningSpan is one of a trace, a number of seconds after the start.
type cunningSpan struct {
	service, name string
	id, parent    byte
	at            int
	kind          ptrace.SpanKind
	flags         uint32
	attributes    func(pcommon.Map)
}

// cunningTrace is of the spans.
func cunningTrace(id byte, spans ...cunningSpan) ptrace.Traces {
	out := ptrace.NewTraces()
	for _, c := range spans {
		rs := out.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", c.service)
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{id})
		s.SetSpanID(pcommon.SpanID{c.id})
		if c.parent != 0 {
			s.SetParentSpanID(pcommon.SpanID{c.parent})
		}
		s.SetName(c.name)
		s.SetKind(c.kind)
		s.SetFlags(c.flags)
		at := tracestest.Start.Add(time.Duration(c.at) * time.Second)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Second)))
		if c.attributes != nil {
			c.attributes(s.Attributes())
		}
	}
	return out
}

func cunningStore(t *testing.T, all ...ptrace.Traces) *traces.Store {
	t.Helper()
	s := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	for _, trace := range all {
		if err := s.Append(trace); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// openly releases the service open as it is, and nothing else.
func openly(mode policy.SpanMode, matchers ...*labels.Matcher) policy.Obligations {
	// No source knows which services these are.
	service := labels.MustNewMatcher(labels.MatchRegexp, "resource.service.name", "op.*")
	return policy.Obligations{
		Limits: tenants.Limits{Spans: 3},
		Datasets: []policy.Dataset{{
			Name: "open", Release: policy.Row, Spans: []policy.Selector{append(matchers, service)}, Span: policy.Span{Mode: mode},
		}},
	}
}

// toldOf is all that acme is told by globex.
func toldOf(t *testing.T, s *traces.Store, o policy.Obligations, q traces.Question) string {
	t.Helper()
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: s, Secret: testSecret, Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	if err != nil {
		t.Fatal(err)
	}
	released, _, err := local.Answer(context.Background(), q, policy.Decision{Allow: true, Obligations: o}, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(tracestest.Start)})
	if err != nil {
		return federation.AsError(err).Message
	}
	return shownAs(t, released)
}

// A source gives traces by when their last span begins, of whomever it is. A trace
// that is too large to be told, but not among the latest of the view, comes first
// where something hidden in it is late.
func TestHiddenSpansDontMakeASearchTooLarge(t *testing.T) {
	span := func(id byte, at int) cunningSpan { return cunningSpan{service: "open", name: "call", id: id, at: at} }
	large := []cunningSpan{span(1, 1), span(2, 1), span(3, 1), span(4, 1)}
	hidden := cunningSpan{service: "secret", id: 5, at: 50}
	small := cunningTrace(2, span(1, 10))
	q := traces.Question{Kind: policy.Search, Expression: `{ name = "call" }`, Limit: 1, Start: tracestest.Start, End: tracestest.Start.Add(tracestest.Length)}
	without := toldOf(t, cunningStore(t, cunningTrace(1, large...), small), openly(policy.SpanFull), q)
	with := toldOf(t, cunningStore(t, cunningTrace(1, append(large, hidden)...), small), openly(policy.SpanFull), q)
	if with != without || !strings.Contains(with, `"call"`) {
		t.Errorf("with something hidden: %s\nwithout it: %s", with, without)
	}
	q.Limit = 2
	if text := toldOf(t, cunningStore(t, cunningTrace(1, large...), small), openly(policy.SpanFull), q); !strings.Contains(text, "more than 3 spans") {
		t.Errorf("what is too large is told: %s", text)
	}
}

// Flags say whether a span's parent is known to be of another process. Those of a
// span that something hidden called are as if that had never been recorded.
func TestFlagsDontTellWhatIsBetween(t *testing.T) {
	const known, remote = 0x101, 0x301
	root := cunningSpan{service: "open", id: 1, at: 1, flags: known}
	call := func(parent byte, flags uint32) cunningSpan {
		return cunningSpan{service: "open", id: 2, parent: parent, at: 2, flags: flags}
	}
	for name, c := range map[string]struct{ between, child, without uint32 }{
		"all in one process":       {known, known, known},
		"called from another":      {remote, known, remote},
		"calls another":            {known, remote, remote},
		"nobody says":              {1, 1, 1},
		"only what is hidden says": {remote, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
			hidden := cunningSpan{service: "secret", id: 9, parent: 1, at: 1, flags: c.between}
			with := toldOf(t, cunningStore(t, cunningTrace(1, root, hidden, call(9, c.child))), openly(policy.SpanFull), q)
			without := toldOf(t, cunningStore(t, cunningTrace(1, root, call(1, c.without))), openly(policy.SpanFull), q)
			if with != without {
				t.Errorf("with something hidden: %s\nwithout it: %s", with, without)
			}
		})
	}
}

// A kind that there isn't could be any number, and is none of what modes show.
func TestKindsThatThereArentAreNone(t *testing.T) {
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	span := cunningSpan{service: "open", id: 1, kind: 4711}
	if text := toldOf(t, cunningStore(t, cunningTrace(1, span)), openly(policy.SpanShape), q); strings.Contains(text, "4711") {
		t.Error(text)
	}
}

// twice is a trace with one more attribute, of a name that may be there already.
func twice(t *testing.T, trace ptrace.Traces, attributes pcommon.Map, key, value string) ptrace.Traces {
	t.Helper()
	other := strings.Repeat("z", len(key))
	attributes.PutStr(other, value)
	var marshaler ptrace.ProtoMarshaler
	text, err := marshaler.MarshalTraces(trace)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, protowire.AppendString(nil, other), protowire.AppendString(nil, key))
	out, err := traces.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func theSpan(trace ptrace.Traces) ptrace.Span {
	return trace.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
}

// Of an attribute that is there twice selectors look at one, and that one is shown.
func TestWhatIsThereTwiceIsShownAsItWasChosen(t *testing.T) {
	span := cunningSpan{service: "open", id: 1, attributes: func(m pcommon.Map) { m.PutStr("kept", "public") }}
	trace := cunningTrace(1, span)
	trace = twice(t, trace, theSpan(trace).Attributes(), "kept", "secret")
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	public := labels.MustNewMatcher(labels.MatchEqual, "span.kept", "public")
	text := toldOf(t, cunningStore(t, trace), openly(policy.SpanFull, public), q)
	if strings.Contains(text, "secret") || !strings.Contains(text, "public") {
		t.Error(text)
	}
}

// What is nested deeper than gateways take is told as its JSON.
func TestWhatIsDeepIsToldAsText(t *testing.T) {
	deep := func(m pcommon.Map) {
		for range 40 {
			m = m.PutEmptyMap("deeper")
		}
		m.PutStr("bottom", "seen")
	}
	trace := answerOf(t, cunningStore(t, cunningTrace(1, cunningSpan{service: "open", id: 1, attributes: deep})), openly(policy.SpanFull),
		traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}).Traces()[0]
	at, levels := trace.Spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes(), 0
	value, ok := at.Get("deeper")
	for ; ok && value.Type() == pcommon.ValueTypeMap; levels++ {
		value, ok = value.Map().Get("deeper")
	}
	if !ok || levels > 17 || !strings.Contains(value.AsString(), `"bottom":"seen"`) {
		t.Errorf("after %d levels: %s", levels, value.AsString())
	}
}

// What parley says of spans a partner says once, of itself, and in its form: which
// of two counts would depend on who reads them.
func TestWhatAPartnerSaysTwice(t *testing.T) {
	of := func(change func(resource, span pcommon.Map, s ptrace.Span)) ptrace.Traces {
		trace := cunningTrace(1, cunningSpan{service: "bank", id: 1})
		resource := trace.ResourceSpans().At(0).Resource().Attributes()
		resource.PutStr(traces.OrgAttribute, "globex")
		theSpan(trace).Attributes().PutStr(traces.RedactionAttribute, string(traces.Withheld))
		change(resource, theSpan(trace).Attributes(), theSpan(trace))
		return trace
	}
	as := func(where func(ptrace.Traces) pcommon.Map, key, value string) ptrace.Traces {
		trace := of(func(_, _ pcommon.Map, _ ptrace.Span) {})
		return twice(t, trace, where(trace), key, value)
	}
	resource := func(trace ptrace.Traces) pcommon.Map { return trace.ResourceSpans().At(0).Resource().Attributes() }
	span := func(trace ptrace.Traces) pcommon.Map { return theSpan(trace).Attributes() }
	if _, err := traces.CheckReceived("globex", of(func(_, _ pcommon.Map, _ ptrace.Span) {})); err != nil {
		t.Fatal(err)
	}
	for name, trace := range map[string]ptrace.Traces{
		"another organization":    as(resource, traces.OrgAttribute, "acme"),
		"another redaction":       as(span, traces.RedactionAttribute, "placeholder"),
		"a kind that there isn't": of(func(_, _ pcommon.Map, s ptrace.Span) { s.SetKind(6) }),
		"a kind below all":        of(func(_, _ pcommon.Map, s ptrace.Span) { s.SetKind(-1) }),
		"a text for a number":     of(func(_, m pcommon.Map, _ ptrace.Span) { m.PutStr(traces.FoldedAttribute, "no") }),
		"fewer spans than none":   of(func(_, m pcommon.Map, _ ptrace.Span) { m.PutInt(traces.FoldedAttribute, -1) }),
		"a list of redactions": of(func(_, m pcommon.Map, _ ptrace.Span) {
			m.PutEmptySlice(traces.RedactionAttribute).AppendEmpty().SetStr("withheld")
		}),
	} {
		if _, err := traces.CheckReceived("globex", trace); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// longWay is a trace with a way of spans of a service, each in the one before, and
// as many of another, all in the last of them.
func longWay(length int, service string, below string) ptrace.Traces {
	trace := cunningTrace(1, cunningSpan{service: "open", name: "top", id: 1})
	add := func(service, name string, id, parent int) {
		rs := trace.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", service)
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(pcommon.SpanID{2, byte(id >> 16), byte(id >> 8), byte(id)})
		s.SetParentSpanID(pcommon.SpanID{2, byte(parent >> 16), byte(parent >> 8), byte(parent)})
		if parent == 0 {
			s.SetParentSpanID(pcommon.SpanID{1})
		}
		s.SetName(name)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(tracestest.Start))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(tracestest.Start))
	}
	for i := range length {
		add(service, "way", i+1, i)
	}
	for i := range length {
		add(below, "below", length+i+1, length)
	}
	return trace
}

// What hangs on a long way of hidden spans hangs on what is above all of them, and
// the way isn't gone for each.
func TestALongHiddenWay(t *testing.T) {
	const length = 30_000
	trace := longWay(length, "secret", "open")
	o := openly(policy.SpanFull)
	o.Limits.Spans = 2 * length
	began := time.Now()
	shown := answerOf(t, cunningStore(t, trace), o, traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}).Traces()[0].Spans
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, rs := range shown.ResourceSpans().All() {
		for _, s := range rs.ScopeSpans().At(0).Spans().All() {
			if s.Name() == "below" && s.ParentSpanID() != (pcommon.SpanID{1}) {
				t.Fatalf("a span hangs on %s", s.ParentSpanID())
			}
		}
	}
	if shown.SpanCount() != length+1 {
		t.Errorf("%d spans", shown.SpanCount())
	}
}

// The same of what is folded.
func TestALongFoldedWay(t *testing.T) {
	const length = 50_000
	trace := longWay(length, "open", "open")
	began := time.Now()
	shown := answerOf(t, cunningStore(t, trace), openly(policy.SpanBoundary), traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}).Traces()[0].Spans
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if shown.SpanCount() != 2 {
		t.Errorf("%d spans", shown.SpanCount())
	}
}

// An event that isn't within the view's time isn't there, though its span is.
func TestEventsOutOfTime(t *testing.T) {
	store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(time.Hour) }})
	trace := cunningTrace(1, cunningSpan{service: "s", name: "n", id: 1, at: 0, kind: ptrace.SpanKindServer})
	span := trace.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	for name, at := range map[string]time.Duration{"before": -time.Minute, "within": 0, "after": time.Minute} {
		e := span.Events().AppendEmpty()
		e.SetName(name)
		e.SetTimestamp(pcommon.NewTimestampFromTime(tracestest.Start.Add(at)))
	}
	if err := store.Append(trace); err != nil {
		t.Fatal(err)
	}
	o := everything()
	o.NotBefore, o.NotAfter = tracestest.Start.Add(-time.Second), tracestest.Start.Add(2*time.Second)
	got := answerOf(t, store, o, traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}).Traces()
	if len(got) != 1 {
		t.Fatal("the trace isn't there")
	}
	if events := got[0].Spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Events(); events.Len() != 1 || events.At(0).Name() != "within" {
		t.Errorf("%d events", events.Len())
	}
}

// Bounds that nanoseconds can't say hide what they say: all that is before the year
// 9999, and nothing that is.
func TestBoundsOfOtherCenturies(t *testing.T) {
	w := tracestest.NewWorld(1, 1)
	store := storeOf(t, w)
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		before, after time.Time
		there         bool
	}{"none": {there: true}, "not before 9999": {before: far}, "not before 2300": {before: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, "not after 9999": {after: far, there: true}} {
		o := everything()
		o.NotBefore, o.NotAfter = c.before, c.after
		for _, q := range []traces.Question{
			{Kind: policy.Trace, IDs: w.IDs()},
			{Kind: policy.Search, Expression: "{}", Limit: 5, Start: tracestest.Start, End: tracestest.Start.Add(2 * tracestest.Length)},
		} {
			if got := answerOf(t, store, o, q); len(got.Traces()) > 0 != c.there {
				t.Errorf("%s, %s: %d traces", name, q.Kind, len(got.Traces()))
			}
		}
	}
}
