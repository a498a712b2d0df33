package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// dump is every sample and exemplar of a store, as text.
func dump(t *testing.T, local *metrics.Local) string {
	t.Helper()
	var out bytes.Buffer
	q := metrics.Question{Start: until.Add(-2 * time.Hour), End: until.Add(2 * time.Hour)}
	q.Kind = policy.Series
	q.Selectors = []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+")}}
	fmt.Fprintln(&out, ask(t, local, q))
	q.Kind, q.Expression = policy.Exemplars, `{__name__=~".+"}`
	released, _, err := local.Answer(t.Context(), q, everything, metrics.Asking{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&out, released.Exemplars())
	return out.String()
}

// run has the company go on for so many samples after until.
func run(t *testing.T, c demo.Company, store *metrics.TSDB, samples int) {
	t.Helper()
	ticks := make(chan time.Time, samples+1)
	ticks <- until // late, of a moment that is written already
	for i := range samples {
		ticks <- until.Add(time.Duration(i+1) * demo.Interval)
	}
	close(ticks)
	if err := c.Run(t.Context(), store, ticks); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameAgain(t *testing.T) {
	var dumps [2]string
	for i := range dumps {
		store := openStore(t)
		c := company(t, "globex")
		fill(t, c, store, 10*time.Minute)
		run(t, c, store, 8)
		dumps[i] = dump(t, newLocal(t, c.Org, store))
	}
	if dumps[0] != dumps[1] {
		t.Error("two runs differ")
	}
	if len(dumps[0]) < 100_000 {
		t.Errorf("only %d bytes were compared", len(dumps[0]))
	}
}

func TestRunGoesOnWhereFillEnded(t *testing.T) {
	for _, c := range demo.Companies() {
		store := openStore(t)
		fill(t, c, store, 10*time.Minute)
		run(t, c, store, 20)
		local := newLocal(t, c.Org, store)
		m := ask(t, local, metrics.Question{
			Kind: policy.Range, Expression: `sum by (region) (rate(http_requests_total[1m]))`,
			Start: until.Add(-4 * time.Minute), End: until.Add(5 * time.Minute), Step: demo.Interval,
		})
		if len(m) != 3 {
			t.Fatalf("%s: want three regions, got %v", c.Org, m)
		}
		for _, s := range m {
			if len(s.Floats) != 37 {
				t.Errorf("%s %s: %d of 37 steps", c.Org, s.Metric, len(s.Floats))
			}
			for i, p := range s.Floats {
				if i > 0 && (p.F < 0.7*s.Floats[i-1].F || p.F > 1.4*s.Floats[i-1].F) {
					t.Errorf("%s %s: from %g to %g at %s", c.Org, s.Metric, s.Floats[i-1].F, p.F, time.UnixMilli(p.T).Sub(until))
				}
			}
		}
		atMost(t, "counters that were reset at the seam", value(t, local, until.Add(time.Minute), `max(resets({__name__=~".+_total|.+_count"}[2m])) or vector(0)`), 0)
	}
}

func TestACompanyHasHundredsOfSeries(t *testing.T) {
	for _, c := range demo.Companies() {
		store := openStore(t)
		start := time.Now()
		fill(t, c, store, time.Hour)
		t.Logf("%s: filled in %s", c.Org, time.Since(start))
		local := newLocal(t, c.Org, store)
		atLeast(t, "series", value(t, local, until, `count({__name__=~".+"})`), 500)
		atMost(t, "series", value(t, local, until, `count({__name__=~".+"})`), 1500)
		atLeast(t, "the hour is whole", value(t, local, until, `min(count_over_time(workflow_active[1h]))`), 240)
		atLeast(t, "exemplars", float64(len(exemplars(t, local, everything))), 30)
		for _, metric := range []string{"billing_revenue_total", "payroll_total", "internal_flags", "internal_margin_ratio"} {
			atLeast(t, metric, value(t, local, until, `count(`+metric+`)`), 2)
		}
		atLeast(t, "users with an e-mail address", value(t, local, until, `count(count by (user) (http_requests_total{user=~".+@.+"}))`), 20)
	}
}

// A store that is kept has an hour already: what it has stays, the rest is added.
func TestFillLeavesWhatIsThere(t *testing.T) {
	store := openStore(t)
	fill(t, company(t, "acme"), store, 10*time.Minute)
	before := dump(t, newLocal(t, "acme", store))
	fill(t, company(t, "acme"), store, 20*time.Minute)
	if dump(t, newLocal(t, "acme", store)) != before {
		t.Error("what was there has changed")
	}
	later := company(t, "acme")
	if err := later.Fill(t.Context(), store, until.Add(5*time.Minute), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	atLeast(t, "samples", value(t, newLocal(t, "acme", store), until.Add(5*time.Minute), `min(count_over_time(workflow_active[15m]))`), 60)
}

func TestEndsWithTheContext(t *testing.T) {
	store := openStore(t)
	c := company(t, "initech")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Fill(ctx, store, until, time.Hour); err == nil {
		t.Error("Fill has not done what it was asked to, and says nothing")
	}
	if err := c.Run(ctx, store, nil); err != nil {
		t.Errorf("Run was told to end: %v", err)
	}
}

func BenchmarkFill(b *testing.B) {
	for range b.N {
		store := openStore(b)
		fill(b, company(b, "globex"), store, time.Hour)
	}
}
