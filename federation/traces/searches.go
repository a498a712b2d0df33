package traces

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// A search finds traces by all that organizations hold of them together. Each
// trace has a key: when the last of its spans begins that meets a filter of the
// expression, by the clock of its owner and within the time of the question. Those
// with the latest keys are the answer, and of those with the same key the ones
// with the lowest ids.
//
// Owners are asked for their own latest traces with such a span: candidates. If
// the expression is decided for each span by itself, the candidates of all owners
// together hold the answer, as each trace of it is among the latest of the owner
// of that span. Otherwise each candidate is put together of what all owners hold of
// it, and the expression is evaluated on that. What isn't among the candidates has
// no later key than the last candidate of an owner that may have more: if enough
// traces with later ones were found, that is the answer, and if not there are more
// candidates to look at, up to a bound. Where that isn't enough the answer says so.

// searching is one search.
type searching struct {
	*gathering
	expr    *traceql.Expr
	filters []*traceql.Filter // what gives a span a key
	// perSpan says that the expression is decided for each span by itself.
	perSpan bool
	// candidates is what owners are asked for.
	candidates string
	// keys are the latest of each trace id so far.
	keys map[pcommon.TraceID]int64
	// cut are organizations that may have more candidates, and their last one.
	cut map[tenants.OrgID]place
	// looked is how many candidates each gave at most.
	looked map[tenants.OrgID]int
	// failed are organizations of which no more candidates can be had.
	failed map[tenants.OrgID]bool
}

// place is where a trace is in the order of what was found.
type place struct {
	key int64
	id  pcommon.TraceID
}

func (p place) compare(o place) int {
	return cmp.Or(-cmp.Compare(p.key, o.key), bytes.Compare(p.id[:], o.id[:]))
}

// growth is how many times more candidates are looked at, if they weren't enough.
const growth = 4

func (f *Federated) answerSearch(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	expr, err := parse(q.Expression)
	if err != nil {
		return nil, nil, err
	}
	s := newSearching(f.config, q, expr, members)
	most := min(max(f.config.MaxCandidates, q.Limit), MaxAsked)
	wanted := min(q.Limit, most)
	if !s.perSpan {
		wanted = min(2*q.Limit, most)
	}
	for ; ; wanted = min(wanted*growth, most) {
		if err := s.ask(ctx, wanted); err != nil {
			return nil, s.completeness(), err
		}
		found, enough := s.found()
		if enough || wanted == most || !s.more() {
			if !enough {
				s.sayCut()
			}
			return &Released{traces: found}, s.completeness(), nil
		}
	}
}

func newSearching(c FederatedConfig, q Question, expr *traceql.Expr, members []Member) *searching {
	s := &searching{gathering: newGathering(c, q, members), expr: expr, perSpan: expr.OneFilter(), cut: map[tenants.OrgID]place{}, looked: map[tenants.OrgID]int{}, failed: map[tenants.OrgID]bool{}}
	var texts []string
	for _, f := range expr.Filters() {
		if f.OnTrace() {
			f, texts = anything, nil
		}
		s.filters = append(s.filters, f)
		texts = append(texts, f.String())
		if f == anything {
			s.filters = []*traceql.Filter{f}
			break
		}
	}
	slices.Sort(texts)
	s.candidates = strings.Join(slices.Compact(texts), " || ")
	return s
}

// anything is the filter that is true of every span.
var anything = &traceql.Filter{}

// ask asks each owner for candidates, and then all others for what they have of
// the traces that it found. The error is for when none answered.
func (s *searching) ask(ctx context.Context, wanted int) error {
	all := s.askCandidates(ctx, s.members, wanted)
	for less := wanted / growth; less > 0; less /= growth {
		all = s.askAgain(ctx, all, less)
	}
	s.keys = map[pcommon.TraceID]int64{}
	found := map[pcommon.TraceID]bool{}
	for _, a := range all {
		if a.err != nil {
			s.failed[a.member.Org] = true
			if _, before := s.cut[a.member.Org]; before {
				a.part.Status, a.part.Reason = federation.Partial, "more of its traces could not be looked at: "+a.part.Reason
			}
		}
		s.searched[a.member.Org] = append(s.searched[a.member.Org], a.part)
		if a.err != nil {
			continue
		}
		delete(s.cut, a.member.Org)
		last := place{key: math.MaxInt64}
		s.looked[a.member.Org] = a.q.Limit
		s.failed[a.member.Org] = a.q.Limit < wanted
		traces := limited(a.released.traces, a.q.Limit)
		for _, t := range traces {
			found[t.ID] = true
			if key, ok := s.key(t.Spans); ok && last.compare(place{key, t.ID}) < 0 {
				last = place{key, t.ID}
			}
		}
		if len(traces) == a.q.Limit {
			s.cut[a.member.Org] = last
		}
		s.take(a, func(id pcommon.TraceID) bool { return found[id] })
	}
	if _, err := all.outcome(); err != nil && len(s.pieces) == 0 {
		return err
	}
	s.complete(ctx)
	for _, p := range s.pieces {
		if key, ok := s.key(p.spans); ok {
			if was, ok := s.keys[p.id]; !ok || key > was {
				s.keys[p.id] = key
			}
		}
	}
	return nil
}

// askCandidates asks owners for candidates.
func (s *searching) askCandidates(ctx context.Context, members []Member, wanted int) answers {
	return askEach(ctx, members, func(m *Member) (Question, bool) {
		q := s.q
		q.Expression, q.Limit = s.candidates, wanted
		return q, !s.failed[m.Org] && s.concerns(m.Org)
	})
}

// askAgain asks those for fewer of whom so many would be more than is agreed.
func (s *searching) askAgain(ctx context.Context, all answers, wanted int) answers {
	var again []Member
	for _, a := range all {
		if a.err != nil && federation.AsError(a.err).Kind == federation.OverLimit {
			again = append(again, *a.member)
		}
	}
	for _, fewer := range s.askCandidates(ctx, again, wanted) {
		for i := range all {
			if all[i].member.Org == fewer.member.Org {
				all[i] = fewer
			}
		}
	}
	return all
}

// orgAttribute is whose a span is, as TraceQL names it.
var orgAttribute = traceql.Attribute{Scope: traceql.ScopeResource, Name: OrgAttribute}

// concerns says whether a filter may be true of a span of the organization.
func (s *searching) concerns(org tenants.OrgID) bool {
	return slices.ContainsFunc(s.filters, func(f *traceql.Filter) bool {
		values, ok := f.Equal(orgAttribute)
		return !ok || slices.Contains(values, string(org))
	})
}

// fetchedAtOnce is how many traces an organization is asked for in one question.
const fetchedAtOnce = 100

// complete fetches what is there of the candidates. That nobody answered is in
// their parts.
func (s *searching) complete(ctx context.Context) {
	for ids := range slices.Chunk(slices.Clone(s.ids), fetchedAtOnce) {
		if err := s.fetch(ctx, Question{Kind: policy.Trace, IDs: ids}); err != nil {
			return
		}
	}
}

// key is that of a piece of a trace; ok is false where no span meets a filter.
func (s *searching) key(spans ptrace.Traces) (key int64, ok bool) {
	t := traceql.NewTrace(spans)
	for i := range t.Len() {
		span := t.Span(i).Span
		at := nanoseconds(span.StartTimestamp())
		if (ok && at <= key) || !begins(span, s.q) {
			continue
		}
		if s.meets(t, i) {
			key, ok = at, true
		}
	}
	return key, ok
}

// found are the traces that were found among the candidates, and whether they are
// the ones there are.
func (s *searching) found() (found []Trace, enough bool) {
	pieces := make([]piece, len(s.pieces))
	for i, p := range s.pieces {
		p.spans = ptrace.NewTraces()
		s.pieces[i].spans.CopyTo(p.spans) // there may be more candidates
		pieces[i] = p
	}
	ids := slices.DeleteFunc(slices.Clone(s.ids), func(id pcommon.TraceID) bool { _, ok := s.keys[id]; return !ok })
	slices.SortFunc(ids, func(a, b pcommon.TraceID) int {
		return place{s.keys[a], a}.compare(place{s.keys[b], b})
	})
	f := grow(s.ids, pieces, s.correlation, s.holders())
	later := 0
	for _, t := range f.stitch(ids, nil, s.holders()) {
		if !s.perSpan && len(s.expr.Select(traceql.NewTrace(t.Spans))) == 0 {
			continue
		}
		if len(found) == s.q.Limit {
			break
		}
		found = append(found, t)
		if s.sure(t.ID) {
			later++
		}
	}
	return found, later == s.q.Limit || len(s.cut) == 0
}

// sure says whether no trace that isn't among the candidates can come before one.
func (s *searching) sure(id pcommon.TraceID) bool {
	for _, last := range s.cut {
		if last.compare(place{s.keys[id], id}) < 0 {
			return false
		}
	}
	return true
}

// more says whether more candidates can be had.
func (s *searching) more() bool {
	for org := range s.cut {
		if !s.failed[org] {
			return true
		}
	}
	return false
}

// sayCut says of the organizations that may have more candidates that they do.
func (s *searching) sayCut() {
	for org := range s.cut {
		s.searched[org] = append(s.searched[org], federation.Part{
			Org: org, Status: federation.Partial,
			Reason: fmt.Sprintf("of its traces with a span that meets a part of the query, the latest %d were looked at; ask for a shorter time, or narrow the query", s.looked[org]),
		})
	}
}
