package traces

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// How far a trace is followed under other ids.
const (
	maxRounds = 3
	maxJoined = 16 // trace ids of one question, those asked for not counted
	// maxClues is how many values are looked for at once.
	maxClues = 64
	// maxClueBytes is how long a value may be by which a request is recognized.
	maxClueBytes = 256
	// maxApart is by how much what one organization says of time makes others look
	// further.
	maxApart = 24 * time.Hour
)

// gathering is what was gathered for one question.
type gathering struct {
	config      FederatedConfig
	correlation []string // attributes, those of all organizations
	q           Question
	members     []Member

	ids    []pcommon.TraceID // in the order in which they were found
	known  map[pcommon.TraceID]bool
	has    map[given]bool // what was given, or isn't there
	pieces []piece
	// fetched are the parts of asking for traces, and searched those of looking for
	// more of them, of each organization.
	fetched, searched map[tenants.OrgID][]federation.Part
	unfollowed        []pcommon.TraceID
}

func newGathering(c FederatedConfig, q Question, members []Member) *gathering {
	g := &gathering{
		config: c, q: q, members: members, known: map[pcommon.TraceID]bool{}, has: map[given]bool{},
		fetched: map[tenants.OrgID][]federation.Part{}, searched: map[tenants.OrgID][]federation.Part{},
		correlation: []string{Traceparent},
	}
	for _, m := range members {
		for _, attribute := range g.agreed(m.Org) {
			if !slices.Contains(g.correlation, attribute) {
				g.correlation = append(g.correlation, attribute)
			}
		}
	}
	slices.Sort(g.correlation[1:])
	return g
}

// agreed are the attributes of which it was agreed with an organization that they
// tell requests.
func (g *gathering) agreed(org tenants.OrgID) []string {
	if g.config.Correlation == nil {
		return nil
	}
	return g.config.Correlation(org)
}

// fetch asks the members for traces, each for those that it hasn't given yet. The
// error is for when none answered.
func (g *gathering) fetch(ctx context.Context, q Question) error {
	for _, id := range q.IDs {
		g.know(id)
	}
	all := askEach(ctx, g.members, func(m *Member) (Question, bool) {
		own := q
		own.IDs = slices.DeleteFunc(slices.Clone(q.IDs), func(id pcommon.TraceID) bool { return g.has[given{m.Org, id}] })
		return own, len(own.IDs) > 0
	})
	for _, a := range all {
		g.fetched[a.member.Org] = append(g.fetched[a.member.Org], a.part)
		g.take(a, func(id pcommon.TraceID) bool { return slices.Contains(a.q.IDs, id) })
	}
	_, err := all.outcome()
	return err
}

// know notes that there is a trace id.
func (g *gathering) know(id pcommon.TraceID) {
	if !g.known[id] {
		g.known[id] = true
		g.ids = append(g.ids, id)
	}
}

// take takes from an answer the traces that are wanted. What an organization gave
// it isn't asked for again.
func (g *gathering) take(a answer, wanted func(pcommon.TraceID) bool) {
	if a.released == nil {
		return
	}
	for _, t := range a.released.traces {
		if by := (given{a.member.Org, t.ID}); wanted(t.ID) && !g.has[by] {
			g.has[by] = true
			g.know(t.ID)
			g.pieces = append(g.pieces, piece{org: a.member.Org, own: a.member.Own, id: t.ID, spans: t.Spans})
		}
	}
	for _, id := range a.q.IDs {
		g.has[given{a.member.Org, id}] = true // or hasn't got it
	}
}

// given is an organization's piece of a trace id.
type given struct {
	org tenants.OrgID
	id  pcommon.TraceID
}

// holders is what became of asking for the traces.
func (g *gathering) holders() *holders {
	h := &holders{sampling: g.config.Sampling}
	for org, parts := range g.fetched {
		h.parts = append(h.parts, federation.Sum(org, parts))
	}
	h.parts.Sort()
	return h
}

// completeness has a part for each member: of all it was asked.
func (g *gathering) completeness() federation.Completeness {
	out := make(federation.Completeness, 0, len(g.members))
	for _, m := range g.members {
		out = append(out, federation.Sum(m.Org, append(slices.Clone(g.searched[m.Org]), g.fetched[m.Org]...)))
	}
	out.Sort()
	return out
}

// follow finds the trace ids under which the traces go on, and returns the forest
// of all that was found. It goes on until nothing more is found, for three rounds
// and sixteen trace ids at most.
func (g *gathering) follow(ctx context.Context) *forest {
	looked := map[clue]bool{}
	for round := 0; ; round++ {
		f := grow(g.ids, g.pieces, g.correlation, g.holders())
		next := f.named()
		next = append(next, g.look(ctx, f, looked)...)
		next = g.bounded(next, round)
		if len(next) == 0 {
			return f
		}
		before := len(g.pieces)
		// They are at other times, maybe.
		if err := g.fetch(ctx, Question{Kind: policy.Trace, IDs: next}); err != nil || len(g.pieces) == before {
			// That nobody answered is in their parts.
			return grow(g.ids, g.pieces, g.correlation, g.holders())
		}
	}
}

// bounded are the ids that are asked for next: none twice, and not too many.
func (g *gathering) bounded(ids []pcommon.TraceID, round int) []pcommon.TraceID {
	var next []pcommon.TraceID
	for _, id := range ids {
		if id.IsEmpty() || g.known[id] || slices.Contains(next, id) {
			continue
		}
		if round == maxRounds || len(g.ids)-len(g.q.IDs)+len(next) >= maxJoined {
			if len(g.unfollowed) < maxJoined && !slices.Contains(g.unfollowed, id) {
				g.unfollowed = append(g.unfollowed, id)
			}
			continue
		}
		next = append(next, id)
	}
	return next
}

// clue is by what a trace may be found that is the same under another id: its
// spans link to this one, or carry this value of an attribute.
type clue struct {
	attribute string // empty: a link
	value     string
}

func (c clue) String() string {
	if c.attribute == "" {
		return fmt.Sprintf("link:traceID = %q", c.value)
	}
	return fmt.Sprintf("%s = %q", traceql.Attribute{Scope: traceql.ScopeSpan, Name: c.attribute}, c.value)
}

// look asks the members for traces by the clues in those there are. What becomes
// of that is a matter of its own: an organization that doesn't let itself be
// searched gave what was asked for, but not all that may belong to it.
func (g *gathering) look(ctx context.Context, f *forest, looked map[clue]bool) []pcommon.TraceID {
	if g.config.JoinAfter < 0 {
		return nil
	}
	clues := slices.DeleteFunc(f.clues(g.correlation), func(c clue) bool { return looked[c] })
	clues = limited(clues, maxClues)
	if len(clues) == 0 {
		return nil
	}
	for _, c := range clues {
		looked[c] = true
	}
	ctx, cancel := context.WithTimeout(ctx, g.config.JoinPatience)
	defer cancel()
	start, end := f.extent()
	q := Question{Kind: policy.Search, Limit: maxJoined, Start: time.Unix(0, start).Add(-g.config.JoinBefore), End: time.Unix(0, end).Add(g.config.JoinAfter)}
	all := askEach(ctx, g.answering(), func(m *Member) (Question, bool) {
		own := q
		own.Expression = g.filterOf(m, clues)
		return own, own.Expression != ""
	})
	var ids []pcommon.TraceID
	for _, a := range all {
		if a.err != nil {
			a.part.Status, a.part.Reason = federation.Partial, "it could not be asked for what goes on under other trace ids: "+a.part.Reason
		}
		g.searched[a.member.Org] = append(g.searched[a.member.Org], a.part)
		if a.released != nil {
			for _, t := range a.released.traces {
				ids = append(ids, t.ID)
			}
		}
	}
	slices.SortFunc(ids, func(a, b pcommon.TraceID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// filterOf is what a member is asked for by clues: what was agreed with it, since
// values are told by asking. Our own organization is asked for what somebody else
// may be. Empty: nothing.
func (g *gathering) filterOf(m *Member, clues []clue) string {
	var terms []string
	for _, c := range clues {
		if m.Own && g.agreedOnWithAny(c) || !m.Own && g.agreedOn(m.Org, c) {
			terms = append(terms, c.String())
		}
	}
	if len(terms) == 0 {
		return ""
	}
	return "{" + strings.Join(terms, " || ") + "}"
}

// agreedOn says whether it was agreed with an organization that traces go on by
// what a clue is of.
func (g *gathering) agreedOn(org tenants.OrgID, c clue) bool {
	if c.attribute == "" || c.attribute == Traceparent {
		return g.config.Restarts == nil || g.config.Restarts(org)
	}
	return slices.Contains(g.agreed(org), c.attribute)
}

// agreedOnWithAny says it of anybody.
func (g *gathering) agreedOnWithAny(c clue) bool {
	return g.config.Restarts == nil || slices.ContainsFunc(g.members, func(m Member) bool { return !m.Own && g.agreedOn(m.Org, c) })
}

// answering are the members that answered when they were asked for the traces.
func (g *gathering) answering() []Member {
	var out []Member
	for _, m := range g.members {
		if !slices.ContainsFunc(g.fetched[m.Org], func(p federation.Part) bool {
			return p.Status != federation.Complete && p.Status != federation.Partial
		}) {
			out = append(out, m)
		}
	}
	return out
}

// extent is when the spans begin and end. What an organization says of that is
// believed as far as it isn't far from what others say: our own spans say it, or
// else those that say the least.
func (f *forest) extent() (start, end int64) {
	extents := make([]extent, len(f.orgs))
	for i := range f.nodes {
		if n := &f.nodes[i]; n.org != none && !n.placeholder && !n.broken {
			extents[n.org].add(n.start, n.end)
		}
	}
	var surest *extent
	for o := range extents {
		if e := &extents[o]; e.known && (surest == nil || e.end-e.start < surest.end-surest.start) {
			surest = e
		}
	}
	if len(f.pieces) > 0 && f.pieces[0].own {
		if own := &extents[number(f.orgs, f.pieces[0].org)]; own.known {
			surest = own
		}
	}
	if surest == nil {
		return 0, 0
	}
	start, end = max(surest.start, surest.end-int64(maxApart)), surest.end
	earliest, last := start-int64(maxApart), end+int64(maxApart)
	for _, e := range extents {
		if e.known {
			start, end = min(start, max(e.start, earliest)), max(end, min(e.end, last))
		}
	}
	return start, end
}

// extent is when spans begin and end.
type extent struct {
	known      bool
	start, end int64
}

func (e *extent) add(start, end int64) {
	if !e.known {
		*e = extent{true, start, end}
	}
	e.start, e.end = min(e.start, start), max(e.end, end)
}

// named are trace ids that aren't here and that links name: of what has no parent,
// as what called it, the first one; of a client or producer span, as what it
// called.
func (f *forest) named() []pcommon.TraceID {
	outer := f.outermost()
	var calling []linked
	var called []pcommon.TraceID
	for i := range outer {
		n := &f.nodes[i]
		if n.placeholder {
			continue
		}
		for _, link := range n.span.Links().All() {
			if _, known := f.numbers[link.TraceID()]; known {
				continue
			}
			switch child := f.restarts(int32(i), outer); {
			case child != none && f.nodes[child].parent == none:
				calling = append(calling, linked{child, int32(i), link.TraceID()})
			case exit(n.kind):
				called = append(called, link.TraceID())
			}
		}
	}
	slices.SortStableFunc(calling, func(a, b linked) int {
		if a.child != b.child {
			return f.compare(a.child, b.child)
		}
		return f.compare(a.by, b.by)
	})
	var out []pcommon.TraceID
	for k, l := range calling {
		if k == 0 || calling[k-1].child != l.child {
			out = append(out, l.to)
		}
	}
	slices.SortFunc(called, func(a, b pcommon.TraceID) int { return slices.Compare(a[:], b[:]) })
	return append(out, slices.Compact(called)...)
}

// linked is a link that may say where a span hangs.
type linked struct {
	child, by int32
	to        pcommon.TraceID
}

// clues are by what more of the traces may be found. A trace goes on under another
// id where a request or message leaves and nothing that enters hangs on it; and
// what came before it is found by the values that its beginning carries.
func (f *forest) clues(correlation []string) []clue {
	seen := map[clue]bool{}
	var out []clue
	add := func(c clue) {
		if c.value != "" && len(c.value) <= maxClueBytes && !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	outer := f.outermost()
	for _, link := range []bool{true, false} {
		for i := range outer {
			n := &f.nodes[i]
			open := f.leaves(int32(i))
			switch {
			case link:
				if open || n.placeholder {
					add(clue{value: f.ids[n.trace].String()})
				}
			case n.placeholder:
			case open || entry(n.kind) && f.open(int32(i), outer):
				for _, attribute := range correlation {
					// All are asked for those, whatever was agreed.
					if value := carried(n.span, attribute); attribute != Traceparent || isTraceparent(value) {
						add(clue{attribute, value})
					}
				}
			}
		}
	}
	return out
}

// leaves says whether a request or message leaves with a span and nothing is known
// of where it went.
func (f *forest) leaves(i int32) bool {
	n := &f.nodes[i]
	if n.placeholder || !exit(n.kind) || callsDatabase(n.span) {
		return false
	}
	return !slices.ContainsFunc(f.children(i), func(kid int32) bool { return entry(f.nodes[kid].kind) })
}

// open says whether nothing is known of what called i.
func (f *forest) open(i int32, outer []int32) bool {
	child := f.restarts(i, outer)
	return child != none && f.nodes[child].parent == none
}
