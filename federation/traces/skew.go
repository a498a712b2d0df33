package traces

import (
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Clocks of organizations differ, and of those within one nothing is known. So one
// shift for each organization is added to the times of its spans in a trace. What
// it may be follows from who called whom: where a span and its parent are of
// different organizations,
//
//	it doesn't begin before its parent
//	a server span doesn't end after its client span, unless the client gave up: it
//	failed, or its owner may withhold that it did, and had no response that is known
//
// Each says that the difference of two shifts is at most so much. The tightest form
// of all of them together are the shortest paths between organizations, where
// these numbers are lengths (Bellman 1958). They contradict one another where a
// path comes back to where it began and its length is less than zero.

// unbounded is the length of no path.
const unbounded = int64(math.MaxInt64)

// clocks are the shifts of the organizations of a journey, numbered as there: that
// of the root is 0, and its shift is zero.
type clocks struct {
	// most[a][b] is how much more the shift of b is than that of a, at most.
	most        [][]int64
	shift       []int64
	contradicts []bool
	at          map[int32]int // where an organization of the forest is
}

// reconcile finds the shifts, in steps:
//
//  1. The bounds of all spans and their parents are collected.
//  2. They are taken in organization by organization, the nearest to the root
//     first. One whose bounds contradict those before isn't moved, and tells nothing
//     of others.
//  3. One organization after the other, the nearest to the root first, gets the
//     smallest shift that goes with those before it.
func (j *journey) reconcile() *clocks {
	n := len(j.orgs)
	c := &clocks{most: noPaths(n), shift: make([]int64, n), contradicts: make([]bool, n), at: make(map[int32]int, n)}
	for k, org := range j.orgs {
		c.at[org] = k
	}
	if n < 2 {
		return c
	}
	bounds := j.bounds(c.at)
	taken := noPaths(n)
	for k := 1; k < n; k++ {
		for o := range k {
			taken[o][k], taken[k][o] = bounds[o][k], bounds[k][o]
		}
		if c.most = shortest(taken); c.most[k][k] >= 0 {
			continue
		}
		c.contradicts[k] = true
		for o := range n {
			if o != k {
				taken[o][k], taken[k][o] = unbounded, unbounded
				bounds[o][k], bounds[k][o] = unbounded, unbounded
			}
		}
		c.most = shortest(taken)
	}
	left := make([][]int64, n)
	for a := range left {
		left[a] = slices.Clone(c.most[a])
	}
	for k := 1; k < n; k++ {
		if c.contradicts[k] {
			continue
		}
		c.shift[k] = max(-left[k][0], min(0, left[0][k]))
		fix(left, k, c.shift[k])
	}
	return c
}

// noPaths are no bounds of n shifts.
func noPaths(n int) [][]int64 {
	m := make([][]int64, n)
	for a := range m {
		m[a] = make([]int64, n)
		for b := range m[a] {
			if a != b {
				m[a][b] = unbounded
			}
		}
	}
	return m
}

// bounds are those that spans and their parents give.
func (j *journey) bounds(at map[int32]int) [][]int64 {
	m := noPaths(len(j.orgs))
	for _, i := range j.order {
		n := &j.f.nodes[i]
		if n.parent == none {
			continue
		}
		p := &j.f.nodes[n.parent]
		if n.org == p.org || n.org == none || p.org == none || n.placeholder || p.placeholder || n.broken || p.broken {
			continue
		}
		caller, called := at[p.org], at[n.org]
		m[called][caller] = min(m[called][caller], n.start-p.start)
		if waits(p, n) {
			m[caller][called] = min(m[caller][called], p.end-n.end)
		}
	}
	return m
}

// waits says whether a span is sure to last until its child ends.
func waits(p, n *knot) bool {
	return p.kind == ptrace.SpanKindClient && n.kind == ptrace.SpanKindServer && !p.gaveUp && !n.linked
}

// shortest are the lengths of the shortest paths.
func shortest(bounds [][]int64) [][]int64 {
	m := make([][]int64, len(bounds))
	for a := range m {
		m[a] = slices.Clone(bounds[a])
	}
	for via := range m {
		for a := range m {
			for b := range m {
				m[a][b] = min(m[a][b], along(m[a][via], m[via][b]))
			}
		}
	}
	return m
}

// along is the length of two paths, one after the other.
func along(a, b int64) int64 {
	switch {
	case a == unbounded || b == unbounded:
		return unbounded
	case a > 0 && b > unbounded-1-a:
		return unbounded - 1
	case a < 0 && b < -unbounded-a:
		return -unbounded
	}
	return a + b
}

// fix makes the shift of k a number, in lengths of shortest paths.
func fix(m [][]int64, k int, shift int64) {
	to, from := make([]int64, len(m)), make([]int64, len(m))
	for a := range m {
		to[a] = min(along(m[a][0], shift), m[a][k])    // to k
		from[a] = min(along(-shift, m[0][a]), m[k][a]) // from k
	}
	for a := range m {
		for b := range m {
			m[a][b] = min(m[a][b], along(to[a], from[b]))
		}
	}
}

// between is what the shift of b less that of a may be, beside what it is: zero
// lies in it. a and b are organizations of the forest.
func (c *clocks) between(a, b int32) Interval {
	if a == b {
		return Interval{}
	}
	x, knownA := c.at[a]
	y, knownB := c.at[b]
	if !knownA || !knownB {
		return Interval{Min: -Unbounded, Max: Unbounded}
	}
	is := c.shift[y] - c.shift[x]
	out := Interval{Min: -Unbounded, Max: Unbounded}
	if most := c.most[x][y]; most != unbounded {
		out.Max = time.Duration(along(most, -is))
	}
	if most := c.most[y][x]; most != unbounded {
		out.Min = time.Duration(-along(most, is))
	}
	return out
}

// move adds the shifts to the times of the nodes. Placeholders last as long as
// what hangs on them.
func (j *journey) move(c *clocks) {
	for _, i := range j.order {
		n := &j.f.nodes[i]
		if k, ok := c.at[n.org]; ok && !n.placeholder {
			n.start, n.end = moved(n.start, c.shift[k]), moved(n.end, c.shift[k])
		}
	}
	for _, i := range slices.Backward(j.order) {
		n := &j.f.nodes[i]
		if !n.placeholder {
			continue
		}
		n.start, n.end = latest, 0
		for _, kid := range j.f.children(i) {
			n.start, n.end = min(n.start, j.f.nodes[kid].start), max(n.end, j.f.nodes[kid].end)
		}
	}
}

// moved is a time after a shift.
func moved(at, shift int64) int64 { return min(max(along(at, shift), 0), latest) }

// report is what is told of the clocks.
func (c *clocks) report(j *journey) []Clock {
	out := make([]Clock, 0, len(j.orgs))
	for k, org := range j.orgs {
		clock := Clock{
			Org: j.f.orgs[org], Shift: time.Duration(c.shift[k]), Contradicts: c.contradicts[k],
			Possible: Interval{Min: -Unbounded, Max: Unbounded},
		}
		if most := c.most[0][k]; most != unbounded {
			clock.Possible.Max = time.Duration(most)
		}
		if most := c.most[k][0]; most != unbounded {
			clock.Possible.Min = -time.Duration(most)
		}
		clock.Unbounded = !clock.Contradicts && clock.Possible == Interval{Min: -Unbounded, Max: Unbounded}
		out = append(out, clock)
	}
	slices.SortFunc(out, func(a, b Clock) int { return compareOrgs(a.Org, b.Org) })
	return out
}
