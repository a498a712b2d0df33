package logs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

const (
	// lookback makes an engine see a range aggregation's value at the time it was
	// evaluated for, and no earlier one.
	lookback = time.Millisecond

	defaultMaxSamples = 50_000_000
	// leastEntries may be aggregated, however few samples may leave: an
	// aggregation makes few of many.
	leastEntries = 1_000_000
	// evaluationTimeout is a backstop; deadlines come with the question.
	evaluationTimeout = 10 * time.Minute
)

func newEngine(maxSamples int) *promql.Engine {
	if maxSamples == 0 {
		maxSamples = defaultMaxSamples
	}
	return promql.NewEngine(promql.EngineOpts{MaxSamples: maxSamples, Timeout: evaluationTimeout, LookbackDelta: lookback})
}

// numbers answers a query that yields numbers: its range aggregations over the
// view, and PromQL above them.
func (l *Local) numbers(ctx context.Context, q Question, expr logql.Expr, v *view, limits tenants.Limits) (*Released, error) {
	in, err := forAnswering(expr)
	if err != nil {
		return nil, err
	}
	store := leafStore{byName: map[string]promql.Matrix{}}
	left := newAllowance(entriesRead(limits))
	for i, leaf := range in.leaves {
		matrix, err := v.leaf(ctx, leaf, q, left)
		if err != nil {
			return nil, err
		}
		store.byName[leafName(i)] = matrix
	}
	matrix, err := metrics.Evaluate(ctx, l.engine, store, asMetrics(q, in))
	if err != nil {
		return nil, err
	}
	return &Released{numbers: metrics.ReceivedMatrix(withoutName(matrix))}, nil
}

// entriesRead is how many entries a question may aggregate.
func entriesRead(limits tenants.Limits) int { return max(limits.Samples, leastEntries) }

// allowance is what a question's range aggregations may read and hold, together.
type allowance struct {
	entries int
	result  logql.Allowance
}

// newAllowance is one of at most so many entries and points.
func newAllowance(most int) *allowance {
	return &allowance{entries: most, result: logql.Allowance{Points: most, Labels: maxHeld}}
}

// tooManyEntries is the error of one that would aggregate more.
func tooManyEntries() error {
	return federation.Errorf(federation.OverLimit, "the question would aggregate too many lines; ask for less time or fewer streams")
}

// asMetrics is a question for the metrics that stand in.
func asMetrics(q Question, in standIn) metrics.Question {
	return metrics.Question{Kind: q.Kind, Expression: in.promQL, Start: q.Start, End: q.End, Step: q.Step, Lookback: lookback}
}

// withoutName takes the names of stand-ins off a result, and sorts it.
func withoutName(m promql.Matrix) promql.Matrix {
	for i := range m {
		m[i].Metric = labels.NewBuilder(m[i].Metric).Del(labels.MetricName).Labels()
	}
	slices.SortFunc(m, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return m
}

// leaf evaluates a leaf over the view, at all times of the question, with what is
// left to it: those entries of a window and the points of the result are held.
func (v *view) leaf(ctx context.Context, leaf logql.Expr, q Question, left *allowance) (promql.Matrix, error) {
	over := rangeOf(leaf)
	if matrix, ok := v.pushed(ctx, leaf, q); ok {
		return matrix, nil
	}
	at, err := newRange(leaf, q, left)
	if err != nil {
		return nil, err
	}
	window := func(t time.Time, back time.Duration) int64 { return t.Add(-over.Offset-back).UnixNano() + 1 }
	sel := selectionOf(over.Selector, window(q.Start, over.Range), window(q.End, 0))
	err = v.entries(ctx, sel, func(e visibleEntry) error {
		if left.entries--; left.entries < 0 {
			return tooManyEntries()
		}
		at.Add(ctx, e.at, e.line, e.stream, e.metadata)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return matrixOf(ctx, at)
}

// newRange evaluates a leaf at the times of a question, to a result of what is left
// to it.
func newRange(leaf logql.Expr, q Question, left *allowance) (*logql.Range, error) {
	step := q.Step
	if q.Kind == policy.Instant {
		step = 0
	}
	at, err := logql.NewRange(leaf, q.Start.UnixNano(), q.End.UnixNano(), step, federation.OrgLabel)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	at.Limit(&left.result)
	return at, nil
}

// matrixOf is the result of a leaf that got all its entries.
func matrixOf(ctx context.Context, at *logql.Range) (promql.Matrix, error) {
	matrix, err := at.Matrix(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var problem *logql.PipelineError
	if errors.Is(err, logql.ErrTooManyPoints) {
		return nil, federation.Errorf(federation.OverLimit, "the question would make too many points of lines; ask for less time, a larger step, or fewer series with sum by (...)")
	}
	if errors.Is(err, logql.ErrTooManyLabels) {
		return nil, federation.Errorf(federation.OverLimit, "the question would make series of lines whose labels are larger than a gateway holds at once; ask for less time, or fewer and shorter labels with sum by (...)")
	}
	if errors.As(err, &problem) {
		return nil, federation.Errorf(federation.BadQuestion, "the pipeline fails with %s for some entries; skip them with | __error__=\"\", after unwrap if there is one", problem.Problem)
	}
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	return matrix, nil
}

// leafStore holds the series of range aggregations, under the names of the
// metrics that stand in for them.
type leafStore struct{ byName map[string]promql.Matrix }

// Querier implements storage.Queryable.
func (s leafStore) Querier(int64, int64) (storage.Querier, error) { return leafQuerier{s}, nil }

type leafQuerier struct{ leafStore }

// Select goes by the name alone: the other matchers are of the streams that
// were read, and a pipeline may have changed labels since.
func (q leafQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	for name, matrix := range q.byName {
		if named(matchers, name) {
			return &leafSeries{name: name, matrix: matrix, index: -1}
		}
	}
	return storage.EmptySeriesSet()
}

func (q leafQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("range aggregations list no labels")
}

func (q leafQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("range aggregations list no labels")
}

func (q leafQuerier) Close() error { return nil }

type leafSeries struct {
	name   string
	matrix promql.Matrix
	index  int
}

func (s *leafSeries) Next() bool                        { s.index++; return s.index < len(s.matrix) }
func (s *leafSeries) Err() error                        { return nil }
func (s *leafSeries) Warnings() annotations.Annotations { return nil }

func (s *leafSeries) At() storage.Series {
	series := s.matrix[s.index]
	series.Metric = labels.NewBuilder(series.Metric).Set(labels.MetricName, s.name).Labels()
	return promql.NewStorageSeries(series)
}
