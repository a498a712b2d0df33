package metrics_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
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

// What is said is of the datasets that the question meets, by labels that are
// kept: a hidden one that the question names says nothing, nor does what is denied.
func TestNoticesAreOfWhatAQuestionMeets(t *testing.T) {
	keep := func(names ...string) map[string]policy.LabelRule {
		out := map[string]policy.LabelRule{}
		for _, name := range names {
			out[name] = policy.LabelRule{Mode: policy.Keep}
		}
		return out
	}
	logins := cellsOf(t, "logins", 5, "region")
	queues := cellsOf(t, `queue_length{region="eu"}`, 3, "region")
	queues.Name, queues.Rounding = "queues", policy.Rounding{Digits: 2}
	o := policy.Obligations{
		Queries: []policy.Query{{Name: "published", Expression: "sum(requests)"}},
		Datasets: []policy.Dataset{
			{Name: "requests", Series: []policy.Selector{mustSelect(t, `requests{region="eu",user!="root"}`)}, Release: policy.Row, Labels: keep("region", "pod")},
			{Name: "errors", Series: []policy.Selector{mustSelect(t, `{__name__=~"err.*",region="us",user="a"}`)}, Release: policy.Row, Labels: keep("region", "code")},
			logins, queues,
			{Name: "never", Series: []policy.Selector{mustSelect(t, "payroll")}, Release: policy.Deny, Rounding: policy.Rounding{Digits: 1}},
		},
	}
	const (
		requests = "policy says: keep pod, region; drop all other labels"
		errors   = "policy says: keep code, region; drop all other labels"
		both     = "policy says: keep code, pod, region; drop all other labels"
		ofLogins = "policy says: of logins only sums by region over at least 5 user"
		ofQueues = "policy says: of queues only sums by region over at least 3 user"
		rounded  = "policy says: numbers are rounded"
	)
	for expression, want := range map[string][]string{
		"sum(requests)":                                   {requests},
		"sum(errors)":                                     {errors},
		"sum(requests) / sum(errors)":                     {both},
		`sum({__name__=~"requests|errors"})`:              {both},
		`sum({__name__!="x",region="us"})`:                {ofLogins, errors},
		`sum(requests{user="root"}) + sum(errors)`:        {both}, // what is hidden excludes nothing
		`sum(errors{user="b"})`:                           {errors},
		"sum(logins)":                                     {ofLogins},
		"sum(queue_length)":                               {ofQueues, rounded},
		`sum(queue_length{region="us"})`:                  {`policy says: nothing of queue_length{region="us"} is released`},
		"sum(logins) / scalar(sum(requests))":             {ofLogins, requests},
		"sum(payroll)":                                    {"policy says: nothing of payroll is released"},
		"sum(payroll) or sum(requests)":                   {requests, "policy says: nothing of payroll is released"},
		"published":                                       nil,
		"1 + 1":                                           {ofLogins, ofQueues, both, rounded},
		`sum(logins{org="globex"}) + sum(requests)`:       {requests},
		`sum(requests{region="eu"}) or sum(queue_length)`: {ofQueues, requests, rounded},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		plan, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: metricstest.End}, q, o)
		if err != nil && federation.AsError(err).Kind != federation.NeedsAggregation {
			t.Fatalf("%s: %v", expression, err)
		}
		if diff := cmp.Diff(want, plan.Notices); diff != "" {
			t.Errorf("%s:\n%s", expression, diff)
		}
	}
}
