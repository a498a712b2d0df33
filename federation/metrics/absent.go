package metrics

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// rewriteAbsent turns absent(x) into the same with group(x) inside, labelled
// from outside. Each owner then answers group by (org) of its own series, and
// whether all of them are absent is decided at the asker: the absence at one
// organization says nothing of the others.
func rewriteAbsent(expr parser.Expr) (parser.Expr, error) {
	holder := &parser.ParenExpr{Expr: expr}
	if err := rewriteIn(holder); err != nil {
		return nil, err
	}
	return holder.Expr, nil
}

// rewriteIn replaces calls below node, in place, from the innermost out.
func rewriteIn(node parser.Expr) error {
	var err error
	visit := func(child *parser.Expr) {
		if *child == nil || err != nil {
			return
		}
		if err = rewriteIn(*child); err != nil {
			return
		}
		if call, ok := (*child).(*parser.Call); ok && (call.Func.Name == "absent" || call.Func.Name == "absent_over_time") {
			*child, err = absentOfGroup(call)
		}
	}
	switch n := node.(type) {
	case *parser.ParenExpr:
		visit(&n.Expr)
	case *parser.UnaryExpr:
		visit(&n.Expr)
	case *parser.SubqueryExpr:
		visit(&n.Expr)
	case *parser.StepInvariantExpr:
		visit(&n.Expr)
	case *parser.AggregateExpr:
		visit(&n.Expr)
		visit(&n.Param)
	case *parser.BinaryExpr:
		visit(&n.LHS)
		visit(&n.RHS)
	case *parser.Call:
		for i := range n.Args {
			visit(&n.Args[i])
		}
	}
	return err
}

func absentOfGroup(call *parser.Call) (parser.Expr, error) {
	inner := call.Args[0].String()
	if call.Func.Name == "absent_over_time" {
		inner = "present_over_time(" + inner + ")"
	}
	text := "absent(group(" + inner + "))"
	for _, l := range absentLabels(call.Args[0]) {
		text = fmt.Sprintf(`label_replace(%s, %q, %q, "", "")`, text, l.Name, escapeReplacement(l.Value))
	}
	return parser.ParseExpr(text)
}

// absentLabels are the labels of absent's result: those of the selector's
// matchers for equality, unless the label is matched on twice.
func absentLabels(arg parser.Expr) []labels.Label {
	var matchers []*labels.Matcher
	switch n := unwrapParens(arg).(type) {
	case *parser.VectorSelector:
		matchers = n.LabelMatchers
	case *parser.MatrixSelector:
		if selector, ok := n.VectorSelector.(*parser.VectorSelector); ok {
			matchers = selector.LabelMatchers
		}
	}
	seen := map[string]int{}
	for _, m := range matchers {
		seen[m.Name]++
	}
	var out []labels.Label
	for _, m := range matchers {
		if m.Type == labels.MatchEqual && m.Name != labels.MetricName && seen[m.Name] == 1 && m.Value != "" {
			out = append(out, labels.Label{Name: m.Name, Value: m.Value})
		}
	}
	return out
}

func unwrapParens(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// escapeReplacement keeps label_replace from reading a $ as a reference.
func escapeReplacement(value string) string {
	out := make([]byte, 0, len(value))
	for i := range len(value) {
		if value[i] == '$' {
			out = append(out, '$')
		}
		out = append(out, value[i])
	}
	return string(out)
}
