package metrics

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation/redact"
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
//     that is dropped, or at the order of series, which at the backend is that
//     of hidden labels: see aggregationOfHidden;
//   - all samples it touches are within the view's time, and in the view as they
//     are.
//
// The rest of the syntax is an allow-list: a function or operator that isn't
// placed isn't pushed down. What goes down equals the view up to the order in
// which floating-point numbers are added, and the sign of a zero.
func (l *Local) pushDown(ctx context.Context, expr parser.Expr, q Question, v *view) (promql.Matrix, error) {
	backend, ok := l.config.Source.(evaluator)
	if !ok {
		return nil, errNotEvaluated
	}
	plan, err := v.pushable(expr, q)
	if err != nil || !backend.evaluates(ctx) {
		return nil, errNotEvaluated
	}
	matrix, err := backend.evaluate(ctx, evaluation{expression: plan.expression, question: q, maxBytes: v.may.answerBytes()})
	if err != nil {
		return nil, err
	}
	for i := range matrix {
		matrix[i].Metric = plan.visible(matrix[i].Metric, v.rules)
	}
	return matrix, nil
}

// pushable plans what the backend is to evaluate. The error says why the view is
// asked instead.
func (v *view) pushable(expr parser.Expr, q Question) (pushDownPlan, error) {
	if v.rules.resolution > 0 || v.rules.rounds {
		return pushDownPlan{}, fmt.Errorf("samples are less exact in the view")
	}
	if window := touched(expr, q); window.Start.UnixMilli() < v.oldest || window.End.UnixMilli() > v.newest {
		return pushDownPlan{}, fmt.Errorf("it touches a time that is hidden")
	}
	return planPushDown(expr, v.rules)
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
		value, _ := r.Shown([]*policy.Dataset{p.dataset}, l)
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
	p := &pusher{rules: r, hides: !r.everything}
	root, err := p.node(&copied)
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
	rules *rules
	// hides: the view is not all of the store, so that the order of series at
	// the backend may be that of something hidden.
	hides   bool
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
	// raw: the samples of series as they are. tame: those, or one function of
	// each series without a number of the asker's.
	raw, tame bool
	// aggregated: the result of an aggregation, as it is.
	aggregated bool
	// histograms: it may hold native histograms. inexact: those were added up,
	// which Prometheus does without compensation.
	histograms, inexact bool
}

// node may put another expression in the place of the one it is given.
func (p *pusher) node(at *parser.Expr) (shape, error) {
	switch n := (*at).(type) {
	case *parser.NumberLiteral:
		return shape{scalar: true}, nil
	case *parser.ParenExpr:
		return p.node(&n.Expr)
	case *parser.UnaryExpr:
		s, err := p.node(&n.Expr)
		return s.computed(), err
	case *parser.VectorSelector:
		return p.selector(n)
	case *parser.MatrixSelector:
		return p.node(&n.VectorSelector)
	case *parser.SubqueryExpr:
		if n.Step == 0 {
			return shape{}, fmt.Errorf("a subquery without a step has the backend's default")
		}
		s, err := p.node(&n.Expr)
		return s.computed(), err
	case *parser.Call:
		return p.call(n)
	case *parser.AggregateExpr:
		s, err := p.aggregate(n)
		if err == nil && p.hides && (n.Op == parser.MIN || n.Op == parser.MAX) {
			*at = &parser.ParenExpr{Expr: &parser.BinaryExpr{Op: parser.ADD, LHS: n, RHS: &parser.NumberLiteral{Val: 0}}}
		}
		return s, err
	case *parser.BinaryExpr:
		return p.binary(n)
	}
	return shape{}, fmt.Errorf("%T is not placed", *at)
}

func (p *pusher) selector(n *parser.VectorSelector) (shape, error) {
	if n.Anchored || n.Smoothed {
		return shape{}, fmt.Errorf("modifiers anchored and smoothed are not placed")
	}
	var pushed []*labels.Matcher
	named, bucket := false, false
	for _, m := range n.LabelMatchers {
		switch {
		case m.Name == labels.MetricName:
			named = named || m.Type == labels.MatchEqual
			bucket = bucket || m.Type == labels.MatchEqual && strings.HasSuffix(m.Value, bucketSuffix)
			pushed = append(pushed, m)
		case m.Name == orgLabel && m.Matches(string(p.rules.org)):
		case p.rules.AlwaysKept(m.Name):
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
	n.LabelMatchers = redact.WithoutImplied(append(pushed, filter...))
	// The text of a selector carries its name before the braces.
	n.Name = ""
	return shape{hasOrg: true, raw: true, tame: true, histograms: !bucket}, nil
}

// bucketSuffix ends the names of classic histograms' buckets, and of no native
// histogram.
const bucketSuffix = "_bucket"

// only returns the one dataset and its one selector that can match.
func (p *pusher) only(asked []*labels.Matcher) (*policy.Dataset, policy.Selector, error) {
	var dataset *policy.Dataset
	var filter policy.Selector
	count := 0
	for i := range p.rules.datasets {
		d := &p.rules.datasets[i]
		for _, s := range d.Series {
			if redact.Compatible(s, asked) {
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

// Of perSeries, ofHistograms make native histograms of native histograms; the
// others make numbers or nothing of them.
var ofHistograms = []string{"avg_over_time", "delta", "idelta", "increase", "irate", "last_over_time", "rate", "sum_over_time"}

// Of perSeries, comparing say whether samples differ, be it in the last digit.
var comparing = []string{"changes", "resets"}

// Of perSeries, wild make much of little (exp), or a zero with a sign where
// there was none (ceil).
var wild = []string{"ceil", "exp"}

func (p *pusher) call(n *parser.Call) (shape, error) {
	if n.Func.Name == "histogram_quantile" {
		return p.histogramQuantile(n)
	}
	if !slices.Contains(perSeries, n.Func.Name) {
		return shape{}, fmt.Errorf("function %s is not placed", n.Func.Name)
	}
	var out shape
	for i := range n.Args {
		s, err := p.node(&n.Args[i])
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
	if out.inexact && slices.Contains(comparing, n.Func.Name) {
		return shape{}, fmt.Errorf("%s would show the last digits of native histograms", n.Func.Name)
	}
	tame := out.raw && len(n.Args) == 1 && !slices.Contains(wild, n.Func.Name)
	out = out.computed()
	out.tame = tame
	if !slices.Contains(ofHistograms, n.Func.Name) {
		out.histograms, out.inexact = false, false
	}
	return out, nil
}

// computed is the shape of what an operator makes of each series.
func (s shape) computed() shape {
	s.raw, s.tame, s.aggregated = false, false, false
	return s
}

// histogramQuantile looks at le, which it takes from the result.
func (p *pusher) histogramQuantile(n *parser.Call) (shape, error) {
	if s, err := p.node(&n.Args[0]); err != nil || !s.scalar {
		return shape{}, fmt.Errorf("the quantile is not a number")
	}
	s, err := p.node(&n.Args[1])
	if err != nil {
		return shape{}, err
	}
	if !s.labelsKnown || p.mode(labels.BucketLabel) != policy.Keep {
		return shape{}, fmt.Errorf("the buckets are not aggregated by a kept le")
	}
	if s.inexact {
		return shape{}, fmt.Errorf("a quantile would show the last digits of native histograms")
	}
	s = s.computed()
	s.histograms = false
	return s, nil
}

func (p *pusher) mode(label string) policy.Mode {
	return redact.Strictest([]*policy.Dataset{p.dataset}, label).Mode
}

// aggregations don't look at their series' labels.
var aggregations = []parser.ItemType{
	parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR, parser.QUANTILE,
}

// aggregationOfHidden refuses an aggregation that would show the order of
// series at the backend, where policy hides labels that it depends on. What is
// computed of aggregations shows nothing that they don't, so that anything may
// be above one.
//
//   - A count or group has no order.
//   - A minimum or maximum has none but for zeros: of 0 and -0 the first counts.
//     aggregate adds 0, which takes the sign off. What makes signed zeros of
//     other numbers isn't pushed, as there the view would differ.
//   - A sum is compensated (Kahan and Neumaier): that of n numbers is the exact
//     one, rounded once, whatever the order, when n*n times the largest is not
//     above 2^53 times the smallest that isn't zero; beyond that, very nearly
//     always. An asker's arithmetic can leave that range and then blow up the
//     last digit, so that what is summed has to be tame.
//   - An average divides sum and compensation one by one, standard deviations
//     aren't compensated, and where a quantile finds NaNs goes by the order.
func (p *pusher) aggregationOfHidden(op parser.ItemType, inner shape) error {
	switch op { //nolint:exhaustive // those of aggregations that may go down
	case parser.COUNT, parser.GROUP:
		return nil
	case parser.MIN, parser.MAX:
		if inner.tame || inner.aggregated {
			return nil
		}
	case parser.SUM:
		if inner.tame {
			return nil
		}
	}
	return fmt.Errorf("%s of what is below it would show the order of series", op)
}

func (p *pusher) aggregate(n *parser.AggregateExpr) (shape, error) {
	if !slices.Contains(aggregations, n.Op) || n.Without {
		return shape{}, fmt.Errorf("aggregation %s is not placed", n.Op)
	}
	if n.Param != nil {
		if s, err := p.node(&n.Param); err != nil || !s.scalar {
			return shape{}, fmt.Errorf("the parameter of %s is not a number", n.Op)
		}
	}
	inner, err := p.node(&n.Expr)
	if err != nil {
		return shape{}, err
	}
	if inner.scalar || p.dataset == nil {
		return shape{}, fmt.Errorf("an aggregation of no series")
	}
	if p.hides {
		if err := p.aggregationOfHidden(n.Op, inner); err != nil {
			return shape{}, err
		}
	}
	added := n.Op == parser.SUM || n.Op == parser.AVG
	out := shape{
		labelsKnown: true, aggregated: true,
		histograms: added && inner.histograms, inexact: added && inner.histograms && p.hides,
	}
	var grouping []string
	for _, name := range n.Grouping {
		switch {
		case name == orgLabel:
			out.hasOrg = inner.hasOrg
		case name == labels.MetricName:
			if p.hides && (n.Op == parser.MIN || n.Op == parser.MAX) {
				return shape{}, fmt.Errorf("the name is lost where 0 is added")
			}
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
	left, err := p.node(&n.LHS)
	if err != nil {
		return shape{}, err
	}
	right, err := p.node(&n.RHS)
	if err != nil {
		return shape{}, err
	}
	switch {
	case left.scalar:
		return right.computed(), nil
	case right.scalar:
		return left.computed(), nil
	}
	m := n.VectorMatching
	if !left.labelsKnown || !right.labelsKnown || left.hasOrg != right.hasOrg || m == nil || len(m.MatchingLabels) > 0 || m.On || len(m.Include) > 0 {
		return shape{}, fmt.Errorf("matching of two sides is only pushed down for aggregations matched on all labels")
	}
	if left.inexact && right.inexact && (n.Op == parser.EQLC || n.Op == parser.NEQ) {
		return shape{}, fmt.Errorf("%s would show the last digits of native histograms", n.Op)
	}
	out := left.computed()
	out.histograms, out.inexact = left.histograms || right.histograms, left.inexact || right.inexact
	return out, nil
}
