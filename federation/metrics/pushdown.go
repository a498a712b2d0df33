package metrics

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/policy"
)

// pushDown evaluates at the backend what is equal there, and returns
// errNotEvaluated for everything else.
//
// An expression goes down when all of this holds:
//
//   - every selector names its metric, and exactly one selector of one dataset
//     can match it; that selector's matchers are appended;
//   - the result's labels are known from the expression, by aggregation, and
//     each is kept or pseudonymized; what is pseudonymized is renamed in the
//     result, which is one to one;
//   - nothing below looks at a value of a label that isn't kept, or at a label
//     that is dropped, or at the order of series;
//   - all samples it touches are within the view's time.
//
// The rest of the syntax is an allow-list: a function or operator that isn't
// placed isn't pushed down. What goes down equals the view up to the order in
// which floating-point numbers are added.
func (l *Local) pushDown(ctx context.Context, expr parser.Expr, q Question, v *view) (promql.Matrix, error) {
	backend, ok := l.config.Source.(evaluator)
	if !ok {
		return nil, errNotEvaluated
	}
	if window := touched(expr, q); window.Start.UnixMilli() < v.oldest || window.End.UnixMilli() > v.newest {
		return nil, errNotEvaluated
	}
	plan, err := planPushDown(expr, v.rules)
	if err != nil || !backend.evaluates(ctx) {
		return nil, errNotEvaluated
	}
	matrix, err := backend.evaluate(ctx, evaluation{expression: plan.expression, question: q})
	if err != nil {
		return nil, err
	}
	for i := range matrix {
		matrix[i].Metric = plan.visible(matrix[i].Metric, v.rules)
	}
	return matrix, nil
}

// pushDownPlan is an expression for the backend and how to read its result.
type pushDownPlan struct {
	expression string
	dataset    *policy.Dataset
	// withOrg: the result carries the org label in the view.
	withOrg bool
}

// visible gives a label set of the result the form it has in the view.
func (p pushDownPlan) visible(raw labels.Labels, r *rules) labels.Labels {
	b := labels.NewScratchBuilder(8)
	raw.Range(func(l labels.Label) {
		value, _ := r.apply([]*policy.Dataset{p.dataset}, l)
		b.Add(l.Name, value)
	})
	if p.withOrg {
		b.Add(orgLabel, string(r.org))
	}
	b.Sort()
	return b.Labels()
}

// planPushDown returns what the backend is to evaluate, or why nothing is.
func planPushDown(expr parser.Expr, r *rules) (pushDownPlan, error) {
	copied, err := parser.ParseExpr(expr.String())
	if err != nil {
		return pushDownPlan{}, err
	}
	p := &pusher{rules: r}
	root, err := p.node(copied)
	if err != nil {
		return pushDownPlan{}, err
	}
	if !root.labelsKnown || root.scalar || p.dataset == nil {
		return pushDownPlan{}, fmt.Errorf("the labels of the result are not known")
	}
	return pushDownPlan{expression: copied.String(), dataset: p.dataset, withOrg: root.hasOrg}, nil
}

// pusher rewrites an expression in place while it checks it.
type pusher struct {
	rules   *rules
	dataset *policy.Dataset // the one all selectors belong to
}

// shape is what is known of an expression's result.
type shape struct {
	scalar bool
	// labelsKnown: all labels of the result but org are named by a grouping, and
	// kept or pseudonymized.
	labelsKnown bool
	// hasOrg: in the view the result carries the org label.
	hasOrg bool
}

func (p *pusher) node(expr parser.Expr) (shape, error) {
	switch n := expr.(type) {
	case *parser.NumberLiteral:
		return shape{scalar: true}, nil
	case *parser.ParenExpr:
		return p.node(n.Expr)
	case *parser.UnaryExpr:
		return p.node(n.Expr)
	case *parser.VectorSelector:
		return p.selector(n)
	case *parser.MatrixSelector:
		return p.node(n.VectorSelector)
	case *parser.SubqueryExpr:
		if n.Step == 0 {
			return shape{}, fmt.Errorf("a subquery without a step has the backend's default")
		}
		return p.node(n.Expr)
	case *parser.Call:
		return p.call(n)
	case *parser.AggregateExpr:
		return p.aggregate(n)
	case *parser.BinaryExpr:
		return p.binary(n)
	}
	return shape{}, fmt.Errorf("%T is not placed", expr)
}

func (p *pusher) selector(n *parser.VectorSelector) (shape, error) {
	if n.Anchored || n.Smoothed {
		return shape{}, fmt.Errorf("modifiers anchored and smoothed are not placed")
	}
	var pushed []*labels.Matcher
	named := false
	for _, m := range n.LabelMatchers {
		switch {
		case m.Name == labels.MetricName:
			named = named || m.Type == labels.MatchEqual
			pushed = append(pushed, m)
		case m.Name == orgLabel && m.Matches(string(p.rules.org)):
		case p.rules.alwaysKept(m.Name):
			pushed = append(pushed, m)
		default:
			return shape{}, fmt.Errorf("a matcher on %s can't be pushed down", m.Name)
		}
	}
	if !named {
		return shape{}, fmt.Errorf("a selector without a metric name")
	}
	dataset, filter, err := p.only(pushed)
	if err != nil {
		return shape{}, err
	}
	if p.dataset != nil && p.dataset != dataset {
		return shape{}, fmt.Errorf("selectors of two datasets")
	}
	p.dataset = dataset
	n.LabelMatchers = append(pushed, filter...)
	// The text of a selector carries its name before the braces.
	n.Name = ""
	return shape{hasOrg: true}, nil
}

// only returns the one dataset and its one selector that can match.
func (p *pusher) only(asked []*labels.Matcher) (*policy.Dataset, policy.Selector, error) {
	var dataset *policy.Dataset
	var filter policy.Selector
	count := 0
	for i := range p.rules.datasets {
		d := &p.rules.datasets[i]
		for _, s := range d.Series {
			if compatible(s, asked) {
				dataset, filter = d, s
				count++
			}
		}
	}
	if count != 1 || dataset.Release != policy.Row {
		return nil, nil, fmt.Errorf("%d selectors of datasets can match", count)
	}
	for _, m := range filter {
		if strings.HasSuffix(m.Name, orgLabel) {
			return nil, nil, fmt.Errorf("the dataset is chosen by %s", m.Name)
		}
	}
	return dataset, filter, nil
}

// perSeries are functions that read one series at a time and are the same in
// every Prometheus 3.
var perSeries = []string{
	"abs", "avg_over_time", "ceil", "changes", "clamp", "clamp_max", "clamp_min", "count_over_time", "delta", "deriv", "exp",
	"floor", "idelta", "increase", "irate", "last_over_time", "ln", "log10", "log2", "max_over_time", "min_over_time",
	"present_over_time", "rate", "resets", "round", "sgn", "sqrt", "stddev_over_time", "stdvar_over_time", "sum_over_time", "timestamp",
}

func (p *pusher) call(n *parser.Call) (shape, error) {
	if n.Func.Name == "histogram_quantile" {
		return p.histogramQuantile(n)
	}
	if !slices.Contains(perSeries, n.Func.Name) {
		return shape{}, fmt.Errorf("function %s is not placed", n.Func.Name)
	}
	var out shape
	for i, arg := range n.Args {
		s, err := p.node(arg)
		if err != nil {
			return shape{}, err
		}
		switch {
		case i == 0:
			out = s
		case !s.scalar:
			return shape{}, fmt.Errorf("argument %d of %s is not a number", i+1, n.Func.Name)
		}
	}
	return out, nil
}

// histogramQuantile looks at le, which it takes from the result.
func (p *pusher) histogramQuantile(n *parser.Call) (shape, error) {
	if s, err := p.node(n.Args[0]); err != nil || !s.scalar {
		return shape{}, fmt.Errorf("the quantile is not a number")
	}
	s, err := p.node(n.Args[1])
	if err != nil {
		return shape{}, err
	}
	if !s.labelsKnown || p.mode(labels.BucketLabel) != policy.Keep {
		return shape{}, fmt.Errorf("the buckets are not aggregated by a kept le")
	}
	return s, nil
}

func (p *pusher) mode(label string) policy.Mode {
	return strictest([]*policy.Dataset{p.dataset}, label).Mode
}

// aggregations don't look at the order of series or at their labels' values.
var aggregations = []parser.ItemType{
	parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR, parser.QUANTILE,
}

func (p *pusher) aggregate(n *parser.AggregateExpr) (shape, error) {
	if !slices.Contains(aggregations, n.Op) || n.Without {
		return shape{}, fmt.Errorf("aggregation %s is not placed", n.Op)
	}
	if n.Op == parser.QUANTILE && !p.rules.everything {
		// With several NaNs Prometheus's sort goes by the order of series, which
		// at the backend is that of hidden labels.
		return shape{}, fmt.Errorf("a quantile shows the order of series")
	}
	if n.Param != nil {
		if s, err := p.node(n.Param); err != nil || !s.scalar {
			return shape{}, fmt.Errorf("the parameter of %s is not a number", n.Op)
		}
	}
	inner, err := p.node(n.Expr)
	if err != nil {
		return shape{}, err
	}
	if inner.scalar || p.dataset == nil {
		return shape{}, fmt.Errorf("an aggregation of no series")
	}
	out := shape{labelsKnown: true}
	var grouping []string
	for _, name := range n.Grouping {
		switch {
		case name == orgLabel:
			out.hasOrg = inner.hasOrg
		case name == labels.MetricName:
			grouping = append(grouping, name)
		case strings.HasSuffix(name, orgLabel):
			return shape{}, fmt.Errorf("grouping by %s can't be pushed down", name)
		case p.mode(name) == policy.Keep, p.mode(name) == policy.Pseudonym:
			grouping = append(grouping, name)
		case p.mode(name) == policy.Drop:
			// In the view the label isn't there, and grouping by it is no grouping.
		default:
			return shape{}, fmt.Errorf("grouping by %s can't be pushed down", name)
		}
	}
	n.Grouping = grouping
	return out, nil
}

func (p *pusher) binary(n *parser.BinaryExpr) (shape, error) {
	left, err := p.node(n.LHS)
	if err != nil {
		return shape{}, err
	}
	right, err := p.node(n.RHS)
	if err != nil {
		return shape{}, err
	}
	switch {
	case left.scalar:
		return right, nil
	case right.scalar:
		return left, nil
	}
	m := n.VectorMatching
	if !left.labelsKnown || !right.labelsKnown || left.hasOrg != right.hasOrg || m == nil || len(m.MatchingLabels) > 0 || m.On || len(m.Include) > 0 {
		return shape{}, fmt.Errorf("matching of two sides is only pushed down for aggregations matched on all labels")
	}
	return left, nil
}
