package metrics_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// What policy releases nothing of is said, whether the store has it or not.
func TestNoticesSayWhatIsNotReleased(t *testing.T) {
	one := values(func(int) float64 { return 1 })
	some := []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "requests", "region", "eu", "env", "prod", "user", "a"), Values: one},
	}
	more := append([]metricstest.Series{
		{Labels: labels.FromStrings("__name__", "billing", "region", "eu"), Values: one},
		{Labels: labels.FromStrings("__name__", "payroll", "region", "eu"), Values: one},
		{Labels: labels.FromStrings("__name__", "requests", "region", "us", "env", "test", "user", "b"), Values: one},
	}, some...)
	selector := func(text string) policy.Selector {
		matchers, err := parser.ParseMetricSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return matchers
	}
	o := policy.Obligations{Datasets: []policy.Dataset{
		{
			Name: "requests", Series: []policy.Selector{selector(`{__name__=~"requests|errors",region="eu",env="prod"}`)}, Release: policy.Row,
			Labels: map[string]policy.LabelRule{"region": {Mode: policy.Keep}},
		},
		{Name: "never", Series: []policy.Selector{selector("payroll")}, Release: policy.Deny},
	}}
	const modes = "policy says: keep region; drop all other labels"
	nothing := func(of string) string { return "policy says: nothing of " + of + " is released" }
	for expression, want := range map[string][]string{
		"sum(requests)":                         {modes},
		"sum(errors)":                           {modes},
		"sum(billing)":                          {nothing("billing")},
		"sum(payroll)":                          {nothing("payroll")},
		"sum(nowhere)":                          {nothing("nowhere")},
		"sum(requests) / sum(billing)":          {modes, nothing("billing")},
		"sum(payroll) or billing or payroll":    {nothing("billing, payroll")},
		"a + b + c + d + e + f + g":             {nothing("a, b, c, d, e, others")},
		strings.Repeat("long", 30):              {nothing(strings.Repeat("long", 25) + "...")},
		`sum(requests{region="us"})`:            {nothing(`requests{region="us"}`)},
		`sum({__name__=~"bill.*"})`:             {modes},
		`sum(requests{env="test"})`:             {modes}, // a label that isn't kept tells nothing
		`sum(requests{user="b"})`:               {modes},
		`sum(billing{org="globex"})`:            {modes}, // another organization is asked
		`sum(requests{org="acme",region="eu"})`: {modes},
		"1 + 1":                                 {modes},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		for _, store := range [][]metricstest.Series{some, more} {
			_, part, err := newLocalAt(t, metricstest.Store(t, store)).Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, metrics.Asking{Org: "globex", ExchangeID: "x"})
			if err != nil {
				t.Errorf("%s: %v", expression, err)
				continue
			}
			if diff := cmp.Diff(want, part.Notices); diff != "" {
				t.Errorf("%s, of a store with %d series:\n%s", expression, len(store), diff)
			}
		}
	}
}
