package metrics_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand" //nolint:depguard // promqlsmith takes this one
	randv2 "math/rand/v2"
	"os"
	"strings"
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
	"github.com/parley-gateway/parley/tenants"
)

var (
	oracleSeed    = flag.Int64("oracle.seed", 1, "seed of the random queries; 0 takes one from the clock, as make fuzz does")
	oracleQueries = flag.Int("oracle.queries", 2000, "how many random queries to compare")
)

var orgs = []tenants.OrgID{"acme", "globex", "initech"}

// everything is the decision on our own users' questions about our own data.
var everything = policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
	Name: "all", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
}}}}

// split is three organizations' stores and one that holds all of them.
type split struct {
	members []metrics.Member
	union   *metrics.TSDB
}

func newSplit(t testing.TB, r *randv2.Rand, decision policy.Decision) split {
	var s split
	var all []metricstest.Series
	for _, org := range orgs {
		series := metricstest.Random(r)
		local := newLocal(t, org, metricstest.Store(t, series))
		s.members = append(s.members, metrics.Member{Org: org, Own: org == "acme", Ask: func(ctx context.Context, q metrics.Question) (*metrics.Released, federation.Part, error) {
			released, part, err := local.Answer(ctx, q, decision, metrics.Asking{Org: "acme", ExchangeID: "x"})
			if err == nil && org != "acme" {
				// What a partner sends must be its own; see federation/peer.
				for _, s := range released.Series() {
					if s.Labels.Get("org") != string(org) {
						t.Errorf("%s is asked for what isn't its own: %s gives %s", org, q.Expression, s.Labels)
					}
				}
			}
			return released, part, err
		}})
		for _, one := range series {
			one.Labels = withOrg(one.Labels, org)
			all = append(all, one)
		}
	}
	s.union = metricstest.Store(t, all)
	return s
}

func newLocal(t testing.TB, org tenants.OrgID, source metrics.Source) *metrics.Local {
	t.Helper()
	local, err := metrics.NewLocal(metrics.LocalConfig{Org: org, Source: source, Secret: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	return local
}

func withOrg(ls labels.Labels, org tenants.OrgID) labels.Labels {
	b := labels.NewBuilder(ls)
	if own := ls.Get("org"); own != "" {
		b.Set("exported_org", own)
	}
	return b.Set("org", string(org)).Labels()
}

func referenceEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

// TestOracle asks three organizations and one Prometheus engine over the
// union of their stores the same random questions.
func TestOracle(t *testing.T) {
	seed := *oracleSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -oracle.seed=%d)", seed, seed)
	r := randv2.New(randv2.NewPCG(uint64(seed), 1))
	s := newSplit(t, r, everything)
	var known []labels.Labels
	for _, org := range orgs {
		for _, one := range metricstest.Random(r) {
			known = append(known, withOrg(one.Labels, org))
		}
	}
	smith := promqlsmith.New(rand.New(rand.NewSource(seed)), known, oracleOptions()...)
	compared, failed := 0, 0
	for range *oracleQueries {
		q := randomQuestion(r, smith.WalkRangeQuery, smith.WalkInstantQuery)
		outcome := compare(t, s, q)
		if outcome == compared_ {
			compared++
		}
		if outcome == different {
			failed++
			if failed > 20 {
				t.Fatal("too many differences")
			}
		}
	}
	t.Logf("%d queries, %d with an answer", *oracleQueries, compared)
	if compared < *oracleQueries/4 {
		t.Errorf("only %d of %d queries had an answer: the test is blind", compared, *oracleQueries)
	}
}

// TestCrashers asks what differed once.
func TestCrashers(t *testing.T) {
	s := newSplit(t, randv2.New(randv2.NewPCG(5, 5)), everything)
	text, err := os.ReadFile("testdata/crashers.promql")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := metricstest.Start.Add(17*time.Minute + 333*time.Millisecond)
		compare(t, s, metrics.Question{Kind: policy.Instant, Expression: line, Start: at, End: at})
		compare(t, s, metrics.Question{Kind: policy.Range, Expression: line, Start: at, End: at.Add(5 * time.Minute), Step: 10500 * time.Millisecond})
	}
}

func randomQuestion(r *randv2.Rand, ranged, instant func() parser.Expr) metrics.Question {
	start := metricstest.Start.Add(time.Duration(r.IntN(20*60*1000)) * time.Millisecond)
	if r.IntN(3) == 0 {
		return metrics.Question{Kind: policy.Instant, Expression: instant().String(), Start: start, End: start}
	}
	step := []time.Duration{time.Second * 15, time.Second * 60, 1500 * time.Millisecond * 7, 333 * time.Millisecond * 100}[r.IntN(4)]
	return metrics.Question{
		Kind: policy.Range, Expression: ranged().String(), Start: start,
		End: start.Add(step*time.Duration(1+r.IntN(30)) + time.Duration(r.IntN(999))*time.Millisecond), Step: step,
	}
}

func oracleOptions() []promqlsmith.Option {
	return []promqlsmith.Option{
		promqlsmith.WithEnableOffset(true),
		promqlsmith.WithEnableAtModifier(true),
		promqlsmith.WithEnabledAggrs([]parser.ItemType{
			parser.SUM, parser.MIN, parser.MAX, parser.AVG, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR,
			parser.QUANTILE, parser.TOPK, parser.BOTTOMK, parser.COUNT_VALUES,
		}),
		promqlsmith.WithAtModifierMaxTimestamp(metricstest.End().UnixMilli()),
	}
}

const (
	compared_ = iota
	noAnswer
	different
)

func compare(t *testing.T, s split, q metrics.Question) int {
	t.Helper()
	ctx := context.Background()
	want, wantErr := evaluateReference(ctx, s.union, q)
	released, _, err := metrics.NewFederated(0, 0, nil).Answer(ctx, q, s.members)
	if wantErr != nil {
		if strings.Contains(wantErr.Error(), "unexpected error: runtime error") {
			return noAnswer // a panic inside Prometheus's engine is no reference
		}
		if err == nil {
			t.Errorf("%s\n reference: %v\n ours: an answer", describe(q), wantErr)
			return different
		}
		return noAnswer
	}
	if err != nil {
		t.Errorf("%s\n reference: %d series\n ours: %v", describe(q), len(want), err)
		return different
	}
	got, err := released.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	if diff := difference(want, got); diff != "" {
		// Ties of topk, and quantiles of a NaN, depend on the order of series:
		// two loads of the same data differ in Prometheus too.
		if ambiguous(ctx, s.union, q, want) {
			return noAnswer
		}
		t.Errorf("%s\n %s", describe(q), diff)
		return different
	}
	if len(want) == 0 {
		return noAnswer
	}
	return compared_
}

func describe(q metrics.Question) string {
	return fmt.Sprintf("%s %s start=%d end=%d step=%s", q.Kind, q.Expression, q.Start.UnixMilli(), q.End.UnixMilli(), q.Step)
}

func difference(want, got promql.Matrix) string {
	if len(want) != len(got) {
		return fmt.Sprintf("want %d series, got %d\n want %v\n got %v", len(want), len(got), want, got)
	}
	for i := range want {
		w, g := want[i], got[i]
		if !labels.Equal(w.Metric, g.Metric) {
			return fmt.Sprintf("series %d: want %s, got %s", i, w.Metric, g.Metric)
		}
		if len(w.Floats) != len(g.Floats) || len(w.Histograms) != len(g.Histograms) {
			return fmt.Sprintf("series %s: want %d floats and %d histograms, got %d and %d\n%v\n%v", w.Metric, len(w.Floats), len(w.Histograms), len(g.Floats), len(g.Histograms), w, g)
		}
		for j := range w.Floats {
			if w.Floats[j].T != g.Floats[j].T || !close_(w.Floats[j].F, g.Floats[j].F) {
				return fmt.Sprintf("series %s: want %v, got %v", w.Metric, w.Floats[j], g.Floats[j])
			}
		}
		for j := range w.Histograms {
			if w.Histograms[j].T != g.Histograms[j].T || !closeHistograms(w.Histograms[j].H, g.Histograms[j].H) {
				return fmt.Sprintf("series %s: want %v, got %v", w.Metric, w.Histograms[j], g.Histograms[j])
			}
		}
	}
	return ""
}

func close_(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) == math.IsNaN(b)
	}
	if a == b {
		return true
	}
	return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) || math.Abs(a-b) < 1e-9
}

func closeHistograms(a, b *histogram.FloatHistogram) bool {
	a, b = a.Copy().Compact(0), b.Copy().Compact(0)
	if !close_(a.Sum, b.Sum) || !close_(a.Count, b.Count) || a.Schema != b.Schema || len(a.PositiveBuckets) != len(b.PositiveBuckets) {
		return false
	}
	for i := range a.PositiveBuckets {
		if !close_(a.PositiveBuckets[i], b.PositiveBuckets[i]) {
			return false
		}
	}
	return true
}

func evaluateReference(ctx context.Context, store *metrics.TSDB, q metrics.Question) (promql.Matrix, error) {
	return metrics.RawMatrix(ctx, referenceEngine(), store, q, 0)
}

func ambiguous(ctx context.Context, store *metrics.TSDB, q metrics.Question, want promql.Matrix) bool {
	for order := range uint64(20) {
		other, err := metrics.RawMatrix(ctx, referenceEngine(), store, q, order+1)
		if err == nil && difference(want, other) != "" {
			return true
		}
	}
	return false
}
