package traces

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// entries are the spans that others called, in TraceQL.
const entries = "{ kind = server || kind = consumer }"

// dependencyRounds is how many times as many traces of each organization as are
// looked at for a search are looked at to count calls between organizations: more
// would take too many of the questions that partners answer in a minute.
const dependencyRounds = 8

// answerDependencies sums up what each organization knows of calls between its own
// services, and counts the calls between organizations in traces that are put
// together: a span there and its parent here are in no one's store. Those are
// looked at part by part of the time, the latest first; if there are more than are
// looked at the answer says so.
func (f *Federated) answerDependencies(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	all := askAll(ctx, q, members)
	parts, err := all.outcome()
	if err != nil {
		return nil, parts, err
	}
	out := mergeListings(q, all)
	var answered []Member
	for _, a := range all {
		if a.err == nil {
			answered = append(answered, *a.member)
		}
	}
	if len(answered) < 2 {
		return out, parts, nil
	}
	search := Question{Kind: policy.Search, Expression: q.Expression, Start: q.Start, End: q.End, Limit: f.config.MaxCandidates}
	if search.Expression == "" {
		search.Expression = entries
	}
	expr, err := parse(search.Expression)
	if err != nil {
		return nil, parts, err
	}
	crossed, looked := f.crossings(ctx, search, expr, answered)
	out.dependencies = summed(append(out.dependencies, crossed...))
	return out, looked.beside(parts), nil
}

// crossings counts the calls from one organization to another. All that is left of
// what was looked at is what became of it.
func (f *Federated) crossings(ctx context.Context, search Question, expr *traceql.Expr, members []Member) ([]Dependency, *searching) {
	var out []Dependency
	var before *searching
	for round := 1; ; round++ {
		s := newSearching(f.config, search, expr, members)
		failed := s.ask(ctx, search.Limit) != nil
		s.since(before)
		before = s
		if failed {
			return out, s
		}
		from := s.countedFrom()
		last := len(s.cut) == 0 || round == dependencyRounds || !from.Before(search.End) || s.partial()
		if last {
			from = search.Start
		}
		out = summed(append(out, s.crossings(from)...))
		s.pieces = nil
		if last {
			return out, s
		}
		search.End = from
	}
}

// countedFrom is since when all calls can be counted that begin later: their spans
// are among the candidates, and so are the traces that they may go on from under
// another id, which began before them.
func (s *searching) countedFrom() time.Time {
	from := s.q.Start
	for _, last := range s.cut {
		if after := time.Unix(0, last.key).Add(1); after.After(from) {
			from = after
		}
	}
	return from.Add(min(s.config.JoinBefore, s.q.End.Sub(from)/2))
}

// partial says whether anybody gave less than was asked for.
func (s *searching) partial() bool {
	for _, parts := range []map[tenants.OrgID][]federation.Part{s.searched, s.fetched} {
		for _, of := range parts {
			if slices.ContainsFunc(of, func(p federation.Part) bool { return p.Status != federation.Complete }) {
				return true
			}
		}
	}
	return false
}

// since adds what became of looking at later traces.
func (s *searching) since(later *searching) {
	if later == nil {
		return
	}
	for org, parts := range later.searched {
		s.searched[org] = slices.Concat(parts, s.searched[org])
	}
	for org, parts := range later.fetched {
		s.fetched[org] = slices.Concat(parts, s.fetched[org])
	}
	for org, looked := range later.looked {
		s.looked[org] += looked
	}
}

// crossings are the calls from one organization to another in the candidates, of
// spans that begin at a time or later.
func (s *searching) crossings(from time.Time) []Dependency {
	s.q.Start = from
	f := grow(s.ids, s.pieces, s.correlation, s.holders())
	services, counts := s.described(f)
	var out []Dependency
	for i, service := range services {
		n := &f.nodes[i]
		if n.parent == none || !counts[i] {
			continue
		}
		if p := &f.nodes[n.parent]; p.org != n.org && !p.placeholder {
			out = append(out, Dependency{Parent: services[n.parent], Child: service, ParentOrg: f.orgs[p.org], ChildOrg: f.orgs[n.org], Calls: 1})
		}
	}
	return summed(out)
}

// described is, of each span in the forest, its service and whether it counts: it
// begins in the time of the question and meets the filter.
func (s *searching) described(f *forest) (services []string, counts []bool) {
	at := 0
	for _, p := range f.pieces {
		t := traceql.NewTrace(p.spans)
		for i := range t.Len() {
			if !f.dropped[at] {
				services = append(services, serviceOf(t.Span(i).Resource.Resource()))
				counts = append(counts, begins(t.Span(i).Span, s.q) && s.meets(t, i))
			}
			at++
		}
	}
	return services, counts
}

func (s *searching) meets(t *traceql.Trace, i int) bool {
	return slices.ContainsFunc(s.filters, func(f *traceql.Filter) bool { return f.Matches(t, i) })
}

// beside is the completeness of a listing, with what became of looking at traces
// for it.
func (s *searching) beside(listed federation.Completeness) federation.Completeness {
	out := make(federation.Completeness, 0, len(listed))
	for _, part := range listed {
		parts := slices.Concat(s.searched[part.Org], s.fetched[part.Org])
		for i := range parts {
			if parts[i].Status != federation.Complete {
				parts[i].Status, parts[i].Reason = federation.Partial, "its calls to and from others could not be counted: "+parts[i].Reason
			}
		}
		if s.isCut(part.Org) {
			parts = append(parts, federation.Part{Status: federation.Partial, Reason: fmt.Sprintf(
				"its calls to and from others are counted in its latest %d traces; ask for a shorter time", s.looked[part.Org])})
		}
		out = append(out, federation.Sum(part.Org, append(parts, part)))
	}
	return out
}

func (s *searching) isCut(org tenants.OrgID) bool {
	_, cut := s.cut[org]
	return cut
}
