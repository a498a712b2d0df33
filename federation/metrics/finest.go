package metrics

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// The leaves of a question are often of the same series: a quantile asks for the
// bounds of one histogram, and a ratio of errors for all requests and for some of
// them. A matcher that is answered is on what tells cells apart, and what leaves
// of a cell depends on its own series alone, of a bucket on those that differ in
// le, which nothing selects before it is released. So the cells of some are some
// of the cells of all, and are formed once.

// reading is what a leaf needs of a dataset: the cells of the series that the
// matchers select.
type reading struct {
	leaf     leaf
	dataset  *policy.Dataset
	matchers []*labels.Matcher
	// wide is the first reading of fewest matchers that its cells are among. It may
	// be the same one.
	wide *reading
}

// finestCells are those of a question's leaves, each formed once.
type finestCells struct {
	readings [][]*reading // by leaf
	formed   map[*reading]cells
}

// finestOf says what the leaves of a plan need, by the question and policy alone.
func finestOf(plan *cellPlan, r *rules) (*finestCells, error) {
	type alike struct {
		dataset *policy.Dataset
		shape   string // the leaf's expression without matchers
		times   times
	}
	f := &finestCells{readings: make([][]*reading, len(plan.leaves)), formed: map[*reading]cells{}}
	all := map[alike][]*reading{}
	for i, l := range plan.leaves {
		if l.query != nil || l.times.count() == 0 {
			continue
		}
		shape, err := l.with(nil)
		if err != nil {
			return nil, err
		}
		for _, d := range r.cellsOf(l.selector.LabelMatchers) {
			of := &reading{leaf: l, dataset: d, matchers: r.onFinest(d, l.selector.LabelMatchers)}
			f.readings[i] = append(f.readings[i], of)
			key := alike{d, shape, l.times}
			all[key] = append(all[key], of)
		}
	}
	for _, some := range all {
		slices.SortStableFunc(some, func(a, b *reading) int { return cmp.Compare(len(a.matchers), len(b.matchers)) })
		for _, of := range some {
			of.wide = some[slices.IndexFunc(some, of.among)]
		}
	}
	return f, nil
}

// among says whether a reading's cells are some of those of another one that is
// alike: whether it has all of its matchers.
func (of *reading) among(o *reading) bool {
	return !slices.ContainsFunc(o.matchers, func(m *labels.Matcher) bool { return !contains(of.matchers, m) })
}

func contains(matchers []*labels.Matcher, m *labels.Matcher) bool {
	return slices.ContainsFunc(matchers, func(o *labels.Matcher) bool { return o.Name == m.Name && o.Type == m.Type && o.Value == m.Value })
}

// finest are the cells of a reading that leave.
func (l *Local) finest(ctx context.Context, of *reading, v *view, lookback time.Duration, all *finestCells) (cells, error) {
	found, known := all.formed[of.wide]
	if !known {
		var err error
		if found, err = l.formCells(ctx, of.wide, v, lookback); err != nil {
			return cells{}, err
		}
		all.formed[of.wide] = found
	}
	rest := slices.DeleteFunc(slices.Clone(of.matchers), func(m *labels.Matcher) bool { return contains(of.wide.matchers, m) })
	return found.selected(rest), nil
}

func (l *Local) formCells(ctx context.Context, of *reading, v *view, lookback time.Duration) (cells, error) {
	if countsEvents(of.dataset) {
		return l.releaseEvents(ctx, of.leaf, v, of.dataset)
	}
	series := v.raw(of.dataset)
	series.evaluated = inLargeCells(of.dataset)
	raw, err := l.evaluateRaw(ctx, of.leaf, of.leaf.times.question(lookback), v, series, of.dataset)
	if err != nil {
		return cells{}, err
	}
	return newCells(ctx, raw, of.leaf, of.dataset, v.may)
}

// inLargeCells leaves those series of which cells may leave: with k units between
// all their series, whenever these are. What is evaluated counts against the
// question's limit on samples, and small cells aren't to be told by that. It is nil
// where they leave as one cell, by which they are told anyway.
func inLargeCells(d *policy.Dataset) func([]viewSeries) []viewSeries {
	if d.Cells.Other {
		return nil
	}
	return func(all []viewSeries) []viewSeries {
		keys := make([]string, len(all))
		units := map[string]map[string]bool{}
		for i, s := range all {
			keys[i] = string(s.labels.BytesWithLabels(nil, d.Cells.Dimensions...))
			if units[keys[i]] == nil {
				units[keys[i]] = map[string]bool{}
			}
			units[keys[i]][string(s.labels.BytesWithLabels(nil, d.Cells.Units...))] = true
		}
		var out []viewSeries
		for i, s := range all {
			if len(units[keys[i]]) >= d.Cells.K {
				out = append(out, s)
			}
		}
		return out
	}
}

// selected are the cells that match.
func (c cells) selected(on []*labels.Matcher) cells {
	if len(on) == 0 {
		return c
	}
	some := func(of []promql.Series) (out []promql.Series) {
		for _, s := range of {
			if redact.Matches(on, s.Metric) {
				out = append(out, s)
			}
		}
		return out
	}
	return cells{sums: some(c.sums), counts: some(c.counts)}
}
