package gatewaytest_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand" //nolint:depguard // promqlsmith takes this one
	randv2 "math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cortexproject/promqlsmith"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

var (
	oracleSeed    = flag.Int64("oracle.seed", 1, "seed of the random queries; 0 takes one from the clock, as make fuzz does")
	oracleQueries = flag.Int("oracle.queries", 2000, "how many random queries to compare")
)

const everything = `{"allow": true, "datasets": [{"name": "all", "series": ["{}"], "release": "row", "labels": {"*": "keep"}}]}`

// TestOracle asks a federation of three gateways, through acme's front door,
// and a Prometheus engine over the union of their stores.
func TestOracle(t *testing.T) {
	seed := *oracleSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -oracle.seed=%d)", seed, seed)
	r := randv2.New(randv2.NewPCG(uint64(seed), 1))
	ids := []tenants.OrgID{"acme", "globex", "initech"}
	world := gatewaytest.New(t, ids...)
	var all []metricstest.Series
	var known []labels.Labels
	for _, id := range ids {
		// Native histograms are compared in federation/metrics: JSON shows
		// their buckets rounded.
		var floats []metricstest.Series
		for _, s := range metricstest.Random(r) {
			if s.Histograms == nil {
				floats = append(floats, s)
				s.Labels = withOrg(s.Labels, id)
				all, known = append(all, s), append(known, s.Labels)
			}
		}
		world.Org(id).Holds(floats...)
		if id != "acme" {
			world.Org(id).Releases("acme", everything)
			world.Org(id).Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 100000, range: 100y}" })
		}
	}
	world.Start()
	union := metricstest.Reference(t, all)
	smith := promqlsmith.New(rand.New(rand.NewSource(seed)), known,
		promqlsmith.WithEnableOffset(true), promqlsmith.WithEnableAtModifier(true),
		promqlsmith.WithAtModifierMaxTimestamp(metricstest.End().UnixMilli()))
	answered, ambiguous := 0, 0
	for range *oracleQueries {
		q := randomQuery(r, smith)
		want, wantErr := q.reference(union, 0)
		got, gotErr := q.ask(world.Org("acme"))
		switch {
		case wantErr != nil && gotErr == nil:
			t.Errorf("%s\n reference: %v\n gateways: an answer", q, wantErr)
		case wantErr != nil:
		case gotErr != nil:
			t.Errorf("%s\n reference: %d series\n gateways: %v", q, len(want), gotErr)
		case difference(want, got) == "":
			answered++
		case q.ambiguous(union, want):
			ambiguous++
		default:
			t.Errorf("%s\n %s", q, difference(want, got))
		}
	}
	if t.Failed() {
		for line := range strings.Lines(world.Org("acme").Log.String()) {
			if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
				t.Log(line)
			}
		}
	}
	t.Logf("%d queries: %d with the same answer, %d that two loads of the same data answer differently", *oracleQueries, answered, ambiguous)
	if answered < *oracleQueries/4 {
		t.Errorf("only %d of %d queries were answered: the test is blind", answered, *oracleQueries)
	}
}

func withOrg(ls labels.Labels, org tenants.OrgID) labels.Labels {
	b := labels.NewBuilder(ls)
	if own := ls.Get("org"); own != "" {
		b.Set("exported_org", own)
	}
	return b.Set("org", string(org)).Labels()
}

type query struct {
	expr       string
	start, end time.Time
	step       time.Duration // zero: at start
}

func (q query) String() string {
	return fmt.Sprintf("%s start=%d end=%d step=%s", q.expr, q.start.UnixMilli(), q.end.UnixMilli(), q.step)
}

func randomQuery(r *randv2.Rand, smith *promqlsmith.PromQLSmith) query {
	start := metricstest.Start.Add(time.Duration(r.IntN(20*60*1000)) * time.Millisecond)
	if r.IntN(3) == 0 {
		return query{expr: vector(smith.WalkInstantQuery()), start: start, end: start}
	}
	// Prometheus's API reads a step as seconds in floating point, so that
	// 33.971 is a little less than that.
	step := time.Duration(float64(1+r.IntN(60_000)) / 1000 * float64(time.Second))
	return query{expr: vector(smith.WalkRangeQuery()), start: start, end: start.Add(step*time.Duration(1+r.IntN(30)) + 7*time.Millisecond), step: step}
}

// vector is the expression itself; a scalar's answer has another shape.
func vector(e parser.Expr) string {
	if e.Type() == parser.ValueTypeScalar {
		return "vector(" + e.String() + ")"
	}
	return e.String()
}

func (q query) ask(o *gatewaytest.Org) (model.Matrix, error) {
	path, form := "/api/v1/query", url.Values{"query": {q.expr}, "time": {seconds(q.start)}}
	if q.step > 0 {
		path, form = "/api/v1/query_range", url.Values{
			"query": {q.expr}, "start": {seconds(q.start)}, "end": {seconds(q.end)},
			"step": {strconv.FormatFloat(math.Round(q.step.Seconds()*1000)/1000, 'f', 3, 64)},
		}
	}
	reply := o.Get(path, form)
	if reply.Code != 200 {
		return nil, fmt.Errorf("%d %s", reply.Code, reply.Body)
	}
	var parts federation.Completeness
	if header := reply.Header.Get("X-Parley-Completeness"); header != "" {
		if err := json.Unmarshal([]byte(header), &parts); err != nil {
			return nil, err
		}
	}
	if !parts.Whole() {
		return nil, fmt.Errorf("the answer is not whole: %s", parts.Missing())
	}
	var body struct {
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(reply.Body, &body); err != nil {
		return nil, err
	}
	if body.Data.ResultType == "matrix" {
		var m model.Matrix
		return m, json.Unmarshal(body.Data.Result, &m)
	}
	var v model.Vector
	if err := json.Unmarshal(body.Data.Result, &v); err != nil {
		return nil, err
	}
	var m model.Matrix
	for _, s := range v {
		m = append(m, &model.SampleStream{Metric: s.Metric, Values: []model.SamplePair{{Timestamp: s.Timestamp, Value: s.Value}}})
	}
	return m, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// reference evaluates the query with Prometheus's engine, which reads series
// in their own order for 0 and shuffled for any other order.
func (q query) reference(union storage.Queryable, order uint64) (model.Matrix, error) {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	ctx := context.Background()
	var made promql.Query
	var err error
	if q.step == 0 {
		made, err = engine.NewInstantQuery(ctx, shuffled{union, order}, nil, q.expr, q.start)
	} else {
		made, err = engine.NewRangeQuery(ctx, shuffled{union, order}, nil, q.expr, q.start, q.end, q.step)
	}
	if err != nil {
		return nil, err
	}
	defer made.Close()
	result := made.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	var out model.Matrix
	add := func(metric labels.Labels, points ...promql.FPoint) {
		s := &model.SampleStream{Metric: model.Metric{}}
		metric.Range(func(l labels.Label) { s.Metric[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
		for _, p := range points {
			s.Values = append(s.Values, model.SamplePair{Timestamp: model.Time(p.T), Value: model.SampleValue(p.F)})
		}
		out = append(out, s)
	}
	switch value := result.Value.(type) {
	case promql.Matrix:
		for _, s := range value {
			add(s.Metric, s.Floats...)
		}
	case promql.Vector:
		for _, s := range value {
			add(s.Metric, promql.FPoint{T: s.T, F: s.F})
		}
	}
	return out, nil
}

// ambiguous says whether Prometheus itself answers differently when the same
// series come in another order: ties of topk, and a NaN among others.
func (q query) ambiguous(union storage.Queryable, want model.Matrix) bool {
	for order := range uint64(20) {
		if other, err := q.reference(union, order+1); err == nil && difference(want, other) != "" {
			return true
		}
	}
	return false
}

func difference(want, got model.Matrix) string {
	if len(want) != len(got) {
		return fmt.Sprintf("want %d series, got %d\nwant %v\ngot %v", len(want), len(got), want, got)
	}
	by := map[string]*model.SampleStream{}
	for _, s := range got {
		by[s.Metric.String()] = s
	}
	for _, w := range want {
		g := by[w.Metric.String()]
		if g == nil {
			return fmt.Sprintf("no series %s", w.Metric)
		}
		if len(w.Values) != len(g.Values) {
			return fmt.Sprintf("%s: want %v, got %v", w.Metric, w.Values, g.Values)
		}
		for i := range w.Values {
			if w.Values[i].Timestamp != g.Values[i].Timestamp || !near(float64(w.Values[i].Value), float64(g.Values[i].Value)) {
				return fmt.Sprintf("%s: want %v, got %v", w.Metric, w.Values[i], g.Values[i])
			}
		}
	}
	return ""
}

func near(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) == math.IsNaN(b)
	}
	return a == b || math.Abs(a-b) <= 1e-9*math.Max(1, math.Max(math.Abs(a), math.Abs(b)))
}
