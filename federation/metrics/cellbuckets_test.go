package metrics_test

import (
	"fmt"
	"math"
	randv2 "math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// histogramOf are three users' histograms, the counts of which by le add up to
// those given as "le=count". What is written "le=a+b" only the first two have.
func histogramOf(region, counts string) []metricstest.Series {
	var out []metricstest.Series
	for text := range strings.FieldsSeq(counts) {
		le, count, _ := strings.Cut(text, "=")
		parts := strings.Split(count, "+")
		if len(parts) == 1 {
			n, err := strconv.Atoi(count)
			if err != nil {
				panic(err)
			}
			parts = []string{fmt.Sprint(n - n/3*2), fmt.Sprint(n / 3), fmt.Sprint(n / 3)}
		}
		for i, part := range parts {
			v, err := strconv.ParseFloat(part, 64)
			if err != nil {
				panic(err)
			}
			out = append(out, metricstest.Series{
				Labels: labels.FromStrings("__name__", "wait_bucket", "region", region, "status", "200", "user", fmt.Sprint(i), "le", le),
				Values: values(func(int) float64 { return v }),
			})
		}
	}
	return out
}

// asked returns the values of an answer, as "le=value" or the labels and the value.
func asked(t *testing.T, local *metrics.Local, o policy.Obligations, expression string, at time.Time) string {
	t.Helper()
	q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: at, End: at}
	released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	matrix, err := released.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range matrix {
		name := s.Metric.String()
		if s.Metric.Len() == 1 && s.Metric.Has("le") {
			name = s.Metric.Get("le")
		}
		out = append(out, fmt.Sprintf("%s=%.6g", name, s.Floats[0].F))
	}
	return strings.Join(out, " ")
}

// What leaves of a classic histogram, by hand: k is three.
func TestBucketsOfClassicHistograms(t *testing.T) {
	for name, c := range map[string]struct {
		change             func(*policy.Dataset)
		has, asked, leaves string
	}{
		"none small":                      {has: "1=3 2=6 +Inf=9", leaves: "+Inf=9 1=3 2=6"},
		"one is merged with that above":   {has: "1=2 2=6 4=9 +Inf=12", leaves: "+Inf=12 1=0 2=6 4=9"},
		"none is as few are":              {has: "1=0 2=6 4=9 +Inf=12", leaves: "+Inf=12 1=0 2=6 4=9"},
		"several together are enough":     {has: "1=2 2=4 4=6 +Inf=9", leaves: "+Inf=9 1=0 2=4 4=4"},
		"the last with those below":       {has: "1=3 2=6 4=7 8=8 +Inf=8", leaves: "+Inf=8 1=3 2=8 4=8 8=8"},
		"and where the last are none":     {has: "1=3 2=8 4=8 8=8 +Inf=8", leaves: "+Inf=8 1=3 2=8 4=8 8=8"},
		"enough of all, but in no bucket": {has: "1=1 2=2 +Inf=4", leaves: "+Inf=4 1=0 2=0"},
		"too few of all":                  {has: "1=1 2=2 +Inf=2", leaves: ""},
		"none of all":                     {has: "1=0 2=0 +Inf=0", leaves: ""},
		"bounds below zero":               {has: "-5=3 -1=4 0=9 +Inf=9", leaves: "+Inf=9 -1=3 -5=3 0=9"},
		"bounds as they are written":      {has: "1e+1=4 2.0=1 +Inf=8", leaves: "+Inf=8 1e+1=4 2.0=0"},

		"no last bucket":              {has: "1=3 2=6", leaves: ""},
		"counts that fall":            {has: "1=6 2=3 +Inf=9", leaves: ""},
		"a last one that falls":       {has: "1=3 2=9 +Inf=6", leaves: ""},
		"a bound twice":               {has: "1=3 1.0=6 +Inf=9", leaves: ""},
		"the last one twice":          {has: "1=3 +Inf=9 Inf=9", leaves: ""},
		"a bound below zero of none":  {has: "-1=0 2=3 +Inf=9", leaves: "+Inf=9 -1=0 2=3"},
		"a count below zero":          {has: "1=-3+-3+-3 +Inf=9", leaves: ""},
		"no number":                   {has: "1=NaN+1+1 2=6 +Inf=9", leaves: "+Inf=9 2=6"}, // a gap: only two have the bound
		"no end of it":                {has: "1=Inf+1+1 2=6 +Inf=9", leaves: ""},
		"a bound that is no number":   {has: "none=5 1=3 +Inf=9", leaves: "+Inf=9 1=3"},
		"a bound that is not a bound": {has: "NaN=5 1=3 +Inf=9", leaves: "+Inf=9 1=3"},

		// Two users are too few for it to be told that there is such a bound.
		"a bound of few":                                     {has: "1=3 2=6+6 +Inf=60", leaves: "+Inf=60 1=3"},
		"a last bucket of few":                               {has: "1=3 2=6 +Inf=6+6", leaves: ""},
		"a bound of most":                                    {change: ofTwo, has: "1=3 2=6+6 +Inf=60", leaves: "+Inf=60 1=3"},
		"a last bucket of most":                              {change: ofTwo, has: "1=3 2=6 +Inf=6+6", leaves: "+Inf=12"},
		"a bucket that is one user's":                        {change: dominated, has: "1=9 2=30+1+1 4=60 +Inf=90", leaves: "+Inf=90 1=9 2=9 4=60"},
		"few above one that is one user's":                   {change: dominated, has: "1=9+1+1 2=9+2+1 4=30 +Inf=33", leaves: "+Inf=33 1=0 2=0 4=30"},
		"enough above one that is one user's":                {change: dominated, has: "1=9+1+1 2=9+3+2 4=30 +Inf=33", leaves: "+Inf=33 1=0 2=14 4=30"},
		"few above all that isn't one user's":                {change: dominated, has: "1=4+4+4 2=90+4+4 4=92+30+30 8=93+30+31 +Inf=93+30+31", leaves: "+Inf=154 1=12 2=12 4=154 8=154"},
		"the last, when one user's":                          {change: dominated, has: "1=9 2=12 +Inf=90+1+1", leaves: ""},
		"rounded when it is merged":                          {change: toFives, has: "1=2 2=11 4=17 +Inf=19", leaves: "+Inf=20 1=0 2=10 4=20"},
		"a bound asked for":                                  {has: "1=2 2=6 4=9 +Inf=12", asked: `sum by (le) (wait_bucket{le="1"})`, leaves: "1=0"},
		"the next bound asked for":                           {has: "1=2 2=6 4=9 +Inf=12", asked: `sum by (le) (wait_bucket{le="2"})`, leaves: "2=6"},
		"bounds asked for":                                   {has: "1=2 2=6 4=7 +Inf=8", asked: `sum by (le) (wait_bucket{le!~"2|[+]Inf"})`, leaves: "1=0 4=8"},
		"a bound, not by it":                                 {has: "1=2 2=6 4=7 +Inf=8", asked: `sum(wait_bucket{le="4"}) / sum(wait_bucket{le="+Inf"})`, leaves: "{}=1"},
		"the mean of a bound":                                {has: "1=3 2=7 +Inf=9", asked: `avg by (le) (wait_bucket)`, leaves: "+Inf=3 1=1 2=3"},
		"how many":                                           {has: "1=2 2=6 +Inf=9", asked: `count by (le) (wait_bucket)`, leaves: "+Inf=3 1=3 2=3"},
		"how many, of too few":                               {has: "1=1 2=2 +Inf=2", asked: `count by (le) (wait_bucket)`, leaves: ""},
		"that there are":                                     {has: "1=2 2=6 +Inf=9", asked: `group by (le) (wait_bucket)`, leaves: "+Inf=1 1=1 2=1"},
		"samples are no observations":                        {has: "1=1 2=2 +Inf=2", asked: `sum by (le) (count_over_time(wait_bucket[30s]))`, leaves: "+Inf=6 1=6 2=6"},
		"nor is it one that there are":                       {has: "1=1 2=2 +Inf=2", asked: `sum by (le) (present_over_time(wait_bucket[30s]))`, leaves: "+Inf=3 1=3 2=3"},
		"a sum over time has each observation several times": {has: "1=1 2=9 +Inf=12", asked: `sum by (le) (sum_over_time(wait_bucket[1m]))`, leaves: "+Inf=48 1=0 2=36"},
		"a mean over time doesn't":                           {has: "1=1 2=9 +Inf=12", asked: `sum by (le) (avg_over_time(wait_bucket[1m]))`, leaves: "+Inf=12 1=0 2=9"},
	} {
		t.Run(name, func(t *testing.T) {
			local := newLocalAt(t, metricstest.Store(t, histogramOf("eu", c.has)))
			if c.asked == "" {
				c.asked = "sum by (le) (wait_bucket)"
			}
			if got := asked(t, local, inCells(c.change), c.asked, metricstest.End()); got != c.leaves {
				t.Errorf("of %s leaves %q, want %q", c.has, got, c.leaves)
			}
		})
	}
}

func ofTwo(d *policy.Dataset)     { d.Cells.K = 2 }
func dominated(d *policy.Dataset) { d.Cells.Dominance = 0.8 }
func toFives(d *policy.Dataset)   { d.Rounding = policy.Rounding{Base: 5} }

// A bound that isn't told in one cell is one that the sum of several cells has
// all the same, so that no bucket of the sum is of other cells than the next.
func TestSumsOfMergedBuckets(t *testing.T) {
	series := append(histogramOf("eu", "1=30 2=31 +Inf=31"), histogramOf("us", "1=10 2=20 +Inf=40")...)
	local := newLocalAt(t, metricstest.Store(t, series))
	if got, want := asked(t, local, inCells(nil), "sum by (le) (wait_bucket)", metricstest.End()), "+Inf=71 1=41 2=51"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What is suppressed for having too few users has buckets of its own.
func TestBucketsOfOtherCells(t *testing.T) {
	var series []metricstest.Series
	for _, region := range []string{"eu", "us", "ap"} {
		series = append(series, metricstest.Series{Labels: labels.FromStrings("__name__", "wait_bucket", "region", region, "user", region, "le", "1"), Values: values(func(int) float64 { return 1 })},
			metricstest.Series{Labels: labels.FromStrings("__name__", "wait_bucket", "region", region, "user", region, "le", "2"), Values: values(func(int) float64 { return 4.0 / 3 })},
			metricstest.Series{Labels: labels.FromStrings("__name__", "wait_bucket", "region", region, "user", region, "le", "+Inf"), Values: values(func(int) float64 { return 9 })})
	}
	local := newLocalAt(t, metricstest.Store(t, series))
	o := inCells(func(d *policy.Dataset) { d.Cells.Other = true })
	if got, want := asked(t, local, o, "sum by (le) (wait_bucket)", metricstest.End()), "+Inf=27 1=3 2=3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Rates count observations, however they are extrapolated: three users have one
// each in a quarter of a minute, in the first bucket, and one of them has one more.
func TestExtrapolatedBuckets(t *testing.T) {
	var series []metricstest.Series
	for user := range 3 {
		for _, le := range []string{"1", "2", "+Inf"} {
			n := 4.0
			if le == "1" {
				n = []float64{0, 0, 1}[user]
			}
			series = append(series, metricstest.Series{
				Labels: labels.FromStrings("__name__", "wait_bucket", "region", "eu", "user", fmt.Sprint(user), "le", le),
				Values: values(func(i int) float64 { return 1000 + n*float64(i) }),
			})
		}
	}
	local := newLocalAt(t, metricstest.Store(t, series))
	for expression, want := range map[string]string{
		// Of two samples, 1 becomes 2 and 12 become 24. That may be of less than k observations.
		"sum by (le) (increase(wait_bucket[30s]))": "+Inf=24 1=0 2=24",
		// Of four, three become four; they can be told.
		"sum by (le) (increase(wait_bucket[1m]))":        "+Inf=48 1=0 2=48",
		"sum by (le) (increase(wait_bucket[90s]))":       "+Inf=72 1=6 2=72",
		"sum by (le) (rate(wait_bucket[90s]))":           "+Inf=0.8 1=0.0666667 2=0.8",
		"sum by (le) (increase(wait_bucket[30s:15s]))":   "+Inf=24 1=0 2=24",
		"sum by (le) (delta(wait_bucket[90s]))":          "+Inf=72 1=6 2=72",
		"sum by (le) (rate(wait_bucket{le=\"1\"}[30s]))": "1=0",
	} {
		if got := asked(t, local, inCells(nil), expression, metricstest.End().Add(-5*time.Second)); got != want {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

// Where buckets are small, what leaves differs from the formula by fewer than k
// observations, and no bucket has fewer.
func TestClassicHistogramsLoseSmallBuckets(t *testing.T) {
	r := randv2.New(randv2.NewPCG(uint64(seedOf(t)), 15))
	compared, merged := 0, 0
	for range 4 {
		store := metricstest.Store(t, metricstest.Cells(r, r, threshold))
		local := newLocalAt(t, store)
		for leaf, most := range map[string]float64{
			// What an observation counts at most, of two samples or more.
			"wait_bucket": 1, "wait_bucket offset 3m": 1, "increase(wait_bucket[30s])": 3.2, "rate(wait_bucket[1m])": 3.2 / 60,
			"delta(wait_bucket[5m])": 3.2, "avg_over_time(wait_bucket[2m])": 1, "max_over_time(wait_bucket[5m:30s])": 1,
			"sum_over_time(wait_bucket[1m])": 4,
		} {
			const finest = "by (region, status, le)"
			q := randomQuestion(r, always("1"), always("1"))
			formula := fmt.Sprintf("sum %s (%s) and on (region, status, le) (count %s (group by (region, status, le, user) (%s)) >= %d)", finest, leaf, finest, leaf, threshold)
			want := q
			want.Expression = formula
			expected, err := evaluateReference(t.Context(), store, want)
			if err != nil {
				t.Fatal(err)
			}
			q.Expression = fmt.Sprintf("sum %s (%s)", finest, leaf)
			released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner)
			if err != nil {
				t.Fatal(err)
			}
			got, err := released.Matrix()
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(expected) {
				t.Fatalf("%s: %d series, want %d", describe(q), len(got), len(expected))
			}
			for i := range expected {
				if len(got[i].Floats) != len(expected[i].Floats) {
					t.Fatalf("%s: %s has %d samples, want %d", describe(q), got[i].Metric, len(got[i].Floats), len(expected[i].Floats))
				}
				for j, p := range got[i].Floats {
					off := math.Abs(p.F - expected[i].Floats[j].F)
					if off >= threshold*most {
						t.Errorf("%s at %d: %s is %v, of %v", describe(q), p.T, got[i].Metric, p.F, expected[i].Floats[j].F)
					}
					if off > 1e-9 {
						merged++
					}
					compared++
				}
			}
			least := map[float64]float64{1: threshold, 3.2: threshold, 3.2 / 60: threshold / 60.0, 4: threshold}[most]
			if small := smallBucket(got, least); small != "" {
				t.Errorf("%s: %s", describe(q), small)
			}
		}
	}
	if compared < 1000 || merged < 100 {
		t.Errorf("of %d counts %d are others: the test is blind", compared, merged)
	}
}

// smallBucket looks for two bounds of a histogram whose counts differ by little.
func smallBucket(matrix promql.Matrix, least float64) string {
	counts := map[string]map[float64]float64{}
	for _, s := range matrix {
		for _, p := range s.Floats {
			bound, err := strconv.ParseFloat(s.Metric.Get("le"), 64)
			if err != nil {
				return err.Error()
			}
			key := fmt.Sprint(p.T, s.Metric.MatchLabels(false, "le"))
			if counts[key] == nil {
				counts[key] = map[float64]float64{}
			}
			counts[key][bound] = p.F
		}
	}
	for key, byBound := range counts {
		for a, x := range byBound {
			for b, y := range byBound {
				if a < b && x != y && y-x < least*(1-1e-9) {
					return fmt.Sprintf("%s: up to %v %v, up to %v %v", key, a, x, b, y)
				}
			}
		}
	}
	return ""
}

// Where the increments of the buckets are the people, they are merged by interval.
func TestBucketsOfEvents(t *testing.T) {
	waits := func(le, pod string, perMinute ...float64) metricstest.Series {
		s := visits("eu", pod, perMinute...)
		s.Labels = labels.NewBuilder(s.Labels).Set(labels.MetricName, "wait_bucket").Set("le", le).Labels()
		return s
	}
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{
		waits("1", "a", 2, 6, 0, 1, 9), waits("1", "b", 1, 0, 0, 0, 0), // 3 6 0 1 9
		waits("2", "a", 5, 6, 0, 2, 9), waits("2", "b", 1, 3, 0, 0, 9), // 6 9 0 2 18
		waits("+Inf", "a", 6, 6, 0, 2, 9), waits("+Inf", "b", 6, 3, 0, 1, 9), // 12 9 0 3 18
	}))
	at := func(minute int) time.Time { return metricstest.Start.Add(time.Duration(minute) * time.Minute) }
	for _, c := range []struct {
		minute           int
		expression, want string
	}{
		{1, "sum by (le) (increase(wait_bucket[1m]))", "+Inf=12 1=0 2=6"},
		{2, "sum by (le) (increase(wait_bucket[1m]))", "+Inf=9 1=9 2=9"},
		{3, "sum by (le) (increase(wait_bucket[1m]))", "+Inf=0 1=0 2=0"},
		{4, "sum by (le) (increase(wait_bucket[1m]))", ""},
		{4, "sum by (le) (increase(wait_bucket[4m]))", "+Inf=21 1=9 2=15"},
		{5, `sum by (le) (increase(wait_bucket{le="1"}[1m]))`, "1=9"},
		{1, `sum by (le) (increase(wait_bucket{le="1"}[1m]))`, "1=0"},
		{5, `sum by (le) (rate(wait_bucket{le!="1"}[1m]))`, "+Inf=0.3 2=0.3"},
	} {
		if got := asked(t, local, inEvents(5, nil), c.expression, at(c.minute)); got != c.want {
			t.Errorf("%s in minute %d: %q, want %q", c.expression, c.minute, got, c.want)
		}
	}
}

// Native histograms count observations as classic ones do.
func TestNativeHistogramsOverTime(t *testing.T) {
	r := randv2.New(randv2.NewPCG(3, 3))
	local := newLocalAt(t, metricstest.Store(t, metricstest.Cells(r, r, threshold)))
	for expression, most := range map[string]float64{"wait_native": 1, "sum_over_time(wait_native[2m])": 8, "increase(wait_native[30s])": 2} {
		// Of wait_native there are, in the bucket up to 0.0625 and below, fewer than three.
		got := asked(t, local, inCells(nil), "histogram_count(sum("+expression+")) * histogram_fraction(0, 0.125, sum("+expression+"))", metricstest.End())
		if got != "{}=0" {
			t.Errorf("%s: %s of fewer than %g times three", expression, got, most)
		}
	}
}
