package traces_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// A world is a store of globex in two parts: what its policy lets be seen, which
// the first seed decides, and what it doesn't, which the second does. Worlds of
// one first seed differ in nothing that may show.

const (
	// Services of which policy says one thing each.
	web    = "web"    // attributes
	open   = "open"   // full
	core   = "core"   // boundary
	vault  = "vault"  // boundary, without durations
	batch  = "batch"  // shape
	secret = "secret" // denied
)

var worldStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const worldLength = time.Hour

// worldPolicy is what the worlds are made for.
func worldPolicy() policy.Obligations {
	of := func(service string) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "resource.service.name", service)}}
	}
	keep, pseudonym := policy.LabelRule{Mode: policy.Keep}, policy.LabelRule{Mode: policy.Pseudonym}
	return policy.Obligations{
		Epoch: 24 * time.Hour,
		Datasets: []policy.Dataset{
			{Name: web, Release: policy.Row, Spans: of(web), Span: policy.Span{Mode: policy.SpanAttributes}, Labels: map[string]policy.LabelRule{
				"name": keep, "status": keep, "resource.service.name": keep, "span.http.route": keep, "span.user.id": pseudonym,
				"span.http.status": {Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile(`^(?s:(.)..)$`), Replacement: "${1}xx"}},
				"event.name":       {Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile(`^(?s:exception)$`), Replacement: "exception"}},
			}},
			{Name: open, Release: policy.Row, Spans: of(open), Span: policy.Span{Mode: policy.SpanFull}},
			{Name: core, Release: policy.Row, Spans: of(core), Span: policy.Span{Mode: policy.SpanBoundary}, Labels: map[string]policy.LabelRule{
				"name": keep, "resource.service.name": keep,
			}},
			{Name: vault, Release: policy.Row, Spans: of(vault), Span: policy.Span{Mode: policy.SpanBoundary, WithholdDurations: true}},
			{Name: batch, Release: policy.Row, Spans: of(batch), Span: policy.Span{Mode: policy.SpanShape}},
			{Name: secret, Release: policy.Deny, Spans: of(secret)},
		},
	}
}

// world makes raw traces.
type world struct {
	shown, hidden *rand.Rand
	attacks       *rand.Rand // of questions about it
	traces        []ptrace.Traces
	id            pcommon.TraceID
	spans         int
	raw           []rawSpan
}

type rawSpan struct {
	service, pod string
	ptrace.Span
}

func newWorld(shown, hidden uint64) *world {
	w := &world{shown: rand.New(rand.NewPCG(shown, 1)), hidden: rand.New(rand.NewPCG(hidden, 2)), attacks: rand.New(rand.NewPCG(shown, 3))}
	for range 1 + w.shown.IntN(8) {
		w.trace()
	}
	for range w.hidden.IntN(3) {
		w.hiddenTrace()
	}
	w.hidden.Shuffle(len(w.traces), func(i, j int) { w.traces[i], w.traces[j] = w.traces[j], w.traces[i] })
	return w
}

func (w *world) store(t testing.TB) *traces.Store {
	t.Helper()
	s := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return worldStart.Add(2 * worldLength) }})
	for _, trace := range w.traces {
		if err := s.Append(trace); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (w *world) ids() []pcommon.TraceID {
	ids := make([]pcommon.TraceID, len(w.traces))
	for i, t := range w.traces {
		ids[i] = t.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()
	}
	return ids
}

func spanIDBy(r *rand.Rand) (id pcommon.SpanID) {
	binary.BigEndian.PutUint64(id[:], r.Uint64()|1)
	return id
}

func traceIDBy(r *rand.Rand) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
	return id
}

// trace adds one, of which something can be seen.
func (w *world) trace() {
	w.id, w.raw = traceIDBy(w.shown), nil
	start := worldStart.Add(time.Duration(w.shown.Int64N(int64(worldLength))))
	for range 1 + w.shown.IntN(2) { // entries into the organization
		parent := pcommon.SpanID{}
		if w.shown.IntN(2) == 0 {
			parent = spanIDBy(w.shown) // a caller's
		}
		w.entry(w.between(parent), start, start.Add(time.Duration(1+w.shown.IntN(1000))*time.Millisecond), 0)
	}
	w.finish()
}

// hiddenTrace adds one of hidden spans alone.
func (w *world) hiddenTrace() {
	w.id, w.raw = traceIDBy(w.hidden), nil
	start := worldStart.Add(time.Duration(w.hidden.Int64N(int64(worldLength))))
	parent := pcommon.SpanID{}
	for range 1 + w.hidden.IntN(4) {
		parent = w.secretSpan(parent, start, start.Add(time.Second))
	}
	w.finish()
}

// between puts hidden spans on the way from a parent, and returns the last.
func (w *world) between(parent pcommon.SpanID) pcommon.SpanID {
	for w.hidden.IntN(3) == 0 {
		at := worldStart.Add(time.Duration(w.hidden.Int64N(int64(worldLength))))
		parent = w.secretSpan(parent, at, at.Add(time.Duration(w.hidden.IntN(1000))*time.Millisecond))
	}
	return parent
}

func (w *world) secretSpan(parent pcommon.SpanID, start, end time.Time) pcommon.SpanID {
	s := w.add(secret, w.hidden, parent, ptrace.SpanKind(w.hidden.IntN(6)), start, end)
	s.SetName(word(w.hidden))
	s.Attributes().PutStr("http.route", word(w.hidden))
	s.Attributes().PutStr("user.id", word(w.hidden))
	return s.SpanID()
}

// add adds a span whose id the given chance decides.
func (w *world) add(service string, by *rand.Rand, parent pcommon.SpanID, kind ptrace.SpanKind, start, end time.Time) ptrace.Span {
	s := ptrace.NewSpan()
	s.SetTraceID(w.id)
	s.SetSpanID(spanIDBy(by))
	s.SetParentSpanID(parent)
	s.SetKind(kind)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
	w.raw = append(w.raw, rawSpan{service: service, pod: word(w.hidden), Span: s})
	return s
}

var words = []string{"a", "b", "checkout", "GET /cart", "x y", `q"uote`, "ünï", "500", "alice", "bob"}

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

// entry adds a span with which a request comes into the organization, and what is
// inside.
func (w *world) entry(parent pcommon.SpanID, start, end time.Time, depth int) {
	service := []string{web, open, core, vault, batch}[w.shown.IntN(5)]
	kind := ptrace.SpanKindServer
	if w.shown.IntN(4) == 0 {
		kind = ptrace.SpanKindConsumer
	}
	s := w.add(service, w.shown, parent, kind, start, end)
	w.content(service, s)
	var inside func() pcommon.SpanID
	switch service {
	case core:
		inside = w.inside(s, w.shown.IntN(3) > 0)
	case vault:
		inside = w.inside(s, w.hidden.IntN(3) > 0)
	case batch:
		inside = func() pcommon.SpanID { return s.SpanID() }
		if w.shown.IntN(2) == 0 {
			folded := w.inside(s, true)
			hangs := w.shown.IntN(2) == 0
			inside = func() pcommon.SpanID {
				if hangs {
					return folded()
				}
				return s.SpanID()
			}
		}
	default:
		inside = func() pcommon.SpanID { return s.SpanID() }
	}
	for range w.shown.IntN(3) {
		from := s.StartTimestamp().AsTime()
		from = from.Add(time.Duration(w.shown.Int64N(int64(end.Sub(from)) + 1)))
		to := from.Add(time.Duration(w.shown.Int64N(int64(end.Sub(from)) + 1)))
		call := w.add(service, w.shown, w.between(inside()), ptrace.SpanKindClient, from, to)
		w.content(service, call)
		// Within a boundary a call of our own would be inside.
		if depth < 3 && service != core && service != vault && w.shown.IntN(2) == 0 {
			w.entryOf(w.between(call.SpanID()), from, to, depth+1)
		}
	}
}

// entryOf adds a span that another of ours called, of a service that is seen
// wherever it is.
func (w *world) entryOf(parent pcommon.SpanID, start, end time.Time, depth int) {
	service := []string{web, open, batch}[w.shown.IntN(3)]
	s := w.add(service, w.shown, parent, ptrace.SpanKindServer, start, end)
	w.content(service, s)
	if depth < 3 && w.shown.IntN(2) == 0 {
		call := w.add(service, w.shown, w.between(s.SpanID()), ptrace.SpanKindClient, start, end)
		w.content(service, call)
	}
}

// inside adds spans within an entry that are folded, which begin and end at the
// same times in all worlds, where durations are told. What it returns gives one of
// them, or the entry where there are none.
func (w *world) inside(entry ptrace.Span, any bool) func() pcommon.SpanID {
	service := w.raw[len(w.raw)-1].service
	start, end := entry.StartTimestamp().AsTime(), entry.EndTimestamp().AsTime()
	length := int64(end.Sub(start))
	from := start.Add(time.Duration(w.shown.Int64N(length + 1)))
	to := from.Add(time.Duration(w.shown.Int64N(int64(end.Sub(from)) + 1)))
	if service == vault {
		from = start.Add(time.Duration(w.hidden.Int64N(length + 1)))
		to = from.Add(time.Duration(w.hidden.Int64N(int64(end.Sub(from)) + 1)))
	}
	if !any {
		return func() pcommon.SpanID { return entry.SpanID() }
	}
	var ids []pcommon.SpanID
	for i := range 1 + w.hidden.IntN(4) {
		parent := entry.SpanID()
		if len(ids) > 0 && w.hidden.IntN(2) == 0 {
			parent = ids[w.hidden.IntN(len(ids))]
		}
		a, b := from, to
		if i > 0 {
			a = from.Add(time.Duration(w.hidden.Int64N(int64(to.Sub(from)) + 1)))
			b = a.Add(time.Duration(w.hidden.Int64N(int64(to.Sub(a)) + 1)))
		}
		kind := ptrace.SpanKindInternal
		database := false
		if service != batch { // of which all but what is internal shows
			kind = []ptrace.SpanKind{ptrace.SpanKindInternal, ptrace.SpanKindServer, ptrace.SpanKindClient}[w.hidden.IntN(3)]
			database = kind == ptrace.SpanKindClient
		}
		s := w.add(service, w.hidden, w.between(parent), kind, a, b)
		s.SetName(word(w.hidden))
		s.Attributes().PutStr("db.statement", word(w.hidden))
		if database {
			s.Attributes().PutStr("db.system", word(w.hidden))
		}
		ids = append(ids, s.SpanID())
	}
	return func() pcommon.SpanID {
		if service != batch && w.hidden.IntN(3) == 0 {
			return entry.SpanID()
		}
		return ids[w.hidden.IntN(len(ids))]
	}
}

// content fills in what a span of a service holds: what is seen by one chance,
// what isn't by the other.
func (w *world) content(service string, s ptrace.Span) {
	shownOf := func(services ...string) *rand.Rand {
		if service == open || slices.Contains(services, service) {
			return w.shown
		}
		return w.hidden
	}
	s.SetName(word(shownOf(web, core)))
	if r := shownOf(web); r.IntN(3) == 0 {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	s.Status().SetMessage(word(shownOf()))
	s.TraceState().FromRaw("vendor=" + fmt.Sprint(shownOf().IntN(5)))
	for _, a := range []struct {
		key string
		by  *rand.Rand
	}{{"http.route", shownOf(web)}, {"user.id", shownOf(web)}, {"db.statement", shownOf()}, {"parley.redaction", shownOf()}, {"exception.stacktrace", shownOf()}} {
		if a.by.IntN(2) == 0 {
			s.Attributes().PutStr(a.key, word(a.by))
		}
	}
	// What a generalization maps to one class may differ.
	class := []string{"2", "5"}[shownOf(web).IntN(2)]
	s.Attributes().PutStr("http.status", class+fmt.Sprintf("%02d", shownOf().IntN(100)))
	w.events(service, s, shownOf)
	for range shownOf().IntN(2) * shownOf().IntN(2) {
		s.Attributes().PutInt("count", int64(shownOf().IntN(10)))
	}
}

func (w *world) events(service string, s ptrace.Span, shownOf func(...string) *rand.Rand) {
	at := s.StartTimestamp()
	if shownOf(web).IntN(2) == 0 {
		e := s.Events().AppendEmpty()
		e.SetName("exception")
		e.SetTimestamp(at)
		e.Attributes().PutStr("exception.message", word(shownOf()))
		e.Attributes().PutStr("exception.stacktrace", word(shownOf()))
	}
	for range shownOf().IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName(word(shownOf()))
		e.SetTimestamp(at)
	}
	if w.shown.IntN(4) == 0 {
		l := s.Links().AppendEmpty()
		l.SetTraceID(traceIDBy(w.shown))
		l.SetSpanID(spanIDBy(w.shown))
		l.Attributes().PutStr("why", word(shownOf()))
		l.TraceState().FromRaw("vendor=" + fmt.Sprint(shownOf().IntN(5)))
	}
}

// finish makes OTLP of the spans, in any order, under any number of resources.
func (w *world) finish() {
	w.hidden.Shuffle(len(w.raw), func(i, j int) { w.raw[i], w.raw[j] = w.raw[j], w.raw[i] })
	out := ptrace.NewTraces()
	for _, s := range w.raw {
		rs := out.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", s.service)
		if s.service != open {
			rs.Resource().Attributes().PutStr("k8s.pod.name", s.pod)
			if w.hidden.IntN(2) == 0 {
				rs.Resource().Attributes().PutStr(word(w.hidden), word(w.hidden))
			}
		}
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("lib")
		if s.service != open {
			ss.Scope().SetName(word(w.hidden))
			ss.Scope().SetVersion(word(w.hidden))
		}
		s.MoveTo(ss.Spans().AppendEmpty())
	}
	w.traces = append(w.traces, out)
}
