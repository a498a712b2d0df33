package metrics_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// hidesUser releases the metrics of metricstest without user and pod.
func hidesUser() policy.Obligations {
	keep := policy.LabelRule{Mode: policy.Keep}
	return policy.Obligations{Datasets: []policy.Dataset{{
		Name: "rows", Release: policy.Row, Series: []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}},
		Labels: map[string]policy.LabelRule{"region": keep, "status": keep, "le": keep},
	}}}
}

// Where policy hides labels, their order must not show in what the backend
// adds up, however the asker blows up the last digit.
func TestWhatShowsTheOrderOfSeriesIsNotPushedDown(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, nil))
	for expression, want := range map[string]string{
		"sum by (region, status) (rate(x[5m]))":                     `sum by (region, status) (rate({__name__="x"}[5m]))`,
		"sum(rate(x{region=\"eu\"}[5m]))":                           `sum(rate({__name__="x",region="eu"}[5m]))`,
		"sum(x)":                                                    `sum({__name__="x"})`,
		"sum((increase((x[5m]))))":                                  `sum((increase(({__name__="x"}[5m]))))`,
		"(sum(x) - 3) * 1e3":                                        `(sum({__name__="x"}) - 3) * 1000`,
		"clamp_min(sum(x), 3) / sum(x offset 1h)":                   `clamp_min(sum({__name__="x"}), 3) / sum({__name__="x"} offset 1h)`,
		"max_over_time(sum(rate(x[5m]))[1h:1m])":                    `max_over_time(sum(rate({__name__="x"}[5m]))[1h:1m])`,
		"max by (region) (x)":                                       `(max by (region) ({__name__="x"}) + 0)`,
		"1 / min(sqrt(x))":                                          `1 / (min(sqrt({__name__="x"})) + 0)`,
		"max(sum by (region) (x))":                                  `(max(sum by (region) ({__name__="x"})) + 0)`,
		"count by (status) (x * 1e3 > 5)":                           `count by (status) ({__name__="x"} * 1000 > 5)`,
		"group(x - 2)":                                              `group({__name__="x"} - 2)`,
		"sum(x) == sum(y)":                                          "",
		"sum(x_bucket) == sum(y_bucket)":                            `sum({__name__="x_bucket"}) == sum({__name__="y_bucket"})`,
		"histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))": `histogram_quantile(0.9, sum by (le) (rate({__name__="x_bucket"}[5m])))`,

		// What is added up isn't as it is in the store.
		"sum((x - 2) * 1e308)":             "",
		"sum(-x)":                          "",
		"sum(x > 5)":                       "",
		"sum(x * 2)":                       "",
		"sum(2 - x)":                       "",
		"sum(clamp_min(x, 1e16))":          "",
		"sum(clamp_max(x, 1e16))":          "",
		"sum(clamp(x, 3, 1e16))":           "",
		"sum(round(x, 1e16))":              "",
		"sum(exp(x))":                      "",
		"sum(abs(ln(x)))":                  "",
		"sum(max_over_time(x[5m:1m]))":     "",
		"sum(sum by (region) (x))":         "",
		"sum(max by (region) (x))":         "",
		"sum(count by (region) (x))":       "",
		"sum(sum by (region) (x) * 1e308)": "",
		"max(x * 0)":                       "",
		"min(-x)":                          "",
		"max(ceil(x))":                     "",
		"max(sum by (region) (x) * 0)":     "",
		"max by (__name__) (x)":            "",
		// What doesn't compensate, or otherwise goes by order.
		"avg(x)":                        "",
		"stddev(x)":                     "",
		"stdvar by (region) (x)":        "",
		"quantile(0.5, x)":              "",
		"topk(2, x)":                    "",
		"sum(avg by (region) (x))":      "",
		"max(avg by (region) (x))":      "",
		"count(stddev by (region) (x))": "",
		// Native histograms are added up without compensation.
		"histogram_quantile(0.9, sum by (le) (rate(x[5m])))":     "",
		"histogram_quantile(0.9, sum by (le) (rate(x[5m])) * 2)": "",
		"sum(x) != bool sum(y)":                                  "",
		"changes(sum(x)[5m:1m])":                                 "",
		"resets(rate(sum(x)[5m:1m])[5m:1m])":                     "",
		"changes(max(sum(x))[5m:1m])":                            `changes((max(sum({__name__="x"})) + 0)[5m:1m])`,
		"changes(sum(count_over_time(x[5m]))[5m:1m])":            `changes(sum(count_over_time({__name__="x"}[5m]))[5m:1m])`,
	} {
		if got := local.PushDownText(expression, hidesUser(), partner); got != want {
			t.Errorf("%s\n got %s\nwant %s", expression, got, want)
		}
		if strings.Contains(expression, "topk") {
			continue
		}
		if got := local.PushDownText(expression, everything.Obligations, partner); got == "" {
			t.Errorf("%s: not even pushed down where nothing is hidden", expression)
		}
	}
}

// Two stores that differ in hidden labels, and so in the order in which an
// engine of their own goes through series, answer to the last bit the same.
func TestPushDownDoesNotShowTheOrderOfSeries(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(uint64(seed), 6))
	pushed, answered, depends := 0, 0, 0
	for round := range 6 {
		series := uneven(r)
		var worlds []*metrics.Local
		var backends []*metrics.Backend
		for order := range 3 {
			b := &metrics.Backend{TSDB: metricstest.Store(t, permuted(r, series)), Engine: referenceEngine(), Order: uint64(3*round + order)}
			backends, worlds = append(backends, b), append(worlds, newLocal(t, "acme", b))
		}
		for range 150 {
			q := tameQuestion(r)
			before := len(backends[0].Evaluated)
			want := ask(worlds[0], q, hidesUser())
			pushed += len(backends[0].Evaluated) - before
			for _, other := range worlds[1:] {
				if got := ask(other, q, hidesUser()); got != want {
					t.Fatalf("%s\n%s\n%s\npushed down: %s", describe(q), want, got, backends[0].Evaluated[before:])
				}
			}
			if strings.Contains(want, ":") {
				answered++
			}
			// What isn't tame shows the order, where it is pushed down.
			q.Expression = strings.NewReplacer("sum", "avg", "max", "stddev", "min", "stdvar").Replace(q.Expression)
			if ask(worlds[0], q, everything.Obligations) != ask(worlds[1], q, everything.Obligations) {
				depends++
			}
		}
	}
	t.Logf("%d pushed down, %d with an answer, %d others depend on the order", pushed, answered, depends)
	if pushed < 500 || answered < 500 || depends < 50 {
		t.Error("the test is blind")
	}
}

// While values aren't too far apart, Prometheus's sum is the exact one rounded
// once: that is why an order doesn't show in it.
func TestSumsAreRoundedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	var series []metricstest.Series
	for i := range 256 { // 256*256 times 2^37 is 2^53
		s := metricstest.Series{Labels: labels.FromStrings("__name__", "x", "pod", fmt.Sprint(i)), Values: make([]float64, metricstest.Samples)}
		for j := range s.Values {
			s.Values[j] = math.Ldexp(1+r.Float64(), r.IntN(36)) * float64(1-2*r.IntN(2))
		}
		series = append(series, s)
	}
	backend := &metrics.Backend{TSDB: metricstest.Store(t, series), Engine: referenceEngine(), Order: 5}
	q := metrics.Question{Kind: policy.Range, Expression: "sum(x)", Start: metricstest.Start, End: metricstest.End(), Step: metricstest.Interval}
	released, _, err := newLocal(t, "acme", backend).Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: hidesUser()}, partner)
	if err != nil || len(backend.Evaluated) != 1 {
		t.Fatal(backend.Evaluated, err)
	}
	matrix, err := released.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	for j, p := range matrix[0].Floats {
		exact := new(big.Float).SetPrec(500)
		for _, s := range series {
			exact.Add(exact, big.NewFloat(s.Values[j]))
		}
		if want, _ := exact.Float64(); p.F != want {
			t.Errorf("step %d: %v, exactly %v", j, p.F, exact)
		}
	}
}

// uneven are gauges and counters of many pods whose digits are all in use, with
// zeros of both signs.
func uneven(r *rand.Rand) []metricstest.Series {
	var out []metricstest.Series
	for pod := range 40 {
		for _, name := range []string{"x", "x_bucket"} {
			s := metricstest.Series{
				Labels: labels.FromStrings("__name__", name, "region", []string{"eu", "us"}[pod%2], "status", []string{"200", "500"}[pod/2%2],
					"le", []string{"0.1", "1", "+Inf"}[pod%3], "user", fmt.Sprint("user-", pod), "pod", fmt.Sprint("pod-", pod)),
				Values: make([]float64, metricstest.Samples),
			}
			total := 0.0
			for i := range s.Values {
				switch {
				case name == "x_bucket":
					total += r.ExpFloat64()
					s.Values[i] = total
				case r.IntN(20) == 0:
					s.Values[i] = math.Copysign(0, float64(r.IntN(2))-0.5)
				case r.IntN(20) == 0:
					s.Values[i] = math.NaN()
				default:
					s.Values[i] = r.NormFloat64() * math.Pow(10, float64(r.IntN(6)-3))
				}
			}
			out = append(out, s)
		}
	}
	return out
}

// permuted gives each series another's hidden labels.
func permuted(r *rand.Rand, series []metricstest.Series) []metricstest.Series {
	out := slices.Clone(series)
	for i, j := range r.Perm(len(series)) {
		out[i].Labels = labels.NewBuilder(series[i].Labels).Set("user", series[j].Labels.Get("user")).Set("pod", fmt.Sprint("pod-", j)).Labels()
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// tameQuestion is one that may be pushed down.
func tameQuestion(r *rand.Rand) metrics.Question {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	series := pick("x", `x{status="500"}`, "rate(x_bucket[5m])", "increase(x_bucket[3m])", "delta(x[5m])", "deriv(x[2m])", "sqrt(x)", "ln(x)", "avg_over_time(x[5m])",
		"idelta(x[1m])", "sum_over_time(x[2m] offset 1m)", "stddev_over_time(x[3m])", "min_over_time(x[1m])", "floor(x)", "round(x)", "timestamp(x)")
	by := pick("", "by (region) ", "by (region, status) ", "by (user, status) ", "by (le) ")
	aggregated := pick("sum", "sum", "sum", "max", "min", "count") + " " + by + "(" + series + ")"
	expression := pick(aggregated, aggregated, "("+aggregated+" - 0.1) * 1e300", "1 / "+aggregated, "sgn("+aggregated+")", "max("+aggregated+")",
		"histogram_quantile(0.7, sum by (le, region) (rate(x_bucket[5m])))", "avg_over_time("+aggregated+"[3m:20s])", aggregated+" / count "+by+"("+series+")")
	q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.Start.Add(time.Duration(r.IntN(1700)) * time.Second)}
	q.End = q.Start
	if r.IntN(3) > 0 {
		q.Kind, q.Step, q.End = policy.Range, 45*time.Second, q.Start.Add(5*time.Minute)
	}
	return q
}
