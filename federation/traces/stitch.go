package traces

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// stitch makes one trace of each journey that one of the trace ids is of, in their
// order: it finds out what hangs on what (grow), reconciles the clocks, finds who
// spent the time and writes the spans. The forest can't be used again.
func (f *forest) stitch(ids []pcommon.TraceID, unfollowed []pcommon.TraceID, h *holders) []Trace {
	asked := make([]int32, 0, len(ids))
	for _, id := range ids {
		if t, ok := f.numbers[id]; ok {
			asked = append(asked, t)
		}
	}
	journeys := f.journeysOf(asked)
	out := make([]Trace, 0, len(journeys))
	writer := newWriter(f)
	for _, j := range journeys {
		c := j.reconcile()
		j.move(c)
		report := &Report{Unfollowed: unfollowed, Clocks: c.report(j), Blame: j.blame(c, len(h.incomplete()) > 0)}
		j.tell(report)
		id := j.id(ids)
		nameOthers(report.Joins, id)
		out = append(out, Trace{ID: id, Spans: writer.write(j, c, id, h.parts), Report: report})
	}
	return out
}

// id is the first of the trace ids that the journey is of.
func (j *journey) id(ids []pcommon.TraceID) pcommon.TraceID {
	for _, id := range ids {
		if t, ok := j.f.numbers[id]; ok && j.f.journeys[t] == j.number() {
			return id
		}
	}
	return j.f.ids[j.f.nodes[j.root].trace]
}

// nameOthers has each join name the trace that it adds to one of an id: that above
// may be the other one as well.
func nameOthers(joins []Join, id pcommon.TraceID) {
	of := map[pcommon.TraceID][]int{}
	for i, join := range joins {
		of[join.Parent.Trace] = append(of[join.Parent.Trace], i)
		of[join.Child.Trace] = append(of[join.Child.Trace], i)
	}
	known := map[pcommon.TraceID]bool{id: true}
	for pending := []pcommon.TraceID{id}; len(pending) > 0; pending = pending[1:] {
		for _, i := range of[pending[0]] {
			for _, other := range []pcommon.TraceID{joins[i].Parent.Trace, joins[i].Child.Trace} {
				if !known[other] {
					known[other] = true
					joins[i].Trace = other
					pending = append(pending, other)
				}
			}
		}
	}
	for i := range joins {
		if joins[i].Trace == id {
			joins[i].Trace = joins[i].Parent.Trace
		}
	}
}

// number is that of the journey in forest.journeys.
func (j *journey) number() int32 { return j.f.journeys[j.f.nodes[j.root].trace] }

// tell reports what was found while the forest grew.
func (j *journey) tell(r *Report) {
	r.Joins = about(j, j.f.joins)
	r.Conflicts = about(j, j.f.conflicts)
	r.Missing = about(j, j.f.missing)
	r.Broken = about(j, j.f.broken)
}

func about[T any](j *journey, all []found[T]) []T {
	var out []T
	for _, x := range all {
		if j.f.journeys[x.trace] == j.number() {
			out = append(out, x.what)
		}
	}
	return out
}

// writer writes spans as they are in the stitched trace.
type writer struct {
	f *forest
	// at is, of each piece, where its spans begin in forest.dropped; nodes are in the
	// same order, without those dropped.
	at []int
}

func newWriter(f *forest) *writer {
	w := &writer{f: f}
	at := 0
	for _, p := range f.pieces {
		w.at = append(w.at, at)
		at += p.spans.SpanCount()
	}
	return w
}

// write moves the spans of a journey into one.
func (w *writer) write(j *journey, c *clocks, id pcommon.TraceID, asked federation.Completeness) ptrace.Traces {
	j.rename(id)
	out := ptrace.NewTraces()
	for _, i := range j.order {
		j.set(i, c, id)
	}
	for k, p := range w.f.pieces {
		if w.f.journeys[w.f.numbers[p.id]] != j.number() {
			continue
		}
		w.prune(p, w.at[k])
		org := number(w.f.orgs, p.org)
		for _, rs := range p.spans.ResourceSpans().All() {
			j.mark(rs.Resource().Attributes(), c, org)
		}
		p.spans.ResourceSpans().MoveAndAppendTo(out.ResourceSpans())
	}
	j.writePlaceholders(out, id)
	if root := &w.f.nodes[j.root]; !root.placeholder {
		root.span.Attributes().PutStr(CompletenessAttribute, cmp.Or(asked.Missing(), string(federation.Complete)))
	}
	return out
}

// prune takes out of a piece the spans that are in no node.
func (w *writer) prune(p piece, at int) {
	p.spans.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			ss.Spans().RemoveIf(func(ptrace.Span) bool {
				at++
				return w.f.dropped[at-1]
			})
			return ss.Spans().Len() == 0
		})
		return rs.ScopeSpans().Len() == 0
	})
}

// rename gives spans of other trace ids whose span id is taken another one.
func (j *journey) rename(id pcommon.TraceID) {
	f := j.f
	main := f.nodes[j.root].trace
	if t, ok := f.numbers[id]; ok {
		main = t
	}
	var taken map[pcommon.SpanID]bool
	for _, i := range j.order {
		n := &f.nodes[i]
		if n.trace == main {
			continue
		}
		if taken == nil {
			taken = make(map[pcommon.SpanID]bool)
		}
		_, inMain := f.byID[main][n.id]
		for inMain || taken[n.id] {
			n.id = derived(f.ids[n.trace], n.id)
			_, inMain = f.byID[main][n.id]
		}
		taken[n.id] = true
	}
}

// derived is a span id for one of another trace id.
func derived(t pcommon.TraceID, s pcommon.SpanID) pcommon.SpanID {
	sum := sha256.Sum256(append(t[:], s[:]...))
	return pcommon.SpanID(sum[:8])
}

// set writes what became of a node into its span.
func (j *journey) set(i int32, c *clocks, id pcommon.TraceID) {
	n := &j.f.nodes[i]
	if n.placeholder {
		return
	}
	var parent pcommon.SpanID
	if n.parent != none {
		parent = j.f.nodes[n.parent].id
	}
	if n.span.ParentSpanID() != parent {
		n.span.SetParentSpanID(parent)
	}
	if was := j.f.ids[n.trace]; was != id {
		n.span.SetTraceID(id)
		n.span.Attributes().PutStr(TraceAttribute, was.String())
	}
	if was := n.span.SpanID(); was != n.id {
		n.span.SetSpanID(n.id)
		n.span.Attributes().PutStr(SpanAttribute, was.String())
	}
	if k, ok := c.at[n.org]; ok && c.shift[k] != 0 {
		shift(n.span, c.shift[k])
	}
}

// shift moves a span.
func shift(s ptrace.Span, by int64) {
	s.SetStartTimestamp(shifted(s.StartTimestamp(), by))
	s.SetEndTimestamp(shifted(s.EndTimestamp(), by))
	for _, event := range s.Events().All() {
		event.SetTimestamp(shifted(event.Timestamp(), by))
	}
}

// shifted is a time after a shift. Times that can't be stay as they are.
func shifted(t pcommon.Timestamp, by int64) pcommon.Timestamp {
	if t > latest {
		return t
	}
	return pcommon.Timestamp(max(along(int64(t), by), 0))
}

// mark writes into a resource whose it is, and what became of its clock.
func (j *journey) mark(attributes pcommon.Map, c *clocks, org int32) {
	attributes.PutStr(OrgAttribute, string(j.f.orgs[org]))
	k, ok := c.at[org]
	if !ok || k == 0 || c.contradicts[k] {
		return
	}
	atMost, atLeast := c.most[0][k], c.most[k][0]
	if atMost == unbounded && atLeast == unbounded {
		return
	}
	attributes.PutInt(ShiftAttribute, c.shift[k])
	if atLeast != unbounded {
		attributes.PutInt(ShiftMinAttribute, -atLeast)
	}
	if atMost != unbounded {
		attributes.PutInt(ShiftMaxAttribute, atMost)
	}
}

// writePlaceholders adds the placeholders, those of each organization as a
// resource.
func (j *journey) writePlaceholders(out ptrace.Traces, id pcommon.TraceID) {
	var placeholders []int32
	for _, i := range j.order {
		if j.f.nodes[i].placeholder {
			placeholders = append(placeholders, i)
		}
	}
	if len(placeholders) == 0 {
		return
	}
	slices.SortFunc(placeholders, func(a, b int32) int {
		x, y := &j.f.nodes[a], &j.f.nodes[b]
		if x.org != y.org {
			return int(x.org) - int(y.org)
		}
		return j.f.compare(a, b)
	})
	why := map[int32]*Missing{}
	for _, m := range j.f.missing {
		why[j.f.byID[m.trace][m.what.Span.Span]] = &m.what
	}
	var spans ptrace.SpanSlice
	for k, i := range placeholders {
		n := &j.f.nodes[i]
		if k == 0 || j.f.nodes[placeholders[k-1]].org != n.org {
			rs := out.ResourceSpans().AppendEmpty()
			rs.Resource().Attributes().PutStr(OrgAttribute, string(j.f.ref(i).Org))
			spans = rs.ScopeSpans().AppendEmpty().Spans()
		}
		j.writePlaceholder(spans.AppendEmpty(), i, id, why[i])
	}
}

func (j *journey) writePlaceholder(s ptrace.Span, i int32, id pcommon.TraceID, why *Missing) {
	n := &j.f.nodes[i]
	s.SetTraceID(id)
	s.SetSpanID(n.id)
	if n.parent != none {
		s.SetParentSpanID(j.f.nodes[n.parent].id)
	}
	s.SetName(PlaceholderName)
	s.SetStartTimestamp(pcommon.Timestamp(n.start))
	s.SetEndTimestamp(pcommon.Timestamp(n.end))
	s.Attributes().PutStr(RedactionAttribute, string(Placeholder))
	if why != nil {
		s.Attributes().PutStr(PlaceholderAttribute, string(why.Reason))
		orgs := make([]string, len(why.Orgs))
		for k, org := range why.Orgs {
			orgs[k] = string(org)
		}
		s.Attributes().PutStr(HoldersAttribute, strings.Join(orgs, ", "))
	}
	if was := j.f.ids[n.trace]; was != id {
		s.Attributes().PutStr(TraceAttribute, was.String())
	}
}

func compareOrgs(a, b tenants.OrgID) int { return strings.Compare(string(a), string(b)) }
