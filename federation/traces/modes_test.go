package traces_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

var writeDocs = flag.Bool("write-docs", false, "write the generated tables of the documentation")

const policyDocs = "../../POLICY.md"

// The table in the documentation says what each mode shows of each place of a
// span.
func TestTheModesAreDocumented(t *testing.T) {
	const begin, end = "<!-- span modes: written by go test ./federation/traces -run Documented -write-docs -->\n", "<!-- end of span modes -->"
	text, err := os.ReadFile(policyDocs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", policyDocs)
	}
	want := before + begin + modeTable(t) + end + after
	if *writeDocs {
		if err := os.WriteFile(policyDocs, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table in %s is not that of the code; write it with -write-docs", policyDocs)
	}
}

func modeTable(t *testing.T) string {
	modes := []policy.SpanMode{policy.SpanFull, policy.SpanAttributes, policy.SpanShape, policy.SpanBoundary, policy.SpanHidden}
	var b strings.Builder
	b.WriteString("\n| of a span |")
	for _, m := range modes {
		fmt.Fprintf(&b, " `%s` |", m)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(modes)) + "\n")
	for _, p := range places {
		what := p.what
		if p.rule != "" {
			what += " (`" + p.rule + "`)"
		}
		fmt.Fprintf(&b, "| %s |", what)
		for _, m := range modes {
			fmt.Fprintf(&b, " %s |", p.of(t, m))
		}
		b.WriteString("\n")
	}
	return b.String() + "\n"
}

// place is one that can carry content.
type place struct {
	what string
	rule string // the name that rules have for it, if they have any
	// is says whether an answer shows it; nil looks for what.
	is func(ptrace.Traces) bool
}

func (p place) of(t *testing.T, mode policy.SpanMode) string {
	t.Helper()
	is := p.is
	if is == nil {
		is = func(td ptrace.Traces) bool { return strings.Contains(asJSON(t, td), content(p.what)) }
	}
	ruled := mode == policy.SpanAttributes || mode == policy.SpanBoundary
	switch {
	case is(shown(t, mode, nil)):
		return "shown"
	case ruled && p.rule != "" && is(shown(t, mode, p.keeping())):
		return "by rule"
	}
	return "not"
}

// keeping are rules that keep a place, and what it is in.
func (p place) keeping() map[string]policy.LabelRule {
	out := map[string]policy.LabelRule{p.rule: {Mode: policy.Keep}}
	if strings.HasPrefix(p.rule, "event.") {
		out[policy.SpanEventName] = policy.LabelRule{Mode: policy.Keep}
	}
	return out
}

// content is what the place of a name holds, and no other.
func content(what string) string { return "content of " + what }

// eachSpan says whether it is so of a span of an answer.
func eachSpan(is func(ptrace.Span) bool) func(ptrace.Traces) bool {
	return func(td ptrace.Traces) bool {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					if is(span) {
						return true
					}
				}
			}
		}
		return false
	}
}

var (
	entryID, insideID, exitID = pcommon.SpanID{1}, pcommon.SpanID{2}, pcommon.SpanID{3}
	placesBegin               = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
)

func hasID(id pcommon.SpanID) func(ptrace.Traces) bool {
	return eachSpan(func(s ptrace.Span) bool { return s.SpanID() == id })
}

var places = []place{
	{what: "its ids", is: hasID(entryID)},
	{what: "its times", is: eachSpan(func(s ptrace.Span) bool {
		return s.SpanID() == entryID && s.StartTimestamp().AsTime().Equal(placesBegin)
	})},
	{what: "its kind", is: eachSpan(func(s ptrace.Span) bool { return s.Kind() == ptrace.SpanKindServer })},
	{what: "its name", rule: policy.SpanName},
	{what: "status code", rule: policy.SpanStatus, is: eachSpan(func(s ptrace.Span) bool { return s.Status().Code() == ptrace.StatusCodeError })},
	{what: "status message", rule: policy.SpanStatusMessage},
	{what: "attributes", rule: "span.http.route"},
	{what: "URLs with what was asked for", rule: "span.url.full"},
	{what: "statements of databases", rule: "span.db.query.text"},
	{what: "events", rule: policy.SpanEventName},
	{what: "attributes of events", rule: "event.exception.type"},
	{what: "messages of exceptions", rule: "event.exception.message"},
	{what: "stacks of exceptions", rule: "event.exception.stacktrace"},
	{what: "ids in links", is: eachSpan(func(s ptrace.Span) bool {
		return s.Links().Len() == 1 && s.Links().At(0).TraceID() == pcommon.TraceID{9}
	})},
	{what: "attributes of links", rule: "link.why"},
	{what: "trace state", rule: policy.SpanTraceState},
	{what: "trace state of links", rule: policy.SpanTraceState},
	{what: "name of the scope", rule: policy.SpanScopeName},
	{what: "version of the scope", rule: policy.SpanScopeVersion},
	{what: "attributes of the scope", rule: "scope.language"},
	{what: "name of the service", rule: "resource.service.name"},
	{what: "attributes of the resource", rule: "resource.host.name"},
	{what: "addresses of schemas"},
	{what: "how much was dropped before", is: eachSpan(func(s ptrace.Span) bool { return s.DroppedAttributesCount() == 4 })},
	{what: "flags", is: eachSpan(func(s ptrace.Span) bool { return s.Flags() == 1 })},
	{what: "internal spans in it", is: hasID(insideID)},
	{what: "calls that leave the organization", is: hasID(exitID)},
	{what: "one withheld span for internal ones", is: eachSpan(func(s ptrace.Span) bool {
		how, said := s.Attributes().Get(traces.RedactionAttribute)
		return said && how.AsString() == string(traces.Withheld)
	})},
}

// everyPlace is a trace with a span that has something in each place, what is
// inside of it, and a call that leaves.
func everyPlace() ptrace.Traces {
	at := func(what string) string {
		known := slices.ContainsFunc(places, func(p place) bool { return p.what == what })
		if !known {
			panic(what)
		}
		return content(what)
	}
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("https://" + at("addresses of schemas"))
	rs.Resource().Attributes().PutStr("service.name", at("name of the service"))
	rs.Resource().Attributes().PutStr("host.name", at("attributes of the resource"))
	ss := rs.ScopeSpans().AppendEmpty()
	ss.SetSchemaUrl("https://" + at("addresses of schemas"))
	ss.Scope().SetName(at("name of the scope"))
	ss.Scope().SetVersion(at("version of the scope"))
	ss.Scope().Attributes().PutStr("language", at("attributes of the scope"))
	add := func(id, parent pcommon.SpanID, kind ptrace.SpanKind, from, until time.Duration) ptrace.Span {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(id)
		s.SetParentSpanID(parent)
		s.SetKind(kind)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(placesBegin.Add(from)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(placesBegin.Add(until)))
		return s
	}
	s := add(entryID, pcommon.SpanID{}, ptrace.SpanKindServer, 0, time.Second)
	s.SetName(at("its name"))
	s.SetFlags(1)
	s.SetDroppedAttributesCount(4)
	s.TraceState().FromRaw(at("trace state"))
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage(at("status message"))
	s.Attributes().PutStr("http.route", at("attributes"))
	s.Attributes().PutStr("url.full", at("URLs with what was asked for"))
	s.Attributes().PutStr("db.query.text", at("statements of databases"))
	event := s.Events().AppendEmpty()
	event.SetName(at("events"))
	event.Attributes().PutStr("exception.type", at("attributes of events"))
	event.Attributes().PutStr("exception.message", at("messages of exceptions"))
	event.Attributes().PutStr("exception.stacktrace", at("stacks of exceptions"))
	link := s.Links().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{9})
	link.SetSpanID(pcommon.SpanID{9})
	link.Attributes().PutStr("why", at("attributes of links"))
	link.TraceState().FromRaw(at("trace state of links"))
	add(insideID, entryID, ptrace.SpanKindInternal, 100*time.Millisecond, 900*time.Millisecond)
	add(exitID, insideID, ptrace.SpanKindClient, 200*time.Millisecond, 800*time.Millisecond)
	return td
}

// shown is what a mode, with rules, shows of it.
func shown(t *testing.T, mode policy.SpanMode, rules map[string]policy.LabelRule) ptrace.Traces {
	t.Helper()
	now := func() time.Time { return placesBegin.Add(time.Minute) }
	store := traces.NewStore(traces.StoreConfig{Now: now})
	if err := store.Append(everyPlace()); err != nil {
		t.Fatal(err)
	}
	local, err := traces.NewLocal(traces.LocalConfig{Org: "acme", Source: store, Secret: make([]byte, 32), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	d := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Spans: []policy.Selector{{}}, Release: policy.Row, Span: policy.Span{Mode: mode}, Labels: rules,
	}}}}
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	answer, _, err := local.Answer(t.Context(), q, d, federation.Asking{Org: "globex", ExchangeID: federation.NewExchangeID(placesBegin)})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Traces()) == 0 {
		return ptrace.NewTraces()
	}
	return answer.Traces()[0].Spans
}

func asJSON(t *testing.T, td ptrace.Traces) string {
	t.Helper()
	var marshaler ptrace.JSONMarshaler
	text, err := marshaler.MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
