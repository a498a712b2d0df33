package metrics

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// carriesOrg says whether every series of an expression's result carries the
// org label of the series it was made from. Only such a result may be asked of
// a partner: its own name is what makes it the partner's. What is not placed
// here carries nothing.
func carriesOrg(expr parser.Expr) bool {
	switch n := expr.(type) {
	case *parser.VectorSelector, *parser.MatrixSelector:
		return true
	case *parser.ParenExpr:
		return carriesOrg(n.Expr)
	case *parser.UnaryExpr:
		return carriesOrg(n.Expr)
	case *parser.StepInvariantExpr:
		return carriesOrg(n.Expr)
	case *parser.SubqueryExpr:
		return carriesOrg(n.Expr)
	case *parser.AggregateExpr:
		return slices.Contains(n.Grouping, orgLabel) != n.Without && carriesOrg(n.Expr)
	case *parser.Call:
		return callCarriesOrg(n)
	case *parser.BinaryExpr:
		return binaryCarriesOrg(n)
	}
	return false
}

func callCarriesOrg(n *parser.Call) bool {
	switch n.Func.Name {
	case "absent", "absent_over_time", "scalar", "vector":
		return false
	case "label_replace", "label_join":
		dst, ok := unwrapParens(n.Args[1]).(*parser.StringLiteral)
		if !ok || dst.Val == orgLabel {
			return false
		}
	}
	for _, arg := range n.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			return carriesOrg(arg)
		}
	}
	return false
}

func binaryCarriesOrg(n *parser.BinaryExpr) bool {
	switch {
	case n.LHS.Type() == parser.ValueTypeScalar:
		return carriesOrg(n.RHS)
	case n.RHS.Type() == parser.ValueTypeScalar:
		return carriesOrg(n.LHS)
	case n.Op == parser.LAND, n.Op == parser.LUNLESS:
		return carriesOrg(n.LHS)
	case n.Op == parser.LOR:
		return carriesOrg(n.LHS) && carriesOrg(n.RHS)
	}
	// Matched one to one, what isn't matched on is gone; group_left and
	// group_right keep the labels of the side of many.
	m := n.VectorMatching
	return m != nil && slices.Contains(m.MatchingLabels, orgLabel) == m.On && !slices.Contains(m.Include, orgLabel) &&
		carriesOrg(n.LHS) && carriesOrg(n.RHS)
}
