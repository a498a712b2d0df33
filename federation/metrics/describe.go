package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// describe reads a question once: its canonical text, its selectors and
// functions, and the span of data it touches.
func describe(q Question) (policy.Request, error) {
	req := policy.Request{
		Signal:    tenants.Metrics,
		Kind:      q.Kind,
		Step:      q.Step,
		Window:    policy.Window{Start: q.Start, End: q.End},
		Selectors: q.Selectors,
		Label:     q.Label,
	}
	switch q.Kind {
	case policy.Instant, policy.Range, policy.Exemplars:
	default:
		for _, s := range q.Selectors {
			req.Query += FormatSelector(s) + "\n"
		}
		return req, nil
	}
	if err := CheckText(q.Expression); err != nil {
		return policy.Request{}, err
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return policy.Request{}, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if err := checkSubqueries(expr, q); err != nil {
		return policy.Request{}, err
	}
	req.Query = expr.String()
	req.Selectors = nil
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			req.Selectors = append(req.Selectors, policy.Selector(n.LabelMatchers))
		case *parser.Call:
			req.Functions = append(req.Functions, n.Func.Name)
		case *parser.AggregateExpr:
			req.Functions = append(req.Functions, n.Op.String())
		}
		return nil
	})
	slices.Sort(req.Functions)
	req.Functions = slices.Compact(req.Functions)
	if q.Kind != policy.Exemplars && len(req.Selectors) > 0 {
		req.Window = touched(expr, q)
	}
	return req, nil
}

// touched is the span of data that the expression reads: the smallest window
// that holds every selector's range, offset, @ and lookback.
func touched(expr parser.Expr, q Question) policy.Window {
	lookback := q.Lookback
	if lookback == 0 {
		lookback = DefaultLookback
	}
	step := q.Step
	if step == 0 {
		step = 1 // PromQL refuses a zero interval; the value does not matter for one step
	}
	stmt := &parser.EvalStmt{Expr: expr, Start: q.Start, End: q.End, Interval: step, LookbackDelta: lookback}
	preprocessed, err := promql.PreprocessExpr(expr, q.Start, q.End, step)
	if err == nil {
		stmt.Expr = preprocessed
	}
	start, end := promql.FindMinMaxTime(stmt)
	return policy.Window{Start: time.UnixMilli(start).UTC(), End: time.UnixMilli(end).UTC()}
}

// DefaultLookback is Prometheus's own: how far an instant selector looks back.
const DefaultLookback = 5 * time.Minute
