package logql

import (
	"slices"
	"strings"
)

// Inspect calls visit for the expression and, in the order of the text, those
// in it. It doesn't go into one for which visit returns false.
func Inspect(e Expr, visit func(Expr) bool) {
	if e == nil || !visit(e) {
		return
	}
	switch e := e.(type) {
	case *RangeAggregation:
		Inspect(e.Selector, visit)
	case *VectorAggregation:
		Inspect(e.Expr, visit)
	case *LabelReplace:
		Inspect(e.Expr, visit)
	case *BinaryOperation:
		Inspect(e.LHS, visit)
		Inspect(e.RHS, visit)
	}
}

// Selectors are the log selectors of an expression.
func Selectors(e Expr) []*LogSelector {
	var all []*LogSelector
	Inspect(e, func(e Expr) bool {
		if s, ok := e.(*LogSelector); ok {
			all = append(all, s)
		}
		return true
	})
	return all
}

// RangeAggregations are those of an expression: its leaves, but for literals
// and vectors, if it isn't a log query.
func RangeAggregations(e Expr) []*RangeAggregation {
	var all []*RangeAggregation
	Inspect(e, func(e Expr) bool {
		if r, ok := e.(*RangeAggregation); ok {
			all = append(all, r)
		}
		return true
	})
	return all
}

// Leaves are the parts of an expression that are evaluated over entries, in the
// order of the text: range aggregations, and with them a sum right around one
// where Loki groups entries before it counts them. That is not only faster: it
// reads fewer labels of lines, and so fails with fewer of them.
func Leaves(e Expr) []Expr {
	var all []Expr
	Inspect(e, func(e Expr) bool {
		_, _, leaf := leafOf(e)
		if leaf {
			all = append(all, e)
		}
		return !leaf
	})
	return all
}

// leafOf takes a leaf apart.
func leafOf(e Expr) (r *RangeAggregation, grouping *Grouping, ok bool) {
	switch e := e.(type) {
	case *RangeAggregation:
		if e.Op == AbsentOverTime {
			return e, &Grouping{}, true // what is absent has no labels
		}
		return e, e.Grouping, true
	case *VectorAggregation:
		r, ok := e.Expr.(*RangeAggregation)
		if !ok || e.Op != Sum || r.Grouping != nil {
			return nil, nil, false
		}
		switch r.Op {
		case Rate, CountOverTime, BytesRate, BytesOverTime, SumOverTime:
		default:
			return nil, nil, false
		}
		if e.Grouping == nil {
			return r, &Grouping{}, true
		}
		return r, e.Grouping, true
	}
	return nil, nil, false
}

// Functions are the names of the aggregations and functions that an expression
// uses, each once, sorted.
func Functions(e Expr) []string {
	var all []string
	Inspect(e, func(e Expr) bool {
		switch e := e.(type) {
		case *RangeAggregation:
			all = append(all, string(e.Op))
		case *VectorAggregation:
			all = append(all, string(e.Op))
		case *LabelReplace:
			all = append(all, "label_replace")
		case *Vector:
			all = append(all, "vector")
		}
		return true
	})
	return sortedOnce(all)
}

// LineFilters are the canonical texts of an expression's line filters, in the
// order of the text.
func LineFilters(e Expr) []string {
	var all []string
	for _, s := range Selectors(e) {
		for _, stage := range s.Stages {
			if f, ok := stage.(*LineFilter); ok {
				all = append(all, f.String())
			}
		}
	}
	return all
}

// StageNames are the names of the stages that an expression uses besides line
// filters, each once, sorted: json, logfmt, regexp, pattern, unpack,
// label_filter, line_format, label_format, decolorize, keep, drop and unwrap.
func StageNames(e Expr) []string {
	var all []string
	Inspect(e, func(e Expr) bool {
		switch e := e.(type) {
		case *LogSelector:
			for _, s := range e.Stages {
				all = append(all, stageName(s))
			}
		case *RangeAggregation:
			if e.Unwrap != nil {
				all = append(all, "unwrap")
			}
		}
		return true
	})
	return sortedOnce(slices.DeleteFunc(all, func(s string) bool { return s == "" }))
}

func stageName(s Stage) string {
	switch s.(type) {
	case *LineFilter:
		return ""
	case *LabelFilterStage:
		return "label_filter"
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(s.String(), "| "), " ")
	return name
}

func sortedOnce(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
