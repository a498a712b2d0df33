package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Mention is a label, but not the metric's name, that a query speaks of where it is
// about a selector.
type Mention struct {
	Label string `json:"label"`
	// In is where, sorted: matcher, by, without, on, ignoring, group_left,
	// group_right, the name of a function that reads it, or "written by" one.
	In []string `json:"in"`
}

// mentionsIn are the labels of which each selector of an expression, in their
// order, or what is around it speaks.
func mentionsIn(expr parser.Expr) [][]Mention {
	var out [][]Mention
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m := mentioned{}
		for _, matcher := range selector.LabelMatchers {
			m.add("matcher", matcher.Name)
		}
		for _, around := range path {
			m.around(around)
		}
		var list []Mention
		for _, label := range slices.Sorted(maps.Keys(m)) {
			list = append(list, Mention{Label: label, In: slices.Sorted(maps.Keys(m[label]))})
		}
		out = append(out, list)
		return nil
	})
	return out
}

// mentioned has by label where it is spoken of.
type mentioned map[string]map[string]bool

func (m mentioned) add(in string, labels ...string) {
	for _, label := range labels {
		if label == model.MetricNameLabel {
			continue
		}
		if m[label] == nil {
			m[label] = map[string]bool{}
		}
		m[label][in] = true
	}
}

// around adds what a node speaks of.
func (m mentioned) around(node parser.Node) {
	switch n := node.(type) {
	case *parser.AggregateExpr:
		in := "by"
		if n.Without {
			in = "without"
		}
		m.add(in, n.Grouping...)
		if n.Op == parser.COUNT_VALUES {
			m.add("written by count_values", text(n.Param)...)
		}
	case *parser.BinaryExpr:
		if n.VectorMatching == nil {
			return
		}
		in := "ignoring"
		if n.VectorMatching.On {
			in = "on"
		}
		m.add(in, n.VectorMatching.MatchingLabels...)
		in = "group_left"
		if n.VectorMatching.Card == parser.CardOneToMany {
			in = "group_right"
		}
		m.add(in, n.VectorMatching.Include...)
	case *parser.Call:
		read := func(from, to int) {
			for _, arg := range n.Args[from:max(from, to)] {
				m.add(n.Func.Name, text(arg)...)
			}
		}
		switch n.Func.Name {
		case "label_replace": // series, the label it writes, what, the one it reads, expression
			m.add("written by label_replace", text(n.Args[1])...)
			read(3, 4)
		case "label_join": // series, the label it writes, separator, those it reads
			m.add("written by label_join", text(n.Args[1])...)
			read(3, len(n.Args))
		case "sort_by_label", "sort_by_label_desc":
			read(1, len(n.Args))
		}
	}
}

// text is that of a string, if it is one.
func text(expr parser.Expr) []string {
	if s, ok := unwrapParens(expr).(*parser.StringLiteral); ok {
		return []string{s.Val}
	}
	return nil
}
