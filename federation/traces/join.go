package traces

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Which span hangs on which of another trace id:
//
//   - Of a link, the one that links hangs on the one that is linked to: so a trace
//     is restarted. But what a client or producer links to, and has no parent, is
//     what it called, unless that is ours and the link a partner's.
//   - Of two spans that carry the same value, the server or consumer hangs on the
//     client or producer of another organization.
//
// What has a parent already isn't taken from it: the outermost span around it
// hangs there, if all on the way out are of the same organization and it is a
// server or consumer: so a queue's reader that runs on and on counts as called by
// the first message.

// Traceparent is the attribute that always tells which spans of two organizations
// are the same request: the value of the header of W3C Trace Context.
const Traceparent = "traceparent"

// isTraceparent says whether a text is such a value: version, trace id, span id and
// flags, in hex.
func isTraceparent(text string) bool {
	const form = "00-00000000000000000000000000000000-0000000000000000-00"
	if len(text) != len(form) {
		return false
	}
	for i := range len(form) {
		if form[i] == '-' != (text[i] == '-') || form[i] == '0' && !strings.ContainsRune("0123456789abcdef", rune(text[i])) {
			return false
		}
	}
	return true
}

// candidate is a join that may be made: child may hang on the span of another
// trace id.
type candidate struct {
	by        JoinedBy
	child     int32
	trace     int32
	span      pcommon.SpanID
	attribute string
}

// join hangs what has no parent in its own trace id on spans of others: the first
// candidate counts, and none that would make a circle. First comes what links say,
// then spans that were found first.
func (f *forest) join(correlation []string, h *holders) {
	f.journeys = make([]int32, len(f.ids))
	for t := range f.journeys {
		f.journeys[t] = int32(t)
	}
	if len(f.ids) < 2 {
		return
	}
	outer := f.outermost()
	before := int32(len(f.nodes))
	links, entering := f.byLinks(outer), f.entering(outer, correlation)
	f.sort(links)
	trees, ids := newSets(len(f.nodes)), newSets(len(f.ids))
	for i := range f.nodes {
		if p := f.nodes[i].parent; p != none {
			trees.unite(int32(i), p)
		}
	}
	made := func(c candidate) bool {
		parent := f.joined(c, &trees)
		if parent == none {
			return false
		}
		ids.unite(f.nodes[c.child].trace, c.trace)
		f.joins = append(f.joins, found[Join]{c.trace, Join{
			By: c.by, Trace: f.ids[f.nodes[c.child].trace], Parent: f.ref(parent), Child: f.ref(c.child), Attribute: c.attribute,
		}})
		return true
	}
	for _, c := range links {
		made(c)
	}
	for _, e := range entering {
		e.each(f, func(c candidate) bool { return !made(c) })
	}
	added := make([]int32, 0, int32(len(f.nodes))-before)
	for i := before; i < int32(len(f.nodes)); i++ {
		added = append(added, i)
	}
	f.describe(added, h)
	for t := range f.journeys {
		f.journeys[t] = ids.find(int32(t))
	}
}

// sort sorts candidates: what was found first comes first.
func (f *forest) sort(candidates []candidate) {
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(f.nodes[a.child].trace, f.nodes[b.child].trace),
			f.compare(a.child, b.child),
			cmp.Compare(a.trace, b.trace),
			slices.Compare(a.span[:], b.span[:]),
			strings.Compare(a.attribute, b.attribute),
		)
	})
}

// joined makes the join that a candidate says, if it can be, and returns the
// parent. A placeholder stands for one that isn't there.
func (f *forest) joined(c candidate, trees *sets) int32 {
	if f.nodes[c.child].parent != none {
		return none
	}
	parent, there := f.byID[c.trace][c.span]
	within := parent // a node of the tree that the parent is in
	if !there {
		within = f.roots[c.trace]
	}
	if within != none && !trees.unite(c.child, within) {
		return none
	}
	if !there {
		parent = f.placeholder(c.trace, c.span)
		*trees = append(*trees, parent)
		trees.unite(parent, c.child)
	}
	f.nodes[c.child].parent, f.nodes[c.child].linked = parent, c.by == ByLink
	return parent
}

// outermost is, of each node, the outermost span around it, if all on the way are
// of one organization; none if they aren't.
func (f *forest) outermost() []int32 {
	const unknown = -2
	outer := make([]int32, len(f.nodes))
	for i := range outer {
		outer[i] = unknown
	}
	var way []int32
	for i := range f.nodes {
		at := int32(i)
		for outer[at] == unknown && f.nodes[at].parent != none {
			way = append(way, at)
			at = f.nodes[at].parent
		}
		if outer[at] == unknown {
			outer[at] = at
		}
		for len(way) > 0 {
			inner := way[len(way)-1]
			way = way[:len(way)-1]
			if org := f.nodes[at].org; org == f.nodes[inner].org || f.nodes[at].placeholder {
				outer[inner] = outer[at]
			} else {
				outer[inner] = none
			}
			at = inner
		}
	}
	return outer
}

// restarts is what hangs on a span of another trace id where i says that it was
// called by that; none: nothing does.
func (f *forest) restarts(i int32, outer []int32) int32 {
	n := &f.nodes[i]
	if n.parent == none || entry(n.kind) {
		return outer[i]
	}
	return none
}

// entry says whether a request or message enters with a span of the kind.
func entry(kind ptrace.SpanKind) bool {
	return kind == ptrace.SpanKindServer || kind == ptrace.SpanKindConsumer
}

// exit says whether a request or message leaves with a span of the kind.
func exit(kind ptrace.SpanKind) bool {
	return kind == ptrace.SpanKindClient || kind == ptrace.SpanKindProducer
}

// byLinks are the joins that links say.
func (f *forest) byLinks(outer []int32) []candidate {
	var out []candidate
	for i := range outer {
		n := &f.nodes[i]
		if n.placeholder {
			continue
		}
		for _, link := range n.span.Links().All() {
			t, known := f.numbers[link.TraceID()]
			if !known || t == n.trace || f.byID[t] == nil || link.SpanID().IsEmpty() {
				continue
			}
			if c, ok := f.linked(int32(i), t, link.SpanID(), outer); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// linked is the join that a link of i says.
func (f *forest) linked(i, t int32, id pcommon.SpanID, outer []int32) (candidate, bool) {
	target, there := f.byID[t][id]
	if there && exit(f.nodes[i].kind) && f.nodes[target].parent == none && entry(f.nodes[target].kind) {
		if own := f.own(); f.nodes[target].org == own && f.nodes[i].org != own {
			return candidate{}, false // what called us isn't a partner's alone to say
		}
		return candidate{by: ByLink, child: target, trace: f.nodes[i].trace, span: f.nodes[i].id}, true
	}
	child := f.restarts(i, outer)
	return candidate{by: ByLink, child: child, trace: t, span: id}, child != none
}

// own is our own organization, where it has a piece; none: it hasn't.
func (f *forest) own() int32 {
	if len(f.pieces) > 0 && f.pieces[0].own {
		return number(f.orgs, f.pieces[0].org)
	}
	return none
}

// entering is a span on the way into an organization, with where it may hang.
type entering struct {
	child int32
	exits []leaving
}

// leaving are client and producer spans that carry the same value of an attribute
// as a span of an organization, in order of trace and span id.
type leaving struct {
	org       int32 // not of this one
	attribute string
	nodes     []int32
}

// entering are the spans that may hang on one that carries the same value, in the
// order in which they are joined. What each may hang on isn't listed: organizations
// that give many spans the same value would decide how much that is.
func (f *forest) entering(outer []int32, correlation []string) []entering {
	type same struct {
		child, org       int32
		attribute, value string
	}
	seen := map[same]bool{}
	at := map[int32]int{}
	var out []entering
	for _, attribute := range correlation {
		exits := f.exits(attribute)
		if len(exits) == 0 {
			continue
		}
		for i := range outer {
			n := &f.nodes[i]
			if n.placeholder || !entry(n.kind) {
				continue
			}
			child, value := f.restarts(int32(i), outer), carried(n.span, attribute)
			is := same{child, n.org, attribute, value}
			if child == none || len(exits[value]) == 0 || seen[is] {
				continue
			}
			seen[is] = true
			k, known := at[child]
			if !known {
				k = len(out)
				at[child] = k
				out = append(out, entering{child: child})
			}
			out[k].exits = append(out[k].exits, leaving{n.org, attribute, exits[value]})
		}
	}
	slices.SortFunc(out, func(a, b entering) int {
		return cmp.Or(cmp.Compare(f.nodes[a.child].trace, f.nodes[b.child].trace), f.compare(a.child, b.child))
	})
	return out
}

// each calls try with where the span may hang, in order, until it says not to go
// on.
func (e entering) each(f *forest, try func(candidate) (goOn bool)) {
	left := leavings{f, slices.Clone(e.exits)}
	heap.Init(&left)
	for len(left.all) > 0 {
		first := &left.all[0]
		x := &f.nodes[first.nodes[0]]
		c := candidate{by: ByBoundary, child: e.child, trace: x.trace, span: x.id, attribute: first.attribute}
		other := x.org != first.org && x.trace != f.nodes[e.child].trace
		if first.nodes = first.nodes[1:]; len(first.nodes) == 0 {
			heap.Pop(&left)
		} else {
			heap.Fix(&left, 0)
		}
		if other && !try(c) {
			return
		}
	}
}

// leavings is a heap, by what comes next of each.
type leavings struct {
	f   *forest
	all []leaving
}

func (l *leavings) Len() int      { return len(l.all) }
func (l *leavings) Swap(i, j int) { l.all[i], l.all[j] = l.all[j], l.all[i] }
func (l *leavings) Push(x any)    { l.all = append(l.all, x.(leaving)) } //nolint:errcheck,forcetypeassert // ours alone

func (l *leavings) Less(i, j int) bool {
	a, b := &l.all[i], &l.all[j]
	return cmp.Or(l.f.byIDs(a.nodes[0], b.nodes[0]), strings.Compare(a.attribute, b.attribute)) < 0
}

func (l *leavings) Pop() any {
	last := l.all[len(l.all)-1]
	l.all = l.all[:len(l.all)-1]
	return last
}

// byIDs is the order of nodes by trace and span id.
func (f *forest) byIDs(a, b int32) int {
	x, y := &f.nodes[a], &f.nodes[b]
	return cmp.Or(cmp.Compare(x.trace, y.trace), slices.Compare(x.id[:], y.id[:]))
}

// exits are the client and producer spans that carry a value of an attribute: the
// first of each organization and trace id, in order of trace and span id.
func (f *forest) exits(attribute string) map[string][]int32 {
	type of struct {
		value      string
		org, trace int32
	}
	first := map[of]int32{}
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.placeholder || !exit(n.kind) {
			continue
		}
		value := carried(n.span, attribute)
		if value == "" {
			continue
		}
		is := of{value, n.org, n.trace}
		if was, known := first[is]; !known || f.before(int32(i), was) {
			first[is] = int32(i)
		}
	}
	exits := map[string][]int32{}
	for is, i := range first {
		exits[is.value] = append(exits[is.value], i)
	}
	for _, nodes := range exits {
		slices.SortFunc(nodes, func(a, b int32) int { return cmp.Or(f.byIDs(a, b), cmp.Compare(a, b)) })
	}
	return exits
}

// carried is the value of an attribute that a span carries as text.
func carried(s ptrace.Span, attribute string) string {
	v, ok := s.Attributes().Get(attribute)
	if !ok || v.Type() != pcommon.ValueTypeStr {
		return ""
	}
	return v.Str()
}

// sets are disjoint sets of numbers, of which each is in one of its own at first.
type sets []int32

func newSets(n int) sets {
	s := make(sets, n)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}

// find names the set that a number is in by its least member.
func (s sets) find(i int32) int32 {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

// unite makes one set of two, and says whether they were two.
func (s sets) unite(a, b int32) bool {
	a, b = s.find(a), s.find(b)
	if a == b {
		return false
	}
	s[max(a, b)] = min(a, b)
	return true
}
