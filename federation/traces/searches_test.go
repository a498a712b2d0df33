package traces

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// library is several tales of the same organizations.
type library struct {
	orgs  []tenants.OrgID
	tales []*tale
}

func newLibrary(seed uint64, tales int) *library {
	r := rand.New(rand.NewPCG(seed, 1))
	l := &library{}
	for i := range 3 {
		l.orgs = append(l.orgs, tenants.OrgID(fmt.Sprintf("org%d", i)))
	}
	for i := range tales {
		t := tell(seed*1000+uint64(i), options{spans: 12, async: 0.1})
		t.orgs = l.orgs
		t.offset = append(t.offset, t.offset...)[:len(l.orgs)] // two at least
		for _, s := range t.spans {
			s.org %= len(l.orgs)
			after := int64(i) * int64(time.Second) / int64(1+50*(seed%2)) // one after the other, or many at once
			s.start, s.end = s.start+after, s.end+after
			s.attributes["color"] = []string{"red", "green", "blue"}[r.IntN(3)]
		}
		l.tales = append(l.tales, t)
	}
	return l
}

// members answer searches as owners do: of what they have of each trace.
func (l *library) members() []Member {
	members := make([]Member, len(l.orgs))
	for org := range l.orgs {
		members[org] = Member{Org: l.orgs[org], Ask: func(_ context.Context, q Question) (*Released, federation.Part, error) {
			return &Released{traces: l.owned(org, q)}, federation.Part{Status: federation.Complete}, nil
		}}
	}
	return members
}

func (l *library) owned(org int, q Question) []Trace {
	var out []Trace
	places := map[pcommon.TraceID]place{}
	for _, t := range l.tales {
		spans, ok := t.recorded(org, t.ids[0])
		if !ok || q.Kind == policy.Trace && !slices.Contains(q.IDs, t.ids[0]) {
			continue
		}
		if q.Kind == policy.Search {
			key, ok := keyOf(spans, q)
			if !ok {
				continue
			}
			places[t.ids[0]] = place{key, t.ids[0]}
		}
		out = append(out, Trace{ID: t.ids[0], Spans: spans})
	}
	slices.SortFunc(out, func(a, b Trace) int { return places[a.ID].compare(places[b.ID]) })
	return limited(out, q.Limit)
}

// keyOf is when the last span begins that meets a filter of a question that is true
// of the trace.
func keyOf(spans ptrace.Traces, q Question) (key int64, ok bool) {
	expr, err := traceql.Parse(q.Expression)
	if err != nil {
		panic(err)
	}
	t := traceql.NewTrace(spans)
	if len(expr.Select(t)) == 0 {
		return 0, false
	}
	for _, f := range expr.Filters() {
		for i := range t.Len() {
			if at := t.Span(i).Span.StartTimestamp(); (f.OnTrace() || f.Matches(t, i)) && begins(t.Span(i).Span, q) {
				key, ok = max(key, int64(at)), true
			}
		}
	}
	return key, ok
}

// all is the answer, found the plain way: every trace is put together, and looked
// at.
func (l *library) all(q Question) []pcommon.TraceID {
	expr, err := traceql.Parse(q.Expression)
	if err != nil {
		panic(err)
	}
	var places []place
	for _, t := range l.tales {
		id := t.ids[0]
		var pieces []piece
		p, ok := place{id: id}, false
		for org := range l.orgs {
			spans, there := t.recorded(org, id)
			if !there {
				continue
			}
			pieces = append(pieces, piece{org: l.orgs[org], id: id, spans: spans})
			single := traceql.NewTrace(spans)
			for i := range single.Len() {
				span := single.Span(i).Span
				if begins(span, q) && slices.ContainsFunc(expr.Filters(), func(f *traceql.Filter) bool { return f.OnTrace() || f.Matches(single, i) }) {
					p.key, ok = max(p.key, int64(span.StartTimestamp())), true
				}
			}
		}
		ids := []pcommon.TraceID{id}
		whole := grow(ids, pieces, nil, &holders{}).stitch(ids, nil, &holders{})[0]
		if ok && len(expr.Select(traceql.NewTrace(whole.Spans))) > 0 {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, place.compare)
	var out []pcommon.TraceID
	for _, p := range limited(places, q.Limit) {
		out = append(out, p.id)
	}
	return out
}

var expressions = []string{
	`{ }`,
	`{ span.color = "red" }`,
	`{ span.color = "red" && kind = server } || { status = error }`,
	`{ resource.parley.org = "org1" && span.color = "blue" }`,
	`{ resource.parley.org = "org0" && span.color = "blue" } && { resource.parley.org = "org2" && span.color = "green" }`,
	`{ resource.parley.org = "org0" } >> { resource.parley.org = "org1" && kind = server }`,
	`{ resource.parley.org = "org2" && kind = client } > { resource.parley.org = "org1" }`,
	`{ traceDuration > 40ms }`,
	`{ rootServiceName = "service of org1" && span.color = "red" }`,
	`{ span.color = "red" } | count() > 3`,
	`{ span.color = "nothing" }`,
}

func TestSearchFindsWhatAllHoldTogether(t *testing.T) {
	matched := 0
	for seed := range uint64(6) {
		l := newLibrary(seed, 40)
		for _, expression := range expressions {
			for _, limit := range []int{1, 3, 20} {
				q := Question{
					Kind: policy.Search, Expression: expression, Limit: limit,
					Start: time.Unix(0, base).Add(-time.Minute), End: time.Unix(0, base).Add(25 * time.Second),
				}
				want := l.all(q)
				released, completeness, err := NewFederated(FederatedConfig{}).Answer(t.Context(), q, l.members())
				if err != nil || !completeness.Whole() {
					t.Fatal(completeness, err)
				}
				var got []pcommon.TraceID
				for _, trace := range released.Traces() {
					got = append(got, trace.ID)
					if roots := noOrphans(t, allSpans(t, trace)); roots != 1 || trace.Report == nil {
						t.Errorf("a trace with %d roots", roots)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("seed %d: %s limit %d found\n%s\nnot\n%s", seed, expression, limit, got, want)
				}
				matched += len(want)
			}
		}
	}
	if matched < 500 {
		t.Errorf("only %d traces were found at all", matched)
	}
}

// What cuts a search short is said.
func TestSearchSaysWhatWasNotLookedAt(t *testing.T) {
	l := newLibrary(1, 40)
	q := Question{
		Kind: policy.Search, Expression: `{ resource.parley.org = "org0" } && { span.color = "nothing" }`, Limit: 2,
		Start: time.Unix(0, base).Add(-time.Minute), End: time.Unix(0, base).Add(time.Hour),
	}
	released, completeness, err := NewFederated(FederatedConfig{MaxCandidates: 5}).Answer(t.Context(), q, l.members())
	if err != nil {
		t.Fatal(err)
	}
	if len(released.Traces()) > 0 || completeness.Whole() || !strings.Contains(completeness.Missing(), "the latest 5 were looked at") {
		t.Errorf("%d traces, %s", len(released.Traces()), completeness.Missing())
	}
}

// Who isn't concerned isn't searched, but gives what it has of what was found.
func TestSearchAsksWhomItConcerns(t *testing.T) {
	l := newLibrary(2, 10)
	searched := map[tenants.OrgID]bool{}
	members := l.members()
	for i, m := range members {
		members[i].Ask = func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			searched[m.Org] = searched[m.Org] || q.Kind == policy.Search
			return m.Ask(ctx, q)
		}
	}
	_, _, err := NewFederated(FederatedConfig{}).Answer(t.Context(), Question{
		Kind: policy.Search, Expression: `{ resource.parley.org = "org1" }`, Limit: 5, Start: time.Unix(0, base), End: time.Unix(0, base).Add(time.Hour),
	}, members)
	if err != nil || !searched["org1"] || searched["org0"] || searched["org2"] {
		t.Errorf("searched are %v, %v", searched, err)
	}
}

// Jaeger's UI asks for up to 1500 traces, and no partner gives more than MaxAsked: a
// larger limit is no reason to be refused.
func TestSearchForMoreThanIsAskedAtOnce(t *testing.T) {
	l := newLibrary(1, 40)
	members := l.members()
	for i, m := range members {
		members[i].Ask = func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			if q.Limit > MaxAsked {
				return nil, federation.Part{}, federation.Errorf(federation.BadQuestion, "limit")
			}
			return m.Ask(ctx, q)
		}
	}
	for _, expression := range []string{`{ }`, `{ resource.parley.org = "org0" } && { resource.parley.org = "org1" }`} {
		q := Question{Kind: policy.Search, Expression: expression, Limit: MaxAsked + 500, Start: time.Unix(0, base).Add(-time.Minute), End: time.Unix(0, base).Add(time.Hour)}
		released, completeness, err := NewFederated(FederatedConfig{}).Answer(t.Context(), q, members)
		if err != nil || !completeness.Whole() || len(released.Traces()) != len(l.all(q)) {
			t.Errorf("%s: %v, %s", expression, err, completeness.Missing())
		}
	}
	_, _, err := NewFederated(FederatedConfig{}).Answer(t.Context(), Question{Kind: policy.Trace, IDs: make([]pcommon.TraceID, MaxAsked+1)}, members)
	if federation.AsError(err).Kind != federation.BadQuestion {
		t.Errorf("more ids than are asked for at once: %v", err)
	}
}

// Who may give few candidates at once is asked for fewer, and the answer says that
// there may be more.
func TestSearchWithFewerCandidates(t *testing.T) {
	l := newLibrary(1, 40)
	members := l.members()
	for i, m := range members {
		members[i].Ask = func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			if q.Kind == policy.Search && q.Limit > 4 && m.Org == "org0" {
				return nil, federation.Part{}, federation.Errorf(federation.OverLimit, "too many spans")
			}
			return m.Ask(ctx, q)
		}
	}
	for _, test := range []struct {
		expression string
		limit      int
		looked     string
	}{
		{`{ resource.parley.org = "org0" } && { span.color = "red" }`, 20, "the latest 2 were looked at"}, // of 40, 10, 2
		{`{ resource.parley.org = "org0" } && { span.color = "nothing" }`, 2, "the latest 4 were looked at"},
	} {
		released, completeness, err := NewFederated(FederatedConfig{}).Answer(t.Context(), Question{
			Kind: policy.Search, Expression: test.expression, Limit: test.limit, Start: time.Unix(0, base).Add(-time.Minute), End: time.Unix(0, base).Add(time.Hour),
		}, members)
		if err != nil {
			t.Fatal(err)
		}
		if part := completeness[0]; part.Status != federation.Partial || !strings.Contains(part.Reason, test.looked) || len(released.Traces()) == 0 != strings.Contains(test.expression, "nothing") {
			t.Errorf("%s: %d traces, %+v", test.expression, len(released.Traces()), part)
		}
	}
}
