package traces

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/tenants"
)

// piece is what one organization released of one trace id. Stitching takes it
// over: its spans become part of the stitched trace.
type piece struct {
	org   tenants.OrgID
	own   bool
	id    pcommon.TraceID
	spans ptrace.Traces
}

// knot is a span and where it hangs.
type knot struct {
	span        ptrace.Span
	id          pcommon.SpanID
	trace       int32 // in forest.ids
	org         int32 // in forest.orgs; none: nobody knows
	clock       int32 // whose clock its times are of, in forest.orgs; none: nobody's
	parent      int32 // in forest.nodes; none: nothing
	start, end  int64 // Unix nanoseconds of its clock, end never before start
	kind        ptrace.SpanKind
	failed      bool
	gaveUp      bool // it may have failed because it didn't wait
	withheld    bool
	placeholder bool
	linked      bool // to its parent, by a link: when it ends says nothing of that
	broken      bool // its times can't be
}

// forest is the spans of some traces of several organizations, and what hangs on
// what. It is grown in steps, see grow. Nothing in the spans is changed until
// they are written.
type forest struct {
	orgs    []tenants.OrgID           // in order
	ids     []pcommon.TraceID         // in the order in which they were found
	numbers map[pcommon.TraceID]int32 // where in ids
	pieces  []piece
	nodes   []knot
	// dropped are, of all spans of the pieces in their order, those that are in no
	// node.
	dropped []bool
	// byID are the nodes of each trace id.
	byID []map[pcommon.SpanID]int32
	// roots is, of each trace id, the span without a parent that begins first.
	roots []int32
	// kids are the children of each node, in the order of nodes: those of i are
	// kids[first[i]:first[i+1]].
	kids, first []int32
	// journeys is, of each trace id, the first one of its journey.
	journeys []int32

	conflicts []found[Conflict]
	broken    []found[Broken]
	missing   []found[Missing]
	joins     []found[Join]
}

// found is something to report of a trace id.
type found[T any] struct {
	trace int32
	what  T
}

// grow makes a forest of the pieces, in steps:
//
//  1. Spans of one trace id and span id are one span. Which one counts where they
//     differ depends on the order of pieces, in which our own come first.
//  2. A span hangs on the span of the same trace id that it names as its parent.
//  3. Where that goes in a circle, it is cut at the span that begins first.
//  4. Where there is no such span, a placeholder stands for it. It hangs on the
//     root of its trace id, as all that is in a trace does in the end.
//  5. What has no parent in its trace id hangs on a span of another one where a
//     link says so, then where both carry the same value: see join.
//
// Trace ids that hang together so are one journey. ids are all trace ids in the
// order in which they were found; correlation are the attributes of step 5.
func grow(ids []pcommon.TraceID, pieces []piece, correlation []string, whyMissing *holders) *forest {
	f := &forest{ids: ids, numbers: make(map[pcommon.TraceID]int32, len(ids)), pieces: slices.Clone(pieces)}
	for t, id := range ids {
		f.numbers[id] = int32(t)
	}
	slices.SortStableFunc(f.pieces, func(a, b piece) int {
		if a.own != b.own {
			if a.own {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(string(a.org), string(b.org)), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, p := range f.pieces {
		f.orgs = append(f.orgs, p.org)
	}
	slices.Sort(f.orgs)
	f.orgs = slices.Compact(f.orgs)

	f.plant()
	f.hang()
	f.cut()
	f.findRoots()
	f.hold(whyMissing)
	f.join(correlation, whyMissing)
	f.count()
	return f
}

// plant makes a node of every span of the pieces.
func (f *forest) plant() {
	total := 0
	for _, p := range f.pieces {
		total += p.spans.SpanCount()
	}
	f.nodes = make([]knot, 0, total)
	f.dropped = make([]bool, 0, total)
	f.byID = make([]map[pcommon.SpanID]int32, len(f.ids))
	for _, p := range f.pieces {
		t, o := f.numbers[p.id], number(f.orgs, p.org)
		if f.byID[t] == nil {
			f.byID[t] = make(map[pcommon.SpanID]int32, p.spans.SpanCount())
		}
		for _, rs := range p.spans.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					f.dropped = append(f.dropped, !f.take(span, t, o))
				}
			}
		}
	}
}

// number is the place of an organization in a sorted list.
func number(orgs []tenants.OrgID, org tenants.OrgID) int32 {
	i, ok := slices.BinarySearch(orgs, org)
	if !ok {
		return none
	}
	return int32(i)
}

// take makes a node of a span, and says whether there is one.
func (f *forest) take(span ptrace.Span, t, org int32) bool {
	id := span.SpanID()
	ref := SpanRef{Org: f.orgs[org], Trace: f.ids[t], Span: id}
	switch {
	case span.TraceID() != f.ids[t]:
		f.broken = append(f.broken, found[Broken]{t, Broken{Span: ref, What: BrokenTrace}})
		return false
	case id.IsEmpty():
		f.broken = append(f.broken, found[Broken]{t, Broken{Span: ref, What: BrokenID}})
		return false
	}
	if i, ok := f.byID[t][id]; ok {
		if differs := f.differs(&f.nodes[i], span, org); len(differs) > 0 {
			f.conflicts = append(f.conflicts, found[Conflict]{t, Conflict{Kept: f.ref(i), Dropped: ref, Differs: differs}})
		}
		return false
	}
	n := knot{
		span: span, id: id, trace: t, org: org, clock: org, parent: none,
		start: nanoseconds(span.StartTimestamp()), end: nanoseconds(span.EndTimestamp()),
		kind: span.Kind(), failed: span.Status().Code() == ptrace.StatusCodeError,
	}
	if n.end < n.start || span.EndTimestamp() > latest || span.StartTimestamp() > latest {
		f.broken = append(f.broken, found[Broken]{t, Broken{Span: ref, What: BrokenTimes}})
		n.end, n.broken = n.start, true
	}
	redaction, redacted := span.Attributes().Get(RedactionAttribute)
	n.withheld = redacted && redaction.Str() == string(Withheld)
	_, unknown := span.Attributes().Get(StatusAttribute)
	n.gaveUp = (n.failed || unknown) && !responded(span.Attributes())
	f.byID[t][id] = int32(len(f.nodes))
	f.nodes = append(f.nodes, n)
	return true
}

// responded says whether a client span had a response: the attributes have its
// status, by the name of today's or yesterday's semantic conventions.
func responded(attributes pcommon.Map) bool {
	_, now := attributes.Get("http.response.status_code")
	_, before := attributes.Get("http.status_code")
	return now || before
}

// latest is the last time that is reckoned with, in the year 2116: sums and
// differences of times and shifts are then none too large.
const latest = math.MaxInt64 / 2

// nanoseconds is a time that can be reckoned with.
func nanoseconds(t pcommon.Timestamp) int64 { return int64(min(t, latest)) }

// comparedBytes is how large spans of one id may be to be compared in whatever order
// their attributes are, which takes the square of how many there are.
const comparedBytes = 4 << 10

// differs names what differs between a node and another span of its id.
func (f *forest) differs(n *knot, other ptrace.Span, org int32) []string {
	var sizer ptrace.ProtoMarshaler
	large := max(sizer.SpanSize(n.span), sizer.SpanSize(other)) > comparedBytes
	if large && n.org == org && bytes.Equal(alone(n.span), alone(other)) {
		return nil
	}
	var out []string
	differ := func(what string, differs bool) {
		if differs {
			out = append(out, what)
		}
	}
	s := n.span
	differ("organization", n.org != org)
	differ("name", s.Name() != other.Name())
	differ("times", s.StartTimestamp() != other.StartTimestamp() || s.EndTimestamp() != other.EndTimestamp())
	differ("parent", s.ParentSpanID() != other.ParentSpanID())
	differ("kind", s.Kind() != other.Kind())
	differ("status", s.Status().Code() != other.Status().Code() || s.Status().Message() != other.Status().Message())
	differ("attributes", large || !s.Attributes().Equal(other.Attributes()))
	differ("events", !large && !sameEvents(s.Events(), other.Events()))
	differ("links", !large && !sameLinks(s.Links(), other.Links()))
	return out
}

// alone is a span as OTLP's protobuf has it.
func alone(s ptrace.Span) []byte {
	t := ptrace.NewTraces()
	s.CopyTo(t.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty())
	text, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(t)
	if err != nil {
		return nil // it never fails, and then they differ
	}
	return text
}

func sameEvents(a, b ptrace.SpanEventSlice) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		if x.Name() != y.Name() || x.Timestamp() != y.Timestamp() || !x.Attributes().Equal(y.Attributes()) {
			return false
		}
	}
	return true
}

func sameLinks(a, b ptrace.SpanLinkSlice) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		if x.TraceID() != y.TraceID() || x.SpanID() != y.SpanID() || !x.Attributes().Equal(y.Attributes()) {
			return false
		}
	}
	return true
}

// ref names a node in a report.
func (f *forest) ref(i int32) SpanRef {
	n := &f.nodes[i]
	ref := SpanRef{Trace: f.ids[n.trace], Span: n.id}
	if n.org != none {
		ref.Org = f.orgs[n.org]
	}
	return ref
}

// hang hangs spans on those of their trace id that they name.
func (f *forest) hang() {
	for i := range f.nodes {
		n := &f.nodes[i]
		if parent, ok := f.byID[n.trace][n.span.ParentSpanID()]; ok {
			n.parent = parent
		}
	}
}

// cut cuts circles of parents.
func (f *forest) cut() {
	const (
		fresh = iota
		walking
		done
	)
	state := make([]byte, len(f.nodes))
	var way []int32
	for i := range f.nodes {
		at := int32(i)
		for at != none && state[at] == fresh {
			state[at] = walking
			way = append(way, at)
			at = f.nodes[at].parent
		}
		if at != none && state[at] == walking {
			f.cutAt(f.firstOfCircle(at))
		}
		for _, was := range way {
			state[was] = done
		}
		way = way[:0]
	}
}

// firstOfCircle is the node that begins first of the circle that one is in.
func (f *forest) firstOfCircle(i int32) int32 {
	first := i
	for at := f.nodes[i].parent; at != i; at = f.nodes[at].parent {
		if f.before(at, first) {
			first = at
		}
	}
	return first
}

func (f *forest) cutAt(i int32) {
	f.nodes[i].parent = none
	f.broken = append(f.broken, found[Broken]{f.nodes[i].trace, Broken{Span: f.ref(i), What: BrokenCycle}})
}

// before says whether a node begins before another.
func (f *forest) before(a, b int32) bool { return f.compare(a, b) < 0 }

// compare is the order of nodes: by start, then by what names them.
func (f *forest) compare(a, b int32) int {
	x, y := &f.nodes[a], &f.nodes[b]
	if x.start != y.start {
		return cmp.Compare(x.start, y.start)
	}
	return cmp.Or(bytes.Compare(x.id[:], y.id[:]), bytes.Compare(f.ids[x.trace][:], f.ids[y.trace][:]))
}

// findRoots finds the root of each trace id, and hangs on it what was cut.
func (f *forest) findRoots() {
	f.roots = make([]int32, len(f.ids))
	for t := range f.roots {
		f.roots[t] = none
	}
	var cut []int32
	for i := range f.nodes {
		n := &f.nodes[i]
		switch {
		case n.parent != none:
		case n.span.ParentSpanID().IsEmpty():
			if root := f.roots[n.trace]; root == none || f.before(int32(i), root) {
				f.roots[n.trace] = int32(i)
			}
		case f.byID[n.trace] != nil:
			if _, there := f.byID[n.trace][n.span.ParentSpanID()]; there {
				cut = append(cut, int32(i))
			}
		}
	}
	for _, i := range cut {
		f.nodes[i].parent = f.roots[f.nodes[i].trace]
	}
}

// count lists the children of each node.
func (f *forest) count() {
	f.first = make([]int32, len(f.nodes)+1)
	for i := range f.nodes {
		if p := f.nodes[i].parent; p != none {
			f.first[p+1]++
		}
	}
	for i := range f.nodes {
		f.first[i+1] += f.first[i]
	}
	f.kids = make([]int32, f.first[len(f.nodes)])
	at := slices.Clone(f.first)
	for i := range f.nodes {
		if p := f.nodes[i].parent; p != none {
			f.kids[at[p]] = int32(i)
			at[p]++
		}
	}
}

// children are those of a node.
func (f *forest) children(i int32) []int32 { return f.kids[f.first[i]:f.first[i+1]] }
