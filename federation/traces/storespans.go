package traces

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unique"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// mark is what a Store knows of a span without reading it.
type mark struct {
	start         int64 // Unix nanoseconds
	id            pcommon.SpanID
	service, name unique.Handle[string]
}

// wantedMarks are those of the spans of a selection.
type wantedMarks struct {
	start, end int64
	services   map[unique.Handle[string]]bool // nil is any
	name       unique.Handle[string]
	anyName    bool
}

func (s selection) marks() wantedMarks {
	w := wantedMarks{start: s.start, end: s.end, name: unique.Make(s.operation), anyName: s.operation == ""}
	for _, service := range s.services {
		if w.services == nil {
			w.services = map[unique.Handle[string]]bool{}
		}
		w.services[unique.Make(service)] = true
	}
	return w
}

func (w wantedMarks) has(m mark) bool {
	return m.start >= w.start && m.start < w.end && (w.services == nil || w.services[m.service]) && (w.anyName || w.name == m.name)
}

// latest is when the last of the spans that are wanted begins.
func (w wantedMarks) latest(marks []mark) (latest int64, ok bool) {
	for _, m := range marks {
		if w.has(m) && (!ok || m.start > latest) {
			latest, ok = m.start, true
		}
	}
	return latest, ok
}

// Rejected is the error of spans that a Store didn't take. What it took of the
// same Append is written.
type Rejected struct {
	Spans  int
	Reason string
}

func (r *Rejected) Error() string { return fmt.Sprintf("%d spans not taken: %s", r.Spans, r.Reason) }

// rejections count spans by the reason why they aren't taken.
type rejections map[string]int

func (r rejections) add(spans int, reason string) {
	if spans > 0 {
		r[reason] += spans
	}
}

func (r rejections) err() error {
	if len(r) == 0 {
		return nil
	}
	out := &Rejected{}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(r)) {
		out.Spans += r[reason]
		reasons = append(reasons, fmt.Sprintf("%d %s", r[reason], reason))
	}
	out.Reason = strings.Join(reasons, "; ")
	return out
}

// group is what one Append has of one trace.
type group struct {
	id    pcommon.TraceID
	spans ptrace.Traces
	marks []mark
	chunk []byte       // spans, as OTLP
	names int          // bytes of marks' names, which are held beside
	last  traceql.Span // the span that was added last, as it was given
}

func newGroup(id pcommon.TraceID) *group { return &group{id: id, spans: ptrace.NewTraces()} }

// split groups spans by trace, in the order in which the traces come.
func split(spans ptrace.Traces, oldest, newest int64, refuse rejections) []*group {
	var (
		order  []*group
		groups = map[pcommon.TraceID]*group{}
		last   traceql.Span
		deep   bool // the attributes of its resource or scope
	)
	for p := range traceql.Spans(spans) {
		if p.Resource != last.Resource || p.Scope != last.Scope {
			last = p
			deep = nestsTooDeep(p.Resource.Resource().Attributes()) || nestsTooDeep(p.Scope.Scope().Attributes())
		}
		if reason := problem(p.Span, oldest, newest, deep); reason != "" {
			refuse.add(1, reason)
			continue
		}
		g := groups[p.Span.TraceID()]
		if g == nil {
			g = newGroup(p.Span.TraceID())
			groups[g.id] = g
			order = append(order, g)
		}
		g.add(p)
	}
	return order
}

// add copies a span, and what it is of unless the one before was of the same.
func (g *group) add(p traceql.Span) {
	resources := g.spans.ResourceSpans()
	if g.last.Resource != p.Resource {
		added := resources.AppendEmpty()
		p.Resource.Resource().CopyTo(added.Resource())
		added.SetSchemaUrl(p.Resource.SchemaUrl())
	}
	scopes := resources.At(resources.Len() - 1).ScopeSpans()
	if g.last.Resource != p.Resource || g.last.Scope != p.Scope {
		added := scopes.AppendEmpty()
		p.Scope.Scope().CopyTo(added.Scope())
		added.SetSchemaUrl(p.Scope.SchemaUrl())
	}
	p.Span.CopyTo(scopes.At(scopes.Len() - 1).Spans().AppendEmpty())
	g.marks = append(g.marks, mark{
		start: int64(p.Span.StartTimestamp()),
		id:    p.Span.SpanID(), service: unique.Make(serviceOf(p.Resource.Resource())), name: unique.Make(p.Span.Name()),
	})
	g.names += len(p.Span.Name())
	g.last = p
}

// serviceOf is the name of the service; empty where there is none.
func serviceOf(resource pcommon.Resource) string {
	if name, ok := resource.Attributes().Get(serviceName); ok {
		return name.AsString()
	}
	return ""
}

// problem is why a span isn't taken; empty is none.
func problem(span ptrace.Span, oldest, newest int64, deep bool) string {
	switch start := span.StartTimestamp(); {
	case span.TraceID().IsEmpty():
		return "without a trace id"
	case span.SpanID().IsEmpty():
		return "without a span id"
	case start == 0:
		return "without a start"
	case start > math.MaxInt64 || span.EndTimestamp() > math.MaxInt64 || int64(start) > newest:
		return "of the future"
	case int64(start) < oldest:
		return "older than what is kept"
	case deep || spanNestsTooDeep(span):
		return fmt.Sprintf("with attributes nested deeper than %d", MaxNesting)
	}
	return ""
}

// marshal makes the chunk.
func (g *group) marshal() (err error) {
	var m ptrace.ProtoMarshaler
	g.chunk, err = m.MarshalTraces(g.spans)
	return err
}

func (g *group) bytes() int { return chunkBytes + len(g.chunk) + g.names + spanBytes*len(g.marks) }

// repeats says whether some of its spans have ids that are there, or that others
// of its spans have.
func (g *group) repeats(there map[pcommon.SpanID]struct{}) bool {
	own := make(map[pcommon.SpanID]struct{}, len(g.marks))
	for _, m := range g.marks {
		if _, is := there[m.id]; is {
			return true
		}
		own[m.id] = struct{}{}
	}
	return len(own) < len(g.marks)
}

// drop leaves out of the group spans that are there, or in it already, with the
// same resource and scope. Another span of the same id is none of them.
func (g *group) drop(there ptrace.Traces) error {
	ids := make(map[pcommon.SpanID]struct{}, len(g.marks))
	for _, m := range g.marks {
		ids[m.id] = struct{}{}
	}
	known := map[string]bool{}
	for p := range traceql.Spans(there) {
		if _, is := ids[p.Span.SpanID()]; !is {
			continue
		}
		text, err := encodedAlone(p)
		if err != nil {
			return err
		}
		known[text] = true
	}
	left := newGroup(g.id)
	for p := range traceql.Spans(g.spans) {
		text, err := encodedAlone(p)
		if err != nil {
			return err
		}
		if !known[text] {
			left.add(p)
		}
		known[text] = true
	}
	*g = *left
	return g.marshal()
}

// encodedAlone is the span with its resource and scope, as OTLP: the same of two that
// are the same.
func encodedAlone(p traceql.Span) (string, error) {
	g := newGroup(p.Span.TraceID())
	g.add(p)
	err := g.marshal()
	return string(g.chunk), err
}
