package metrics_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// publishes nothing but two queries.
func publishes() policy.Obligations {
	return policy.Obligations{Queries: []policy.Query{
		{
			Name:       "service:requests:rate",
			Expression: `sum by (region) (rate(requests_total{service="$service"}[$window]))`,
			Parameters: map[string]policy.Parameter{
				"service": {Type: policy.Text, Pattern: regexp.MustCompile("^(?s:[a-z]+)$")},
				"window":  {Type: policy.Duration, Least: 60, Most: 600, Default: "5m"},
			},
			Rounding: policy.Rounding{Digits: 2},
		},
		{Name: "fleet:pods", Expression: "count(requests_total)"},
	}}
}

func TestPublishedQueries(t *testing.T) {
	var series []metricstest.Series
	for i, region := range []string{"eu", "us"} {
		for _, service := range []string{"checkout", "search"} {
			series = append(series, metricstest.Series{
				Labels: labels.FromStrings("__name__", "requests_total", "region", region, "service", service, "user", "alice"),
				Values: values(func(n int) float64 { return float64(n*15*(i+1)) * 1.2345 }),
			})
		}
	}
	local := newLocalAt(t, metricstest.Store(t, series))
	for _, test := range []struct{ expression, want string }{
		{
			`service:requests:rate{service="checkout"}`,
			`{__name__="service:requests:rate", org="acme", region="eu", service="checkout", window=""}=1.2 {__name__="service:requests:rate", org="acme", region="us", service="checkout", window=""}=2.5`,
		},
		{`sum(service:requests:rate{service="checkout",window="2m"})`, `{}=3.7`},
		{`sum by (region) (service:requests:rate{service="checkout",region="us"})`, `{region="us"}=2.5`},
		{`max_over_time(sum(service:requests:rate{service="search"})[10m:1m])`, `{}=3.7`},
		{`sum(service:requests:rate{service="search"} offset 10m)`, `{}=3.7`},
		{`sum(service:requests:rate{service="search"} offset 1d)`, ``},
		{`absent(service:requests:rate{service="nothing"})`, `{service="nothing"}=1`},
		{`fleet:pods`, `{__name__="fleet:pods", org="acme"}=4`},
		{`fleet:pods{org="globex"}`, ``},
		{`sum(requests_total)`, ``},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: test.expression, Start: metricstest.End(), End: metricstest.End()}
		released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: publishes()}, partner)
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		matrix, err := released.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range matrix {
			got = append(got, fmt.Sprintf("%s=%v", s.Metric, s.Floats[0].F))
		}
		if want := strings.ReplaceAll(test.want, `, window=""`, ""); strings.Join(got, " ") != want {
			t.Errorf("%s:\n%s, want\n%s", test.expression, strings.Join(got, " "), want)
		}
	}
	names := metrics.Question{Kind: policy.LabelValues, Label: "__name__", Start: metricstest.Start, End: metricstest.End()}
	if got := ask(local, names, publishes()); !strings.HasPrefix(got, "[fleet:pods service:requests:rate]") {
		t.Errorf("names of metrics: %s", got)
	}
}

func TestPublishedQueriesRefuse(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, nil))
	for expression, because := range map[string]string{
		`service:requests:rate`:                                              "parameter service: it has to be given",
		`service:requests:rate{service="CHECKOUT"}`:                          "does not match",
		`service:requests:rate{service=~"check.*"}`:                          "give its parameter service with =",
		`service:requests:rate{service="a\"} or on () vector(1) or x{a=\""}`: "does not match",
		`service:requests:rate{service="a",window="1s"}`:                     "out of bounds",
		`service:requests:rate{service="a",window="1h"}`:                     "out of bounds",
		`service:requests:rate{service="a",window="5m])) or vector(1"}`:      "want a duration",
		`rate(service:requests:rate{service="a"}[5m])`:                       "ask a subquery",
		`service:requests:rate{service="a"} @ 10`:                            "only offset",
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: publishes()}, partner)
		if err == nil || !strings.Contains(federation.AsError(err).Message, because) {
			t.Errorf("%s: %v, want a refusal because %q", expression, err, because)
		}
	}
	rows := metrics.Question{Kind: policy.Series, Start: metricstest.Start, End: metricstest.Start.Add(time.Minute), Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "fleet:pods")}}}
	if _, _, err := local.Answer(t.Context(), rows, policy.Decision{Allow: true, Obligations: publishes()}, partner); federation.AsError(err).Kind != federation.NeedsAggregation {
		t.Errorf("its series: %v", err)
	}
}
