package gatewaytest_test

import (
	"context"
	randv2 "math/rand/v2"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// shuffled hands out series in another order; 0 is their own.
type shuffled struct {
	storage.Queryable
	order uint64
}

func (s shuffled) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.Queryable.Querier(mint, maxt)
	return shuffledQuerier{q, s.order}, err
}

type shuffledQuerier struct {
	storage.Querier
	order uint64
}

func (q shuffledQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := q.Querier.Select(ctx, sorted, hints, matchers...)
	if q.order == 0 {
		return set
	}
	var all []storage.Series
	for set.Next() {
		all = append(all, set.At())
	}
	randv2.New(randv2.NewPCG(q.order, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return &list{series: all, index: -1, err: set.Err()}
}

type list struct {
	series []storage.Series
	index  int
	err    error
}

func (l *list) Next() bool                        { l.index++; return l.index < len(l.series) }
func (l *list) At() storage.Series                { return l.series[l.index] }
func (l *list) Err() error                        { return l.err }
func (l *list) Warnings() annotations.Annotations { return nil }
