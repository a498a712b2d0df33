package front

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// engine is what web/api/v1 takes for the PromQL engine. An expression with a
// selector is a question to the gateway. One without touches no data, so that
// nobody has to be asked: it is evaluated here.
type engine struct {
	constants *promql.Engine
}

// The bounds of what is evaluated here, which nobody needs to be large.
const (
	constantSamples = 1_000_000
	constantTimeout = 10 * time.Second
)

// maxSteps is Prometheus's bound on the points of a series, held here once
// more: its own check doesn't see through overflowing times.
const maxSteps = 11_000

func newEngine(limit time.Duration) *engine {
	return &engine{constants: promql.NewEngine(promql.EngineOpts{
		MaxSamples:           constantSamples,
		Timeout:              min(limit, constantTimeout),
		LookbackDelta:        metrics.DefaultLookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		// Prometheus's default, as metrics has it.
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})}
}

func (e *engine) NewInstantQuery(ctx context.Context, _ storage.Queryable, opts promql.QueryOpts, text string, ts time.Time) (promql.Query, error) {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	ts = exact(ts)
	if constant(expr) {
		if _, err := (metrics.Question{Kind: policy.Instant, Expression: text, Start: ts, End: ts}).Request(); err != nil {
			return nil, sessionOf(ctx).fail(err)
		}
		return e.constants.NewInstantQuery(ctx, nothing, opts, text, ts)
	}
	return newQuery(ctx, expr, text, metrics.Question{
		Kind: policy.Instant, Start: ts, End: ts, Lookback: opts.LookbackDelta(),
	}), nil
}

func (e *engine) NewRangeQuery(ctx context.Context, _ storage.Queryable, opts promql.QueryOpts, text string, start, end time.Time, step time.Duration) (promql.Query, error) {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, fmt.Errorf("invalid expression type %q for range query, must be Scalar or instant Vector", parser.DocumentedType(t))
	}
	if step < time.Millisecond {
		return nil, sessionOf(ctx).fail(federation.Errorf(federation.BadQuestion, "step must be at least 1ms"))
	}
	step = step.Truncate(time.Millisecond)
	span := float64(timestamp.FromTime(end)) - float64(timestamp.FromTime(start))
	if span/float64(step.Milliseconds()) > maxSteps {
		return nil, sessionOf(ctx).fail(federation.Errorf(federation.BadQuestion,
			"the range has more than %d steps; try a larger step", maxSteps))
	}
	if constant(expr) {
		if _, err := (metrics.Question{Kind: policy.Range, Expression: text, Start: start, End: end, Step: step}).Request(); err != nil {
			return nil, sessionOf(ctx).fail(err)
		}
		return e.constants.NewRangeQuery(ctx, nothing, opts, text, start, end, step)
	}
	return newQuery(ctx, expr, text, metrics.Question{
		Kind: policy.Range, Start: exact(start), End: exact(end), Step: step, Lookback: opts.LookbackDelta(),
	}), nil
}

// exact is the time Prometheus evaluates at: whole milliseconds.
func exact(t time.Time) time.Time { return time.UnixMilli(timestamp.FromTime(t)).UTC() }

// constant says whether an expression has no selector.
func constant(expr parser.Expr) bool { return len(parser.ExtractSelectors(expr)) == 0 }

// nothing is the storage under a constant expression.
var nothing = storage.QueryableFunc(func(int64, int64) (storage.Querier, error) {
	return storage.NoopQuerier(), nil
})

// query is one expression with a selector in it.
type query struct {
	session  *session
	expr     parser.Expr
	text     string
	question metrics.Question
}

func newQuery(ctx context.Context, expr parser.Expr, text string, q metrics.Question) promql.Query {
	q.Expression = text
	q.Lookback = max(q.Lookback, 0)
	if expr.Type() == parser.ValueTypeScalar {
		// The gateway's answers are series. A newline ends a comment.
		q.Expression = "vector(" + text + "\n)"
	}
	return &query{session: sessionOf(ctx), expr: expr, text: text, question: q}
}

// Exec asks the gateway.
func (q *query) Exec(ctx context.Context) *promql.Result {
	value, err := q.exec(ctx)
	if err != nil {
		return &promql.Result{Err: q.session.fail(err)}
	}
	return &promql.Result{Value: value, Warnings: q.session.notices()}
}

func (q *query) exec(ctx context.Context) (parser.Value, error) {
	released, err := q.session.ask(ctx, q.question)
	if err != nil {
		return nil, err
	}
	matrix, err := released.Matrix()
	if err != nil {
		return nil, err
	}
	if q.question.Kind == policy.Range {
		return matrix, nil
	}
	ts := timestamp.FromTime(q.question.Start)
	switch q.expr.Type() {
	case parser.ValueTypeMatrix:
		return matrix, nil
	case parser.ValueTypeScalar:
		return scalar(matrix, ts), nil
	default:
		return ordered(q.expr, vector(matrix, ts)), nil
	}
}

// vector takes from each series its one sample.
func vector(m promql.Matrix, ts int64) promql.Vector {
	out := make(promql.Vector, 0, len(m))
	for _, s := range m {
		switch {
		case len(s.Histograms) > 0:
			out = append(out, promql.Sample{Metric: s.Metric, T: ts, H: s.Histograms[0].H})
		case len(s.Floats) > 0:
			out = append(out, promql.Sample{Metric: s.Metric, T: ts, F: s.Floats[0].F})
		}
	}
	return out
}

// scalar is the one value of vector(x). PromQL's scalar of nothing is NaN, and
// so it is when whoever would have had the value didn't answer.
func scalar(m promql.Matrix, ts int64) promql.Scalar {
	if v := vector(m, ts); len(v) == 1 && v[0].H == nil {
		return promql.Scalar{T: ts, V: v[0].F}
	}
	return promql.Scalar{T: ts, V: math.NaN()}
}

// Close has nothing to free.
func (q *query) Close() {}

// Cancel has nothing to stop: a question ends with its request's context.
func (q *query) Cancel() {}

// Statement returns the query as it was parsed.
func (q *query) Statement() parser.Statement {
	return &parser.EvalStmt{
		Expr: q.expr, Start: q.question.Start, End: q.question.End,
		Interval: q.question.Step, LookbackDelta: q.question.Lookback,
	}
}

// Stats are empty: see the parameter stats.
func (q *query) Stats() *stats.Statistics { return &stats.Statistics{} }

func (q *query) String() string { return q.text }

// noStats leaves statistics out of every answer, those of constants too.
func noStats(context.Context, *stats.Statistics, string) stats.QueryStats { return nil }
