package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// A leaf is where an expression meets series that leave in cells only: an
// instant selector, or one of leafFunctions of one, directly under one of
// leafAggregations. Cells are thresholded there and nowhere else, since all
// above is made of what is released already.
type leaf struct {
	// expr is the selector or function as asked, and selector the one in it.
	expr     parser.Expr
	selector *parser.VectorSelector
	// function is the name of the function; empty for an instant selector,
	// whose cells keep the metric's name.
	function string
	// seconds is the length of the function's range.
	seconds float64
	times   times

	// query is the published query that expr is an instance of, with values, and
	// offset its selector's, in milliseconds; nil for a leaf of cells.
	query  *policy.Query
	values map[string]string
	offset int64
}

// leafFunctions may stand between a selector and its aggregation. What looks
// at the order or the exact moments of a series' samples is not among them.
var leafFunctions = []string{
	"avg_over_time", "count_over_time", "delta", "increase", "last_over_time", "max_over_time", "min_over_time",
	"present_over_time", "rate", "sum_over_time",
}

// leafAggregations are those that cells can be made of: sums and counts.
var leafAggregations = []parser.ItemType{parser.SUM, parser.COUNT, parser.AVG, parser.GROUP}

// leafOf reads what stands under an aggregation as a leaf.
func leafOf(expr parser.Expr) (leaf, bool) {
	switch n := unwrapParens(expr).(type) {
	case *parser.VectorSelector:
		return leaf{expr: n, selector: n}, true
	case *parser.Call:
		if !slices.Contains(leafFunctions, n.Func.Name) || len(n.Args) != 1 {
			return leaf{}, false
		}
		out := leaf{expr: n, function: n.Func.Name}
		switch arg := unwrapParens(n.Args[0]).(type) {
		case *parser.MatrixSelector:
			selector, ok := arg.VectorSelector.(*parser.VectorSelector)
			out.selector, out.seconds = selector, arg.Range.Seconds()
			return out, ok
		case *parser.SubqueryExpr:
			selector, ok := unwrapParens(arg.Expr).(*parser.VectorSelector)
			out.selector, out.seconds = selector, arg.Range.Seconds()
			return out, ok
		}
	}
	return leaf{}, false
}

// key tells leaves of cells apart that have to be released separately.
func (l leaf) key() string {
	return fmt.Sprintf("%s\xff%d\xff%d\xff%d", l.expr, l.times.start, l.times.end, l.times.step)
}

// metric is the name that the selector matches for equality, once.
func (l leaf) metric() (name string, ok bool) {
	for _, m := range l.selector.LabelMatchers {
		if m.Name != labels.MetricName {
			continue
		}
		if m.Type != labels.MatchEqual || name != "" {
			return "", false
		}
		name = m.Value
	}
	return name, name != ""
}

// with returns the leaf's expression with other matchers.
func (l leaf) with(matchers []*labels.Matcher) (string, error) {
	copied, err := parser.ParseExpr(l.expr.String())
	if err != nil {
		return "", err
	}
	other, _ := leafOf(copied)
	other.selector.Name, other.selector.LabelMatchers = "", matchers
	return copied.String(), nil
}

// milliseconds is the length of the function's range.
func (l leaf) milliseconds() int64 { return int64(math.Round(l.seconds * 1000)) }

// times are those at which an expression is evaluated: every step from start
// to end, Unix milliseconds, both included. A zero step is start alone.
type times struct{ start, end, step int64 }

func timesOf(q Question) times {
	if q.Kind == policy.Instant {
		return times{start: q.Start.UnixMilli(), end: q.Start.UnixMilli()}
	}
	return times{start: q.Start.UnixMilli(), end: q.End.UnixMilli(), step: q.Step.Milliseconds()}
}

// inside returns the times at which a subquery's expression is evaluated: the
// multiples of its step in its range.
func (t times) inside(n *parser.SubqueryExpr, q Question) times {
	start, end := t.start, t.end
	switch {
	case n.Timestamp != nil:
		start, end = *n.Timestamp, *n.Timestamp
	case n.StartOrEnd == parser.START:
		start, end = q.Start.UnixMilli(), q.Start.UnixMilli()
	case n.StartOrEnd == parser.END:
		start, end = q.End.UnixMilli(), q.End.UnixMilli()
	}
	offset := n.OriginalOffset.Milliseconds()
	step := n.Step.Milliseconds()
	if step == 0 {
		step = defaultSubqueryStep(n.Range.Milliseconds())
	}
	first := start - offset - n.Range.Milliseconds()
	return times{start: first - mod(first, step), end: end - offset, step: step}
}

func mod(a, b int64) int64 { return (a%b + b) % b }

// count is how many times there are.
func (t times) count() int {
	switch {
	case t.end < t.start:
		return 0
	case t.step == 0:
		return 1
	}
	return int((t.end-t.start)/t.step) + 1
}

// never are no times.
var never = times{start: 1, end: 0}

// between are those of the times from first to last, both included.
func (t times) between(first, last int64) times {
	from, to := 0, t.count()-1
	switch {
	case to < 0, last < t.start, t.at(to) < first:
		return never
	case t.step > 0:
		from = int((max(first-t.start, 0) + t.step - 1) / t.step)
		to = min(to, int((last-t.start)/t.step))
	}
	if to < from {
		return never
	}
	t.start, t.end = t.at(from), t.at(to)
	return t
}

// at is the time of an index.
func (t times) at(i int) int64 { return t.start + int64(i)*t.step }

// index is the inverse of at.
func (t times) index(at int64) int {
	if t.step == 0 {
		return 0
	}
	return int((at - t.start) / t.step)
}

// question asks for the leaf at all its times.
func (t times) question(lookback time.Duration) Question {
	q := Question{Kind: policy.Range, Start: time.UnixMilli(t.start), End: time.UnixMilli(t.end), Step: time.Duration(t.step) * time.Millisecond, Lookback: lookback}
	if t.count() == 1 {
		q.Kind, q.End, q.Step = policy.Instant, q.Start, 0
	}
	return q
}

// cellPlan is an expression over released cells.
type cellPlan struct {
	// rest is what is asked of the cells: the expression with a selector of
	// cells for each leaf.
	rest   parser.Expr
	leaves []leaf // the selectors' names go by index
}

// Cells are selected under names no question may contain.
func sumsName(i int) string   { return fmt.Sprintf("%s_sums_%d__", reservedPrefix, i) }
func countsName(i int) string { return fmt.Sprintf("%s_counts_%d__", reservedPrefix, i) }

// planCells finds the leaves of an expression. It returns nil for one that
// meets no cells, and refuses one that meets them where there is no leaf: by
// its shape and policy alone, before any data is touched.
func planCells(expr parser.Expr, r *rules, q Question) (*cellPlan, error) {
	if !slices.ContainsFunc(parser.ExtractSelectors(expr), func(m []*labels.Matcher) bool { return len(r.cellsOf(m)) > 0 || r.published(m) != nil }) {
		return nil, nil
	}
	copied, err := parser.ParseExpr(expr.String())
	if err != nil {
		return nil, err
	}
	p := newCellPlanner(r, q)
	holder := &parser.ParenExpr{Expr: copied}
	if err := p.visit(&holder.Expr, timesOf(q), ""); err != nil {
		return nil, err
	}
	return &cellPlan{rest: holder.Expr, leaves: p.leaves}, nil
}

type cellPlanner struct {
	rules    *rules
	question Question
	leaves   []leaf
	byKey    map[string]int // indices of leaves of cells
}

func newCellPlanner(r *rules, q Question) *cellPlanner {
	return &cellPlanner{rules: r, question: q, byKey: map[string]int{}}
}

// visit replaces the leaves below *e, which is evaluated at some times and
// stands under a construct, named for messages.
func (p *cellPlanner) visit(e *parser.Expr, at times, under string) error {
	switch n := (*e).(type) {
	case *parser.AggregateExpr:
		found, ok := leafOf(n.Expr)
		if ok && p.rules.published(found.selector.LabelMatchers) == nil && len(p.rules.cellsOf(found.selector.LabelMatchers)) > 0 {
			return p.replace(e, n, found, at)
		}
		if !slices.Contains(aggregationsOverCells, n.Op) {
			return notPlaced(n.Op.String())
		}
		if n.Param != nil {
			if err := p.visit(&n.Param, at, n.Op.String()); err != nil {
				return err
			}
		}
		return p.visit(&n.Expr, at, n.Op.String())
	case *parser.VectorSelector:
		if q := p.rules.published(n.LabelMatchers); q != nil {
			return p.publish(e, q, n, at)
		}
		if touched := p.rules.cellsOf(n.LabelMatchers); len(touched) > 0 {
			return p.refuse(touched[0], n, where(under))
		}
		return nil
	case *parser.MatrixSelector:
		if n, ok := n.VectorSelector.(*parser.VectorSelector); ok && p.rules.published(n.LabelMatchers) != nil {
			return federation.Errorf(federation.NeedsAggregation, "%s is a published query: for a range of it ask a subquery, such as [1h:1m]", n.Name)
		}
		return p.visit(&n.VectorSelector, at, under)
	case *parser.SubqueryExpr:
		return p.visit(&n.Expr, at.inside(n, p.question), "a subquery")
	case *parser.Call:
		if !slices.Contains(functionsOverCells, n.Func.Name) {
			return notPlaced(n.Func.Name)
		}
		for i := range n.Args {
			if err := p.visit(&n.Args[i], at, n.Func.Name); err != nil {
				return err
			}
		}
		return nil
	case *parser.BinaryExpr:
		if !slices.Contains(operatorsOverCells, n.Op) {
			return notPlaced(n.Op.String())
		}
		if err := p.visit(&n.LHS, at, n.Op.String()); err != nil {
			return err
		}
		return p.visit(&n.RHS, at, n.Op.String())
	case *parser.ParenExpr:
		return p.visit(&n.Expr, at, under)
	case *parser.UnaryExpr:
		return p.visit(&n.Expr, at, n.Op.String())
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	}
	return notPlaced(fmt.Sprintf("%T", *e))
}

// notPlaced refuses what nobody has said is sound.
func notPlaced(what string) error {
	return federation.Errorf(federation.NeedsAggregation, "%s is not answered of data that is released in cells", what)
}

// refuseRows refuses to give series where only cells are released.
func refuseRows(selectors []policy.Selector, r *rules) error {
	for _, s := range selectors {
		if q := r.published(s); q != nil {
			return federation.Errorf(federation.NeedsAggregation, "%s is a published query: its series can't be read, ask it", q.Name)
		}
		p := newCellPlanner(r, Question{})
		var expr parser.Expr = &parser.VectorSelector{LabelMatchers: s}
		if err := p.visit(&expr, times{}, ""); err != nil {
			return err
		}
	}
	return nil
}

func where(under string) string {
	if under == "" {
		return "series themselves are not released"
	}
	return under + " straight over series is not answered"
}

// replace puts the selector of a leaf's cells in its place.
func (p *cellPlanner) replace(e *parser.Expr, n *parser.AggregateExpr, l leaf, at times) error {
	touched := p.rules.cellsOf(l.selector.LabelMatchers)
	d := touched[0]
	if !slices.Contains(leafAggregations, n.Op) {
		return p.refuse(d, l.selector, where(n.Op.String()))
	}
	if _, ok := l.metric(); !ok {
		return p.refuse(d, l.selector, "a selector has to name one metric with =")
	}
	if l.selector.Anchored || l.selector.Smoothed {
		return p.refuse(d, l.selector, "the modifiers anchored and smoothed are not answered")
	}
	for _, m := range l.selector.LabelMatchers {
		if !slices.ContainsFunc(touched, func(d *policy.Dataset) bool { return seen(d, m.Name) }) {
			return p.refuse(d, l.selector, fmt.Sprintf("%s is not one of its dimensions, so it can't be matched", m.Name))
		}
	}
	for _, d := range touched {
		if !countsEvents(d) {
			continue
		}
		if why := checkEvents(n.Op, l, p.rules.resolution); why != "" {
			return p.refuse(d, l.selector, why)
		}
	}
	p.pin(&l)
	l.times = at
	key := l.key()
	i, known := p.byKey[key]
	if !known {
		i = len(p.leaves)
		p.leaves, p.byKey[key] = append(p.leaves, l), i
	}
	over := func(op parser.ItemType, name string) *parser.AggregateExpr {
		matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}
		for _, m := range l.selector.LabelMatchers {
			if m.Name != labels.MetricName {
				matchers = append(matchers, m)
			}
		}
		return &parser.AggregateExpr{
			Op: op, Grouping: slices.Clone(n.Grouping), Without: n.Without,
			Expr: &parser.VectorSelector{LabelMatchers: matchers},
		}
	}
	switch n.Op {
	case parser.COUNT:
		*e = over(parser.SUM, countsName(i))
	case parser.AVG:
		*e = &parser.ParenExpr{Expr: &parser.BinaryExpr{
			Op: parser.DIV, LHS: over(parser.SUM, sumsName(i)), RHS: over(parser.SUM, countsName(i)),
			VectorMatching: &parser.VectorMatching{Card: parser.CardOneToOne},
		}}
	default:
		*e = over(n.Op, sumsName(i))
	}
	return nil
}

// pin gives a leaf's `@ start()` and `@ end()` their times: those of the
// question, not of the times at which the leaf is evaluated.
func (p *cellPlanner) pin(l *leaf) {
	pin := func(at **int64, preprocessor *parser.ItemType) {
		var ms int64
		switch *preprocessor {
		case parser.START:
			ms = p.question.Start.UnixMilli()
		case parser.END:
			ms = p.question.End.UnixMilli()
		default:
			return
		}
		*at, *preprocessor = &ms, 0
	}
	pin(&l.selector.Timestamp, &l.selector.StartOrEnd)
	if call, ok := l.expr.(*parser.Call); ok {
		if subquery, ok := unwrapParens(call.Args[0]).(*parser.SubqueryExpr); ok {
			pin(&subquery.Timestamp, &subquery.StartOrEnd)
		}
	}
}

// refuse says what is not answered, and what is. It tells what policy says and
// nothing of the data.
func (p *cellPlanner) refuse(d *policy.Dataset, n *parser.VectorSelector, what string) error {
	name, ok := leaf{selector: n}.metric()
	if !ok {
		name = "metric"
	}
	dimensions := seenDimensions(d)
	example := "sum(rate(" + name + "[5m]))"
	if len(dimensions) > 0 {
		example = "sum by (" + strings.Join(dimensions, ", ") + ") (rate(" + name + "[5m]))"
	}
	if countsEvents(d) {
		return federation.Errorf(federation.NeedsAggregation, "this is released as numbers of at least %d events: %s; for example sum(increase(%s[1h]))", d.Cells.K, what, name)
	}
	return federation.Errorf(federation.NeedsAggregation,
		"this is released as sums over at least %d %s: %s; put sum, count, avg or group directly around a selector or a function such as rate, for example %s",
		d.Cells.K, strings.Join(d.Cells.Units, " and "), what, example)
}

// seen says whether the cells of a dataset have a label.
func seen(d *policy.Dataset, name string) bool {
	switch name {
	case labels.MetricName, orgLabel, labels.BucketLabel:
		return true
	}
	rule, named := d.Labels[name]
	return named && rule.Mode != policy.Drop
}

func seenDimensions(d *policy.Dataset) []string {
	return slices.DeleteFunc(slices.Clone(d.Cells.Dimensions), func(name string) bool { return !seen(d, name) })
}

// cellsOf returns the datasets released in cells that a selector can match, by
// what it says and policy alone.
func (r *rules) cellsOf(asked []*labels.Matcher) []*policy.Dataset {
	var out []*policy.Dataset
	for i := range r.datasets {
		d := &r.datasets[i]
		if d.Release != policy.Aggregate {
			continue
		}
		raw, possible := r.onRaw(d, asked)
		if possible && slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return redact.Compatible(s, raw) }) {
			out = append(out, d)
		}
	}
	return out
}

// onRaw returns the matchers that say of a dataset's raw series what they say
// of its cells.
func (r *rules) onRaw(d *policy.Dataset, asked []*labels.Matcher) (raw []*labels.Matcher, possible bool) {
	for _, m := range asked {
		switch {
		case m.Name == orgLabel:
			if !m.Matches(string(r.org)) {
				return nil, false
			}
		case m.Name == labels.MetricName, m.Name == labels.BucketLabel:
			raw = append(raw, m)
		case strings.HasSuffix(m.Name, orgLabel):
		default:
			if rule, named := d.Labels[m.Name]; named && rule.Mode == policy.Keep {
				raw = append(raw, m)
			}
		}
	}
	return raw, true
}
