package traces

import (
	"bytes"
	"cmp"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/policy"
)

// A raw trace becomes one of the view in steps, of which each sees only what the
// one before left:
//
//  1. What is hidden is taken out, as if it had never been recorded: its children
//     hang on its parent.
//  2. What is folded is found: of a boundary all but entries and exits, of a shape
//     what is internal. All that is directly inside of the same span that is left
//     becomes one withheld span there, and their children hang on that.
//  3. A trace of which something that is left isn't within the view's time isn't
//     there.
//  4. Attributes are redacted (view.go).
//
// So the outcome is a function of what is left alone, and of what the owner lets
// be told about the rest.

// node is a span on its way into the view.
type node struct {
	resource pcommon.Resource
	scope    ptrace.ScopeSpans
	schema   string // the resource's
	span     ptrace.Span
	*membership
	start, end int64 // as the view has them
	// parent is the id of the span it hangs on; up is that span, -1 when it isn't
	// in the trace.
	parent pcommon.SpanID
	up     int
	flags  uint32
	folded bool
	// anchor is, of what is folded, the span that is left in which it is; -1: none.
	anchor int
}

// withheld is what stands for folded spans.
type withheld struct {
	id         pcommon.SpanID
	anchor     int // -1: none is left
	start, end int64
	count      int
	tellCount  bool
	tellTime   bool
}

const none = -1

// order sorts nodes so that nothing depends on the order in which a store has
// them, nor on what is redacted later.
func order(nodes []node) {
	slices.SortStableFunc(nodes, func(a, b node) int {
		aid, bid := a.span.SpanID(), b.span.SpanID()
		return cmp.Or(cmp.Compare(a.start, b.start), bytes.Compare(aid[:], bid[:]), cmp.Compare(a.end, b.end), bytes.Compare(a.parent[:], b.parent[:]),
			cmp.Compare(a.membership.span.Mode, b.membership.span.Mode), cmp.Compare(a.span.Kind(), b.span.Kind()))
	})
}

// visible takes out what isn't there, and hangs the rest on what is.
func visible(raw []node) []node {
	var left []node
	there := map[pcommon.SpanID]bool{}
	for _, n := range raw {
		if n.membership != nil {
			left = append(left, n)
			there[n.span.SpanID()] = true
		}
	}
	gone := hiddenIn(raw, there)
	for i := range left {
		n := &left[i]
		n.parent, n.flags = n.span.ParentSpanID(), n.span.Flags()
		above := gone.settle(n.parent)
		if above == nil {
			continue
		}
		n.parent = above.parent
		if above.remote && n.flags&flagParentKnown != 0 {
			n.flags |= flagParentRemote // that which it hangs on now
		}
	}
	order(left)
	at := map[pcommon.SpanID]int{}
	for i := len(left) - 1; i >= 0; i-- { // of several with one id, the first
		at[left[i].span.SpanID()] = i
	}
	for i := range left {
		n := &left[i]
		n.up = none
		if up, ok := at[n.parent]; ok && up != i {
			n.up = up
		} else if ok { // its own parent
			n.parent = pcommon.SpanID{}
		}
	}
	breakCycles(left)
	return left
}

// hiddenSpans are by id.
type hiddenSpans map[pcommon.SpanID]*hiddenSpan

// hiddenSpan is where what hangs on it hangs instead, and whether something on the
// way there has a parent of another process.
type hiddenSpan struct {
	parent pcommon.SpanID
	remote bool
	state  hiddenState
}

type hiddenState uint8

const (
	untouched hiddenState = iota
	underway
	settled // its parent isn't hidden
)

// hiddenIn are the spans that aren't there, but for ids that others have that are.
func hiddenIn(raw []node, there map[pcommon.SpanID]bool) hiddenSpans {
	gone := hiddenSpans{}
	for _, n := range raw {
		id, parent := n.span.SpanID(), n.span.ParentSpanID()
		if n.membership != nil || there[id] {
			continue
		}
		// Of several, the one with the least parent, whatever order they are in.
		remote := remoteParent(n.span.Flags())
		switch known := gone[id]; {
		case known == nil || bytes.Compare(parent[:], known.parent[:]) < 0:
			gone[id] = &hiddenSpan{parent: parent, remote: remote}
		case parent == known.parent:
			known.remote = known.remote || remote
		}
	}
	return gone
}

// settle is the hidden span of an id, whose parent isn't hidden any more; nil: it
// isn't hidden. Those that go round have none. Each is gone over once, however many
// hang on it.
func (g hiddenSpans) settle(id pcommon.SpanID) *hiddenSpan {
	var way []*hiddenSpan
	above := g[id]
	for above != nil && above.state == untouched {
		above.state = underway
		way = append(way, above)
		above = g[above.parent]
	}
	if above != nil && above.state == underway {
		above = &hiddenSpan{}
		for _, h := range way {
			h.remote = false
		}
	}
	for _, h := range slices.Backward(way) {
		if above != nil {
			h.parent, h.remote = above.parent, h.remote || above.remote
		}
		h.state = settled
		above = h
	}
	return g[id]
}

// breakCycles makes a tree of spans that are each other's ancestors: the first of
// each round becomes one without a parent.
func breakCycles(nodes []node) {
	const unseen, walking, done = 0, 1, 2
	state := make([]uint8, len(nodes))
	var path []int
	for i := range nodes {
		path = path[:0]
		at := i
		for at != none && state[at] == unseen {
			state[at] = walking
			path = append(path, at)
			at = nodes[at].up
		}
		if at != none && state[at] == walking {
			first := at
			for next := nodes[at].up; next != at; next = nodes[next].up {
				first = min(first, next)
			}
			nodes[first].up, nodes[first].parent = none, pcommon.SpanID{}
		}
		for _, p := range path {
			state[p] = done
		}
	}
}

// fold decides which nodes are folded, and what stands for them.
func (v *view) fold(nodes []node) []withheld {
	calls := make([]bool, len(nodes)) // whether it has a child here
	for _, n := range nodes {
		if n.up != none {
			calls[n.up] = true
		}
	}
	first := none
	for i := range nodes {
		n := &nodes[i]
		switch n.membership.span.Mode {
		case policy.SpanBoundary:
			n.folded = !enters(n) && !leaves(n, calls[i])
		case policy.SpanShape:
			n.folded = n.span.Kind() == ptrace.SpanKindInternal && !n.membership.span.Counts && !enters(n)
		}
		if first == none && !n.folded {
			first = i
		}
	}
	anchors(nodes, first)
	return v.standIns(nodes)
}

// enters says whether a request comes into the organization with a span: it has
// no parent here, and is one that a caller's span would be the parent of, or has
// none at all.
func enters(n *node) bool {
	if n.up != none {
		return false
	}
	kind := n.span.Kind()
	return n.parent.IsEmpty() || kind == ptrace.SpanKindServer || kind == ptrace.SpanKindConsumer || remoteParent(n.flags)
}

// The bits of a span's flags that say that it is known whether its parent is of
// another process, and that it is (OTLP, SpanFlags).
const (
	flagParentKnown  = 0x100
	flagParentRemote = flagParentKnown | 0x200
)

func remoteParent(flags uint32) bool { return flags&flagParentRemote == flagParentRemote }

// leaves says whether a request leaves with a span: it calls, nothing here is
// called by it, and it isn't a call of a database.
func leaves(n *node, calls bool) bool {
	kind := n.span.Kind()
	if calls || kind != ptrace.SpanKindClient && kind != ptrace.SpanKindProducer {
		return false
	}
	return !callsDatabase(n.span)
}

// callsDatabase says whether a span is a call of a database: those are the
// organization's own, and databases write no spans.
func callsDatabase(span ptrace.Span) bool {
	return slices.ContainsFunc(databaseAttributes, func(key string) bool {
		_, ok := span.Attributes().Get(key)
		return ok
	})
}

// databaseAttributes tell calls of databases (OpenTelemetry semantic conventions, old
// and new).
var databaseAttributes = []string{"db.system", "db.system.name"}

// anchors finds for each folded span the one that is left in which it is. Those
// that are in none are in the first that is left.
func anchors(nodes []node, first int) {
	known := make([]bool, len(nodes))
	var way []int
	for i := range nodes {
		at := i
		for way = way[:0]; at != none && nodes[at].folded && !known[at]; at = nodes[at].up {
			way = append(way, at)
		}
		switch {
		case at == none:
			at = first
		case known[at]:
			at = nodes[at].anchor
		}
		for _, w := range way {
			nodes[w].anchor, known[w] = at, true
		}
	}
}

// standIns makes the withheld spans, and hangs what was in folded spans on them.
func (v *view) standIns(nodes []node) []withheld {
	of := map[int]int{} // by anchor
	var out []withheld
	add := func(anchor int) *withheld {
		i, ok := of[anchor]
		if !ok {
			i = len(out)
			of[anchor] = i
			out = append(out, withheld{anchor: anchor, tellCount: true, tellTime: true})
		}
		return &out[i]
	}
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.folded:
			w := add(n.anchor)
			w.add(n)
		case n.membership.span.Mode == policy.SpanBoundary && n.membership.span.WithholdDurations && enters(n):
			// So that it doesn't tell whether there is anything inside.
			w := add(i)
			w.tellCount, w.tellTime = false, false
		}
	}
	for i := range out {
		w := &out[i]
		var anchor pcommon.SpanID
		if w.anchor != none {
			anchor = nodes[w.anchor].span.SpanID()
			if !w.tellTime {
				w.start, w.end = nodes[w.anchor].start, nodes[w.anchor].end
			}
		}
		w.id = v.spanID(nodes[0].span.TraceID(), anchor)
	}
	for i := range nodes {
		n := &nodes[i]
		if n.folded || n.up == none {
			continue
		}
		anchor := n.up
		if up := &nodes[n.up]; up.folded {
			anchor = up.anchor
		} else if n.membership.span.Mode != policy.SpanBoundary {
			continue
		}
		// What leaves hangs on what is withheld, wherever inside it was called, and is
		// within it.
		if i, ok := of[anchor]; ok {
			w := &out[i]
			n.parent = w.id
			if w.tellTime {
				w.start, w.end = min(w.start, n.start), max(w.end, n.end)
			}
		}
	}
	return slices.DeleteFunc(out, func(w withheld) bool { return w.anchor == none && !w.tellTime })
}

// add folds a span into what stands for it.
func (w *withheld) add(n *node) {
	if w.count == 0 {
		w.start, w.end = n.start, n.end
	}
	w.start, w.end = min(w.start, n.start), max(w.end, n.end)
	w.count++
	w.tellCount = w.tellCount && n.membership.span.Counts
	w.tellTime = w.tellTime && !n.membership.span.WithholdDurations
}
