package traces

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// releasing are the organizations of the tale, of which each lets another part of
// its spans be seen.
func (t *tale) releasing(tb testing.TB, modes ...policy.SpanMode) []Member {
	tb.Helper()
	members := make([]Member, len(t.orgs))
	for org := range t.orgs {
		now := func() time.Time { return time.Unix(0, base).Add(time.Hour) }
		store := NewStore(StoreConfig{Now: now})
		for _, id := range t.ids {
			if spans, ok := t.recorded(org, id); ok {
				if err := store.Append(spans); err != nil {
					tb.Fatal(err)
				}
			}
		}
		local, err := NewLocal(LocalConfig{Org: t.orgs[org], Source: store, Secret: make([]byte, minSecret), Now: now})
		if err != nil {
			tb.Fatal(err)
		}
		decision := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
			Name: "all", Release: policy.Row, Spans: []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "resource.service.name", ".+")}}, Span: policy.Span{
				Mode:   modes[t.rand.IntN(len(modes))],
				Counts: t.rand.IntN(2) == 0, WithholdDurations: t.rand.IntN(3) == 0,
			},
		}}}}
		members[org] = Member{Org: t.orgs[org], Own: org == 0, Ask: func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			return local.Answer(ctx, q, decision, federation.Asking{Org: "asker", ExchangeID: federation.NewExchangeID(now())})
		}}
	}
	return members
}

// Whatever is withheld, the spans that are left hang together, clocks are what
// they are, and who spent the time is within what is told.
func TestStitchedThroughViews(t *testing.T) {
	exact, wide := 0, 0
	for seed := range uint64(1500) {
		tale := tell(seed, options{async: 0.1, retries: 0.1, spans: 40})
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := NewFederated(FederatedConfig{})
			released, completeness, err := f.Answer(t.Context(), Question{Kind: policy.Trace, IDs: tale.ids}, tale.releasing(t, policy.SpanFull, policy.SpanShape, policy.SpanBoundary))
			if err != nil || !completeness.Whole() || len(released.Traces()) != 1 {
				t.Fatal(completeness, err)
			}
			got := released.Traces()[0]
			spans := allSpans(t, got)
			if roots := noOrphans(t, spans); roots != 1 || len(got.Report.Missing) > 0 {
				t.Errorf("%d roots, missing %v", roots, got.Report.Missing)
			}
			root := tale.whole()
			tale.compareBlame(t, got, root)
			for _, c := range got.Report.Clocks {
				for org := range tale.orgs {
					truth := time.Duration(tale.offset[root.org](base) - tale.offset[org](base))
					if tale.orgs[org] == c.Org && (c.Contradicts || truth < c.Possible.Min || truth > c.Possible.Max) {
						t.Errorf("the clock of %s is wrong by %s: %+v", c.Org, truth, c)
					}
				}
			}
			for _, s := range got.Report.Blame.Shares {
				if s.Time.Min == s.Time.Max {
					exact++
				} else {
					wide++
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	if exact < wide/4 {
		t.Errorf("%d shares are exact, %d aren't", exact, wide)
	}
	t.Logf("%d shares are exact, %d aren't", exact, wide)
}

// A trace that goes on under other ids is found by any of them, in stores as they
// are.
func TestRestartsAreFoundInStores(t *testing.T) {
	joined := 0
	for seed := range uint64(150) {
		tale := tell(seed, options{restarts: 0.4, async: 0.2, spans: 30})
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := NewFederated(FederatedConfig{Correlation: func(tenants.OrgID) []string { return []string{correlationAttribute} }})
			id := tale.ids[tale.rand.IntN(len(tale.ids))]
			released, completeness, err := f.Answer(t.Context(), Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}, tale.releasing(t, policy.SpanFull))
			if err != nil || !completeness.Whole() || len(released.Traces()) != 1 {
				t.Fatal(completeness, err)
			}
			got := released.Traces()[0]
			tale.compare(t, got)
			if len(got.Report.Joins) != len(tale.ids)-1 {
				t.Errorf("%d joins of %d trace ids", len(got.Report.Joins), len(tale.ids))
			}
			others := []pcommon.TraceID{id}
			for _, join := range got.Report.Joins {
				others = append(others, join.Trace)
			}
			byID := func(a, b pcommon.TraceID) int { return bytes.Compare(a[:], b[:]) }
			slices.SortFunc(others, byID)
			if want := slices.SortedFunc(slices.Values(tale.ids), byID); !slices.Equal(others, want) {
				t.Errorf("trace %s and those joined are %v, not %v", id, others, want)
			}
			joined += len(got.Report.Joins)
		})
	}
	if joined < 50 {
		t.Errorf("only %d were joined", joined)
	}
}
