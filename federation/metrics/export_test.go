package metrics

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/policy"
)

// RawMatrix evaluates a question over a source as it is: no view, no org
// label. The engine reads series in order of their labels for 0, shuffled for
// any other order.
func RawMatrix(ctx context.Context, engine *promql.Engine, source Source, q Question, order uint64) (promql.Matrix, error) {
	m, err := run(ctx, engine, rawQueryable{source, order}, q.Expression, q)
	slices.SortFunc(m, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return m, err
}

type rawQueryable struct {
	source Source
	order  uint64
}

func (q rawQueryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &rawQuerier{viewQuerier{view: &view{oldest: math.MinInt64, newest: math.MaxInt64}, mint: mint, maxt: maxt}, q}, nil
}

type rawQuerier struct {
	viewQuerier
	rawQueryable
}

func (q *rawQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	raw, err := q.source.selectRaw(ctx, selection{mint: hints.Start, maxt: hints.End, matchers: matchers})
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	q.releases = append(q.releases, raw.release)
	set := &listedSeries{index: -1}
	for _, s := range raw.series {
		set.series = append(set.series, chunkedSeries{labels: s.Labels(), chunks: s, mint: hints.Start, maxt: hints.End})
	}
	slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	if q.order > 0 {
		rand.New(rand.NewPCG(q.order, 0)).Shuffle(len(set.series), func(i, j int) {
			set.series[i], set.series[j] = set.series[j], set.series[i]
		})
	}
	return set
}

// Pseudonym is what the view of a Local holds instead of a value.
func (l *Local) Pseudonym(o policy.Obligations, by Asking, value string) string {
	v, err := l.view(o, by)
	if err != nil {
		return err.Error()
	}
	return v.rules.pseudonym(value)
}

// PushDownText is what the backend is asked for an expression, or "".
func (l *Local) PushDownText(expression string, o policy.Obligations, by Asking) string {
	expr, err := parser.ParseExpr(expression)
	if err != nil {
		return ""
	}
	v, err := l.view(o, by)
	if err != nil {
		return ""
	}
	plan, err := planPushDown(expr, v.rules)
	if err != nil {
		return ""
	}
	return plan.expression
}
