package metrics_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// A plan is what a Local does: it refuses what the Local refuses, in the same
// words, and says of the rest what is known without data.
func TestPlan(t *testing.T) {
	selector := func(text string) policy.Selector {
		s, err := metrics.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	keep, drop := policy.LabelRule{Mode: policy.Keep}, policy.LabelRule{}
	o := policy.Obligations{
		NotBefore: metricstest.Start,
		Datasets: []policy.Dataset{
			{Name: "requests", Series: []policy.Selector{selector(`{__name__=~"http_.*",env="prod"}`)}, Release: policy.Row, Labels: map[string]policy.LabelRule{"region": keep, "pod": drop}},
			{Name: "logins", Series: []policy.Selector{selector("logins_total")}, Release: policy.Aggregate, Labels: map[string]policy.LabelRule{"region": keep}, Cells: &policy.Cells{
				Dimensions: []string{"region"}, Units: []string{"user"}, K: 5,
			}},
			{Name: "never", Series: []policy.Selector{selector(`http_secret_total`)}, Release: policy.Deny},
		},
		Queries: []policy.Query{{
			Name: "service:ratio", Expression: `sum(rate(http_requests_total{service="$service"}[5m]))`,
			Parameters: map[string]policy.Parameter{"service": {Type: policy.Text, Values: []string{"checkout"}}},
		}},
	}
	one := func(text, source string, datasets ...int) []metrics.SelectorPlan {
		return []metrics.SelectorPlan{{Selector: text, Datasets: append([]int{}, datasets...), Source: source}}
	}
	for _, c := range []struct {
		expression string
		want       metrics.Plan
		refused    federation.Kind
	}{
		{
			expression: "sum by (region) (http_requests_total)",
			want: metrics.Plan{
				Selectors:  one("http_requests_total", `{__name__="http_requests_total",env="prod"}`, 0),
				PushedDown: `sum by (region) ({__name__="http_requests_total",env="prod"})`,
			},
		},
		{
			expression: "sum(http_secret_total)",
			want: metrics.Plan{
				Selectors:     one("http_secret_total", `{__name__="http_secret_total",env="prod"}`, 0, 2),
				NotPushedDown: "2 selectors of datasets can match",
			},
		},
		{
			expression: "sum(rate(http_requests_total[1d]))",
			want: metrics.Plan{
				Selectors:     one("http_requests_total", `{__name__="http_requests_total",env="prod"}`, 0),
				NotPushedDown: "it touches a time that is hidden",
			},
		},
		{
			expression: `sum(rate(logins_total{region="eu"}[5m])) > 1`,
			want: metrics.Plan{
				Selectors: one(`logins_total{region="eu"}`, "", 1),
				Cells:     []metrics.CellPlan{{Leaf: `rate(logins_total{region="eu"}[5m])`, Dataset: 1, Dimensions: []string{"region"}}},
			},
		},
		{expression: `logins_total`, want: metrics.Plan{Selectors: one("logins_total", "", 1)}, refused: federation.NeedsAggregation},
		{expression: `sum(logins_total{user="a"})`, want: metrics.Plan{Selectors: one(`logins_total{user="a"}`, "", 1)}, refused: federation.NeedsAggregation},
		{expression: `up{__parley_x__="a"}`, want: metrics.Plan{Selectors: one(`up{__parley_x__="a"}`, "")}, refused: federation.BadQuestion},
		{expression: `sum(up) or {__name__="__parley_sums_0__"}`, want: metrics.Plan{Selectors: append(one("up", ""), one(`__parley_sums_0__`, "")...)}, refused: federation.BadQuestion},
		{
			expression: `sum(http_requests_total{pod="a",region="eu"})`,
			want: metrics.Plan{
				Selectors: []metrics.SelectorPlan{{
					Selector: `http_requests_total{pod="a",region="eu"}`, Datasets: []int{0}, Hidden: []string{"pod"},
					Source: `{__name__="http_requests_total",env="prod",region="eu"}`,
				}},
				NotPushedDown: "a matcher on pod can't be pushed down",
			},
		},
		{
			expression: `service:ratio{service="checkout"} > 1`,
			want: metrics.Plan{
				Selectors: []metrics.SelectorPlan{{Selector: `service:ratio{service="checkout"}`, Query: "service:ratio", Datasets: []int{}}},
				Published: []string{`sum(rate(http_requests_total{service="checkout"}[5m]))`},
			},
		},
		{
			expression: "sum(billing_total)",
			want: metrics.Plan{
				Selectors: one("billing_total", ""), NotPushedDown: "0 selectors of datasets can match",
			},
		},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: c.expression, Start: metricstest.End(), End: metricstest.End()}
		got, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: metricstest.End}, q, o)
		var kind federation.Kind
		if err != nil {
			kind = federation.AsError(err).Kind
		}
		_, part, answered := newLocalAt(t, metricstest.Store(t, nil)).Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, metrics.Asking{Org: "globex", ExchangeID: "x"})
		if kind != c.refused || (answered == nil) != (err == nil) || err != nil && federation.AsError(answered).Message != federation.AsError(err).Message {
			t.Errorf("%s: planned %v, answered %v", c.expression, err, answered)
		}
		if err == nil {
			c.want.Coverage, c.want.Notices = part.Coverage, part.Notices
		} else {
			c.want.Coverage, c.want.Notices = got.Coverage, got.Notices
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(metrics.SelectorPlan{}, "Raw", "Mentions"), cmpopts.IgnoreFields(metrics.Plan{}, "Estimate")); diff != "" {
			t.Errorf("%s:\n%s", c.expression, diff)
		}
	}
	nothing, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: time.Now}, metrics.Question{
		Kind: policy.Instant, Expression: "sum(http_requests_total)", Start: metricstest.Start.Add(-time.Hour), End: metricstest.Start.Add(-time.Hour),
	}, o)
	if err != nil || nothing.Coverage != (policy.Window{}) {
		t.Errorf("of a time that is hidden %v is covered, %v", nothing.Coverage, err)
	}
}
