package demo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/tenants"
)

// seenSpan is a span that a company wrote.
type seenSpan struct {
	ptrace.Span
	org     tenants.OrgID
	service string
}

// spansOf remembers what a company writes.
type spansOf struct {
	org   tenants.OrgID
	spans *[]seenSpan
	store *traces.Store
}

func (s spansOf) Append(td ptrace.Traces) error {
	for _, resource := range td.ResourceSpans().All() {
		service, _ := resource.Resource().Attributes().Get("service.name")
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				*s.spans = append(*s.spans, seenSpan{span, s.org, service.Str()})
			}
		}
	}
	return s.store.Append(td)
}

// written is what all companies write of the minutes before until.
func written(t *testing.T, span time.Duration) (spans []seenSpan, stores map[tenants.OrgID]*traces.Store) {
	t.Helper()
	stores = map[tenants.OrgID]*traces.Store{}
	for _, c := range demo.Companies() {
		stores[c.Org] = traces.NewStore(traces.StoreConfig{})
		c.WriteTraces(spansOf{c.Org, &spans, stores[c.Org]})
		fill(t, c, openStore(t), span)
	}
	return spans, stores
}

type spanKey struct {
	trace pcommon.TraceID
	span  pcommon.SpanID
}

// Three companies that know nothing of one another's spans write traces that fit
// together.
func TestTracesGoThroughAllCompanies(t *testing.T) {
	spans, _ := written(t, 25*time.Minute)
	byKey := map[spanKey]seenSpan{}
	for _, s := range spans {
		key := spanKey{s.TraceID(), s.SpanID()}
		if _, twice := byKey[key]; twice {
			t.Errorf("%s wrote a span that is there already", s.org)
		}
		byKey[key] = s
	}
	roots, between := map[pcommon.TraceID]int{}, map[string]int{}
	restarted := 0
	for _, s := range spans {
		parent, is := byKey[spanKey{s.TraceID(), s.ParentSpanID()}]
		switch {
		case s.ParentSpanID().IsEmpty():
			roots[s.TraceID()]++
		case !is:
			t.Fatalf("%s %s of %s has no parent", s.Kind(), s.Name(), s.service)
		case parent.org != s.org:
			between[fmt.Sprint(parent.org, " ", parent.Kind(), " ", s.org, " ", s.Kind())]++
		}
		for _, link := range s.Links().All() {
			restarted++
			if from := byKey[spanKey{link.TraceID(), link.SpanID()}]; from.org == s.org || from.Kind() != ptrace.SpanKindClient || !s.ParentSpanID().IsEmpty() {
				t.Errorf("a trace of %s goes on from %v", s.org, from)
			}
		}
	}
	for trace, n := range roots {
		if n != 1 {
			t.Errorf("trace %s has %d roots", trace, n)
		}
	}
	if between["acme Client globex Server"] < 500 || between["acme Client initech Server"] < 300 || len(between) != 2 {
		t.Errorf("between companies there are %v", between)
	}
	if restarted < 100 {
		t.Errorf("%d traces were begun anew", restarted)
	}
}

// Each company has a clock of its own, and one shift for each of a trace puts
// every server within its client.
func TestClocksOfCompaniesDiffer(t *testing.T) {
	spans, _ := written(t, 5*time.Minute)
	byKey := map[spanKey]seenSpan{}
	for _, s := range spans {
		byKey[spanKey{s.TraceID(), s.SpanID()}] = s
	}
	type pair struct {
		trace pcommon.TraceID
		org   tenants.OrgID
	}
	least, most := map[pair]time.Duration{}, map[pair]time.Duration{}
	for _, s := range spans {
		parent, is := byKey[spanKey{s.TraceID(), s.ParentSpanID()}]
		if !is || parent.org == s.org {
			continue
		}
		p := pair{s.TraceID(), s.org}
		from, to := parent.StartTimestamp().AsTime().Sub(s.StartTimestamp().AsTime()), parent.EndTimestamp().AsTime().Sub(s.EndTimestamp().AsTime())
		if _, is := least[p]; !is {
			least[p], most[p] = from, to
		}
		least[p], most[p] = max(least[p], from), min(most[p], to)
	}
	for p := range least {
		switch {
		case least[p] > most[p]:
			t.Errorf("the clocks in %s contradict each other: %s is %s to %s behind", p.trace, p.org, least[p], most[p])
		case p.org == "globex" && most[p] > -time.Second, p.org == "initech" && least[p] < 500*time.Millisecond:
			t.Errorf("%s is %s to %s behind", p.org, least[p], most[p])
		}
	}
	if len(least) < 100 {
		t.Errorf("only %d clocks of traces could be compared", len(least))
	}
}

// What the metrics tell is in the traces.
func TestTracesTellTheStory(t *testing.T) {
	spans, _ := written(t, 50*time.Minute)
	count := func(since, before time.Duration, is func(seenSpan) bool) float64 {
		n := 0
		for _, s := range spans {
			if at := s.StartTimestamp().AsTime(); at.After(until.Add(-since)) && at.Before(until.Add(-before)) && is(s) {
				n++
			}
		}
		return float64(n)
	}
	status := func(service string, want int64) func(seenSpan) bool {
		return func(s seenSpan) bool {
			code, _ := s.Attributes().Get("http.response.status_code")
			return s.service == service && s.Kind() == ptrace.SpanKindServer && code.Int() == want
		}
	}
	atLeast(t, "acme's assistant times out", count(10*time.Minute, 0, status("assistant", 504)), 10)
	atMost(t, "and did before", count(50*time.Minute, 40*time.Minute, status("assistant", 504)), 12)
	atLeast(t, "globex is unavailable", count(10*time.Minute, 0, status("agent-api", 503)), 10)
	atLeast(t, "and is asked again", count(10*time.Minute, 0, func(s seenSpan) bool {
		_, again := s.Attributes().Get("http.request.resend_count")
		return again
	}), 10)
	for what, is := range map[string]func(seenSpan) bool{
		"users": has("user.id"), "statements": has("db.statement"), "workflows": has("workflow_id"), "agents": has("agent.name"), "routes": has("http.route"),
		"exceptions": func(s seenSpan) bool { return s.Events().Len() > 0 },
		"producers":  func(s seenSpan) bool { return s.Kind() == ptrace.SpanKindProducer },
		"consumers":  func(s seenSpan) bool { return s.Kind() == ptrace.SpanKindConsumer },
		"errors":     func(s seenSpan) bool { return s.Status().Code() == ptrace.StatusCodeError },
	} {
		atLeast(t, what, count(50*time.Minute, 0, is), 50)
	}
}

func has(attribute string) func(seenSpan) bool {
	return func(s seenSpan) bool {
		_, is := s.Attributes().Get(attribute)
		return is
	}
}

// An exemplar leads to a trace, and so does a line, whose ids are made alike.
func TestExemplarsHaveTraces(t *testing.T) {
	spans, _ := written(t, 20*time.Minute)
	there := map[string]bool{}
	for _, s := range spans {
		there[s.TraceID().String()] = true
	}
	found := 0
	for _, c := range demo.Companies() {
		store := openStore(t)
		fill(t, c, store, 10*time.Minute)
		for _, series := range exemplars(t, newLocal(t, c.Org, store), everything) {
			for _, e := range series.Exemplars {
				found++
				if id := e.Labels.Get("trace_id"); !there[id] {
					t.Errorf("%s has an exemplar of the trace %q, which isn't there", c.Org, id)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d exemplars were looked at", found)
	}
}

// Whoever starts again writes the same of the past, and each what is its own.
func TestTracesAreTheSameEachTime(t *testing.T) {
	spans, stores := written(t, 5*time.Minute)
	before := map[tenants.OrgID]traces.StoreSize{}
	for org, store := range stores {
		before[org] = store.Size()
	}
	for _, c := range demo.Companies() {
		c.WriteTraces(stores[c.Org])
		fill(t, c, openStore(t), 5*time.Minute)
		if after := stores[c.Org].Size(); after != before[c.Org] || after.Spans == 0 {
			t.Errorf("%s has %+v after %+v", c.Org, after, before[c.Org])
		}
	}
	services := map[tenants.OrgID][]string{
		"acme": {"assistant", "accounts"}, "globex": {"agent-api", "tools", "researcher"}, "initech": {"payments", "marketplace", "fraud-check"},
	}
	for _, s := range spans {
		if !slices.Contains(services[s.org], s.service) {
			t.Errorf("%s wrote spans of %s", s.org, s.service)
		}
		if strings.Contains(s.Name(), "@") {
			t.Errorf("a name tells of a user: %s", s.Name())
		}
	}
}
