package metrics

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

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
	set := &listedSeries{index: -1}
	release, err := q.source.selectRaw(ctx, selection{mint: hints.Start, maxt: hints.End, matchers: matchers}, func(s storage.ChunkSeries) error {
		set.series = append(set.series, chunkedSeries{labels: s.Labels(), chunks: s, mint: hints.Start, maxt: hints.End})
		return nil
	})
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	q.releases = append(q.releases, release)
	slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	if q.order > 0 {
		rand.New(rand.NewPCG(q.order, 0)).Shuffle(len(set.series), func(i, j int) {
			set.series[i], set.series[j] = set.series[j], set.series[i]
		})
	}
	return set
}

// Backend is a store whose own engine evaluates what is pushed down, going
// through series in an order of its own.
type Backend struct {
	*TSDB
	Engine    *promql.Engine
	Order     uint64
	Evaluated []string
}

func (*Backend) evaluates(context.Context) bool { return true }

// evaluate gives back what a real one could say in JSON.
func (b *Backend) evaluate(ctx context.Context, e evaluation) (promql.Matrix, error) {
	b.Evaluated = append(b.Evaluated, e.expression)
	over := rawQueryable{b.TSDB, b.Order}
	warned := &warnings{QueryEngine: b.Engine}
	m, err := run(ctx, warned, over, e.expression, e.question)
	if err != nil || warned.some || slices.ContainsFunc(m, func(s promql.Series) bool { return len(s.Histograms) > 0 }) {
		return nil, errNotEvaluated
	}
	return m, nil
}

// warnings is an engine that notes whether one was given.
type warnings struct {
	promql.QueryEngine
	some bool
}

func (w *warnings) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expression string, at time.Time) (promql.Query, error) {
	query, err := w.QueryEngine.NewInstantQuery(ctx, q, opts, expression, at)
	return warningQuery{query, w}, err
}

func (w *warnings) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expression string, start, end time.Time, step time.Duration) (promql.Query, error) {
	query, err := w.QueryEngine.NewRangeQuery(ctx, q, opts, expression, start, end, step)
	return warningQuery{query, w}, err
}

type warningQuery struct {
	promql.Query
	noted *warnings
}

func (q warningQuery) Exec(ctx context.Context) *promql.Result {
	result := q.Query.Exec(ctx)
	texts, _ := result.Warnings.AsStrings("", 0, 0)
	q.noted.some = q.noted.some || len(texts) > 0
	return result
}

// Pseudonym is what the view of a Local holds instead of a value.
func (l *Local) Pseudonym(o policy.Obligations, by Asking, value string) string {
	o.Datasets = []policy.Dataset{{Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Pseudonym}}}
	v, err := l.view(o, by)
	if err != nil {
		return err.Error()
	}
	visible, _ := v.rules.visible(labels.FromStrings("user", value))
	return visible.Get("user")
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

// CellsFormed is how often a question's answer forms cells.
func CellsFormed(q Question, o policy.Obligations) (int, error) {
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return 0, err
	}
	r := newRules("acme", o, keys{})
	plan, err := planCells(expr, r, q)
	if err != nil {
		return 0, err
	}
	all, err := finestOf(plan, r)
	if err != nil {
		return 0, err
	}
	formed := map[*reading]bool{}
	for _, of := range slices.Concat(all.readings...) {
		formed[of.wide] = true
	}
	return len(formed), nil
}
