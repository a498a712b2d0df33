package front

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// queryable is what web/api/v1 takes for the storage: series, labels, label
// values and remote read come through it, each as a question to the gateway.
type queryable struct{}

func (queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return querier{window{mint, maxt}}, nil
}

func (queryable) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return chunkQuerier{window{mint, maxt}}, nil
}

// window is the span a querier is about, in milliseconds, both included.
type window struct{ start, end int64 }

func (w window) question(kind policy.Kind, matchers []*labels.Matcher) metrics.Question {
	q := metrics.Question{
		Kind:  kind,
		Start: time.UnixMilli(w.start).UTC(),
		End:   time.UnixMilli(w.end).UTC(),
	}
	if len(matchers) > 0 {
		q.Selectors = []policy.Selector{matchers}
	}
	return q
}

func (w window) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return names(ctx, w.question(policy.LabelNames, matchers), hints)
}

func (w window) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	q := w.question(policy.LabelValues, matchers)
	q.Label = name
	return names(ctx, q, hints)
}

func (window) Close() error { return nil }

func names(ctx context.Context, q metrics.Question, hints *storage.LabelHints) ([]string, annotations.Annotations, error) {
	if hints != nil {
		q.Limit = hints.Limit
	}
	s := sessionOf(ctx)
	released, err := s.ask(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return released.Names(), s.notices(), nil
}

// ask asks for series, in order of their labels.
func (w window) ask(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) ([]metrics.ReleasedSeries, annotations.Annotations, error) {
	q := w.question(policy.Series, matchers)
	if hints != nil {
		q.Limit = hints.Limit
		q.LabelsOnly = hints.Func == "series"
		// A remote reader narrows each selector's span; without one its hints are zero.
		if hints.Start != 0 || hints.End != 0 {
			q.Start = time.UnixMilli(max(hints.Start, w.start)).UTC()
			q.End = time.UnixMilli(min(hints.End, w.end)).UTC()
		}
	}
	s := sessionOf(ctx)
	if q.End.Before(q.Start) {
		return nil, s.notices(), nil
	}
	released, err := s.ask(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return released.Series(), s.notices(), nil
}

type querier struct{ window }

func (q querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	series, warnings, err := q.ask(ctx, hints, matchers)
	return &sampleSet{set: set{series: series, warnings: warnings, err: err}}
}

type chunkQuerier struct{ window }

func (q chunkQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	series, warnings, err := q.ask(ctx, hints, matchers)
	return &chunkSet{set: set{series: series, warnings: warnings, err: err}}
}
