package metrics_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// What a question takes at least is known from its text.
func TestEstimate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	selector := func(text string) []policy.Selector {
		s, err := metrics.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return []policy.Selector{s}
	}
	keep := policy.LabelRule{Mode: policy.Keep}
	rows := policy.Dataset{Name: "rows", Series: selector(`{__name__=~"up|down"}`), Release: policy.Row, Others: keep}
	logins := policy.Dataset{
		Name: "logins", Series: selector("logins_total"), Release: policy.Aggregate, Labels: map[string]policy.LabelRule{"region": keep},
		Cells: &policy.Cells{Dimensions: []string{"region"}, Units: []string{"user"}, K: 5},
	}
	released := policy.Obligations{
		Datasets: []policy.Dataset{rows, logins},
		Queries: []policy.Query{
			{Name: "ratio", Expression: `sum(rate(hidden{job="$job"}[5m])) / sum(rate(hidden[5m]))`, Parameters: map[string]policy.Parameter{"job": {Type: policy.Text, Values: []string{"a"}}}},
			{Name: "worst", Expression: `max_over_time(ups[1h:1m])`},
			{Name: "bad", Expression: `hidden > 5`},
		},
	}
	week := released
	week.NotBefore, week.NotAfter = now.Add(-7*24*time.Hour), now.Add(-time.Hour)
	coarse := released
	coarse.Resolution = 5 * time.Minute

	instant := metrics.Question{Kind: policy.Instant, Start: now, End: now}
	day := metrics.Question{Kind: policy.Range, Start: now.Add(-24 * time.Hour), End: now, Step: time.Minute} // 1441 steps
	month := metrics.Question{Kind: policy.Range, Start: now.Add(-30 * 24 * time.Hour), End: now, Step: time.Hour}
	today := metrics.Question{Kind: policy.Range, Start: now.Add(-12 * time.Hour), End: now.Add(12 * time.Hour), Step: time.Minute}
	hours := metrics.Question{Kind: policy.Range, Start: now.Add(-24 * time.Hour), End: now, Step: 7 * time.Minute} // 206 steps
	type estimate = metrics.Estimate
	of := func(steps, answer, held, read int, evaluations ...int) estimate {
		return estimate{Steps: steps, Answer: answer, Held: held, Read: read, Evaluations: evaluations}
	}
	for _, c := range []struct {
		question    metrics.Question
		obligations policy.Obligations
		expression  string
		want        estimate
	}{
		{instant, released, `up`, of(1, 1, 1, 1, 1)},
		{instant, released, `1 + 1`, of(1, 1, 1, 0)},
		{instant, released, `rate(up[5m])`, of(1, 1, 1, 2, 1)},
		{instant, released, `up[5m]`, of(1, 1, 1, 1, 1)},
		{instant, released, `up[1h:1m]`, of(1, 60, 60, 60, 60)},
		{day, released, `sum(rate(up[5m]))`, of(1441, 1441, 1441, 2882, 1441)},
		{day, released, `sum by (region) (up) * 100`, of(1441, 1441, 1441, 1441, 1441)},
		{day, released, `time() - up`, of(1441, 1441, 1441, 1441, 1441)},

		// What filters may leave nothing, and what joins may find nothing.
		{day, released, `up == 0`, of(1441, 0, 1441, 1441, 1441)},
		{day, released, `up == bool 0`, of(1441, 1441, 1441, 1441, 1441)},
		{day, released, `up and down`, of(1441, 0, 1441, 2882, 1441, 1441)},
		{day, released, `up unless down`, of(1441, 0, 1441, 2882, 1441, 1441)},
		{day, released, `(up > 1) or down`, of(1441, 1441, 1441, 2882, 1441, 1441)},
		{day, released, `up / down`, of(1441, 0, 1441, 2882, 1441, 1441)},
		{day, released, `up / on () down`, of(1441, 1441, 1441, 2882, 1441, 1441)},
		{day, released, `sum(up) / sum(down)`, of(1441, 1441, 1441, 2882, 1441, 1441)},
		{day, released, `sum by (org) (up) / sum by (org) (down)`, of(1441, 1441, 1441, 2882, 1441, 1441)},
		{day, released, `sum by (org) (up) / sum(down)`, of(1441, 0, 1441, 2882, 1441, 1441)},
		{day, released, `absent(up)`, of(1441, 0, 1441, 1441, 1441)},
		{day, released, `topk(5, up)`, of(1441, 1441, 1441, 1441, 1441)},
		{day, released, `topk(0, up)`, of(1441, 0, 1441, 1441, 1441)},
		{day, released, `histogram_quantile(0.9, sum by (le) (rate(up[5m])))`, of(1441, 0, 1441, 2882, 1441)},
		{day, released, `clamp(up, 1, 0)`, of(1441, 0, 1441, 1441, 1441)},

		// Subqueries: each step of theirs, and each point of each window.
		{instant, released, `max_over_time(up[1d:1m])`, of(1, 1, 1440, 1440+1440, 1440)},
		{instant, released, `max_over_time(up[1d:])`, of(1, 1, 1440, 1440+1440, 1440)},
		{day, released, `max_over_time(up[1h:1m])`, of(1441, 1441, 1500, 1500+1441*60, 1500)},
		{day, released, `rate(up[1m:1m])`, of(1441, 0, 1441, 1441+1441, 1441)},
		{hours, released, `max_over_time(sum(rate(up[5m]))[1h:10m])`, of(206, 206, 206, 2*150+206*6, 150)},
		{hours, released, `max_over_time(avg_over_time(up[1h:5m])[1d:10m])`, of(206, 206, 586, 586+288*12+206*144, 586)},
		{day, released, `max_over_time((up > 1)[1h:1m])`, of(1441, 0, 1500, 1500, 1500)},

		// What doesn't change from step to step is evaluated once.
		{day, released, `up @ end()`, of(1441, 1441, 1441, 1, 1)},
		{day, released, `up - sum(max_over_time(down[1h:1m] @ end()))`, of(1441, 0, 1441, 1441+60+60, 1441, 60)},

		// What can't be seen, or isn't there yet, isn't counted.
		{month, released, `up`, of(721, 721, 721, 721, 721)},
		{month, week, `up`, of(721, 167, 167, 167, 721)},
		{month, week, `rate(up[1d])`, of(721, 6*24, 6*24, 2*6*24, 721)},
		{month, week, `up offset 23d`, of(721, 0, 0, 0, 721)},
		{month, week, `up offset -23d`, of(721, 167, 167, 167, 721)},
		{today, released, `up`, of(1441, 721, 721, 721, 1441)},
		{today, released, `time()`, of(1441, 1441, 1441, 0)},
		{month, week, `vector(1)`, of(721, 721, 721, 0)},
		{day, released, `other_total`, of(1441, 0, 0, 0, 1441)},
		{day, released, `up{org="other"}`, of(1441, 0, 0, 0, 1441)},
		{hours, coarse, `rate(up[5m])`, of(206, 0, 0, 0, 206)},
		{hours, coarse, `rate(up[10m])`, of(206, 206, 206, 412, 206)},

		// Cells and published queries.
		{day, released, `sum by (region) (rate(logins_total[5m]))`, of(1441, 1441, 1441, 2882, 1441)},
		{day, released, `ratio{job="a"}`, of(1441, 1441, 1441, 4*1441, 1441)},
		{day, released, `ratio{job="a",other="b"}`, of(1441, 0, 1441, 4*1441, 1441)},
		{day, released, `max_over_time(worst[1h:1m])`, of(1441, 1441, 1560-1, 1559+1500*60+1441*60, 1500)},
		{day, released, `bad`, of(1441, 0, 1441, 1441, 1441)},
	} {
		c.question.Expression = c.expression
		plan, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: func() time.Time { return now }}, c.question, c.obligations)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
		}
		if diff := cmp.Diff(c.want, plan.Estimate); diff != "" {
			t.Errorf("%s of %s, step %s:\n%s", c.expression, c.question.End.Sub(c.question.Start), c.question.Step, diff)
		}
	}
}

// A question is refused for what it would be at least, with the limit that it
// meets; what would just be within all of them is not.
func TestEstimateIsWithinLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	instant := metrics.Question{Kind: policy.Instant, Start: now, End: now}
	day := metrics.Question{Kind: policy.Range, Start: now.Add(-24 * time.Hour), End: now, Step: time.Minute} // 1441 steps
	long := day
	long.Step = 70 * time.Millisecond // 1,234,286 steps
	many := day
	many.Step = 2 * time.Minute // 721 steps
	for _, c := range []struct {
		question   metrics.Question
		expression string
		limits     tenants.Limits
		told       string
	}{
		{day, `sum(rate(up[5m]))`, tenants.Limits{Samples: 1441}, ""},
		{day, `sum(rate(up[5m]))`, tenants.Limits{Samples: 1440}, "the answer would have at least 1441 samples for each series, and the limit is 1440 samples; ask for less time or a larger step"},
		{day, `up == 0`, tenants.Limits{Samples: 1}, ""},
		{day, `up`, tenants.Limits{Bytes: 1441 * 16}, ""},
		{day, `up`, tenants.Limits{Bytes: 1441*16 - 1}, "the answer would have at least 23056 bytes for each series, and the limit is 23055 bytes; ask for less time or a larger step"},
		{instant, `up[1h:1m]`, tenants.Limits{Samples: 59}, "the answer would have at least 60 samples for each series, and the limit is 59 samples; ask for less time or a larger step"},
		{instant, `max_over_time(up[1d:1m])`, tenants.Limits{Samples: 1}, ""},
		{
			long, `up == 0`,
			tenants.Limits{Samples: 1000},
			"the question would hold at least 1234286 samples of each series at once, and the limit is 1000000 samples; ask for less time, larger steps or shorter ranges of subqueries",
		},
		{long, `up == 0`, tenants.Limits{}, ""},
		{many, `max_over_time(up[30d:1m])`, tenants.Limits{Samples: 1_000_000}, ""},
		{many, `max_over_time(up[120d:1m])`, tenants.Limits{}, ""},
		{
			many, `max_over_time(up[120d:1m])`,
			tenants.Limits{Samples: 1_000_000},
			"the question would read at least 124763040 samples of each series, and the limit is 100000000, 100 for each of 1000000 samples; ask for less time, larger steps or shorter ranges of subqueries",
		},
	} {
		c.question.Expression = c.expression
		o := everything.Obligations
		o.Limits = c.limits
		_, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: func() time.Time { return now }}, c.question, o)
		e := federation.AsError(err)
		if c.told == "" && e != nil || c.told != "" && (e == nil || e.Kind != federation.OverLimit || e.Message != c.told) {
			t.Errorf("%s with %+v: %v", c.expression, c.limits, err)
		}
	}
}

// What dashboards ask is not refused by the limits of an agreement that states
// none, nor by those of one that states few samples where few leave.
func TestDashboardsAreNotRefused(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, span := range []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 31 * 24 * time.Hour} {
		for _, points := range []int{300, 1500, 11_000} { // Grafana's panels, and the most that Prometheus answers
			step := max(span/time.Duration(points), 15*time.Second).Truncate(time.Second)
			for _, expression := range []string{
				`rate(http_requests_total[5m])`,
				`sum by (org, region) (rate(http_requests_total{status=~"5.."}[5m])) / sum by (org, region) (rate(http_requests_total[5m]))`,
				`histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))`,
				`max_over_time(sum(rate(http_requests_total[5m]))[1h:])`,
				`max_over_time(sum(rate(http_requests_total[5m]))[1d:1m])`,
				`avg_over_time((sum(up) / count(up))[30d:5m])`,
				`topk(10, sum by (pod) (rate(http_requests_total[5m]) - rate(http_requests_total[5m] offset 1w)))`,
				`predict_linear(disk_free[6h], 4 * 3600) < 0`,
				`label_replace(up, "host", "$1", "instance", "(.*):.*")`,
			} {
				o := everything.Obligations
				for _, o.Limits = range []tenants.Limits{{}, {Samples: 2 * points}} {
					q := metrics.Question{Kind: policy.Range, Expression: expression, Start: now.Add(-span), End: now, Step: step}
					if _, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: func() time.Time { return now }}, q, o); err != nil {
						t.Errorf("%s over %s every %s with %+v: %v", expression, span, step, o.Limits, err)
					}
				}
			}
		}
	}
}

// spent is what an engine says of a question.
type spent struct{ answer, held, read int }

// spend evaluates an expression as an engine does, and what is in subqueries by
// itself as well: of that the engine's numbers only say what windows take.
func spend(ctx context.Context, engine *promql.Engine, store storage.Queryable, q metrics.Question) (spent, error) {
	opts := promql.NewPrometheusQueryOpts(false, 0)
	var query promql.Query
	var err error
	if q.Kind == policy.Instant {
		query, err = engine.NewInstantQuery(ctx, store, opts, q.Expression, q.Start)
	} else {
		query, err = engine.NewRangeQuery(ctx, store, opts, q.Expression, q.Start, q.End, q.Step)
	}
	if err != nil {
		return spent{}, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return spent{}, result.Err
	}
	out := spent{held: query.Stats().Samples.PeakSamples, read: int(query.Stats().Samples.TotalSamples)}
	switch v := result.Value.(type) {
	case promql.Matrix:
		out.answer = v.TotalSamples()
	case promql.Vector:
		out.answer = v.TotalSamples()
	case promql.Scalar:
		out.answer = 1
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return out, err
	}
	if expr, err = promql.PreprocessExpr(expr, q.Start, q.End, q.Step); err != nil {
		return out, err
	}
	if _, ok := expr.(*parser.SubqueryExpr); ok {
		out.read = 0 // it has the numbers of what is in it
	}
	var visit func(node parser.Node, end time.Time) error
	visit = func(node parser.Node, end time.Time) error {
		switch n := node.(type) {
		case *parser.StepInvariantExpr:
			end = q.Start
		case *parser.SubqueryExpr:
			start := q.Start
			if n.Timestamp != nil {
				start, end = time.UnixMilli(*n.Timestamp), time.UnixMilli(*n.Timestamp)
			}
			step := n.Step
			if step == 0 {
				step = time.Minute
			}
			first := start.Add(-n.OriginalOffset - n.Range)
			inner := metrics.Question{Kind: policy.Range, Expression: n.Expr.String(), Start: first.Truncate(step).Add(step), End: end.Add(-n.OriginalOffset), Step: step}
			if inner.End.Before(inner.Start) {
				return nil
			}
			within, err := spend(ctx, engine, store, inner)
			out.read += within.read
			return err
		}
		for child := range parser.ChildrenIter(node) {
			if err := visit(child, end); err != nil {
				return err
			}
		}
		return nil
	}
	return out, visit(expr, q.End)
}

// expressions writes random PromQL over the metrics a, b and c.
type expressions struct{ *rand.Rand }

func (r expressions) of(list ...string) string { return list[r.IntN(len(list))] }

func (r expressions) modifiers() string {
	return r.of("", "", "", " offset 2m", " offset -3m", " offset 1h", " @ end()", " @ start()",
		fmt.Sprintf(" @ %d", metricstest.Start.Add(time.Duration(r.IntN(2400))*time.Second).Unix()))
}

func (r expressions) selector() string {
	return r.of("a", "b", "c", `{__name__="a"}`, `b{org="acme"}`, "nothing")
}

func (r expressions) scalar(depth int) string {
	if depth <= 0 {
		return r.of("1", "0.5", "3", "-1", "time()", "pi()")
	}
	return r.of("2", "scalar("+r.vector(depth-1)+")", "("+r.scalar(depth-1)+r.of(" + ", " * ", " > bool ")+r.scalar(depth-1)+")", "time()")
}

func (r expressions) matrix(depth int) string {
	if depth <= 0 || r.IntN(2) == 0 {
		return r.selector() + r.of("[31s]", "[1m]", "[2m]", "[7m]") + r.modifiers()
	}
	return "(" + r.vector(depth-1) + ")" + r.of("[2m:30s]", "[5m:45s]", "[10m:]", "[1m:1m]", "[90s:1m]", "[30s:1m]") + r.modifiers()
}

func (r expressions) vector(depth int) string {
	if depth <= 0 {
		return r.selector() + r.modifiers()
	}
	switch r.IntN(8) {
	case 0:
		return "vector(" + r.scalar(depth-1) + ")"
	case 1, 2, 3:
		return r.call(depth)
	case 4, 5:
		op := r.of("sum", "avg", "count", "group", "max", "min", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values")
		by := r.of("", "", " by (org)", " by (x)", " without (x)", " by (x, org)")
		parameter := map[string]string{"topk": "1, ", "bottomk": r.scalar(0) + ", ", "quantile": r.scalar(depth-1) + ", ", "count_values": `"x", `}[op]
		return op + by + " (" + parameter + r.vector(depth-1) + ")"
	case 6:
		op := r.of("+", "-", "/", "%", "^", "atan2", ">", "== bool", "!=", "< bool", "and", "or", "unless")
		if strings.Contains("and or unless", op) {
			return "(" + r.vector(depth-1) + " " + op + " " + r.of("", "on () ", "on (org) ", "ignoring (x) ") + r.vector(depth-1) + ")"
		}
		switch r.IntN(3) {
		case 0:
			return "(" + r.vector(depth-1) + " " + op + " " + r.scalar(depth-1) + ")"
		case 1:
			return "(" + r.scalar(depth-1) + " " + op + " " + r.vector(depth-1) + ")"
		}
		return "(" + r.vector(depth-1) + " " + op + " " + r.of("", "on () ", "on (org) ", "ignoring (x) ", "on (x) group_left () ") + r.vector(depth-1) + ")"
	}
	return "-" + r.vector(depth-1)
}

// call is of any function that PromQL has.
func (r expressions) call(depth int) string {
	names := make([]string, 0, len(parser.Functions))
	for name, f := range parser.Functions {
		if f.ReturnType == parser.ValueTypeVector && !f.Experimental {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	f := parser.Functions[r.of(names...)]
	switch f.Name {
	case "label_replace":
		return "label_replace(" + r.vector(depth-1) + `, "y", "$1", "x", "(.*)")`
	case "label_join":
		return "label_join(" + r.vector(depth-1) + `, "y", "-", "x", "org")`
	}
	var args []string
	for _, of := range f.ArgTypes {
		switch of { //nolint:exhaustive // strings are done
		case parser.ValueTypeMatrix:
			args = append(args, r.matrix(depth-1))
		case parser.ValueTypeVector:
			args = append(args, r.vector(depth-1))
		case parser.ValueTypeScalar:
			args = append(args, r.scalar(depth-1))
		}
	}
	if f.Variadic == 1 && r.IntN(2) == 0 {
		args = args[:len(args)-1]
	}
	return f.Name + "(" + strings.Join(args, ", ") + ")"
}

// Nothing takes less than it is said to, where there is one series for each
// selector: in the answer, in memory, and of what is read.
func TestEstimateIsALowerBound(t *testing.T) {
	values := func(f func(i int) float64) []float64 {
		out := make([]float64, metricstest.Samples)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	store := metricstest.Reference(t, []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "a", "org", "acme", "x", "1"), Values: values(func(i int) float64 { return float64(i) })},
		{Labels: labels.FromStrings("__name__", "b", "org", "acme", "x", "1"), Values: values(func(i int) float64 { return float64(i % 7) })},
		{Labels: labels.FromStrings("__name__", "c", "org", "acme", "x", "2"), Values: values(func(i int) float64 { return -float64(i) })},
	})
	// Samples are as far apart as the resolution says, and of the time that may be
	// seen.
	abc := []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, "a|b|c")}}
	o := policy.Obligations{
		Resolution: metricstest.Interval, NotBefore: metricstest.Start.Add(-metricstest.Interval), NotAfter: metricstest.End(),
		Datasets: []policy.Dataset{{Name: "abc", Series: abc, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep}}},
	}
	seed := uint64(max(*oracleSeed, 1))
	r := expressions{rand.New(rand.NewPCG(seed, 3))}
	engine := referenceEngine()
	asked, exact, reads := 0, 0, 0
	for range *oracleQueries {
		start := metricstest.Start.Add(time.Duration(r.IntN(3600)-900) * time.Second)
		q := metrics.Question{Kind: policy.Instant, Expression: r.vector(1 + r.IntN(4)), Start: start, End: start}
		if r.IntN(20) == 0 {
			q.Expression = r.matrix(2)
		} else if r.IntN(3) > 0 {
			q.Kind, q.Step = policy.Range, []time.Duration{15 * time.Second, 40 * time.Second, 3 * time.Minute}[r.IntN(3)]
			q.End = start.Add(time.Duration(r.IntN(1200)) * time.Second)
		}
		plan, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: metricstest.End}, q, o)
		if err != nil {
			t.Fatalf("%s: %v", q.Expression, err)
		}
		got, err := spend(t.Context(), engine, store, q)
		if err != nil {
			continue // two series that are the same, a parameter out of range
		}
		asked++
		e := plan.Estimate
		if e.Answer > got.answer || e.Held > got.held || e.Read > got.read {
			t.Errorf("%s\n estimated %+v\n took %+v", describe(q), e, got)
		}
		if e.Answer == got.answer && e.Answer > 0 {
			exact++
		}
		if e.Read*2 >= got.read && e.Read > 0 {
			reads++
		}
	}
	t.Logf("%d questions asked, the answer of %d is as large as estimated, what %d read is at least half", asked, exact, reads)
	if asked < *oracleQueries/2 || exact < asked/4 || reads < asked/10 {
		t.Error("the test is blind")
	}
}

// The same holds of cells and of published queries, as they leave.
func TestEstimateIsALowerBoundOfCells(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	local := newLocalAt(t, metricstest.Store(t, metricstest.Cells(r, r, threshold)))
	o := inCells(nil)
	o.NotBefore, o.NotAfter = metricstest.Start, metricstest.End()
	o.Queries = []policy.Query{{Name: "ratio", Expression: `sum(rate(errors_total[5m])) / sum(rate(requests_total[$window]))`, Parameters: map[string]policy.Parameter{
		"window": {Type: policy.Duration, Least: 60, Most: 600, Default: "5m"},
	}}}
	for _, expression := range []string{
		`sum(rate(requests_total[5m]))`,
		`sum by (region) (queue_length)`,
		`avg by (status) (max_over_time(queue_length[3m])) * 2`,
		`count(queue_length) / sum(queue_length)`,
		`max_over_time(sum(rate(requests_total[2m]))[10m:30s])`,
		`topk(1, sum by (region) (requests_total)) or vector(0)`,
		`ratio`,
		`ratio{window="1m"} offset 2m`,
		`min_over_time(ratio[5m:1m])`,
	} {
		q := metrics.Question{Kind: policy.Range, Expression: expression, Start: metricstest.Start.Add(-10 * time.Minute), End: metricstest.End(), Step: 25 * time.Second}
		plan, err := metrics.NewPlan(metrics.PlanConfig{Org: "acme", By: "globex", Now: metricstest.End}, q, o)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if _, samples := released.Cost(); plan.Estimate.Answer == 0 || samples < plan.Estimate.Answer {
			t.Errorf("%s has %d samples, estimated are %d", expression, samples, plan.Estimate.Answer)
		}
	}
}
