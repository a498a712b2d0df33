package traces

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// ask asks for the traces of a tale by one of its ids.
func (t *tale) ask(tb testing.TB, id pcommon.TraceID) []Trace {
	tb.Helper()
	f := NewFederated(FederatedConfig{Correlation: func(tenants.OrgID) []string { return []string{correlationAttribute} }})
	released, completeness, err := f.Answer(tb.Context(), Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}, t.members())
	if err != nil {
		tb.Fatal(err)
	}
	if !completeness.Whole() || len(completeness) != len(t.orgs) {
		tb.Fatalf("completeness is %v", completeness)
	}
	return released.Traces()
}

// allSpans are the spans of a trace by their ids. An id twice is an error.
func allSpans(tb testing.TB, t Trace) map[pcommon.SpanID]ptrace.Span {
	tb.Helper()
	out := map[pcommon.SpanID]ptrace.Span{}
	for _, rs := range t.Spans.ResourceSpans().All() {
		if _, ok := rs.Resource().Attributes().Get(OrgAttribute); !ok {
			tb.Error("a resource doesn't say whose it is")
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				if _, twice := out[span.SpanID()]; twice {
					tb.Errorf("two spans have the id %s", span.SpanID())
				}
				if span.TraceID() != t.ID {
					tb.Errorf("a span of trace %s is in trace %s", span.TraceID(), t.ID)
				}
				out[span.SpanID()] = span
			}
		}
	}
	return out
}

// noOrphans says that all spans hang together.
func noOrphans(tb testing.TB, spans map[pcommon.SpanID]ptrace.Span) (roots int) {
	tb.Helper()
	for id, span := range spans {
		parent := span.ParentSpanID()
		if parent.IsEmpty() {
			roots++
			continue
		}
		if _, there := spans[parent]; !there {
			tb.Errorf("span %s hangs on %s, which isn't there", id, parent)
		}
	}
	return roots
}

func TestStitchedIsWhatHappened(t *testing.T) {
	for seed := range uint64(1500) {
		o := options{restarts: 0.3, async: 0.2, retries: 0.2, spans: 40}
		if seed%2 == 1 {
			o.lost = 0.1
		}
		tale := tell(seed, o)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			got := tale.ask(t, tale.ids[tale.rand.IntN(len(tale.ids))])
			if len(got) != 1 {
				t.Fatalf("%d traces", len(got))
			}
			tale.compare(t, got[0])
		})
		if t.Failed() {
			return
		}
	}
}

// compare says where a stitched trace isn't what happened.
func (t *tale) compare(tb testing.TB, got Trace) {
	tb.Helper()
	spans := allSpans(tb, got)
	if roots := noOrphans(tb, spans); roots != 1 {
		tb.Errorf("%d roots", roots)
	}
	want := 0
	var walk func(s *told)
	walk = func(s *told) {
		want++
		span, ok := spans[s.id]
		if !ok {
			tb.Errorf("%s isn't there", s.name)
			return
		}
		var parent pcommon.SpanID
		if s.parent != nil {
			parent = s.parent.id
		}
		for _, k := range s.kids {
			if span, ok := spans[k.id]; ok && span.ParentSpanID() != s.id {
				tb.Errorf("%s hangs on %s, not on %s %s", k.name, span.ParentSpanID(), s.name, s.id)
			}
		}
		if !s.lost && (span.Name() != s.name || span.Kind() != s.kind || span.ParentSpanID() != parent && s.parent != nil) {
			tb.Errorf("%s is %s of kind %s, below %s", s.name, span.Name(), span.Kind(), span.ParentSpanID())
		}
		for _, k := range s.kids {
			walk(k)
		}
	}
	root := t.whole()
	walk(root)
	if want != len(spans) {
		tb.Errorf("%d spans, not %d", len(spans), want)
	}
	t.compareClocks(tb, got, root, spans)
	t.compareBlame(tb, got, root)
}

// compareClocks says where clocks are not reconciled as they should be.
func (t *tale) compareClocks(tb testing.TB, got Trace, root *told, spans map[pcommon.SpanID]ptrace.Span) {
	tb.Helper()
	shifts := map[string]time.Duration{}
	for _, c := range got.Report.Clocks {
		org := slices.Index(t.orgs, c.Org)
		truth := time.Duration(t.offset[root.org](base) - t.offset[org](base))
		if t.drift == 0 {
			if c.Contradicts {
				tb.Errorf("the clock of %s contradicts", c.Org)
			}
			if truth < c.Possible.Min || truth > c.Possible.Max {
				tb.Errorf("the clock of %s is wrong by %s, which isn't in %v", c.Org, truth, c.Possible)
			}
		}
		if !c.Contradicts && (c.Shift < c.Possible.Min || c.Shift > c.Possible.Max) {
			tb.Errorf("a shift of %s for %s isn't in %v", c.Shift, c.Org, c.Possible)
		}
		shifts[string(c.Org)] = c.Shift
	}
	for _, s := range t.spans {
		span, ok := spans[s.id]
		if !ok || s.lost {
			continue
		}
		at := t.clock(s.org, s.start) + pcommon.Timestamp(shifts[string(t.orgs[s.org])])
		if span.StartTimestamp() != at || span.Events().At(0).Timestamp() != at {
			tb.Errorf("%s of %s is at %d, not %d", s.name, t.orgs[s.org], span.StartTimestamp(), at)
		}
		if p := s.parent; t.drift == 0 && p != nil && !p.lost && span.StartTimestamp() < spans[p.id].StartTimestamp() {
			tb.Errorf("%s begins before %s, which it was called by", s.name, p.name)
		}
	}
}

// compareBlame says where the time isn't whose it is.
func (t *tale) compareBlame(tb testing.TB, got Trace, root *told) {
	tb.Helper()
	truth := spent{tale: t, times: map[string]time.Duration{}}
	truth.spend(root, root.start, root.end)
	b := got.Report.Blame
	if t.drift == 0 && b.Duration != time.Duration(root.end-root.start) {
		tb.Errorf("it took %s, not %s", b.Duration, time.Duration(root.end-root.start))
	}
	var least, most time.Duration
	for _, s := range b.Shares {
		least, most = least+s.Time.Min, most+s.Time.Max
		whose := string(s.Org) + ">" + string(s.To)
		if is := truth.times[whose]; t.drift == 0 && (is < s.Time.Min || is > s.Time.Max) {
			tb.Errorf("%s had %s, which isn't in %v", whose, is, s.Time)
		}
		delete(truth.times, whose)
	}
	if least > b.Duration || most < b.Duration {
		tb.Errorf("%s isn't between %s and %s", b.Duration, least, most)
	}
	for whose, is := range truth.times {
		if t.drift == 0 && is > 0 {
			tb.Errorf("%s had %s, and nothing is said of it", whose, is)
		}
	}
}
