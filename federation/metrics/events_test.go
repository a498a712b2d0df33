package metrics_test

import (
	"context"
	"fmt"
	randv2 "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// inEvents releases increases of at least k, by region and minute.
func inEvents(k int, change func(*policy.Dataset)) policy.Obligations {
	o := inCells(change)
	o.Resolution = time.Minute
	o.Datasets[0].Cells.Units, o.Datasets[0].Cells.K = nil, k
	o.Datasets[0].Cells.Dimensions = []string{"region"}
	o.Datasets[0].Labels = map[string]policy.LabelRule{"region": {Mode: policy.Keep}}
	return o
}

// visits are counters that grow by a number of visits each minute.
func visits(region, pod string, perMinute ...float64) metricstest.Series {
	total := 0.0
	return metricstest.Series{
		Labels: labels.FromStrings("__name__", "visits_total", "region", region, "pod", pod),
		Values: values(func(i int) float64 {
			if minute := (i + 3) / 4; i%4 == 1 && minute <= len(perMinute) { // minute n ends with sample 4n
				total += perMinute[minute-1]
			}
			return total
		}),
	}
}

func TestEventsAreCountedByInterval(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{
		visits("eu", "a", 3, 4, 0, 10), visits("eu", "b", 3, 0, 0, 1), // 6, 4, 0, 11
		visits("us", "a", 1, 1, 1, 1), // never enough
	}))
	at := func(seconds int) time.Time { return metricstest.Start.Add(time.Duration(seconds) * time.Second) }
	for _, test := range []struct {
		at               time.Time
		expression, want string
	}{
		{at(60), "sum by (region) (increase(visits_total[1m]))", `{region="eu"}=6`},
		{at(119), "sum by (region) (increase(visits_total[1m]))", `{region="eu"}=6`},
		{at(120), "sum by (region) (increase(visits_total[1m]))", ``}, // four are too few
		{at(120), "sum(increase(visits_total[1m]))", ``},
		{at(120), "sum by (region) (increase(visits_total[2m]))", `{region="eu"}=6`},
		{at(180), "sum by (region) (increase(visits_total[1m]))", `{region="eu"}=0`}, // and none is none
		{at(240), "sum by (region) (increase(visits_total[3m]))", `{region="eu"}=11`},
		{at(240), "sum by (region) (increase(visits_total[4m]))", `{region="eu"}=17`},
		{at(240), "sum by (region) (rate(visits_total[2m]))", fmt.Sprintf(`{region="eu"}=%v`, 11.0/120)},
		{at(240), "sum by (region) (increase(visits_total[1m] offset 3m))", `{region="eu"}=6`},
		{at(600), fmt.Sprintf("sum by (region) (increase(visits_total[1m] @ %d))", at(60).Unix()), `{region="eu"}=6`},
		{at(240), "max_over_time(sum by (region) (increase(visits_total[1m]))[4m:1m])", `{region="eu"}=11`},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: test.expression, Start: test.at, End: test.at}
		released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inEvents(5, nil)}, partner)
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		matrix, err := released.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range matrix {
			if s.Metric.Get("region") == "us" && s.Floats[0].F == 0 {
				continue // before its first visit nobody came, which may be told
			}
			got += fmt.Sprintf("%s=%v", s.Metric, s.Floats[0].F)
		}
		if got != test.want {
			t.Errorf("%s at %s: %s, want %s", test.expression, test.at.Format(time.TimeOnly), got, test.want)
		}
	}
}

func TestShapesThatEventsDontAnswer(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, nil))
	for expression, because := range map[string]string{
		"visits_total":                                   "series themselves are not released",
		"count(visits_total)":                            "count is not answered of events",
		"sum(visits_total)":                              "sum(increase(...))",
		"avg(increase(visits_total[5m]))":                "avg is not answered of events",
		"group(rate(visits_total[5m]))":                  "group is not answered of events",
		"sum(max_over_time(visits_total[5m]))":           "sum(increase(...))",
		"sum(increase(visits_total[5m:1m]))":             "sum(increase(...))",
		"sum(increase(visits_total[90s]))":               "a multiple of 1m",
		`sum(increase(visits_total{user="a"}[5m]))`:      "user is not one of its dimensions",
		"max(rate(visits_total[5m]))":                    "max straight over series",
		"sum(increase(visits_total[5m] offset 30s) > 0)": "increase straight over series",
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inEvents(5, nil)}, partner)
		if e := federation.AsError(err); err == nil || e.Kind != federation.NeedsAggregation || !strings.Contains(e.Message, because) {
			t.Errorf("%s: %v, want a refusal because %q", expression, err, because)
		}
	}
}

// Worlds in which other intervals than these have few events, or the same
// happened in other series, give the same bytes.
func TestFewEventsDontShow(t *testing.T) {
	const k = 5
	r := randv2.New(randv2.NewPCG(uint64(seedOf(t)), 13))
	answers, blind := 0, 0
	for range 10 {
		var one, other []metricstest.Series
		for _, region := range []string{"eu", "us", "ap"} {
			var a, b [2][]float64 // two pods in each world
			for range 29 {
				many := float64(k + r.IntN(20))
				part := float64(r.IntN(int(many)))
				a[0], a[1] = append(a[0], part), append(a[1], many-part)
				part = float64(r.IntN(int(many)))
				b[0], b[1] = append(b[0], part), append(b[1], many-part)
				if few := len(a[0]) - 1; r.IntN(2) == 0 {
					a[0][few], a[1][few] = float64(1+r.IntN(2)), float64(r.IntN(3))
					b[0][few], b[1][few] = float64(r.IntN(3)), float64(1+r.IntN(2))
				}
			}
			for i := range 2 {
				one = append(one, visits(region, fmt.Sprint("pod-", i), a[i]...))
				other = append(other, visits(region, fmt.Sprint("node-", i), b[i]...))
			}
		}
		x, y := newLocalAt(t, metricstest.Store(t, one)), newLocalAt(t, metricstest.Store(t, other))
		o := inEvents(k, func(d *policy.Dataset) {
			if r.IntN(2) == 0 {
				d.Rounding = policy.Rounding{Base: k}
			}
		})
		for range 100 {
			leaf := fmt.Sprintf("%s(visits_total%s[%dm]%s)", []string{"increase", "rate"}[r.IntN(2)],
				[]string{"", `{region="eu"}`, `{region!="us"}`}[r.IntN(3)], 1+r.IntN(10), []string{"", " offset 2m", " offset 90s", " @ end()"}[r.IntN(4)])
			inner := "sum by (" + []string{"region", "", "pod"}[r.IntN(3)] + ") (" + leaf + ")"
			q := randomQuestion(r, always("1"), always("1"))
			q.Expression = []string{inner, "topk(1, " + inner + ")", inner + " > bool 3", "max_over_time((" + inner + ")[6m:1m])", "absent(" + inner + ")"}[r.IntN(5)]
			if q.Step > 0 {
				q.Step = time.Minute
			}
			got, want := ask(x, q, o), ask(y, q, o)
			if got != want {
				t.Fatalf("%s\none world: %.600s\nthe other: %.600s", describe(q), got, want)
			}
			if strings.Contains(got, "{") {
				answers++
			}
			if ask(x, q, everything.Obligations) != ask(y, q, everything.Obligations) {
				blind++
			}
		}
	}
	if answers < 500 || blind < 300 {
		t.Errorf("%d answers, and without policy %d differ: the test is blind", answers, blind)
	}
}

// A long range of many intervals, asked for at as many times, takes a moment.
func TestLongRangesOfEvents(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{visits("eu", "a", 10, 3, 10)}))
	o := inEvents(5, nil)
	o.Resolution = 15 * time.Second
	q := metrics.Question{Kind: policy.Instant, Expression: `max_over_time(sum(increase(visits_total[10d]))[10d:15s])`, Start: metricstest.End(), End: metricstest.End()}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := time.Now()
	if _, _, err := local.Answer(ctx, q, policy.Decision{Allow: true, Obligations: o}, partner); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}

	o.Resolution = time.Second
	q.Expression = `sum(increase(visits_total[20d]))`
	if _, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("of too many intervals: %v", err)
	}
}
