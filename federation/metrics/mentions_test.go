package metrics_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// Every label that a query speaks of is known, and where.
func TestMentions(t *testing.T) {
	for expression, want := range map[string][]string{
		`a{x="1",x!="2",y=~".+"}`:                                      {"a: x matcher; y matcher"},
		`sum by (x) (max without (y) (a))`:                             {"a: x by; y without"},
		`sum by (x) (a) / on (y) group_left (z) b{w=""}`:               {"a: x by; y on; z group_left", "b: w matcher; y on; z group_left"},
		`a - ignoring (x) group_right (y) b + 1`:                       {"a: x ignoring; y group_right", "b: x ignoring; y group_right"},
		`label_replace(a, "x", "$1", "y", "(.*)")`:                     {"a: x written by label_replace; y label_replace"},
		`label_join(a, "x", ",", "y", "z") and b`:                      {"a: x written by label_join; y label_join; z label_join", "b:"},
		`count_values("x", a)`:                                         {"a: x written by count_values"},
		`sum by (x) (rate(a{x="1"}[5m])) or max_over_time(b[1h:1m])`:   {"a: x by, matcher", "b:"},
		`published{service="x"}`:                                       {"published:"}, // a parameter
		`sum by (x) (label_replace(a, "x", "$1", "x", "(.*)")) or (b)`: {"a: x by, label_replace, written by label_replace", "b:"},
	} {
		o := policy.Obligations{Queries: []policy.Query{{Name: "published", Expression: "up", Parameters: map[string]policy.Parameter{"service": {Type: policy.Text, Values: []string{"x"}}}}}}
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		plan, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: metricstest.End}, q, o)
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		var got []string
		for _, s := range plan.Selectors {
			name, _, _ := strings.Cut(s.Selector, "{")
			var said []string
			for _, m := range s.Mentions {
				said = append(said, fmt.Sprintf("%s %s", m.Label, strings.Join(m.In, ", ")))
			}
			got = append(got, strings.TrimSpace(name+": "+strings.Join(said, "; ")))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", expression, got, want)
		}
	}
}
