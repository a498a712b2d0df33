package bench

import (
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// BenchmarkPlan plans questions, which is all that is done to them before data
// is read: cells takes one apart at its leaves, rows narrows one to what the
// store is asked for, or what of it a Prometheus evaluates whole.
func BenchmarkPlan(b *testing.B) {
	const requests = `http_requests_total{region=~"eu|us"`
	selector := func(text string) []policy.Selector {
		s, err := metrics.ParseSelector(text)
		if err != nil {
			b.Fatal(err)
		}
		return []policy.Selector{s}
	}
	rows := pseudonyms().Obligations
	rows.Datasets[0].Series = selector(`http_requests_total{job="api"}`)
	cells := policy.Obligations{Datasets: []policy.Dataset{{
		Name: "requests", Series: selector(`http_requests_total{job="api"}`), Release: policy.Aggregate,
		Labels: map[string]policy.LabelRule{"region": {Mode: policy.Keep}, "status": {Mode: policy.Keep}},
		Cells:  &policy.Cells{Dimensions: []string{"region", "status"}, Units: []string{"pod"}, K: 5},
	}}}
	for _, c := range []struct {
		name, expression string
		obligations      policy.Obligations
		planned          func(metrics.Plan) bool
	}{
		{
			"cells",
			`sum by (region) (rate(` + requests + `,status=~"5.."}[5m])) / sum by (region) (rate(` + requests + `}[5m])) > bool 0.01` +
				` and on (region) topk(3, avg by (region) (http_requests_total)) or absent(count(http_requests_total))`,
			cells, func(p metrics.Plan) bool { return len(p.Cells) == 3 },
		},
		{
			"rows", `sum by (region, status) (rate(` + requests + `}[5m]))`,
			rows, func(p metrics.Plan) bool { return p.PushedDown != "" || p.NotPushedDown != "" },
		},
	} {
		b.Run(c.name, func(b *testing.B) {
			config := metrics.PlanConfig{Org: "acme", By: "globex", Now: time.Now}
			q := metrics.Question{Kind: policy.Range, Expression: c.expression, Start: firstStep(), End: lastStep(), Step: step}
			for b.Loop() {
				plan, err := metrics.NewPlan(config, q, c.obligations)
				if err != nil || !c.planned(plan) {
					b.Fatalf("%+v, %v", plan, err)
				}
			}
		})
	}
}
