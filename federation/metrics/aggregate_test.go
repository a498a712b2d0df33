package metrics_test

import (
	"context"
	"fmt"
	"math"
	randv2 "math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

const threshold = 3

// inCells releases all metrics by region and status, counting users.
func inCells(change func(*policy.Dataset)) policy.Obligations {
	d := policy.Dataset{
		Name: "requests", Series: []policy.Selector{{}}, Release: policy.Aggregate,
		Labels: map[string]policy.LabelRule{"region": {Mode: policy.Keep}, "status": {Mode: policy.Keep}},
		Cells:  &policy.Cells{Dimensions: []string{"region", "status"}, Units: []string{"user"}, K: threshold},
	}
	if change != nil {
		change(&d)
	}
	return policy.Obligations{Datasets: []policy.Dataset{d}}
}

var cellLeaves = []string{
	"queue_length", "requests_total", `requests_total{region="eu"}`, `requests_total{region=~"e.*|u.*",status!="200"}`,
	"rate(requests_total[5m])", "increase(errors_total[90s])", "delta(queue_length[3m])", "avg_over_time(queue_length[2m])",
	"sum_over_time(queue_length[1m])", "min_over_time(queue_length[1m])", "max_over_time(queue_length[4m])",
	"count_over_time(requests_total[1m])", "last_over_time(queue_length[1m])", "present_over_time(errors_total[1m])",
	"requests_total offset 3m", "rate(errors_total[2m] offset 1m)", "max_over_time(queue_length[5m:30s])",
	"rate(latency_bucket[5m])", `rate(latency_bucket{le="1"}[5m])`, "latency_native", "rate(latency_native[5m])",
	fmt.Sprintf("queue_length @ %d", metricstest.Start.Unix()+900), "sum_over_time(queue_length[2m] @ start())", "requests_total @ end()",
}

// smallBuckets are leaves of histograms with buckets of few observations.
var smallBuckets = []string{
	"wait_bucket", `wait_bucket{le="0.3"}`, `wait_bucket{le=~"0.*|5",region!="eu"}`, "rate(wait_bucket[5m])", `rate(wait_bucket{le!="1"}[40s])`,
	`increase(wait_bucket{le="1"}[90s])`, "delta(wait_bucket[3m])", "sum_over_time(wait_bucket[2m])", `sum_over_time(wait_bucket{le="0.1"}[5m])`,
	"avg_over_time(wait_bucket[2m])", "min_over_time(wait_bucket[2m])", "max_over_time(wait_bucket[3m:30s])", "increase(wait_bucket[3m:20s])",
	"last_over_time(wait_bucket[1m])", "count_over_time(wait_bucket[2m])", `present_over_time(wait_bucket{le="5"}[1m])`, "wait_bucket offset 2m",
	"rate(wait_bucket[2m] @ end())", "wait_native", "rate(wait_native[1m])", "increase(wait_native[30s])", "sum_over_time(wait_native[2m])",
	"delta(wait_native[2m])", "avg_over_time(wait_native[1m])",
}

// The cells are those of the formula by which they are defined, evaluated by
// Prometheus's engine over the store as it is: where no bucket of a classic
// histogram is of few observations. TestClassicHistogramsLoseSmallBuckets is of
// those.
func TestCellsAreThoseOfTheFormula(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 11))
	answered := 0
	for range 4 {
		store := metricstest.Store(t, metricstest.Cells(r, r, threshold))
		local := newLocalAt(t, store)
		for _, leaf := range cellLeaves {
			for _, op := range []string{"sum", "count", "avg", "group"} {
				q := randomQuestion(r, always("1"), always("1"))
				grouping := [][]string{{}, {"region"}, {"status"}, {"region", "status"}}[r.IntN(4)]
				if strings.Contains(leaf, "latency_bucket") {
					grouping = append(grouping, "le")
				}
				by := "by (" + strings.Join(grouping, ", ") + ")"
				const finest = "by (region, status, le) "
				guard := fmt.Sprintf(" and on (region, status, le) (count %s (group by (region, status, le, user) (%s)) >= %d)", finest, leaf, threshold)
				sums := "sum " + by + " (sum " + finest + "(" + leaf + ")" + guard + ")"
				counts := "sum " + by + " (count " + finest + "(" + leaf + ")" + guard + ")"
				formula := map[string]string{"sum": sums, "count": counts, "avg": sums + " / " + counts, "group": "group " + by + " (" + sums + ")"}[op]
				if op == "group" {
					formula = "group " + by + " (sum " + finest + "(" + leaf + ")" + guard + ")"
				}
				want := q
				want.Expression = formula
				expected, err := evaluateReference(t.Context(), store, want)
				if err != nil {
					t.Fatalf("%s: %v", formula, err)
				}
				q.Expression = op + " " + by + " (" + leaf + ")"
				released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner)
				if err != nil {
					t.Fatalf("%s: %v", describe(q), err)
				}
				got, err := released.Matrix()
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(leaf, "native") {
					for i := range expected {
						for j := range expected[i].Histograms {
							want, got := expected[i].Histograms[j].H, got[i].Histograms[j].H
							if math.Abs(got.Count-want.Count) > 1e-7*want.Count || math.Abs(got.Sum-want.Sum) > 1e-7*want.Sum {
								t.Fatalf("%s: want %s, got %s", describe(q), want, got)
							}
							merged := want.Compact(0) // see below
							got.Count, got.Sum, got.PositiveBuckets, got.PositiveSpans = merged.Count, merged.Sum, merged.PositiveBuckets, merged.PositiveSpans
						}
					}
				}
				if diff := difference(expected, got); diff != "" {
					t.Fatalf("%s\n%s\n%s", describe(q), formula, diff)
				}
				if len(got) > 0 {
					answered++
				}
			}
		}
	}
	if answered < 200 {
		t.Errorf("only %d questions had an answer: the test is blind", answered)
	}
}

func always(text string) func() parser.Expr {
	return func() parser.Expr {
		expr, err := parser.ParseExpr(text)
		if err != nil {
			panic(err)
		}
		return expr
	}
}

// overCells makes expressions that are mostly accepted: anything at all above
// leaves, and a few things that aren't.
type overCells struct {
	r *randv2.Rand
	// dimensionsOnly groups by dimensions, and asks nothing that isn't accepted.
	dimensionsOnly bool
}

func (g overCells) pick(from ...string) string { return from[g.r.IntN(len(from))] }

func (g overCells) labels() string {
	if g.dimensionsOnly {
		return g.pick("", "region", "status", "region, status", "le")
	}
	return g.pick("", "region", "status", "region, status", "user", "le", "region, user", "org")
}

func (g overCells) leaf() string {
	leaf := cellLeaves[g.r.IntN(len(cellLeaves))]
	if g.r.IntN(3) == 0 && !g.dimensionsOnly {
		leaf = smallBuckets[g.r.IntN(len(smallBuckets))]
	}
	if g.r.IntN(20) == 0 && !g.dimensionsOnly {
		return g.pick("irate(requests_total[5m])", `requests_total{user="user-eu-200-0"}`, `{__name__=~"requests.*"}`, "-queue_length", "queue_length > 0", "sum_over_time(rate(requests_total[1m])[5m:1m])")
	}
	return leaf
}

func (g overCells) aggregated() string {
	op := g.pick("sum", "sum", "count", "avg", "group")
	if g.r.IntN(25) == 0 {
		op = g.pick("max", "stddev", "topk", "quantile", "count_values")
	}
	arg := map[string]string{"topk": "1, ", "quantile": "0.5, ", "count_values": `"region", `}[op]
	how := g.pick("by", "without")
	if g.dimensionsOnly {
		how = "by"
	}
	return op + " " + how + " (" + g.labels() + ") (" + arg + g.leaf() + ")"
}

func (g overCells) vector(depth int) string {
	if depth == 0 {
		return g.aggregated()
	}
	switch g.r.IntN(14) {
	case 0:
		return g.pick("max", "min", "sum", "count", "stddev", "avg", "group") + " by (" + g.labels() + ") (" + g.vector(depth-1) + ")"
	case 1:
		return g.pick("topk", "bottomk") + " (2, " + g.vector(depth-1) + ")"
	case 2:
		return "quantile by (" + g.labels() + ") (0.5, " + g.vector(depth-1) + ")"
	case 3:
		return `count_values("region", ` + g.vector(depth-1) + ")"
	case 4:
		return "(" + g.vector(depth-1) + " " + g.pick("and", "or", "unless") + " " + g.pick("", "on (region) ", "on () ") + g.vector(depth-1) + ")"
	case 5:
		return "(" + g.vector(depth-1) + " " + g.pick("+", "-", "/", "> bool", "<", "==") + " " + g.vector(depth-1) + ")"
	case 6:
		return "(" + g.vector(depth-1) + " " + g.pick("> ", "* ", "> bool ") + g.pick("1", "scalar("+g.vector(depth-1)+")") + ")"
	case 7:
		return g.pick("absent", "abs", "ceil", "timestamp", "sgn") + "(" + g.vector(depth-1) + ")"
	case 8:
		return "vector(scalar(" + g.vector(depth-1) + "))"
	case 9:
		return g.pick("max_over_time", "rate", "changes", "stddev_over_time", "last_over_time", "absent_over_time", "irate") +
			"((" + g.vector(depth-1) + ")[" + g.pick("5m:1m", "3m:45s", "2m:") + "]" + g.pick("", " offset 1m", " offset -1m", fmt.Sprintf(" @ %d", metricstest.Start.Unix()+1000), " @ end()") + ")"
	case 10:
		return `label_replace(` + g.vector(depth-1) + `, "region", "$1", "` + g.pick("user", "status", "pod") + `", "(.*)")`
	case 11:
		return "histogram_quantile(0.9, sum by (le, region) (" + g.quantiled() + "))"
	case 12:
		return g.pick("histogram_count", "histogram_sum", "histogram_avg") + "(sum by (region) (rate(" + g.pick("latency", "wait") + "_native[5m])))"
	}
	return g.aggregated()
}

func (g overCells) quantiled() string {
	if g.dimensionsOnly {
		return g.pick("rate(latency_bucket[5m])", "rate(latency_native[5m])", "latency_native")
	}
	return g.pick("rate(latency_bucket[5m])", "rate(latency_native[5m])", "latency_native", "wait_bucket", "wait_native", "rate(wait_bucket[1m])", "rate(wait_native[1m])")
}

// cellQuestions are an expression and now and then a listing.
func (g overCells) question() metrics.Question {
	q := randomQuestion(g.r, always("1"), always("1"))
	q.Expression = g.vector(g.r.IntN(4))
	switch g.r.IntN(30) {
	case 0:
		q.Kind, q.Label = policy.LabelValues, g.pick("region", "user", "status", "__name__", "pod")
	case 1:
		q.Kind = policy.LabelNames
	case 2:
		q.Kind, q.LabelsOnly = policy.Series, true
	default:
		return q
	}
	q.Expression, q.Step, q.End = "", 0, q.Start.Add(10*time.Minute)
	q.Selectors = []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "__name__", g.pick(".+", "requests_total", "lat.*"))}}
	if g.r.IntN(2) == 0 {
		q.Selectors[0] = append(q.Selectors[0], labels.MustNewMatcher(labels.MatchRegexp, g.pick("user", "region"), g.pick("e.*", "u.*", "rare.*")))
	}
	return q
}

// Worlds that differ inside cells of too few users alone, and inside buckets of
// too few observations, give the same bytes.
func TestSmallCellsDontShow(t *testing.T) {
	const wanted = 10_000
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 12))
	accepted, answers, refused, blind := 0, 0, 0, 0
	kinds := map[string]int{}
	for accepted < wanted {
		world := r.Uint64()
		store := func(small uint64) *metrics.Local {
			series := metricstest.Cells(randv2.New(randv2.NewPCG(world, 0)), randv2.New(randv2.NewPCG(world, small)), threshold)
			return newLocalAt(t, metricstest.Store(t, series))
		}
		one, other := store(1), store(2)
		o := inCells(randomCells(r))
		g := overCells{r: r}
		for range 500 {
			q := g.question()
			got, want := ask(one, q, o), ask(other, q, o)
			if got != want && (!unstable(one, q, o) || !unstable(other, q, o)) {
				t.Fatalf("%s label=%s %v\none world: %.900s\nthe other: %.900s\npolicy: %+v", describe(q), q.Label, q.Selectors, got, want, o.Datasets[0].Cells)
			}
			if strings.HasPrefix(got, "error") {
				refused++
				kinds[strings.Fields(got)[1]]++
				continue
			}
			accepted++
			if got != "[] [] map[]\n" {
				answers++
			}
			if accepted%3 == 0 && ask(one, q, everything.Obligations) != ask(other, q, everything.Obligations) {
				blind++
			}
		}
	}
	t.Logf("%d accepted, %d with an answer, %d refused %v; without policy %d of a third differ", accepted, answers, refused, kinds, blind)
	if answers < accepted/2 {
		t.Errorf("of %d accepted questions only %d have an answer: the test is blind", accepted, answers)
	}
	if blind < 500 {
		t.Errorf("without policy only %d questions tell the worlds apart: the test is blind", blind)
	}
}

// fragile are expressions of which Prometheus makes much of little: of last bits of sums,
// by which a counter seems to begin anew or a value to change; and of moments within
// subqueries, at which it has nothing for what is the same at all times.
var fragile = regexp.MustCompile(`rate\(\(|changes\(\(|@.*\[\w+:\w*\]`)

// Where no cell is too small, and no label but the dimensions is asked for, the
// answer is Prometheus's over the store as it is.
func TestWithoutSmallCellsNothingIsLost(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 14))
	compared := 0
	for range 4 {
		store := metricstest.Store(t, metricstest.Cells(r, r, threshold))
		local := newLocalAt(t, store)
		o := inCells(func(d *policy.Dataset) { d.Cells.K = 1 })
		g := overCells{r: r, dimensionsOnly: true}
		for range 500 {
			q := randomQuestion(r, always("1"), always("1"))
			q.Expression = g.vector(r.IntN(4))
			if strings.Contains(q.Expression, "native") || strings.Contains(q.Expression, "count_values") {
				continue // small buckets are merged; and the last bits of a sum are not Prometheus's
			}
			released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner)
			if err != nil {
				continue
			}
			got, err := released.Matrix()
			if err != nil {
				t.Fatal(err)
			}
			want, err := evaluateReference(t.Context(), store, q)
			if err != nil {
				t.Fatalf("%s: Prometheus has no answer: %v", describe(q), err)
			}
			if diff := difference(want, got); diff != "" {
				if ambiguous(t.Context(), store, q, want) || fragile.MatchString(q.Expression) {
					continue
				}
				t.Fatalf("%s\n%s", describe(q), diff)
			}
			if len(got) > 0 {
				compared++
			}
		}
	}
	if compared < 800 {
		t.Errorf("only %d answers were compared: the test is blind", compared)
	}
}

// randomCells varies what a policy may say of cells.
func randomCells(r *randv2.Rand) func(*policy.Dataset) {
	return func(d *policy.Dataset) {
		for _, name := range []string{"region", "status"} {
			switch r.IntN(4) {
			case 0:
				d.Labels[name] = policy.LabelRule{Mode: policy.Drop}
			case 1:
				d.Labels[name] = policy.LabelRule{Mode: policy.Pseudonym}
			case 2:
				d.Labels[name] = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}}
			}
		}
		if r.IntN(2) == 0 {
			d.Cells.Dominance = 0.4 + r.Float64()/2
		}
		if r.IntN(2) == 0 {
			schema := int32(r.IntN(3))
			d.Cells.Schema = &schema
		}
	}
}

func TestShapesThatCellsDontAnswer(t *testing.T) {
	store := metricstest.Store(t, nil)
	local := newLocalAt(t, store)
	const form = "; put sum, count, avg or group directly around a selector or a function such as rate, for example sum by (region, status) (rate("
	for expression, because := range map[string]string{
		"requests_total":                                    "series themselves are not released",
		"rate(requests_total[5m])":                          "rate straight over series",
		"topk(1, requests_total)":                           "topk straight over series",
		"quantile by (region) (0.9, requests_total)":        "quantile straight over series",
		"max(requests_total)":                               "max straight over series",
		"count_values(\"region\", requests_total)":          "count_values straight over series",
		"sum(irate(requests_total[5m]))":                    "irate straight over series",
		"sum(predict_linear(requests_total[5m], 10))":       "predict_linear straight over series",
		"sum(requests_total > 5)":                           "> straight over series",
		"sum(-requests_total)":                              "- straight over series",
		"sum(abs(requests_total))":                          "abs straight over series",
		"sum(rate(requests_total[1m])) + queue_length":      "+ straight over series",
		"sum(requests_total) and on () queue_length > 1":    "> straight over series",
		"absent(requests_total{user=\"bob\"})":              "absent straight over series",
		"scalar(queue_length)":                              "scalar straight over series",
		"sum(max_over_time(rate(requests_total[1m])[5m:]))": "rate straight over series",
		"sum(requests_total{user=\"bob\"})":                 "user is not one of its dimensions",
		"sum(requests_total{pod!=\"a\"})":                   "pod is not one of its dimensions",
		"sum({__name__=~\"requests.*\"})":                   "a selector has to name one metric",
		"sum({region=\"eu\"})":                              "a selector has to name one metric",
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner)
		e := federation.AsError(err)
		if err == nil || e.Kind != federation.NeedsAggregation || !strings.Contains(e.Message, because) || !strings.Contains(e.Message, form) {
			t.Errorf("%s: %v, want a refusal because %q", expression, err, because)
		}
	}
	rows := metrics.Question{Kind: policy.Series, Start: metricstest.Start, End: metricstest.End(), Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "up")}}}
	if _, _, err := local.Answer(t.Context(), rows, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner); federation.AsError(err).Kind != federation.NeedsAggregation {
		t.Errorf("raw series: %v", err)
	}
}

// A sum may round to nothing, and a number of series doesn't.
func TestNumbersOfSeriesAreNoMultiples(t *testing.T) {
	var series []metricstest.Series
	for user := range 4 {
		series = append(series, metricstest.Series{
			Labels: labels.FromStrings("__name__", "up", "region", "eu", "status", "200", "user", fmt.Sprint(user)), Values: values(func(int) float64 { return 40 }),
		})
	}
	local := newLocalAt(t, metricstest.Store(t, series))
	o := inCells(func(d *policy.Dataset) { d.Rounding.Base = 100 })
	for expression, want := range map[string]float64{"sum(up)": 200, "count(up)": 4, "avg(up)": 50} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		if got, want := ask(local, q, o), fmt.Sprintf("{} %d:%016x", q.Start.UnixMilli(), math.Float64bits(want)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

// The names of cells are those of a leaf, and nobody's to ask for.
func TestCellsAreNotAskedByName(t *testing.T) {
	var series []metricstest.Series
	for user := range 3 {
		series = append(series, metricstest.Series{
			Labels: labels.FromStrings("__name__", "up", "region", "eu", "status", "200", "user", fmt.Sprint(user)), Values: values(func(int) float64 { return 1 }),
		})
	}
	local := newLocalAt(t, metricstest.Store(t, series))
	for _, name := range []string{`__name__="__parley_sums_0__"`, `__name__=~"__parley_sums_0__"`, `__name__=~"_+parley_sums_0__"`, `__name__=~"__parle[y]_counts_0__"`, `__name__!~"__parle[x]_counts_0__"`} {
		q := metrics.Question{Kind: policy.Instant, Expression: "sum(up) + on () group_right {" + name + "}", Start: metricstest.End(), End: metricstest.End()}
		released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner)
		if err == nil && len(released.Series()) > 0 {
			t.Errorf("%s: %v", name, released.Series())
		}
	}
}

// A user with many pods is one user.
func TestUnitsAreCountedNotSeries(t *testing.T) {
	one := values(func(int) float64 { return 1 })
	var series []metricstest.Series
	add := func(region string, users, pods int) {
		for i := range users * pods {
			series = append(series, metricstest.Series{Values: one, Labels: labels.FromStrings("__name__", "up", "status", "200",
				"region", region, "user", fmt.Sprint(region, i%users), "pod", fmt.Sprint(i))})
		}
	}
	add("eu", threshold, 1)
	add("us", threshold-1, 12)
	add("ap", 1, 1)
	add("sa", threshold-2, 2)
	local := newLocalAt(t, metricstest.Store(t, series))
	for _, test := range []struct {
		change           func(*policy.Dataset)
		expression, want string
	}{
		{nil, "sum by (region) (up)", `{region="eu"}=3`},
		{nil, "count by (region) (up)", `{region="eu"}=3`},
		{nil, "avg by (region) (up)", `{region="eu"}=1`},
		{nil, "sum(up)", `{}=3`},
		{nil, `sum(up{region="us"})`, ``},
		{nil, `absent(sum(up{region="us"}))`, `{}=1`},
		{nil, "sum without (status) (up)", `{org="acme", region="eu"}=3`},
		{nil, "sum by (__name__) (up)", `{__name__="up"}=3`},
		{func(d *policy.Dataset) { d.Cells.Other = true }, "sum by (region, status) (up)", `{region="__other__", status="__other__"}=27 {region="eu", status="200"}=3`},
		{func(d *policy.Dataset) { d.Cells.Other = true }, `sum by (region) (up{region="us"})`, ``},
		{func(d *policy.Dataset) { d.Labels["region"] = policy.LabelRule{} }, "sum by (region, status) (up)", `{status="200"}=3`},
		{func(d *policy.Dataset) {
			d.Labels["region"] = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}}
		}, `sum by (region) (up{region="e"})`, `{region="e"}=3`},
		{func(d *policy.Dataset) { d.Cells.Dominance = 0.3 }, "sum by (region) (up)", ``},
		{func(d *policy.Dataset) { d.Cells.Dominance = 0.34 }, "sum by (region) (up)", `{region="eu"}=3`},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: test.expression, Start: metricstest.End(), End: metricstest.End()}
		released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(test.change)}, partner)
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
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.expression, strings.Join(got, " "), test.want)
		}
	}
}

// No bucket of a released native histogram holds fewer observations than k.
func TestNativeHistogramsLoseSmallBuckets(t *testing.T) {
	r := randv2.New(randv2.NewPCG(1, 1))
	local := newLocalAt(t, metricstest.Store(t, metricstest.Cells(r, r, threshold)))
	o := inCells(func(d *policy.Dataset) { d.Cells.K = 20; d.Cells.Units = []string{"user", "pod"} })
	o.Datasets[0].Cells.K = 3
	schema := int32(1)
	o.Datasets[0].Cells.Schema = &schema
	seen := 0
	for expression, observations := range map[string]float64{"sum(latency_native)": 1, "sum(rate(latency_native[2m]))": 120, "sum(increase(latency_native[2m]))": 1} {
		for at := metricstest.Start.Add(2 * time.Minute); at.Before(metricstest.End()); at = at.Add(time.Minute) {
			released, _, err := local.Answer(context.Background(), metrics.Question{Kind: policy.Instant, Expression: expression, Start: at, End: at}, policy.Decision{Allow: true, Obligations: o}, partner)
			if err != nil {
				t.Fatal(err)
			}
			matrix, err := released.Matrix()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range matrix {
				for _, p := range s.Histograms {
					if p.H.Schema > schema {
						t.Errorf("%s: schema %d", expression, p.H.Schema)
					}
					total := p.H.ZeroCount
					for _, b := range slices.Concat(p.H.PositiveBuckets, p.H.NegativeBuckets) {
						if b > 0 && b*observations < float64(o.Datasets[0].Cells.K)-1e-9 {
							t.Errorf("%s: a bucket of %g", expression, b*observations)
						}
						total += b
						seen++
					}
					if math.Abs(total-p.H.Count) > 1e-7*total {
						t.Errorf("%s: buckets of %g in all, and a count of %g", expression, total, p.H.Count)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no histogram was released: the test is blind")
	}
}
