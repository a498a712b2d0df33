package metrics

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// Placement says where a construct of PromQL may stand in a question about data
// that is released in cells. What isn't placed is refused: a function that an
// upgrade brings is nobody's to use until somebody has thought about it.
type Placement struct {
	// Name is the function, aggregation or operator as PromQL writes it.
	Name string
	// OverSeries: directly over the series of a selector.
	OverSeries bool
	// OverCells: over what is released, such as a sum.
	OverCells bool
}

// functionsOverCells read numbers that are released already, or none at all.
var functionsOverCells = []string{
	"abs", "absent", "absent_over_time", "acos", "acosh", "asin", "asinh", "atan", "atanh", "avg_over_time", "ceil", "changes", "clamp",
	"clamp_max", "clamp_min", "cos", "cosh", "count_over_time", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "deg",
	"delta", "deriv", "exp", "floor", "histogram_avg", "histogram_count", "histogram_fraction", "histogram_quantile",
	"histogram_stddev", "histogram_stdvar", "histogram_sum", "hour", "idelta", "increase", "irate", "label_join", "label_replace",
	"last_over_time", "ln", "log10", "log2", "max_over_time", "min_over_time", "minute", "month", "pi", "predict_linear",
	"present_over_time", "quantile_over_time", "rad", "rate", "resets", "round", "scalar", "sgn", "sin", "sinh", "sort", "sort_desc",
	"sqrt", "stddev_over_time", "stdvar_over_time", "sum_over_time", "tan", "tanh", "time", "timestamp", "vector", "year",
}

// aggregationsOverCells are the same of aggregations.
var aggregationsOverCells = []parser.ItemType{
	parser.AVG, parser.BOTTOMK, parser.COUNT, parser.COUNT_VALUES, parser.GROUP, parser.MAX, parser.MIN, parser.QUANTILE,
	parser.STDDEV, parser.STDVAR, parser.SUM, parser.TOPK,
}

// operatorsOverCells are the same of binary operators.
var operatorsOverCells = []parser.ItemType{
	parser.ADD, parser.ATAN2, parser.DIV, parser.EQLC, parser.GTE, parser.GTR, parser.LAND, parser.LOR, parser.LSS, parser.LTE,
	parser.LUNLESS, parser.MOD, parser.MUL, parser.NEQ, parser.POW, parser.SUB,
}

// Functions are the placements of all functions PromQL has, sorted by name.
func Functions() []Placement {
	var out []Placement
	for name := range parser.Functions {
		out = append(out, Placement{
			Name: name, OverSeries: slices.Contains(leafFunctions, name), OverCells: slices.Contains(functionsOverCells, name),
		})
	}
	return sortPlacements(out)
}

// Aggregations are those of all aggregations.
func Aggregations() []Placement {
	var out []Placement
	for item, name := range parser.ItemTypeStr {
		if item.IsAggregator() {
			out = append(out, Placement{
				Name: name, OverSeries: slices.Contains(leafAggregations, item), OverCells: slices.Contains(aggregationsOverCells, item),
			})
		}
	}
	return sortPlacements(out)
}

// Operators are those of all binary operators.
func Operators() []Placement {
	var out []Placement
	for item, name := range parser.ItemTypeStr {
		if item.IsOperator() && !item.IsAggregator() && isBinary(name) {
			out = append(out, Placement{Name: name, OverCells: slices.Contains(operatorsOverCells, item)})
		}
	}
	return sortPlacements(out)
}

// isBinary says whether an operator stands between two expressions: =~ and !~
// stand in selectors alone, @ behind them.
func isBinary(operator string) bool {
	_, err := parser.ParseExpr("a " + operator + " b")
	return err == nil
}

func sortPlacements(p []Placement) []Placement {
	slices.SortFunc(p, func(a, b Placement) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return p
}
