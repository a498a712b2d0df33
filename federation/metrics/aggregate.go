package metrics

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// What policy releases as aggregate leaves in cells. An expression is taken
// apart at its leaves (see leaf): each is evaluated over the raw series of its
// dataset, its cells are released, and the rest is evaluated over these.

// aggregate evaluates a plan.
func (l *Local) aggregate(ctx context.Context, plan *cellPlan, q Question, v *view) (promql.Matrix, error) {
	store := &cellStore{view: v, byName: map[string][]promql.Series{}}
	finest, err := finestOf(plan, v.rules)
	if err != nil {
		return nil, err
	}
	for i, leaf := range plan.leaves {
		found, err := l.releaseLeaf(ctx, i, leaf, v, q.Lookback, finest)
		if err != nil {
			return nil, err
		}
		for _, of := range [][]promql.Series{found.sums, found.counts} {
			for j := range of {
				of[j] = leaf.times.ended(of[j])
			}
		}
		store.byName[sumsName(i)], store.byName[countsName(i)] = found.sums, found.counts
	}
	ignoreSurrogates(plan.rest)
	return run(ctx, v.may.engine, store, plan.rest.String(), q)
}

// releaseLeaf returns the cells of a plan's i-th leaf, of every dataset it meets.
// What of it is released as rows stands beside them, each series for itself.
func (l *Local) releaseLeaf(ctx context.Context, i int, leaf leaf, v *view, lookback time.Duration, finest *finestCells) (cells, error) {
	var out cells
	if leaf.times.count() == 0 {
		return out, nil
	}
	q := leaf.times.question(lookback)
	if leaf.query != nil {
		return l.releasePublished(ctx, leaf, v, q)
	}
	for _, of := range finest.readings[i] {
		found, err := l.finest(ctx, of, v, lookback, finest)
		if err != nil {
			return out, err
		}
		if found, err = v.rules.released(ctx, of.dataset, found, leaf.times, v.may); err != nil {
			return out, err
		}
		out.add(found)
	}
	if _, possible := v.rules.Narrow(leaf.selector.LabelMatchers); possible {
		matrix, err := v.may.run(ctx, v, leaf.expr.String(), q)
		if err != nil {
			return out, err
		}
		rows, err := rowsAsCells(matrix, v.may)
		if err != nil {
			return out, err
		}
		out.add(rows)
	}
	return out, nil
}

// onFinest returns the matchers of the raw series whose finest cells a selector
// is answered from. What becomes of a bucket depends on the others of its
// histogram, so that le is matched on what is released. Where what is suppressed
// leaves as one cell, that is the same cell for every question, so that nothing
// but the metric is selected.
func (r *rules) onFinest(d *policy.Dataset, asked []*labels.Matcher) []*labels.Matcher {
	raw, _ := r.onRaw(d, asked)
	return slices.DeleteFunc(raw, func(m *labels.Matcher) bool {
		return m.Name == labels.BucketLabel || d.Cells.Other && m.Name != labels.MetricName
	})
}

// evaluateRaw evaluates a leaf over a dataset's raw series, as raw has them.
func (l *Local) evaluateRaw(ctx context.Context, leaf leaf, q Question, v, raw *view, d *policy.Dataset) (rawLeaf, error) {
	matchers := v.rules.onFinest(d, leaf.selector.LabelMatchers)
	expression, err := leaf.with(matchers)
	if err != nil {
		return rawLeaf{}, err
	}
	var out rawLeaf
	if out.matrix, err = v.may.run(ctx, raw, expression, q); err != nil || !leaf.ofSamples() {
		return out, err
	}
	if !slices.ContainsFunc(out.matrix, func(s promql.Series) bool { return len(s.Histograms) > 0 || isBucket(s.Metric) }) {
		return out, nil
	}
	if expression, err = leaf.counting(matchers); err != nil {
		return out, err
	}
	counted, err := v.may.run(ctx, raw, expression, q)
	out.samples = make(map[string][]promql.FPoint, len(counted))
	for _, s := range counted {
		out.samples[histogramKey(s.Metric)] = s.Floats
	}
	return out, err
}

// raw is a dataset's series as the store has them, for counting. A series that
// another dataset denies or releases in cells of its own is in neither: two
// lattices have no common one.
func (v *view) raw(d *policy.Dataset) *view {
	o := policy.Obligations{Resolution: time.Duration(v.rules.resolution) * time.Millisecond, Datasets: []policy.Dataset{{
		Name: d.Name, Series: d.Series, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}
	for i := range v.rules.datasets {
		if other := &v.rules.datasets[i]; other != d && other.Release != policy.Row {
			o.Datasets = append(o.Datasets, policy.Dataset{Name: other.Name, Series: other.Series, Release: policy.Deny})
		}
	}
	return &view{source: v.source, rules: newRules(v.rules.org, o, keys{}), oldest: v.oldest, newest: v.newest, may: v.may}
}

// cellStore is what the rest of an expression is evaluated over: cells under
// the names of their leaves, and the view for everything else.
type cellStore struct {
	view   *view
	byName map[string][]promql.Series
}

func (s *cellStore) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.view.Querier(mint, maxt)
	return &cellQuerier{Querier: q, store: s}, err
}

type cellQuerier struct {
	storage.Querier
	store *cellStore
}

func (q *cellQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	at := slices.IndexFunc(matchers, func(m *labels.Matcher) bool {
		_, released := q.store.byName[m.Value]
		return m.Name == labels.MetricName && m.Type == labels.MatchEqual && released
	})
	if at < 0 {
		return q.Querier.Select(ctx, sorted, hints, matchers...)
	}
	set := &cellSeriesSet{index: -1}
	on := slices.Delete(slices.Clone(matchers), at, at+1)
	for _, c := range q.store.byName[matchers[at].Value] {
		if redact.Matches(on, c.Metric) {
			set.series = append(set.series, c)
		}
	}
	return set
}

type cellSeriesSet struct {
	series []promql.Series
	index  int
}

func (s *cellSeriesSet) Next() bool { s.index++; return s.index < len(s.series) }

func (s *cellSeriesSet) At() storage.Series                { return promql.NewStorageSeries(s.series[s.index]) }
func (s *cellSeriesSet) Err() error                        { return nil }
func (s *cellSeriesSet) Warnings() annotations.Annotations { return nil }

// listCells returns the labels of the cells that a selector matches: those of
// which the span has as many units as a cell needs.
func (v *view) listCells(ctx context.Context, sel selection) ([]labels.Labels, error) {
	var out []labels.Labels
	asked := sel.matchers
	for _, d := range v.rules.cellsOf(asked) {
		sel.matchers, _ = v.rules.onRaw(d, asked)
		found, release, err := v.raw(d).fetch(ctx, sel)
		if err != nil {
			return nil, err
		}
		counted := map[string]*countedCell{}
		for _, s := range found {
			add(counted, s.labels, d)
		}
		if err := errors.Join(ctx.Err(), release()); err != nil {
			return nil, err
		}
		for _, c := range counted {
			if !countsEvents(d) && len(c.units) < d.Cells.K {
				continue
			}
			if ls := v.rules.seenLabels(d, c.labels); redact.Matches(asked, ls) {
				out = append(out, ls)
			}
		}
	}
	slices.SortFunc(out, labels.Compare)
	return slices.CompactFunc(out, labels.Equal), nil
}

// countedCell is a cell with its units.
type countedCell struct {
	labels labels.Labels
	units  map[string]bool
}

func add(cells map[string]*countedCell, series labels.Labels, d *policy.Dataset) {
	key := string(series.BytesWithLabels(nil, cellLabels(d, true)...))
	if cells[key] == nil {
		cells[key] = &countedCell{labels: series.MatchLabels(true, cellLabels(d, true)...), units: map[string]bool{}}
	}
	cells[key].units[string(series.BytesWithLabels(nil, d.Cells.Units...))] = true
}
