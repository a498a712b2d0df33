package traces

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

var fuzzedOrgs = []tenants.OrgID{"acme", "globex", "initech"}

// inPieces are fragments, one of each organization, in pieces by the trace ids
// that spans in them have.
func inPieces(fragments []ptrace.Traces) (ids []pcommon.TraceID, pieces []piece) {
	const most = 4
	for _, fragment := range fragments {
		for _, rs := range fragment.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					if id := span.TraceID(); !slices.Contains(ids, id) && len(ids) < most && !id.IsEmpty() {
						ids = append(ids, id)
					}
				}
			}
		}
	}
	for o, fragment := range fragments {
		for _, id := range ids {
			p := piece{org: fuzzedOrgs[o], own: o == 1, id: id, spans: ptrace.NewTraces()}
			fragment.CopyTo(p.spans) // with spans of other trace ids
			pieces = append(pieces, p)
		}
	}
	return ids, pieces
}

// stitched is what becomes of fragments, whoever sent them. It checks what is true
// of every stitched trace.
func stitched(tb testing.TB, fragments ...ptrace.Traces) []Trace {
	tb.Helper()
	h := &holders{parts: federation.Completeness{
		{Org: "acme", Status: federation.Complete}, {Org: "globex", Status: federation.Denied}, {Org: "initech", Status: federation.Complete},
	}}
	ids, pieces := inPieces(fragments)
	distinct := map[SpanRef]bool{}
	for _, p := range pieces {
		for _, rs := range p.spans.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					if span.TraceID() == p.id && !span.SpanID().IsEmpty() {
						distinct[SpanRef{Trace: p.id, Span: span.SpanID()}] = true
					}
				}
			}
		}
	}
	out := grow(ids, pieces, []string{"a"}, h).stitch(ids, nil, h)
	spans := 0
	for _, t := range out {
		all := allSpans(tb, t)
		noOrphans(tb, all)
		noCircles(tb, all)
		spans += len(all) - len(t.Report.Missing)
		sumsHold(tb, t.Report.Blame)
	}
	if spans != len(distinct) {
		tb.Errorf("%d spans became %d", len(distinct), spans)
	}

	_, again := inPieces(fragments)
	slices.Reverse(again)
	other := grow(ids, again, []string{"a"}, h).stitch(ids, nil, h)
	if !bytes.Equal(marshalled(tb, out), marshalled(tb, other)) {
		tb.Error("it depends on the order of members")
	}
	return out
}

func marshalled(tb testing.TB, all []Trace) []byte {
	tb.Helper()
	var out []byte
	for _, t := range all {
		text, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(t.Spans)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, text...)
	}
	return out
}

func noCircles(tb testing.TB, spans map[pcommon.SpanID]ptrace.Span) {
	tb.Helper()
	ended := map[pcommon.SpanID]bool{}
	for id := range spans {
		var way []pcommon.SpanID
		for at := id; !at.IsEmpty() && !ended[at]; at = spans[at].ParentSpanID() {
			if way = append(way, at); len(way) > len(spans) {
				tb.Fatalf("span %s is its own ancestor", at)
			}
		}
		for _, at := range way {
			ended[at] = true
		}
	}
}

func sumsHold(tb testing.TB, b Blame) {
	tb.Helper()
	var least, most time.Duration
	for _, s := range b.Shares {
		if s.Time.Min < 0 || s.Time.Max < s.Time.Min {
			tb.Errorf("a share is %v", s.Time)
		}
		least, most = least+s.Time.Min, min(most, math.MaxInt64/2)+min(s.Time.Max, math.MaxInt64/2)
	}
	if least > b.Duration || most < b.Duration || b.Duration < 0 {
		tb.Errorf("%s isn't between %s and %s", b.Duration, least, most)
	}
}

func FuzzStitch(f *testing.F) {
	var marshaler ptrace.ProtoMarshaler
	for seed := range uint64(8) {
		tale := tell(seed, options{restarts: 0.5, async: 0.3, retries: 0.3, lost: 0.2, spans: 12})
		args := [3][]byte{}
		for o := range args {
			fragment := ptrace.NewTraces()
			for _, id := range tale.ids {
				if o < len(tale.orgs) {
					spans, _ := tale.recorded(o, id)
					spans.ResourceSpans().MoveAndAppendTo(fragment.ResourceSpans())
				}
			}
			text, err := marshaler.MarshalTraces(fragment)
			if err != nil {
				f.Fatal(err)
			}
			args[o] = text
		}
		f.Add(args[0], args[1], args[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var fragments []ptrace.Traces
		for _, text := range [][]byte{a, b, c} {
			fragment, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(text)
			if err != nil {
				return
			}
			fragments = append(fragments, fragment)
		}
		stitched(t, fragments...)
	})
}

// spanIn adds a span to a fragment.
func spanIn(fragment ptrace.Traces, trace, id, parent byte, start, end uint64) ptrace.Span {
	if fragment.ResourceSpans().Len() == 0 {
		fragment.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	}
	s := fragment.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{trace})
	if id != 0 {
		s.SetSpanID(pcommon.SpanID{id})
	}
	if parent != 0 {
		s.SetParentSpanID(pcommon.SpanID{parent})
	}
	s.SetStartTimestamp(pcommon.Timestamp(start))
	s.SetEndTimestamp(pcommon.Timestamp(end))
	return s
}

func TestHostileSpansAreCutAndReported(t *testing.T) {
	for name, test := range map[string]struct {
		spans func(ptrace.Traces)
		what  []BrokenHow
	}{
		"its own parent":     {func(f ptrace.Traces) { spanIn(f, 1, 1, 1, 5, 6) }, []BrokenHow{BrokenCycle}},
		"two in a circle":    {func(f ptrace.Traces) { spanIn(f, 1, 1, 2, 5, 6); spanIn(f, 1, 2, 1, 4, 7) }, []BrokenHow{BrokenCycle}},
		"a circle on a root": {func(f ptrace.Traces) { spanIn(f, 1, 9, 0, 1, 9); spanIn(f, 1, 1, 2, 5, 6); spanIn(f, 1, 2, 1, 4, 7) }, []BrokenHow{BrokenCycle}},
		"no id":              {func(f ptrace.Traces) { spanIn(f, 1, 1, 0, 5, 6); spanIn(f, 1, 0, 1, 5, 6) }, []BrokenHow{BrokenID}},
		"times reversed":     {func(f ptrace.Traces) { spanIn(f, 1, 1, 0, 6, 5) }, []BrokenHow{BrokenTimes}},
		"times of the end of all days": {
			func(f ptrace.Traces) { spanIn(f, 1, 1, 0, 1<<63, math.MaxUint64); spanIn(f, 1, 2, 1, 0, 1<<63) },
			[]BrokenHow{BrokenTimes, BrokenTimes},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fragment := ptrace.NewTraces()
			test.spans(fragment)
			got := stitched(t, fragment)
			if len(got) != 1 {
				t.Fatalf("%d traces", len(got))
			}
			var what []BrokenHow
			for _, b := range got[0].Report.Broken {
				what = append(what, b.What)
			}
			if !slices.Equal(what, test.what) {
				t.Errorf("broken are %v", got[0].Report.Broken)
			}
		})
	}
}

// Each link makes a circle of two trace ids.
func TestTracesThatRestartOneAnother(t *testing.T) {
	fragment := ptrace.NewTraces()
	for trace := byte(1); trace <= 2; trace++ {
		link := spanIn(fragment, trace, trace, 0, 1, 9).Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{3 - trace})
		link.SetSpanID(pcommon.SpanID{3 - trace})
	}
	got := stitched(t, fragment)
	if len(got) != 1 || len(got[0].Report.Joins) != 1 {
		t.Errorf("%d traces, %+v", len(got), got)
	}
}

// A hundred thousand spans, each in the next.
func TestADeepTrace(t *testing.T) {
	const depth = 100_000
	pieces := []piece{{org: "acme", id: pcommon.TraceID{1}, spans: ptrace.NewTraces()}}
	spans := pieces[0].spans.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range depth {
		s := spans.AppendEmpty()
		s.SetTraceID(pieces[0].id)
		s.SetSpanID(numbered(depth - i))
		s.SetParentSpanID(numbered(depth - i - 1))
		s.SetStartTimestamp(pcommon.Timestamp(depth - i))
		s.SetEndTimestamp(pcommon.Timestamp(depth + i))
	}
	ids := []pcommon.TraceID{pieces[0].id}
	got := grow(ids, pieces, nil, &holders{}).stitch(ids, nil, &holders{})
	if len(got) != 1 || got[0].Spans.SpanCount() != depth || len(got[0].Report.Blame.Critical) < depth/2 {
		t.Errorf("%d traces, %d on the path", len(got), len(got[0].Report.Blame.Critical))
	}
}

// Of spans of one id that differ, our own counts, and that there was another is
// said; equal ones are one.
func TestConflicts(t *testing.T) {
	acme, globex := ptrace.NewTraces(), ptrace.NewTraces()
	spanIn(acme, 1, 1, 0, 1, 9).SetName("root")
	spanIn(acme, 1, 1, 0, 1, 9).SetName("root")
	spanIn(acme, 1, 2, 1, 2, 5).SetName("acme's")
	spanIn(globex, 1, 2, 1, 2, 6).SetName("globex's")
	got := stitched(t, acme, globex)
	if len(got) != 1 || len(got[0].Report.Conflicts) != 1 {
		t.Fatalf("%+v", got)
	}
	c := got[0].Report.Conflicts[0]
	if c.Kept.Org != "globex" || c.Dropped.Org != "acme" || !slices.Equal(c.Differs, []string{"organization", "name", "times"}) {
		t.Errorf("%+v", c)
	}
	for _, span := range allSpans(t, got[0]) {
		if span.Name() == "acme's" {
			t.Error("the other span is in the trace as well")
		}
	}
}

// Spans with few ids, of all kinds, at all times, with links to one another.
func TestWhateverIsSent(t *testing.T) {
	joined := 0
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 2))
		fragments := []ptrace.Traces{ptrace.NewTraces(), ptrace.NewTraces(), ptrace.NewTraces()}
		for range 1 + r.IntN(14) {
			start := uint64(r.IntN(100))
			if r.IntN(20) == 0 {
				start = r.Uint64()
			}
			trace := byte(1 + r.IntN(3))
			s := spanIn(fragments[r.IntN(3)], trace, byte(r.IntN(7)), byte(r.IntN(7)), start, start+uint64(r.IntN(40))-5)
			s.SetKind(ptrace.SpanKind(r.IntN(7)))
			s.Status().SetCode(ptrace.StatusCode(r.IntN(3)))
			if r.IntN(4) == 0 {
				link := s.Links().AppendEmpty()
				link.SetTraceID(pcommon.TraceID{byte(1 + r.IntN(3))})
				link.SetSpanID(pcommon.SpanID{byte(1 + r.IntN(7))})
			}
			if r.IntN(6) == 0 {
				s.Attributes().PutStr(RedactionAttribute, string(Withheld))
			}
			if r.IntN(3) == 0 {
				s.Attributes().PutStr("a", "same")
			}
		}
		for _, trace := range stitched(t, fragments...) {
			joined += len(trace.Report.Joins)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if joined < 500 {
		t.Errorf("only %d were joined", joined)
	}
}

// Spans of one id with very many attributes, links to very many traces: they are
// told in time.
func TestLargeSpans(t *testing.T) {
	const many = 100_000
	acme, globex := ptrace.NewTraces(), ptrace.NewTraces()
	raw := map[string]any{}
	first := spanIn(acme, 1, 1, 0, 1, 9)
	for i := range many {
		raw[strconv.Itoa(i)] = true
		link := first.Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID(append([]byte{9, 9, 9, 9, 9, 9, 9, 9}, binary.BigEndian.AppendUint64(nil, uint64(i))...)))
	}
	if err := first.Attributes().FromRaw(raw); err != nil {
		t.Fatal(err)
	}
	first.CopyTo(spanIn(acme, 1, 1, 0, 1, 9))
	first.CopyTo(spanIn(globex, 1, 1, 0, 1, 9))
	got := stitched(t, acme, globex)
	if len(got) != 1 || len(got[0].Report.Conflicts) != 2 { // ours counts, and both of the other's are of another organization
		t.Fatalf("%d traces", len(got))
	}
}
