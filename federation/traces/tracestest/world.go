// Package tracestest makes worlds of traces that differ only in what a policy
// hides:
//
//	one, other := tracestest.NewWorld(7, 1), tracestest.NewWorld(7, 2)
//	for _, trace := range one.Traces() { err := store.Append(trace) }
//
// Whatever is asked of a store with one, through Policy, a store with the other
// answers the same.
package tracestest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/policy"
)

// The services, of which Policy says one thing each.
const (
	Web    = "web"    // attributes
	Open   = "open"   // full
	Core   = "core"   // boundary
	Vault  = "vault"  // boundary, without durations
	Batch  = "batch"  // shape
	Secret = "secret" // denied
)

// Start and Length are the time of which all worlds are.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Length is how long it is.
const Length = time.Hour

// Policy is what worlds are made for, as a decision of policy is one.
func Policy() policy.Obligations {
	of := func(service string) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "resource.service.name", service)}}
	}
	keep, pseudonym := policy.LabelRule{Mode: policy.Keep}, policy.LabelRule{Mode: policy.Pseudonym}
	return policy.Obligations{
		Epoch: 24 * time.Hour,
		Datasets: []policy.Dataset{
			{Name: Web, Release: policy.Row, Spans: of(Web), Span: policy.Span{Mode: policy.SpanAttributes}, Labels: map[string]policy.LabelRule{
				"name": keep, "status": keep, "resource.service.name": keep, "span.http.route": keep, "span.user.id": pseudonym,
				"span.http.status": {Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile(`^(?s:(.)..)$`), Replacement: "${1}xx"}},
				"event.name":       {Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile(`^(?s:exception)$`), Replacement: "exception"}},
			}},
			{Name: Open, Release: policy.Row, Spans: of(Open), Span: policy.Span{Mode: policy.SpanFull}},
			{Name: Core, Release: policy.Row, Spans: of(Core), Span: policy.Span{Mode: policy.SpanBoundary}, Labels: map[string]policy.LabelRule{
				"name": keep, "resource.service.name": keep,
			}},
			{Name: Vault, Release: policy.Row, Spans: of(Vault), Span: policy.Span{Mode: policy.SpanBoundary, WithholdDurations: true}},
			{Name: Batch, Release: policy.Row, Spans: of(Batch), Span: policy.Span{Mode: policy.SpanShape}},
			{Name: Secret, Release: policy.Deny, Spans: of(Secret)},
		},
	}
}

// Decision is Policy as a Rego policy has it.
const Decision = `{"allow": true, "pseudonym_epoch": "1d", "datasets": [
	{"name": "web", "spans": ["{\"resource.service.name\"=\"web\"}"], "release": "row", "span": "attributes", "labels": {
		"name": "keep", "status": "keep", "resource.service.name": "keep", "span.http.route": "keep", "span.user.id": "pseudonym",
		"span.http.status": {"generalize": {"regex": "(.)..", "replacement": "${1}xx"}},
		"event.name": {"generalize": {"regex": "exception", "replacement": "exception"}}}},
	{"name": "open", "spans": ["{\"resource.service.name\"=\"open\"}"], "release": "row", "span": "full"},
	{"name": "core", "spans": ["{\"resource.service.name\"=\"core\"}"], "release": "row", "span": "boundary", "labels": {"name": "keep", "resource.service.name": "keep"}},
	{"name": "vault", "spans": ["{\"resource.service.name\"=\"vault\"}"], "release": "row", "span": "boundary", "durations": "withheld"},
	{"name": "batch", "spans": ["{\"resource.service.name\"=\"batch\"}"], "release": "row", "span": "shape"},
	{"name": "secret", "spans": ["{\"resource.service.name\"=\"secret\"}"], "release": "deny"}]}`

// World is a store in two parts: what Policy lets be seen, which the first seed
// decides, and what it doesn't, which the second does. Worlds of one first seed
// differ in nothing that may show.
type World struct {
	shown, hidden *rand.Rand
	traces        []ptrace.Traces
	id            pcommon.TraceID
	raw           []rawSpan
}

type rawSpan struct {
	service, pod string
	ptrace.Span
}

// NewWorld makes one of two seeds.
func NewWorld(shown, hidden uint64) *World {
	w := &World{shown: rand.New(rand.NewPCG(shown, 1)), hidden: rand.New(rand.NewPCG(hidden, 2))}
	for range 1 + w.shown.IntN(8) {
		w.trace()
	}
	for range w.hidden.IntN(3) {
		w.hiddenTrace()
	}
	w.hidden.Shuffle(len(w.traces), func(i, j int) { w.traces[i], w.traces[j] = w.traces[j], w.traces[i] })
	return w
}

// Traces are the raw traces, each whole.
func (w *World) Traces() []ptrace.Traces { return w.traces }

// IDs are their ids.
func (w *World) IDs() []pcommon.TraceID {
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
func (w *World) trace() {
	w.id, w.raw = traceIDBy(w.shown), nil
	start := Start.Add(time.Duration(w.shown.Int64N(int64(Length))))
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
func (w *World) hiddenTrace() {
	w.id, w.raw = traceIDBy(w.hidden), nil
	start := Start.Add(time.Duration(w.hidden.Int64N(int64(Length))))
	parent := pcommon.SpanID{}
	for range 1 + w.hidden.IntN(4) {
		parent = w.secretSpan(parent, start, start.Add(time.Second))
	}
	w.finish()
}

// between puts hidden spans on the way from a parent, and returns the last.
func (w *World) between(parent pcommon.SpanID) pcommon.SpanID {
	for w.hidden.IntN(3) == 0 {
		at := Start.Add(time.Duration(w.hidden.Int64N(int64(Length))))
		parent = w.secretSpan(parent, at, at.Add(time.Duration(w.hidden.IntN(1000))*time.Millisecond))
	}
	return parent
}

func (w *World) secretSpan(parent pcommon.SpanID, start, end time.Time) pcommon.SpanID {
	s := w.add(Secret, w.hidden, parent, ptrace.SpanKind(w.hidden.IntN(6)), start, end)
	s.SetName(Word(w.hidden))
	s.Attributes().PutStr("http.route", Word(w.hidden))
	s.Attributes().PutStr("user.id", Word(w.hidden))
	return s.SpanID()
}

// add adds a span whose id the given chance decides.
func (w *World) add(service string, by *rand.Rand, parent pcommon.SpanID, kind ptrace.SpanKind, start, end time.Time) ptrace.Span {
	s := ptrace.NewSpan()
	s.SetTraceID(w.id)
	s.SetSpanID(spanIDBy(by))
	s.SetParentSpanID(parent)
	s.SetKind(kind)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
	w.raw = append(w.raw, rawSpan{service: service, pod: Word(w.hidden), Span: s})
	return s
}

var words = []string{"a", "b", "checkout", "GET /cart", "x y", `q"uote`, "ünï", "500", "alice", "bob"}

// Word is one of those of which names and values are made.
func Word(r *rand.Rand) string { return words[r.IntN(len(words))] }

// entry adds a span with which a request comes into the organization, and what is
// inside.
func (w *World) entry(parent pcommon.SpanID, start, end time.Time, depth int) {
	service := []string{Web, Open, Core, Vault, Batch}[w.shown.IntN(5)]
	kind := ptrace.SpanKindServer
	if w.shown.IntN(4) == 0 {
		kind = ptrace.SpanKindConsumer
	}
	s := w.add(service, w.shown, parent, kind, start, end)
	w.content(service, s)
	var inside func() pcommon.SpanID
	switch service {
	case Core:
		inside = w.inside(s, w.shown.IntN(3) > 0)
	case Vault:
		inside = w.inside(s, w.hidden.IntN(3) > 0)
	case Batch:
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
		if depth < 3 && service != Core && service != Vault && w.shown.IntN(2) == 0 {
			w.entryOf(w.between(call.SpanID()), from, to, depth+1)
		}
	}
}

// entryOf adds a span that another of ours called, of a service that is seen
// wherever it is.
func (w *World) entryOf(parent pcommon.SpanID, start, end time.Time, depth int) {
	service := []string{Web, Open, Batch}[w.shown.IntN(3)]
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
func (w *World) inside(entry ptrace.Span, some bool) func() pcommon.SpanID {
	service := w.raw[len(w.raw)-1].service
	start, end := entry.StartTimestamp().AsTime(), entry.EndTimestamp().AsTime()
	length := int64(end.Sub(start))
	from := start.Add(time.Duration(w.shown.Int64N(length + 1)))
	to := from.Add(time.Duration(w.shown.Int64N(int64(end.Sub(from)) + 1)))
	if service == Vault {
		from = start.Add(time.Duration(w.hidden.Int64N(length + 1)))
		to = from.Add(time.Duration(w.hidden.Int64N(int64(end.Sub(from)) + 1)))
	}
	if !some {
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
		if service != Batch { // of which all but what is internal shows
			kind = []ptrace.SpanKind{ptrace.SpanKindInternal, ptrace.SpanKindServer, ptrace.SpanKindClient}[w.hidden.IntN(3)]
			database = kind == ptrace.SpanKindClient
		}
		s := w.add(service, w.hidden, w.between(parent), kind, a, b)
		s.SetName(Word(w.hidden))
		s.Attributes().PutStr("db.statement", Word(w.hidden))
		if database {
			s.Attributes().PutStr("db.system", Word(w.hidden))
		}
		ids = append(ids, s.SpanID())
	}
	return func() pcommon.SpanID {
		if service != Batch && w.hidden.IntN(3) == 0 {
			return entry.SpanID()
		}
		return ids[w.hidden.IntN(len(ids))]
	}
}

// content fills in what a span of a service holds: what is seen by one chance,
// what isn't by the other.
func (w *World) content(service string, s ptrace.Span) {
	shownOf := func(services ...string) *rand.Rand {
		if service == Open || slices.Contains(services, service) {
			return w.shown
		}
		return w.hidden
	}
	s.SetName(Word(shownOf(Web, Core)))
	if r := shownOf(Web); r.IntN(3) == 0 {
		s.Status().SetCode(ptrace.StatusCodeError)
	}
	s.Status().SetMessage(Word(shownOf()))
	s.TraceState().FromRaw("vendor=" + fmt.Sprint(shownOf().IntN(5)))
	for _, a := range []struct {
		key string
		by  *rand.Rand
	}{{"http.route", shownOf(Web)}, {"user.id", shownOf(Web)}, {"db.statement", shownOf()}, {"parley.redaction", shownOf()}, {"exception.stacktrace", shownOf()}} {
		if a.by.IntN(2) == 0 {
			s.Attributes().PutStr(a.key, Word(a.by))
		}
	}
	// What a generalization maps to one class may differ.
	class := []string{"2", "5"}[shownOf(Web).IntN(2)]
	s.Attributes().PutStr("http.status", class+fmt.Sprintf("%02d", shownOf().IntN(100)))
	w.events(s, shownOf)
	for range shownOf().IntN(2) * shownOf().IntN(2) {
		s.Attributes().PutInt("count", int64(shownOf().IntN(10)))
	}
}

func (w *World) events(s ptrace.Span, shownOf func(...string) *rand.Rand) {
	at := s.StartTimestamp()
	if shownOf(Web).IntN(2) == 0 {
		e := s.Events().AppendEmpty()
		e.SetName("exception")
		e.SetTimestamp(at)
		e.Attributes().PutStr("exception.message", Word(shownOf()))
		e.Attributes().PutStr("exception.stacktrace", Word(shownOf()))
	}
	for range shownOf().IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName(Word(shownOf()))
		e.SetTimestamp(at)
	}
	if w.shown.IntN(4) == 0 {
		l := s.Links().AppendEmpty()
		l.SetTraceID(traceIDBy(w.shown))
		l.SetSpanID(spanIDBy(w.shown))
		l.Attributes().PutStr("why", Word(shownOf()))
		l.TraceState().FromRaw("vendor=" + fmt.Sprint(shownOf().IntN(5)))
	}
}

// finish makes OTLP of the spans, in any order, under any number of resources.
func (w *World) finish() {
	w.hidden.Shuffle(len(w.raw), func(i, j int) { w.raw[i], w.raw[j] = w.raw[j], w.raw[i] })
	out := ptrace.NewTraces()
	for _, s := range w.raw {
		rs := out.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", s.service)
		if s.service != Open {
			rs.Resource().Attributes().PutStr("k8s.pod.name", s.pod)
			if w.hidden.IntN(2) == 0 {
				rs.Resource().Attributes().PutStr(Word(w.hidden), Word(w.hidden))
			}
		}
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("lib")
		if s.service != Open {
			ss.Scope().SetName(Word(w.hidden))
			ss.Scope().SetVersion(Word(w.hidden))
		}
		s.MoveTo(ss.Spans().AppendEmpty())
	}
	w.traces = append(w.traces, out)
}
