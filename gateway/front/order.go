package front

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// ordered puts the result of an instant query in the order its outermost
// function gives it: released series are in the order of their labels. Below
// another operation order means nothing in PromQL.
func ordered(expr parser.Expr, v promql.Vector) promql.Vector {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return ordered(e.Expr, v)
	case *parser.Call:
		switch e.Func.Name {
		case "sort":
			slices.SortStableFunc(v, ascending)
		case "sort_desc":
			slices.SortStableFunc(v, descending)
		}
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK:
			return byGroup(e, v, descending)
		case parser.BOTTOMK:
			return byGroup(e, v, ascending)
		}
	}
	return v
}

// byGroup orders within each group of the aggregation, and leaves the groups in
// the order of their first series.
func byGroup(e *parser.AggregateExpr, v promql.Vector, by func(a, b promql.Sample) int) promql.Vector {
	groups := map[string]promql.Vector{}
	var order []string
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range v {
		builder.Reset(s.Metric)
		if e.Without {
			builder.Del(e.Grouping...)
			builder.Del(model.MetricNameLabel)
		} else {
			builder.Keep(e.Grouping...)
		}
		key := builder.Labels().String()
		if _, ok := groups[key]; !ok {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	out := make(promql.Vector, 0, len(v))
	for _, key := range order {
		slices.SortStableFunc(groups[key], by)
		out = append(out, groups[key]...)
	}
	return out
}

// NaN comes last in both directions.
func ascending(a, b promql.Sample) int {
	if c := nanLast(a, b); c != 0 {
		return c
	}
	return cmp.Compare(a.F, b.F)
}

func descending(a, b promql.Sample) int {
	if c := nanLast(a, b); c != 0 {
		return c
	}
	return cmp.Compare(b.F, a.F)
}

func nanLast(a, b promql.Sample) int {
	aNaN, bNaN := math.IsNaN(a.F), math.IsNaN(b.F)
	switch {
	case aNaN && !bNaN:
		return 1
	case bNaN && !aNaN:
		return -1
	}
	return 0
}
