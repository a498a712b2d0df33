package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand" //nolint:depguard // promqlsmith takes this one
	randv2 "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cortexproject/promqlsmith"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

var seedFlag = flag.Int64("e2e.seed", 1, "seed of random data and questions; 0 takes one from the clock, as make fuzz does")

func seedOf(t *testing.T) int64 {
	seed := *seedFlag
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -e2e.seed=%d)", seed, seed)
	return seed
}

// TestPushDown asks the same of one Prometheus twice: once it may evaluate
// what is proved equal, once everything is evaluated over the view.
func TestPushDown(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 1))
	store := newTwins(t, r)
	calls := newCallCounter(t)
	pushing := local(t, source(t, metrics.PrometheusConfig{Client: &http.Client{Transport: calls}}, store.prometheus.URL))
	viewing := local(t, source(t, metrics.PrometheusConfig{NoPushDown: true}, store.prometheus.URL))
	g := grammar{r}
	shaped, pushed, asked, answered := 0, 0, 0, 0
	all := policies(r)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := comparison{policy: name, got: pushing, want: viewing, obligations: all[name], calls: calls}
		for range 150 {
			c.compare(t, g.question(g.any()))
		}
		shaped, pushed = shaped+c.asked, pushed+c.pushed
		smith := promqlsmith.New(rand.New(rand.NewSource(r.Int64())), labelsOf(store.series), smithOptions()...)
		for range 40 {
			c.compare(t, g.question(smith.WalkInstantQuery().String()))
		}
		for _, expression := range benchmarked {
			c.compare(t, g.question(expression))
		}
		t.Logf("%s: %d questions, %d pushed down, %d with an answer", name, c.asked, c.pushed, c.answered)
		asked, answered = asked+c.asked, answered+c.answered
	}
	if pushed < shaped/15 {
		t.Errorf("of %d questions of the right shape only %d were pushed down: the test is blind", shaped, pushed)
	}
	if answered < asked/4 {
		t.Errorf("only %d of %d questions had an answer: the test is blind", answered, asked)
	}
}

// TestBenchmarksArePushedDown holds what the benchmarks' figures stand on.
func TestBenchmarksArePushedDown(t *testing.T) {
	r := randv2.New(randv2.NewPCG(1, 1))
	calls := newCallCounter(t)
	pushing := local(t, source(t, metrics.PrometheusConfig{Client: &http.Client{Transport: calls}}, newTwins(t, r).prometheus.URL))
	o := policies(r)["pods by pseudonym"]
	at := metricstest.End()
	for expression, want := range map[string]bool{
		benchmarked[0]: true, benchmarked[1]: true,
		benchmarked[2]: false, // raw series have labels that nobody named
		benchmarked[3]: false, // ties of topk go by the order of series
		benchmarked[4]: false, // a quantile of NaNs goes by the order of series
		`sum by (pod) (rate(http_requests_total[5m]))`: true, // of what topk needs
	} {
		before := calls.evaluated.Load()
		if _, err := answerOf(pushing, metrics.Question{Kind: policy.Range, Expression: expression, Start: at.Add(-20 * time.Minute), End: at, Step: time.Minute}, o); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
		if got := calls.evaluated.Load() > before; got != want {
			t.Errorf("%s: pushed down %t, want %t", expression, got, want)
		}
	}
}

// TestPushDownDoesNotShowHiddenLabels asks the same of two Prometheus servers
// that differ in hidden labels, and so in the order of their series: what they
// evaluate is the same to the last bit.
func TestPushDownDoesNotShowHiddenLabels(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 4))
	series := requests(r)
	calls := newCallCounter(t)
	var worlds []*metrics.Local
	for range 2 {
		store := twinsOf(t, permuted(r, series))
		worlds = append(worlds, local(t, source(t, metrics.PrometheusConfig{Client: &http.Client{Transport: calls}}, store.prometheus.URL)))
	}
	g := grammar{r}
	all := policies(r)
	hides, shows := all["pods by pseudonym"], all["everything"]
	hides.Datasets = slices.Clone(hides.Datasets)
	hides.Datasets[0].Labels = maps.Clone(hides.Datasets[0].Labels)
	delete(hides.Datasets[0].Labels, "pod")
	answered, pushed, depends := 0, 0, 0
	for range 300 {
		of := fmt.Sprintf("%s(http_requests_total%s[%s])", pick(g, "rate", "increase", "irate", "delta", "deriv", "avg_over_time", "last_over_time"),
			pick(g, "", `{status="500"}`, `{region=~"us.*",service="search"}`), g.duration())
		q := g.question(fmt.Sprintf("sum %s (%s)", pick(g, "", "by (region)", "by (user, status, org)", "by (service, pod)"), of))
		switch g.r.IntN(4) {
		case 0:
			q.Expression = "(" + q.Expression + " - 1) * 1e300"
		case 1:
			q.Expression = strings.Replace(q.Expression, "sum", pick(g, "min", "max"), 1)
		}
		evaluated, read := calls.evaluated.Load(), calls.read.Load()
		want, wantErr := answerOf(worlds[0], q, hides)
		got, gotErr := answerOf(worlds[1], q, hides)
		if calls.evaluated.Load() == evaluated+2 && calls.read.Load() == read {
			pushed++
		}
		if told(wantErr) != told(gotErr) || bits(want) != bits(got) {
			t.Errorf("%s %s start=%d end=%d step=%s:\n%s\n%s", q.Kind, q.Expression, q.Start.UnixMilli(), q.End.UnixMilli(), q.Step, bits(want), bits(got))
		}
		if len(want) > 0 {
			answered++
		}
		// What doesn't compensate depends on the order.
		q.Expression = fmt.Sprintf("stddev by (region) (%s)", of)
		one, oneErr := answerOf(worlds[0], q, shows)
		other, otherErr := answerOf(worlds[1], q, shows)
		if oneErr != nil || otherErr != nil {
			t.Errorf("%s: %v, %v", q.Expression, oneErr, otherErr)
		}
		if bits(one) != bits(other) {
			depends++
		}
	}
	t.Logf("%d pushed down, %d with an answer, %d others depend on the order", pushed, answered, depends)
	if pushed < 200 || answered < 150 || depends < 20 {
		t.Error("the test is blind")
	}
}

// permuted gives each series another's hidden labels.
func permuted(r *randv2.Rand, series []metricstest.Series) []metricstest.Series {
	out := slices.Clone(series)
	for i, j := range r.Perm(len(series)) {
		out[i].Labels = labels.NewBuilder(series[i].Labels).Set("user", fmt.Sprint("user-", j)).Set("pod", fmt.Sprint("pod-", j)).Labels()
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// bits is an answer with all digits of its values.
func bits(m promql.Matrix) string {
	var b strings.Builder
	for _, s := range m {
		fmt.Fprint(&b, s.Metric)
		for _, p := range s.Floats {
			fmt.Fprintf(&b, " %d:%016x", p.T, math.Float64bits(p.F))
		}
		fmt.Fprintln(&b, s.Histograms)
	}
	return b.String()
}

// callCounter counts what a Prometheus is asked.
type callCounter struct {
	next *http.Transport
	// evaluated are questions to its query API, read those by remote read.
	evaluated, read atomic.Int64
}

func newCallCounter(t *testing.T) *callCounter {
	c := &callCounter{next: &http.Transport{MaxIdleConnsPerHost: 4}}
	t.Cleanup(c.next.CloseIdleConnections)
	return c
}

func (c *callCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Path {
	case "/api/v1/query", "/api/v1/query_range":
		c.evaluated.Add(1)
	case "/api/v1/read":
		c.read.Add(1)
	}
	return c.next.RoundTrip(r)
}

// comparison asks two Locals the same for the same partner.
type comparison struct {
	policy      string
	got, want   *metrics.Local
	obligations policy.Obligations
	calls       *callCounter // of got

	// asked are all questions, answered those with something in the answer, and
	// pushed those of them that only the backend evaluated.
	asked, answered, pushed int
}

func (c *comparison) compare(t *testing.T, q metrics.Question) {
	t.Helper()
	c.asked++
	evaluated, read := c.calls.evaluated.Load(), c.calls.read.Load()
	got, gotErr := answerOf(c.got, q, c.obligations)
	wasPushed := c.calls.evaluated.Load() > evaluated && c.calls.read.Load() == read
	want, wantErr := answerOf(c.want, q, c.obligations)
	if diff := difference(want, wantErr, got, gotErr); diff != "" && !c.unstable(q, want, wantErr, got, gotErr) {
		t.Errorf("%s: %s %s start=%d end=%d step=%s lookback=%s\n%s", c.policy, q.Kind, q.Expression, q.Start.UnixMilli(), q.End.UnixMilli(), q.Step, q.Lookback, diff)
	}
	if wantErr == nil && len(want) > 0 {
		c.answered++
		if wasPushed {
			c.pushed++
		}
	}
}

// unstable says whether one of the two answers differently from time to time:
// Prometheus's engine goes through some series in the order of a Go map.
func (c *comparison) unstable(q metrics.Question, want promql.Matrix, wantErr error, got promql.Matrix, gotErr error) bool {
	for range 20 {
		wantAgain, wantErrAgain := answerOf(c.want, q, c.obligations)
		gotAgain, gotErrAgain := answerOf(c.got, q, c.obligations)
		if difference(want, wantErr, wantAgain, wantErrAgain) != "" || difference(got, gotErr, gotAgain, gotErrAgain) != "" {
			return true
		}
	}
	return false
}

var partner = metrics.Asking{Org: "globex", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"}

func answerOf(l *metrics.Local, q metrics.Question, o policy.Obligations) (promql.Matrix, error) {
	return answerWithin(l, q, o, time.Minute)
}

func answerWithin(l *metrics.Local, q metrics.Question, o policy.Obligations, d time.Duration) (promql.Matrix, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	released, _, err := l.Answer(ctx, q, policy.Decision{Allow: true, Obligations: o}, partner)
	if err != nil {
		return nil, err
	}
	return released.Matrix()
}

// difference says in what two answers differ, errors by what a partner is told.
func difference(want promql.Matrix, wantErr error, got promql.Matrix, gotErr error) string {
	if wantErr != nil || gotErr != nil {
		if w, g := told(wantErr), told(gotErr); w != g {
			return fmt.Sprintf("want %s\ngot  %s", w, g)
		}
		return ""
	}
	if len(want) != len(got) {
		return fmt.Sprintf("want %d series\n%v\ngot %d\n%v", len(want), want, len(got), got)
	}
	for i := range want {
		if diff := seriesDifference(want[i], got[i]); diff != "" {
			return diff
		}
	}
	return ""
}

func told(err error) string {
	if err == nil {
		return "an answer"
	}
	e := federation.AsError(err)
	return fmt.Sprintf("%s: %s: %s", e.Org, e.Kind, e.Message)
}

func seriesDifference(want, got promql.Series) string {
	if !labels.Equal(want.Metric, got.Metric) {
		return fmt.Sprintf("want series %s\ngot  %s", want.Metric, got.Metric)
	}
	if len(want.Floats) != len(got.Floats) || len(want.Histograms) != len(got.Histograms) {
		return fmt.Sprintf("%s: want %v\n%v\ngot %v\n%v", want.Metric, want.Floats, want.Histograms, got.Floats, got.Histograms)
	}
	for i, w := range want.Floats {
		if g := got.Floats[i]; w.T != g.T || !near(w.F, g.F) {
			return fmt.Sprintf("%s at %d: want %v, at %d got %v", want.Metric, w.T, w.F, g.T, g.F)
		}
	}
	for i, w := range want.Histograms {
		if g := got.Histograms[i]; w.T != g.T || !nearHistograms(w.H, g.H) {
			return fmt.Sprintf("%s at %d: want %v, at %d got %v", want.Metric, w.T, w.H, g.T, g.H)
		}
	}
	return ""
}

// near allows for another order of additions, and for what that leaves of a
// difference that would be zero.
func near(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-12*max(1, math.Abs(a), math.Abs(b))
}

func nearHistograms(a, b *histogram.FloatHistogram) bool {
	a, b = a.Copy().Compact(0), b.Copy().Compact(0)
	if a.Schema != b.Schema || !near(a.Sum, b.Sum) || !near(a.Count, b.Count) || len(a.PositiveBuckets) != len(b.PositiveBuckets) {
		return false
	}
	for i := range a.PositiveBuckets {
		if !near(a.PositiveBuckets[i], b.PositiveBuckets[i]) {
			return false
		}
	}
	return true
}

func labelsOf(series []metricstest.Series) []labels.Labels {
	var out []labels.Labels
	for _, s := range series {
		out = append(out, labels.NewBuilder(s.Labels).Set("org", "acme").Labels())
	}
	return out
}

func smithOptions() []promqlsmith.Option {
	return []promqlsmith.Option{
		promqlsmith.WithEnableOffset(true),
		promqlsmith.WithEnableAtModifier(true),
		promqlsmith.WithAtModifierMaxTimestamp(metricstest.End().UnixMilli()),
		promqlsmith.WithEnabledAggrs([]parser.ItemType{
			// Deviations and quantiles are the grammar's: it knows where the order of series shows.
			parser.SUM, parser.MIN, parser.MAX, parser.AVG, parser.COUNT, parser.GROUP, parser.TOPK, parser.BOTTOMK,
		}),
	}
}
