package traces

import (
	"context"
	"fmt"
	"slices"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// entries are the spans that others called, in TraceQL.
const entries = "{ kind = server || kind = consumer }"

// answerDependencies sums up what each organization knows of calls between its own
// services, and counts the calls between organizations in traces that are put
// together: a span there and its parent here are in no one's store. Those are the
// latest traces of each organization, as many as are looked at for a search; if
// there are more the answer says so.
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
	s := newSearching(f.config, search, expr, answered)
	if s.ask(ctx, search.Limit) == nil {
		out.dependencies = summed(append(out.dependencies, s.crossings()...))
	}
	return out, s.beside(parts), nil
}

// crossings are the calls from one organization to another in the candidates.
func (s *searching) crossings() []Dependency {
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
