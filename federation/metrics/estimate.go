package metrics

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Estimate is what a question takes at least, before any data is read. It is of
// the least there can be to answer with: of one visible series, or cell, for
// each selector, of numbers, with samples wherever the question looks in the
// time that may be seen and is over. What filters by value, such as `up == 0`,
// and what is in no list here counts for nothing, so that there is never less
// than it says. The question, policy and the clock alone decide it.
type Estimate struct {
	// Steps are the times at which the question is evaluated.
	Steps int `json:"steps"`
	// Evaluations are at how many times each selector is evaluated, in order of
	// the text: for one in a subquery, the subquery's steps.
	Evaluations []int `json:"evaluations"`
	// Answer is how many samples the answer has.
	Answer int `json:"answer_samples"`
	// Held is how many samples evaluation has in memory at once.
	Held int `json:"held_samples"`
	// Read is how many samples selectors give, and windows of subqueries: a
	// sample counts in each window that it is in.
	Read int `json:"read_samples"`
}

// readsPerSample is how many samples a question may read for each that it may
// hold. Where little may be held (leastSamples), that is enough for [30d:5m] at
// each of 11,000 steps. By default it is more than anybody's subqueries may read
// (maxSubqueryPoints).
const readsPerSample = 100

// within refuses a question that would be over a limit whatever there is to
// answer it with.
func (e Estimate) within(by tenants.OrgID, limits tenants.Limits, may *allowance) error {
	most := limits.OrDefault()
	const asks = "ask for less time or a larger step"
	if err := limits.CheckSamples(by, e.Answer); err != nil {
		message := fmt.Sprintf("the answer would have at least %d samples for each series, and the limit is %d samples; %s", e.Answer, most.Samples, asks)
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: message}
	}
	bytes := saturated(float64(e.Answer) * sampleBytes)
	if err := limits.CheckBytes(by, bytes); err != nil {
		message := fmt.Sprintf("the answer would have at least %d bytes for each series, and the limit is %d bytes; %s", bytes, most.Bytes, asks)
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: message}
	}
	const evaluated = "ask for less time, larger steps or shorter ranges of subqueries"
	if e.Held > may.samples {
		return federation.Errorf(federation.OverLimit, "the question would hold at least %d samples of each series at once, and the limit is %d samples; %s",
			e.Held, may.samples, evaluated)
	}
	if reads := saturated(float64(may.samples) * readsPerSample); e.Read > reads {
		return federation.Errorf(federation.OverLimit, "the question would read at least %d samples of each series, and the limit is %d, %d for each of %d samples; %s",
			e.Read, reads, readsPerSample, may.samples, evaluated)
	}
	return nil
}

// estimate estimates a question. The error is a BadQuestion.
func (v *view) estimate(q Question, now time.Time) (Estimate, error) {
	e := &estimator{view: v, question: q, newest: min(v.newest, now.UnixMilli())}
	at := timesOf(q)
	root, err := e.preprocessed(q.Expression)
	if err != nil {
		return Estimate{}, err
	}
	out := Estimate{Answer: e.node(root, at).count(), Steps: at.count()}
	out.Evaluations, out.Held, out.Read = e.evaluations, saturated(e.held), saturated(e.read)
	return out, nil
}

// saturated is a number of samples; what is more than an int can say is the
// largest one.
func saturated(n float64) int {
	if n >= math.MaxInt {
		return math.MaxInt
	}
	return int(n)
}

// estimator walks an expression as the engine would evaluate it.
type estimator struct {
	view     *view
	question Question
	newest   int64 // the last time at which there may be samples

	evaluations []int
	inner       bool // within a published query, whose selectors aren't the asker's
	held, read  float64
}

// preprocessed parses an expression and marks what of it is evaluated only
// once, as the engine does.
func (e *estimator) preprocessed(expression string) (parser.Expr, error) {
	q := e.question
	expr, err := parser.ParseExpr(expression)
	if err == nil {
		expr, err = promql.PreprocessExpr(expr, q.Start, q.End, q.Step)
	}
	if err != nil {
		return nil, evaluationError(err)
	}
	return expr, nil
}

// sure are those of the times at which an expression is evaluated when its
// result is sure to have a sample.
type sure struct {
	times

	// same: a sample of one and the same series, which is what a function over a
	// window of them needs that looks at two.
	same bool
}

// unsure is never.
var unsure = sure{times: never}

func (s sure) between(first, last int64) sure {
	s.times = s.times.between(first, last)
	return s
}

// node walks an expression that is evaluated at some times. Of a subquery, what
// is returned is of the times of its steps.
func (e *estimator) node(expr parser.Expr, at times) sure {
	has := e.result(expr, at)
	e.held = max(e.held, float64(has.count()))
	return has
}

func (e *estimator) result(expr parser.Expr, at times) sure {
	switch n := expr.(type) {
	case *parser.NumberLiteral:
		return sure{at, true}
	case *parser.ParenExpr:
		return e.node(n.Expr, at)
	case *parser.UnaryExpr:
		return e.node(n.Expr, at)
	case *parser.StepInvariantExpr:
		if e.node(n.Expr, at.once()).count() > 0 {
			return sure{at, true}
		}
		return unsure
	case *parser.VectorSelector:
		e.evaluated(at)
		if q := e.view.rules.published(n.LabelMatchers); q != nil {
			return e.published(q, n, at)
		}
		has := e.samples(n, at, e.question.Lookback.Milliseconds(), 1)
		e.read += float64(has.count())
		return has
	case *parser.MatrixSelector:
		return e.windows(n, at, 1)
	case *parser.SubqueryExpr:
		return e.steps(n, at)
	case *parser.Call:
		return e.call(n, at)
	case *parser.AggregateExpr:
		return e.aggregate(n, at)
	case *parser.BinaryExpr:
		return e.binary(n, at)
	}
	return unsure
}

// once is the time at which what doesn't depend on the time is evaluated.
func (t times) once() times { return t.between(t.start, t.start) }

func (e *estimator) evaluated(at times) {
	if !e.inner {
		e.evaluations = append(e.evaluations, at.count())
	}
}

// samples returns the times at which a selector's last milliseconds, as many as
// its range or the lookback, can all be seen and have so many samples.
func (e *estimator) samples(n *parser.VectorSelector, at times, length int64, least int) sure {
	if n.Anchored || n.Smoothed || length < int64(least)*e.view.rules.resolution || !e.view.rules.releases(n.LabelMatchers) {
		return unsure
	}
	return sure{at, true}.looking(n.Timestamp, n.OriginalOffset, length, max(e.view.oldest, beginningOfTime), e.newest)
}

// looking returns those of the times from which so many milliseconds back, from
// the timestamp if there is one and less the offset, are within first and last.
func (s sure) looking(timestamp *int64, offset time.Duration, length, first, last int64) sure {
	first, last = first+length+offset.Milliseconds(), last+offset.Milliseconds()
	switch {
	case timestamp == nil:
		return s.between(first, last)
	case first <= *timestamp && *timestamp <= last:
		return s
	}
	return unsure
}

// releases says whether there can be anything that a selector matches.
func (r *rules) releases(asked []*labels.Matcher) bool {
	_, rows := r.Narrow(asked)
	return rows || len(r.cellsOf(asked)) > 0
}

// steps are those of a subquery.
func (e *estimator) steps(n *parser.SubqueryExpr, at times) sure {
	inner := at.inside(n, e.question)
	inner.start += inner.step // a window begins after its start
	return e.node(n.Expr, inner)
}

// windows returns the times at which a range has so many samples.
func (e *estimator) windows(expr parser.Expr, at times, least int) sure {
	switch n := expr.(type) {
	case *parser.MatrixSelector:
		selector, ok := n.VectorSelector.(*parser.VectorSelector)
		if !ok {
			return unsure
		}
		e.evaluated(at)
		has := e.samples(selector, at, n.Range.Milliseconds(), least)
		e.read += float64(has.count()) * float64(least)
		return has
	case *parser.StepInvariantExpr:
		e.windows(n.Expr, at.once(), least)
	case *parser.SubqueryExpr:
		steps, length := e.steps(n, at), n.Range.Milliseconds()
		if steps.count() == 0 {
			return unsure
		}
		last := steps.at(steps.count()-1) + steps.step - 1
		has := sure{at, steps.same}.looking(n.Timestamp, n.OriginalOffset, length, steps.start-steps.step, last)
		e.read += float64(has.count()) * float64(length/steps.step)
		if length >= int64(least)*steps.step && (steps.same || least == 1) {
			return has
		}
	}
	return unsure
}

// samplesOf are the functions over ranges whose result has a sample of each
// window that has so many.
var samplesOf = map[string]int{
	"avg_over_time": 1, "changes": 1, "count_over_time": 1, "last_over_time": 1, "max_over_time": 1, "min_over_time": 1,
	"present_over_time": 1, "quantile_over_time": 1, "resets": 1, "stddev_over_time": 1, "stdvar_over_time": 1, "sum_over_time": 1,
	"delta": 2, "deriv": 2, "idelta": 2, "increase": 2, "irate": 2, "predict_linear": 2, "rate": 2,
}

// samplewise are the functions whose result has a sample for each of their
// argument, if they have one, and otherwise always.
var samplewise = []string{
	"abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "clamp_max", "clamp_min", "cos", "cosh", "day_of_month", "day_of_week",
	"day_of_year", "days_in_month", "deg", "exp", "floor", "hour", "label_join", "label_replace", "ln", "log10", "log2", "minute",
	"month", "pi", "rad", "round", "scalar", "sgn", "sin", "sinh", "sort", "sort_desc", "sqrt", "tan", "tanh", "time", "timestamp",
	"vector", "year",
}

func (e *estimator) call(n *parser.Call, at times) sure {
	least, ranged := samplesOf[n.Func.Name]
	has := sure{at, true}
	for _, arg := range n.Args {
		switch arg.Type() { //nolint:exhaustive // of strings there are no samples
		case parser.ValueTypeMatrix:
			has = e.windows(arg, at, max(least, 1))
		case parser.ValueTypeVector:
			has = e.node(arg, at)
		case parser.ValueTypeScalar:
			e.node(arg, at)
		}
	}
	switch {
	case n.Func.Name == "scalar":
		return sure{at, true} // NaN is one
	case ranged, slices.Contains(samplewise, n.Func.Name):
		return has
	}
	return unsure
}

func (e *estimator) aggregate(n *parser.AggregateExpr, at times) sure {
	has := e.node(n.Expr, at)
	if n.Param != nil {
		// The engine reads an @ in a parameter as if it moved from step to step.
		held, read := e.held, e.read
		e.node(n.Param, at)
		e.held, e.read = held, read
	}
	switch n.Op { //nolint:exhaustive // what isn't here is sure of nothing
	case parser.AVG, parser.COUNT, parser.GROUP, parser.MAX, parser.MIN, parser.QUANTILE, parser.STDDEV, parser.STDVAR, parser.SUM:
		if _, one := onlyOrg(n); one {
			has.same = true
		}
		return has
	case parser.COUNT_VALUES:
		has.same = false
		return has
	case parser.TOPK, parser.BOTTOMK:
		if k, ok := n.Param.(*parser.NumberLiteral); ok && k.Val >= 1 {
			has.same = false
			return has
		}
	}
	return unsure
}

func (e *estimator) binary(n *parser.BinaryExpr, at times) sure {
	left, right := e.node(n.LHS, at), e.node(n.RHS, at)
	vectors := n.LHS.Type() == parser.ValueTypeVector && n.RHS.Type() == parser.ValueTypeVector
	switch {
	case n.Op == parser.LOR:
		if left.count() < right.count() {
			right.same = false // now and then the other side's
			return right
		}
		return left
	case n.Op.IsSetOperator(), n.Op.IsComparisonOperator() && !n.ReturnBool, vectors && !matched(n):
		return unsure
	}
	left.same = left.same && right.same
	return left.between(right.start, right.end)
}

// matched says whether a series on one side is sure to match one on the other.
func matched(n *parser.BinaryExpr) bool {
	if n.VectorMatching.On && len(n.VectorMatching.MatchingLabels) == 0 {
		return true
	}
	left, ok := onlyOrg(n.LHS)
	right, same := onlyOrg(n.RHS)
	return ok && same && left == right
}

// onlyOrg says whether an expression's result has no labels but org, which is
// the same in all there is, and whether it has that.
func onlyOrg(expr parser.Expr) (org, ok bool) {
	switch n := expr.(type) {
	case *parser.ParenExpr:
		return onlyOrg(n.Expr)
	case *parser.StepInvariantExpr:
		return onlyOrg(n.Expr)
	case *parser.AggregateExpr:
		switch n.Op { //nolint:exhaustive // those that keep or make labels
		case parser.BOTTOMK, parser.COUNT_VALUES, parser.LIMITK, parser.LIMIT_RATIO, parser.TOPK:
			return false, false
		}
		org = slices.Contains(n.Grouping, orgLabel)
		others := slices.ContainsFunc(n.Grouping, func(name string) bool { return name != orgLabel })
		return org, !n.Without && !others && (!org || carriesOrg(n.Expr))
	}
	return false, false
}

// published estimates a published query in the place of its name.
func (e *estimator) published(q *policy.Query, n *parser.VectorSelector, at times) sure {
	p := newCellPlanner(e.view.rules, e.question)
	var place parser.Expr
	if err := p.publish(&place, q, n, at); err != nil {
		return unsure // it is refused in its own words
	}
	found := p.leaves[0]
	asked := at
	asked.start, asked.end = asked.start-found.offset, asked.end-found.offset
	query := &estimator{view: e.view.whole(), question: asked.question(e.question.Lookback), newest: e.newest, inner: true}
	root, err := query.preprocessed(found.expr.String())
	if err != nil {
		return unsure
	}
	has := query.node(root, asked)
	e.held, e.read = max(e.held, query.held), e.read+query.read
	for _, m := range n.LabelMatchers {
		if _, parameter := found.values[m.Name]; !parameter && m.Name != labels.MetricName && m.Name != orgLabel {
			return unsure // it may match none of the result
		}
	}
	return sure{at, has.same}.between(has.start+found.offset, has.end+found.offset)
}
