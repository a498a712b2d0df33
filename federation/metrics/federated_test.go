package metrics_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// pairs are two organizations with a series of hits and of misses each, and globex
// answers no question about misses alone.
func pairs(t *testing.T) []metrics.Member {
	var out []metrics.Member
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		local := newLocal(t, org, metricstest.Store(t, []metricstest.Series{
			{Labels: labels.FromStrings("__name__", "hits"), Values: values(func(int) float64 { return 6 })},
			{Labels: labels.FromStrings("__name__", "misses"), Values: values(func(int) float64 { return 3 })},
		}))
		out = append(out, metrics.Member{Org: org, Own: org == "acme", Ask: func(ctx context.Context, q metrics.Question) (*metrics.Released, federation.Part, error) {
			about := q.Expression
			for _, s := range q.Selectors {
				about += metrics.FormatSelector(s)
			}
			if org == "globex" && strings.Contains(about, "misses") && !strings.Contains(about, "hits") {
				return nil, federation.Part{Org: org}, federation.Errorf(federation.Unavailable, "the disk is on fire")
			}
			return local.Answer(ctx, q, everything, metrics.Asking{Org: "acme", ExchangeID: "x"})
		}})
	}
	return out
}

// Half of what an organization was asked for would make a wrong number: it is
// in the answer with all of it, or not at all.
func TestOrganizationIsInTheAnswerWholeOrNotAtAll(t *testing.T) {
	at := metricstest.End()
	for _, expression := range []string{
		"sum(hits) / sum(misses)",                       // pushed to the organizations
		"sum(timestamp(hits)) / sum(timestamp(misses))", // over series fetched from them
		"sum(hits) / on () sum(sort(misses))",
	} {
		released, completeness, err := metrics.NewFederated(0, 0, nil).Answer(t.Context(),
			metrics.Question{Kind: policy.Instant, Expression: expression, Start: at, End: at}, pairs(t))
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		only, _, err := metrics.NewFederated(0, 0, nil).Answer(t.Context(),
			metrics.Question{Kind: policy.Instant, Expression: expression, Start: at, End: at}, pairs(t)[:1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := released.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		want, err := only.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("%s: %s, want acme's alone: %s", expression, got, want)
		}
		if globex := completeness[1]; globex.Status != federation.Unreachable || globex.Reason != "the disk is on fire" {
			t.Errorf("%s: globex is %+v", expression, globex)
		}
	}
}

// A selector that reaches beyond what the owner keeps covers nothing, and takes
// nothing from what others cover.
func TestCoverageIsOfWhatWasContributed(t *testing.T) {
	covered := policy.Window{Start: metricstest.Start, End: metricstest.End()}
	member := metrics.Member{Org: "globex", Ask: func(_ context.Context, q metrics.Question) (*metrics.Released, federation.Part, error) {
		part := federation.Part{Org: "globex", Status: federation.Complete}
		if !strings.Contains(metrics.FormatSelector(q.Selectors[0]), "old") {
			part.Coverage = covered
		}
		return metrics.Received(nil, nil, nil, nil), part, nil
	}}
	_, completeness, err := metrics.NewFederated(0, 0, nil).Answer(t.Context(), metrics.Question{
		Kind: policy.Range, Expression: "timestamp(a) or timestamp(old offset 1y)",
		Start: metricstest.Start, End: metricstest.End(), Step: time.Minute,
	}, []metrics.Member{member})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(covered, completeness[0].Coverage); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}
