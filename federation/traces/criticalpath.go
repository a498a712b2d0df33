package traces

import (
	"cmp"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/tenants"
)

// The critical path goes back from the end of the root: while the last child to
// end before now ran, the time is that child's, and so on within it; the rest is
// the span's own. So Jaeger defines it, and so do Zhang and others, "CRISP"
// (USENIX ATC 2022).
//
// Where a child lies in its parent isn't always known, as clocks are known up to an
// interval. Such a child may be anywhere in a stretch of its parent. If the stretch
// is its alone, it doesn't matter where in it: its own length counts, and the rest
// of the stretch is the parent's. What surely ran beside one that ended later doesn't
// matter either. Of the rest, any of those that may have run in it may have had any.
//
// So it is with withheld spans: which of those that were folded were on the path is
// not known, nor what called what hangs on them: it may have been the span around
// them as well. They and their children count as children of that.

// party is whose time it is: an organization's, or the network's from one to
// another. none and none are nobody's that is known.
type party struct{ org, to int32 }

var nobody = party{none, none}

// spending is how the time of a journey was spent.
type spending struct {
	j       *journey
	clocks  *clocks
	holes   bool // somebody may hold spans that aren't there
	whole   time.Duration
	shares  map[party]*Interval
	begun   map[party]int64
	path    []int32
	pending []stretch
	parties []party // of one span, to be used again
}

// stretch is time of a span on the critical path.
type stretch struct {
	node     int32
	from, to int64
}

// blame is who spent the time of the journey.
func (j *journey) blame(c *clocks, holes bool) Blame {
	root := &j.f.nodes[j.root]
	s := &spending{j: j, clocks: c, holes: holes, whole: time.Duration(root.end - root.start), shares: map[party]*Interval{}, begun: map[party]int64{}}
	s.pending = append(s.pending, stretch{j.root, root.start, root.end})
	for len(s.pending) > 0 {
		next := s.pending[len(s.pending)-1]
		s.pending = s.pending[:len(s.pending)-1]
		s.spend(next)
	}
	out := Blame{Duration: s.whole, Shares: s.told(), ErrorOrigin: j.errorOrigin()}
	slices.SortFunc(s.path, func(a, b int32) int {
		if x, y := &j.f.nodes[a], &j.f.nodes[b]; x.start == y.start && x.end != y.end {
			return -cmp.Compare(x.end, y.end)
		}
		return j.f.compare(a, b)
	})
	for _, i := range s.path {
		out.Critical = append(out.Critical, j.f.ref(i))
	}
	return out
}

// told are the shares in the order in which they begin.
func (s *spending) told() []Share {
	parties := make([]party, 0, len(s.shares))
	for p := range s.shares {
		parties = append(parties, p)
	}
	slices.SortFunc(parties, func(a, b party) int {
		return cmp.Or(cmp.Compare(s.begun[a], s.begun[b]), cmp.Compare(a.org, b.org), cmp.Compare(a.to, b.to))
	})
	name := func(org int32) tenants.OrgID {
		if org == none {
			return ""
		}
		return s.j.f.orgs[org]
	}
	shares := make([]Share, 0, len(parties))
	for _, p := range parties {
		shares = append(shares, Share{Org: name(p.org), To: name(p.to), Time: *s.shares[p]})
	}
	return shares
}

// give gives time to a party.
func (s *spending) give(p party, at int64, least, most int64) {
	if most <= 0 {
		return
	}
	share := s.shares[p]
	if share == nil {
		share = &Interval{}
		s.shares[p], s.begun[p] = share, at
	}
	share.Min += time.Duration(least)
	share.Max = min(s.whole, share.Max+time.Duration(most))
	s.begun[p] = min(s.begun[p], at)
}

// spend cuts a stretch of a span into what is its own and what is its children's.
func (s *spending) spend(x stretch) {
	if x.to <= x.from {
		return
	}
	s.path = append(s.path, x.node)
	own := x.to - x.from
	for _, group := range s.grouped(s.within(x)) {
		if !group.certain && len(group.kids) > 1 {
			theirs, left := s.peel(group)
			own -= theirs
			for _, rest := range s.grouped(left) {
				own -= s.pass(x.node, rest)
			}
			continue
		}
		own -= s.pass(x.node, group)
	}
	s.keep(x, own)
}

// pass passes time of a span on to its children, and returns how much.
func (s *spending) pass(of int32, g siblings) int64 {
	switch {
	case g.certain:
		return s.walk(g)
	case len(g.kids) == 1 && g.fits:
		n := &s.j.f.nodes[g.kids[0].node]
		s.pending = append(s.pending, stretch{g.kids[0].node, n.start, n.end})
		return n.end - n.start
	}
	s.share(of, g)
	return g.to - g.from
}

// peel goes back through children of which not all are known to lie somewhere, as
// long as it is certain which was the last to end. It returns how much of the time
// is theirs, and the children that may have some of the rest.
func (s *spending) peel(g siblings) (theirs int64, left []child) {
	kids := s.backward(g.kids)
	now := g.to
	for len(kids) > 0 {
		last := kids[0]
		if last.to <= now && (len(left) > 0 || !last.certain || len(kids) > 1 && kids[1].to == last.to) {
			break
		}
		kids = kids[1:]
		switch {
		case last.to <= now:
			s.pending = append(s.pending, stretch{last.node, last.from, last.to})
			theirs += last.to - last.from
			now = last.from
		case last.ends <= now && last.from < now:
			last.to, last.certain, last.fits = now, false, false
			left = append(left, last)
		default: // it ran beside a later one
		}
	}
	return theirs, append(left, kids...)
}

// child is where a child may lie in its parent.
type child struct {
	node     int32
	from, to int64
	ends     int64 // not before
	certain  bool
	fits     bool // wherever it may lie, it is in its parent as a whole
}

// siblings are children whose stretches overlap, and nobody else's.
type siblings struct {
	kids     []child
	from, to int64
	certain  bool
	fits     bool
}

// grouped are children as siblings, in order.
func (s *spending) grouped(kids []child) []siblings {
	slices.SortFunc(kids, func(a, b child) int {
		if a.from != b.from {
			return cmp.Compare(a.from, b.from)
		}
		return s.j.f.compare(a.node, b.node)
	})
	var out []siblings
	for _, k := range kids {
		if last := len(out) - 1; last >= 0 && k.from < out[last].to {
			g := &out[last]
			g.kids, g.to = append(g.kids, k), max(g.to, k.to)
			g.certain = g.certain && k.certain
			continue
		}
		out = append(out, siblings{kids: []child{k}, from: k.from, to: k.to, certain: k.certain, fits: k.fits})
	}
	return out
}

// within are the children of a span that have time in a stretch of it. Consumers
// don't: nobody waits for them.
func (s *spending) within(x stretch) []child {
	var out []child
	f := s.j.f
	if f.nodes[x.node].withheld && x.node != s.j.root {
		return nil // they are children of what is around it
	}
	kids := f.children(x.node)
	var behind []int32 // what is withheld
	for len(kids) > 0 || len(behind) > 0 {
		if len(kids) == 0 {
			kids, behind = f.children(behind[0]), behind[1:]
			continue
		}
		i := kids[0]
		kids = kids[1:]
		n := &f.nodes[i]
		if n.kind == ptrace.SpanKindConsumer {
			continue
		}
		k := s.locate(&f.nodes[x.node], n)
		k.node = i
		if n.withheld || f.nodes[n.parent].withheld {
			k.certain, k.ends = false, math.MinInt64
		}
		k.fits = k.from >= x.from && k.to <= x.to
		k.from, k.to = max(k.from, x.from), min(k.to, x.to)
		if k.from < k.to {
			out = append(out, k)
		}
		if n.withheld {
			behind = append(behind, i)
		}
	}
	return out
}

// locate is where a child may lie.
func (s *spending) locate(parent, n *knot) child {
	if parent.clock == n.clock {
		return child{from: n.start, to: n.end, ends: n.end, certain: true}
	}
	between := s.clocks.between(parent.clock, n.clock)
	k := child{from: math.MinInt64, to: math.MaxInt64, ends: math.MinInt64, certain: between == Interval{}}
	if between.Min != -Unbounded {
		k.from, k.ends = along(n.start, int64(between.Min)), along(n.end, int64(between.Min))
	}
	if between.Max != Unbounded {
		k.to = along(n.end, int64(between.Max))
	}
	return k
}

// walk goes back through children of which is known when they ran. It returns how
// much of the time is theirs.
func (s *spending) walk(g siblings) int64 {
	theirs, now := int64(0), g.to
	for _, k := range s.backward(g.kids) {
		if k.to > now {
			continue // it ran beside a later one
		}
		s.pending = append(s.pending, stretch{k.node, k.from, k.to})
		theirs += k.to - k.from
		now = k.from
	}
	return theirs
}

// backward are children in the order in which they are gone back through.
func (s *spending) backward(kids []child) []child {
	slices.SortFunc(kids, func(a, b child) int {
		if a.to == b.to && a.from == b.from {
			return s.j.f.compare(a.node, b.node)
		}
		return cmp.Or(-cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from))
	})
	return kids
}

// share gives time of a span to all who may have had it. What is below a child had
// no more of it than the child may have; the rest is sure to be the span's own.
func (s *spending) share(of int32, g siblings) {
	own := s.own(nil, of)
	most := map[party]int64{}
	rest, covered := g.to-g.from, g.from
	for _, k := range g.kids {
		parties := s.below(k.node)
		if len(own) == 1 && len(parties) == 1 && parties[own[0]] {
			continue
		}
		for p := range parties {
			most[p] = min(g.to-g.from, most[p]+k.to-k.from)
		}
		rest -= max(0, k.to-max(k.from, covered))
		covered = max(covered, k.to)
	}
	if len(own) > 1 {
		rest = 0 // of which one isn't known
	}
	for _, p := range own {
		delete(most, p)
		s.give(p, g.from, rest, g.to-g.from)
	}
	for p, time := range most {
		s.give(p, g.from, 0, time)
	}
}

// below is whose the time of a child may be. What is withheld has no children: they
// stand beside it.
func (s *spending) below(child int32) map[party]bool {
	parties := map[party]bool{}
	left := []int32{child}
	for len(left) > 0 {
		i := left[len(left)-1]
		left = left[:len(left)-1]
		s.parties = s.own(s.parties[:0], i)
		for _, p := range s.parties {
			parties[p] = true
		}
		if i != child || !s.j.f.nodes[i].withheld {
			left = append(left, s.j.f.children(i)...)
		}
	}
	return parties
}

// keep gives a span's own time to whose it is.
func (s *spending) keep(x stretch, own int64) {
	s.parties = s.own(s.parties[:0], x.node)
	least := own
	if len(s.parties) > 1 {
		least = 0
	}
	for _, p := range s.parties {
		s.give(p, x.from, least, own)
	}
}

// own adds whose a span's own time may be. That of a client span is the network's,
// to where it called, as it does nothing but wait; if nothing hangs on it and
// somebody holds spans that aren't there, it may be theirs. If a span called
// another organization and there is no client span of that, its own time may be
// the network's.
func (s *spending) own(out []party, i int32) []party {
	n := &s.j.f.nodes[i]
	if n.org == none {
		return append(out, nobody)
	}
	kids := s.j.f.children(i)
	for _, kid := range kids {
		k := &s.j.f.nodes[kid]
		network := party{n.org, k.org}
		if k.org != none && k.org != n.org && k.kind != ptrace.SpanKindConsumer && !slices.Contains(out, network) {
			out = append(out, network)
		}
	}
	if n.kind != ptrace.SpanKindClient || len(out) == 0 {
		out = append(out, party{n.org, none})
	}
	if n.kind == ptrace.SpanKindClient && len(kids) == 0 && s.holes {
		out = append(out, nobody)
	}
	return out
}

// errorOrigin is the deepest span with an error all of whose ancestors have one,
// as far as one can see: of what is withheld or missing nothing is known.
func (j *journey) errorOrigin() *SpanRef {
	depth := map[int32]int{}
	var origin int32 = none
	deepest := -1
	for _, i := range j.order {
		n := &j.f.nodes[i]
		above := -1
		if n.parent != none {
			d, ok := depth[n.parent]
			if !ok {
				continue
			}
			above = d
		} else if i != j.root {
			continue
		}
		switch {
		case n.failed:
			depth[i] = above + 1
			if above+1 > deepest || above+1 == deepest && j.f.before(i, origin) {
				origin, deepest = i, above+1
			}
		case n.withheld || n.placeholder:
			depth[i] = above + 1
		}
	}
	if origin == none {
		return nil
	}
	ref := j.f.ref(origin)
	return &ref
}
