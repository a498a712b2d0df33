package traces

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// Real Jaegers are started by TestJaegerSource of e2e, which runs TestSources
// again.
var (
	jaegerGRPCFlag = flag.String("jaeger-grpc", "", "the `address` of the query port of a Jaeger that TestSources asks as well")
	jaegerURLFlag  = flag.String("jaeger-url", "", "the `URL` of its query service")
	jaegerOTLPFlag = flag.String("jaeger-otlp", "", "the `URL` under which it takes OTLP; it keeps what is written to it")
)

// writable is a Source and a way to write to it, which returns when what is
// written can be read.
type writable struct {
	Source
	write func(*testing.T, ptrace.Traces)
	// area is which of the tests writes, for its own ids and time: a real server
	// is the same for all.
	area int
}

// TestSources holds every Source to the contract of the interface, by comparing
// with what was written.
func TestSources(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		conform(t, 150, func(*testing.T) writable {
			store := NewStore(StoreConfig{})
			return writable{Source: store, write: func(t *testing.T, spans ptrace.Traces) {
				t.Helper()
				if err := store.Append(spans); err != nil {
					t.Fatal(err)
				}
			}}
		})
	})
	for _, limit := range []int{1000, 60} {
		t.Run(fmt.Sprint("tempo as documented, ", limit, " at once"), func(t *testing.T) {
			conform(t, 40, func(t *testing.T) writable { return documentedTempo(t, limit, 0) })
		})
	}
	if *jaegerOTLPFlag == "" {
		return
	}
	areas := 0
	for _, c := range []struct {
		name  string
		depth int
		http  bool
	}{{"jaeger", 500, false}, {"jaeger in small steps", 7, false}, {"jaeger over HTTP", 7, true}} {
		t.Run(c.name, func(t *testing.T) {
			conform(t, 40, func(t *testing.T) writable {
				areas++
				return realJaeger(t, c.depth, c.http, areas)
			})
		})
	}
}

func conform(t *testing.T, searches int, open func(*testing.T) writable) {
	t.Run("has traces by id", func(t *testing.T) { conformTraces(t, open(t)) })
	t.Run("searches", func(t *testing.T) { conformSearch(t, searches, open(t)) })
	t.Run("stops", func(t *testing.T) { conformStops(t, open(t)) })
	t.Run("is empty", func(t *testing.T) {
		source := open(t)
		for _, err := range source.tracesRaw(t.Context(), []pcommon.TraceID{{1}}) {
			t.Errorf("an empty source has traces, or the error %v", err)
		}
		end := worldStart(source.area).UnixNano()
		if came := search(t, source, nil, selection{start: end - int64(time.Hour), end: end}); len(came) > 0 {
			t.Errorf("an empty source has %v", came)
		}
	})
}

// world is what was written, span by span.
type world struct {
	spans []traceql.Span
	ids   []pcommon.TraceID // each once
}

// trace is what is known of a trace, in words, as flat does it.
func (w *world) trace(id pcommon.TraceID) string {
	return flat(func(yield func(traceql.Span) bool) {
		for _, p := range w.spans {
			if p.Span.TraceID() == id && !yield(p) {
				return
			}
		}
	})
}

// latest are the traces with a span of a selection, and when the last of these
// spans begins.
func (w *world) latest(s selection) map[pcommon.TraceID]int64 {
	out := map[pcommon.TraceID]int64{}
	for _, p := range w.spans {
		start := int64(p.Span.StartTimestamp())
		service := len(s.services) == 0 || slices.Contains(s.services, serviceOf(p.Resource.Resource()))
		if service && (s.operation == "" || s.operation == p.Span.Name()) && start >= s.start && start < s.end {
			out[p.Span.TraceID()] = max(out[p.Span.TraceID()], start)
		}
	}
	return out
}

// flat is spans in words, the same whatever order they come in.
func flat(spans iter.Seq[traceql.Span]) string {
	var lines []string
	for p := range spans {
		s := p.Span
		line := fmt.Sprint(s.TraceID(), s.SpanID(), s.ParentSpanID(), s.Name(), s.Kind(), int64(s.StartTimestamp()), int64(s.EndTimestamp()),
			s.Status().Code(), s.Status().Message(), s.TraceState().AsRaw(), s.Attributes().AsRaw(), p.Resource.Resource().Attributes().AsRaw(), p.Scope.Scope().Name())
		for _, e := range s.Events().All() {
			line += fmt.Sprint(" event ", int64(e.Timestamp()), e.Name(), e.Attributes().AsRaw())
		}
		for _, l := range s.Links().All() {
			line += fmt.Sprint(" link ", l.TraceID(), l.SpanID(), l.Attributes().AsRaw())
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var (
	someServices   = []string{"shop", "bank", "post", "ware house"}
	someOperations = []string{"GET /", "pay", "SELECT", "é 漢 \"'`"}
)

// worldStart is when what is written of an area begins; it ends within three
// hours.
func worldStart(area int) time.Time {
	return time.Now().Truncate(time.Hour).Add(-time.Duration(area+1) * 8 * time.Hour)
}

// seeded is what is random in an area.
func seeded(source writable, test uint64) *rand.Rand {
	return rand.New(rand.NewPCG(test, uint64(source.area)))
}

// writeWorld writes random traces of the last hours in random pieces.
func writeWorld(t *testing.T, r *rand.Rand, source writable, traces int) *world {
	t.Helper()
	w := &world{}
	start := worldStart(source.area)
	for range traces {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[8:], r.Uint64())
		if r.IntN(4) > 0 { // the others have an id of 64 bits
			binary.BigEndian.PutUint64(id[:], r.Uint64())
		}
		w.ids = append(w.ids, id)
		at := start.Add(time.Duration(r.IntN(int(2*time.Hour/time.Second))) * time.Second)
		w.addTrace(r, id, at)
	}
	r.Shuffle(len(w.spans), func(i, j int) { w.spans[i], w.spans[j] = w.spans[j], w.spans[i] })
	for rest := w.spans; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(60))
		source.write(t, together(rest[:n]))
		rest = rest[n:]
	}
	return w
}

// together are spans as one Traces.
func together(spans []traceql.Span) ptrace.Traces {
	g := newGroup(pcommon.TraceID{})
	for _, p := range spans {
		g.add(p)
	}
	return g.spans
}

func (w *world) addTrace(r *rand.Rand, id pcommon.TraceID, at time.Time) {
	var before []pcommon.SpanID
	for range 1 + r.IntN(8) {
		td := ptrace.NewTraces()
		resource := td.ResourceSpans().AppendEmpty()
		resource.Resource().Attributes().PutStr(serviceName, someServices[r.IntN(len(someServices))])
		resource.Resource().Attributes().PutStr("host.name", fmt.Sprint("host ", r.IntN(3)))
		scope := resource.ScopeSpans().AppendEmpty()
		scope.Scope().SetName("test")
		span := scope.Spans().AppendEmpty()
		span.SetTraceID(id)
		var own pcommon.SpanID
		binary.BigEndian.PutUint64(own[:], r.Uint64())
		span.SetSpanID(own)
		if len(before) > 0 {
			span.SetParentSpanID(before[r.IntN(len(before))])
		}
		before = append(before, own)
		randomSpan(r, span, at)
		// Some last longer than most searches.
		if r.IntN(3) == 0 {
			at = at.Add(time.Duration(r.IntN(int(40 * time.Minute))))
		}
		w.spans = append(w.spans, traceql.Span{Resource: resource, Scope: scope, Span: span})
	}
}

func randomSpan(r *rand.Rand, span ptrace.Span, at time.Time) {
	span.SetName(someOperations[r.IntN(len(someOperations))])
	span.SetKind(ptrace.SpanKind(1 + r.IntN(5)))
	// Jaeger has microseconds in places.
	start := at.Add(time.Duration(r.IntN(1000)) * time.Microsecond)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(r.IntN(1e6)) * time.Microsecond)))
	span.Attributes().PutStr("http.route", fmt.Sprint("/", r.IntN(5)))
	span.Attributes().PutInt("http.response.status_code", int64(200+r.IntN(300)))
	span.Attributes().PutDouble("share", 0.25)
	span.Attributes().PutBool("cached", r.IntN(2) == 0)
	if r.IntN(4) == 0 {
		span.Status().SetCode(ptrace.StatusCodeError)
		span.Status().SetMessage("it failed")
		event := span.Events().AppendEmpty()
		event.SetName("exception")
		event.SetTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Microsecond)))
		event.Attributes().PutStr("exception.message", "no")
	}
	if r.IntN(6) == 0 {
		link := span.Links().AppendEmpty()
		link.Attributes().PutStr("opentracing.ref_type", "follows_from") // Jaeger 1 would add it
		link.SetTraceID(pcommon.TraceID{15: byte(1 + r.IntN(200))})
		link.SetSpanID(pcommon.SpanID{7: byte(1 + r.IntN(200))})
	}
}

func conformTraces(t *testing.T, source writable) {
	r := seeded(source, 1)
	w := writeWorld(t, r, source, 40)
	for i := range 20 {
		ids := []pcommon.TraceID{{1, 15: byte(i)}} // which isn't there
		for range r.IntN(5) {
			ids = append(ids, w.ids[r.IntN(len(w.ids))])
		}
		came := map[pcommon.TraceID]bool{}
		for trace, err := range source.tracesRaw(t.Context(), ids) {
			if err != nil {
				t.Fatal(err)
			}
			id := oneTrace(t, trace)
			if came[id] {
				t.Errorf("%s came twice", id)
			}
			came[id] = true
			if got, want := flat(traceql.Spans(trace)), w.trace(id); got != want {
				t.Errorf("trace %s: got\n%s\nwant\n%s", id, got, want)
			}
			trace.ResourceSpans().At(0).Resource().Attributes().PutStr("spoilt", "by who asked") // it is the asker's
		}
		for _, id := range w.ids {
			if want := slices.Contains(ids, id); came[id] != want {
				t.Errorf("of %v, it is %t that %s came", ids, came[id], id)
			}
			delete(came, id)
		}
		if len(came) > 0 {
			t.Errorf("nobody wrote %v", came)
		}
	}
}

// oneTrace is the id of all spans of a trace.
func oneTrace(t *testing.T, trace ptrace.Traces) pcommon.TraceID {
	t.Helper()
	var id pcommon.TraceID
	for p := range traceql.Spans(trace) {
		if !id.IsEmpty() && p.Span.TraceID() != id {
			t.Errorf("spans of %s and %s came together", id, p.Span.TraceID())
		}
		id = p.Span.TraceID()
	}
	if id.IsEmpty() {
		t.Error("a trace without a span came")
	}
	return id
}

func conformSearch(t *testing.T, searches int, source writable) {
	r := seeded(source, 2)
	w := writeWorld(t, r, source, 80)
	found := 0
	for range searches {
		s := randomSelection(r, w)
		if came := search(t, source, w, s); len(came) > 0 {
			found++
		}
	}
	if found < searches/3 {
		t.Errorf("only %d searches found traces: the test is blind", found)
	}
}

func randomSelection(r *rand.Rand, w *world) selection {
	// At the times of spans, where one more or less shows.
	edge := func() int64 { return int64(w.spans[r.IntN(len(w.spans))].Span.StartTimestamp()) + int64(r.IntN(3)-1) }
	s := selection{start: edge(), end: edge(), wanted: r.IntN(10)}
	if s.start > s.end {
		s.start, s.end = s.end, s.start
	}
	if r.IntN(3) == 0 {
		s.start -= int64(time.Hour)
		s.end += int64(time.Hour)
	}
	for range r.IntN(3) {
		s.services = append(s.services, append(someServices, "nobody's")[r.IntN(len(someServices)+1)])
	}
	if r.IntN(3) == 0 {
		s.operation = someOperations[r.IntN(len(someOperations))]
	}
	return s
}

// search returns what came, after holding it to the contract.
func search(t *testing.T, source Source, w *world, s selection) []pcommon.TraceID {
	t.Helper()
	var want map[pcommon.TraceID]int64
	if w != nil {
		want = w.latest(s)
	}
	var came []pcommon.TraceID
	ended, before := false, s.end
	seen := func(start int64) bool {
		if ended = start == s.start; start < s.start || start > before {
			t.Errorf("%+v: seen %d after %d", s, start, before)
		}
		before = start
		for id, latest := range want {
			if is := slices.Contains(came, id); is != (latest >= start) {
				t.Errorf("%+v: seen from %d on, and of %s, of %d, it is %t that it came", s, start, id, latest, is)
			}
		}
		return true
	}
	for trace, err := range source.searchRaw(t.Context(), s, seen) {
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		id := oneTrace(t, trace)
		if slices.Contains(came, id) {
			t.Errorf("%+v: %s came twice", s, id)
		}
		came = append(came, id)
		if got, want := flat(traceql.Spans(trace)), w.trace(id); got != want {
			t.Errorf("%+v: trace %s: got\n%s\nwant\n%s", s, id, got, want)
		}
	}
	if !ended {
		t.Errorf("%+v: it wasn't seen to its start", s)
	}
	return came
}

func conformStops(t *testing.T, source writable) {
	w := writeWorld(t, seeded(source, 3), source, 40)
	first := slices.MinFunc(w.spans, byStart).Span.StartTimestamp()
	last := slices.MaxFunc(w.spans, byStart).Span.StartTimestamp()
	s := selection{start: int64(first), end: int64(last) + 1, wanted: 2}
	came := 0
	for _, err := range source.searchRaw(t.Context(), s, func(int64) bool { return came < 5 }) {
		if err != nil {
			t.Fatal(err)
		}
		came++
	}
	if came < 5 || came == len(w.ids) {
		t.Errorf("it went on for %d traces, and was to end after 5 of %d", came, len(w.ids))
	}
	for _, traces := range []iter.Seq2[ptrace.Traces, error]{
		source.searchRaw(t.Context(), s, func(int64) bool { return true }), source.tracesRaw(t.Context(), w.ids),
	} {
		next, stop := iter.Pull2(traces)
		if _, err, ok := next(); err != nil || !ok {
			t.Errorf("there is a first: %t, %v", ok, err)
		}
		stop() // what is left behind shows at the end of the tests
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var err error
	for _, err = range source.searchRaw(ctx, s, func(int64) bool { return true }) {
		continue // the error is all that is wanted
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and the error of a search is %v", err)
	}
	for _, err = range source.tracesRaw(ctx, w.ids) {
		continue // the error is all that is wanted
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and the error is %v", err)
	}
}

func byStart(a, b traceql.Span) int {
	return cmp.Compare(a.Span.StartTimestamp(), b.Span.StartTimestamp())
}
