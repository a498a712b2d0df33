package metrics

import (
	"slices"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/policy"
)

// sideBySide returns the selector of an expression that reads one series at a
// time. No two organizations have a series in common, so that their answers to
// it, side by side, are the answer: there is nothing for an engine to finish.
func sideBySide(expr parser.Expr) (selector *parser.VectorSelector, ok bool) {
	switch n := expr.(type) {
	case *parser.ParenExpr:
		return sideBySide(n.Expr)
	case *parser.VectorSelector:
		return n, !selectsCompleteness(n.LabelMatchers)
	case *parser.MatrixSelector:
		return sideBySide(n.VectorSelector)
	case *parser.Call:
		if !slices.Contains(perSeries, n.Func.Name) || len(n.Args) == 0 ||
			slices.ContainsFunc(n.Args[1:], func(a parser.Expr) bool { return !isConstant(a) }) {
			return nil, false
		}
		return sideBySide(n.Args[0])
	}
	return nil, false
}

// together returns what the members answer to an expression with one selector.
func (a *asking) together(expr parser.Expr, selector *parser.VectorSelector, q Question) (promql.Matrix, error) {
	q.Expression = expr.String()
	var started []*pending
	for _, m := range a.members {
		if !m.dropped.Load() && concerns(m, []policy.Selector{selector.LabelMatchers}) {
			started = append(started, a.start(m, q))
		}
	}
	out := promql.Matrix{}
	for _, p := range started {
		released, err := p.wait()
		if err != nil {
			continue // it stands in the completeness
		}
		matrix, err := released.Matrix()
		if err != nil {
			return nil, err
		}
		out = append(out, matrix...)
	}
	return out, nil
}
