package metrics

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// A published query is asked by its name. It is evaluated over the store as it
// is, within the view's time, and what is asked above it over its result: it is
// a leaf (see leaf) whose cells are its author's.

// published is the query that a selector names, nil where it names none.
func (r *rules) published(asked []*labels.Matcher) *policy.Query {
	for _, m := range asked {
		if m.Name == orgLabel && !m.Matches(string(r.org)) {
			return nil
		}
	}
	for i := range r.queries {
		q := &r.queries[i]
		if slices.ContainsFunc(asked, func(m *labels.Matcher) bool {
			return m.Name == labels.MetricName && m.Type == labels.MatchEqual && m.Value == q.Name
		}) {
			return q
		}
	}
	return nil
}

// publish puts the selector of a published query's result in the place of its
// name.
func (p *cellPlanner) publish(e *parser.Expr, q *policy.Query, n *parser.VectorSelector, at times) error {
	if n.Timestamp != nil || n.StartOrEnd != 0 || n.Anchored || n.Smoothed {
		return federation.Errorf(federation.BadQuestion, "%s is a published query: of its modifiers only offset is answered", q.Name)
	}
	values, matchers := map[string]string{}, []*labels.Matcher{}
	for _, m := range n.LabelMatchers {
		_, parameter := q.Parameters[m.Name]
		switch {
		case m.Name == labels.MetricName:
		case parameter && m.Type == labels.MatchEqual:
			values[m.Name] = m.Value
			matchers = append(matchers, m) // the result carries it
		case parameter:
			return federation.Errorf(federation.BadQuestion, "%s is a published query: give its parameter %s with =", q.Name, m.Name)
		default:
			matchers = append(matchers, m)
		}
	}
	expression, err := q.Instantiate(values)
	if err != nil {
		return federation.Errorf(federation.BadQuestion, "%v", err)
	}
	expr, err := parser.ParseExpr(expression)
	if err != nil {
		return federation.Errorf(federation.BadQuestion, "%s is a published query: its parameters don't fit", q.Name)
	}
	i := len(p.leaves)
	p.leaves = append(p.leaves, leaf{expr: expr, query: q, values: values, offset: n.OriginalOffset.Milliseconds(), times: at})
	*e = &parser.VectorSelector{LabelMatchers: append(matchers, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, sumsName(i)))}
	return nil
}

// releasePublished evaluates a published query.
func (l *Local) releasePublished(ctx context.Context, leaf leaf, v *view, q Question) (cells, error) {
	asked := leaf.times
	asked.start, asked.end = asked.start-leaf.offset, asked.end-leaf.offset
	matrix, err := v.may.run(ctx, v.whole(), leaf.expr.String(), asked.question(q.Lookback))
	if err != nil {
		return cells{}, err
	}
	named := map[string]bool{}
	for i := range matrix {
		s := &matrix[i]
		b := labels.NewBuilder(s.Metric)
		for name := range leaf.query.Parameters {
			b.Set(name, leaf.values[name])
		}
		s.Metric = b.Set(labels.MetricName, leaf.query.Name).Set(orgLabel, string(v.rules.org)).Labels()
		key := s.Metric.String()
		if named[key] {
			return cells{}, federation.Errorf(federation.Internal, "%s can't be answered now", leaf.query.Name)
		}
		named[key] = true
		for j := range s.Floats {
			s.Floats[j].T += leaf.offset
			s.Floats[j].F = leaf.query.Rounding.Round(s.Floats[j].F)
		}
		for j, p := range s.Histograms {
			p.H = p.H.Copy()
			roundHistogram(p.H, leaf.query.Rounding)
			s.Histograms[j] = promql.HPoint{T: p.T + leaf.offset, H: p.H}
		}
	}
	return rowsAsCells(matrix, v.may)
}

// whole is the store as it is, within the view's time.
func (v *view) whole() *view {
	everything := policy.Obligations{Datasets: []policy.Dataset{{
		Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}
	return &view{source: v.source, rules: newRules(v.rules.org, everything, keys{}), oldest: v.oldest, newest: v.newest, may: v.may}
}
