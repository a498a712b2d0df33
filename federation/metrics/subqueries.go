package metrics

import (
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
)

// The bounds of subqueries. The engine evaluates a subquery step by step and a
// function over it window by window, and looks at the question's deadline in
// neither: what is in a few bytes of count_over_time(vector(1)[290y:1ms]) would
// never end.
const (
	// maxSubquerySteps is at how many times the subqueries of a question are
	// evaluated, all together.
	maxSubquerySteps = 1_000_000
	// maxSubqueryPoints is how many of their points the functions over them
	// read for one series, all windows together.
	maxSubqueryPoints = 500_000_000
)

// subqueryCost is what the subqueries of an expression take.
type subqueryCost struct{ steps, points float64 }

// checkSubqueries refuses an expression whose subqueries take too long. The
// error is a BadQuestion.
func checkSubqueries(expr parser.Expr, q Question) error {
	steps := 1.0
	if q.Step > 0 {
		steps += float64(q.End.Sub(q.Start) / q.Step)
	}
	var cost subqueryCost
	cost.add(expr, q.End.Sub(q.Start).Seconds(), steps)
	switch {
	case cost.steps > maxSubquerySteps:
		return federation.Errorf(federation.BadQuestion, "the subqueries have more than %d steps; use larger steps or shorter ranges", maxSubquerySteps)
	case cost.points > maxSubqueryPoints:
		return federation.Errorf(federation.BadQuestion, "the windows of the subqueries have more than %d points; use larger steps or shorter ranges", maxSubqueryPoints)
	}
	return nil
}

// add adds the subqueries below a node that is evaluated at a number of steps
// over a span of seconds.
func (c *subqueryCost) add(node parser.Node, span, steps float64) {
	if s, ok := node.(*parser.SubqueryExpr); ok {
		step := s.Step.Truncate(time.Millisecond)
		if step <= 0 {
			step = time.Duration(defaultSubqueryStep(0)) * time.Millisecond
		}
		if s.Timestamp != nil || s.StartOrEnd != 0 {
			span = 0 // one window, wherever it is read
		}
		span += s.Range.Seconds()
		c.points += steps * (s.Range.Seconds()/step.Seconds() + 1)
		steps = span/step.Seconds() + 1
		c.steps += steps
	}
	for child := range parser.ChildrenIter(node) {
		c.add(child, span, steps)
	}
}
