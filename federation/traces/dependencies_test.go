package traces

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// listing members answer for dependencies what they know alone, beside searches.
func (l *library) listing() []Member {
	members := l.members()
	for org, m := range members {
		members[org].Ask = func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			if q.Kind != policy.Dependencies {
				return m.Ask(ctx, q)
			}
			own := string(m.Org)
			return &Released{dependencies: []Dependency{{Parent: "a", Child: "b", ParentOrg: m.Org, ChildOrg: m.Org, Calls: 2}, {Parent: own, Child: "b", ParentOrg: m.Org, ChildOrg: m.Org, Calls: 1}}},
				federation.Part{Status: federation.Complete}, nil
		}
	}
	return members
}

// Calls between organizations are counted in traces put together, those within one
// by itself.
func TestDependencies(t *testing.T) {
	l := newLibrary(3, 20)
	q := Question{Kind: policy.Dependencies, Start: time.Unix(0, base).Add(-time.Minute), End: time.Unix(0, base).Add(12 * time.Second)}
	var want []Dependency
	for _, org := range l.orgs {
		want = append(want, Dependency{"a", "b", org, org, 2}, Dependency{string(org), "b", org, org, 1})
	}
	for _, tale := range l.tales {
		for _, s := range tale.spans {
			at := tale.clock(s.org, s.start).AsTime()
			if s.parent != nil && s.parent.org != s.org && entry(s.kind) && !at.Before(q.Start) && at.Before(q.End) {
				from, to := l.orgs[s.parent.org], l.orgs[s.org]
				want = append(want, Dependency{"service of " + string(from), "service of " + string(to), from, to, 1})
			}
		}
	}
	want = summed(want)
	released, completeness, err := NewFederated(FederatedConfig{}).Answer(t.Context(), q, l.listing())
	if err != nil || !completeness.Whole() {
		t.Fatal(completeness, err)
	}
	if !slices.Equal(released.Dependencies(), want) || len(want) < 9 {
		t.Errorf("found\n%v, not\n%v", released.Dependencies(), want)
	}

	// In a few traces at a time, as well.
	for few, before := range map[int]time.Duration{5: 1, 7: 1, 10: 20 * time.Millisecond, 15: time.Minute} {
		released, completeness, err = NewFederated(FederatedConfig{MaxCandidates: few, JoinBefore: before}).Answer(t.Context(), q, l.listing())
		if err != nil || !completeness.Whole() {
			t.Fatal(few, completeness, err)
		}
		if !slices.Equal(released.Dependencies(), want) {
			t.Errorf("%d at a time: found\n%v, not\n%v", few, released.Dependencies(), want)
		}
	}

	_, completeness, err = NewFederated(FederatedConfig{MaxCandidates: 1}).Answer(t.Context(), q, l.listing())
	if err != nil || !strings.Contains(completeness.Missing(), "in its latest 8 traces") {
		t.Errorf("%v, %s", err, completeness.Missing())
	}
}
