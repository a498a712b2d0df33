package metrics

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Where the increments of counters are the people, one more is one person more,
// however many series there are. Then the finest cells are increases over the
// intervals of the view's resolution, each thresholded for itself, and a longer
// range is a sum of them: two ranges that differ by an interval differ by what
// is released of it anyway.

// countsEvents says whether a dataset's units are the increments of counters.
func countsEvents(d *policy.Dataset) bool { return len(d.Cells.Units) == 0 }

// eventFunctions are those of a range whose value is a sum of increases.
var eventFunctions = []string{"increase", "rate"}

// checkEvents says why a leaf isn't a sum of whole intervals' increases; empty
// when it is.
func checkEvents(op parser.ItemType, l leaf, resolution int64) string {
	call, _ := unwrapParens(l.expr).(*parser.Call)
	switch {
	case op != parser.SUM:
		return op.String() + " is not answered of events; ask for their sum"
	case call == nil, !slices.Contains(eventFunctions, l.function), call.Args[0].Type() != parser.ValueTypeMatrix:
		return "events are answered as sum(increase(...)) or sum(rate(...))"
	}
	if _, ok := unwrapParens(call.Args[0]).(*parser.MatrixSelector); !ok {
		return "events are answered as sum(increase(...)) or sum(rate(...))"
	}
	if ms := l.milliseconds(); ms%resolution != 0 {
		return fmt.Sprintf("the range has to be a multiple of %s", model.Duration(resolution*int64(time.Millisecond)))
	}
	return ""
}

// releaseEvents returns the sums of a leaf over events.
func (l *Local) releaseEvents(ctx context.Context, leaf leaf, v *view, d *policy.Dataset) (cells, error) {
	w := windowsOf(leaf, v.rules.resolution)
	matrix, err := counters(ctx, leaf, w, v, d)
	if err != nil {
		return cells{}, err
	}
	before := v.may.bytes
	finest, err := sortIntoEventCells(ctx, matrix, w, d, v.may)
	if err != nil {
		return cells{}, err
	}
	suppressEvents(finest, w, d)
	var out cells
	for _, c := range finest {
		if err := ctx.Err(); err != nil {
			return cells{}, err
		}
		s := c.release(leaf, w, d)
		if err := v.may.takeCell(s); err != nil {
			return cells{}, err
		}
		before -= cellBytes(s)
		if len(s.Floats) > 0 {
			out.sums = append(out.sums, s)
		}
	}
	v.may.bytes = before
	return out, nil
}

// counters are a dataset's raw series, with the last value of each interval.
func counters(ctx context.Context, leaf leaf, w windows, v *view, d *policy.Dataset) (promql.Matrix, error) {
	if w.count() > maxWindows {
		return nil, federation.Errorf(federation.OverLimit, "this is of more than %d intervals of %s; ask for less time", maxWindows, model.Duration(w.length*int64(time.Millisecond)))
	}
	matchers := v.rules.onFinest(d, leaf.selector.LabelMatchers)
	q := times{start: w.first - w.length, end: w.last, step: w.length}.question(time.Millisecond)
	return v.may.run(ctx, v.raw(d), FormatSelector(matchers), q)
}

// sortIntoEventCells puts counters in cells, and adds up their increases.
func sortIntoEventCells(ctx context.Context, matrix promql.Matrix, w windows, d *policy.Dataset, may *allowance) (map[string]*eventCell, error) {
	byLabels := map[string]*eventCell{}
	names := cellLabels(d, false)
	for _, s := range matrix {
		key := string(s.Metric.BytesWithLabels(nil, names...))
		c := byLabels[key]
		if c == nil {
			if err := may.take(w.count() * intervalBytes); err != nil {
				return nil, err
			}
			c = &eventCell{labels: s.Metric.MatchLabels(true, names...), when: map[string]moments{}}
			byLabels[key] = c
		}
		if isBucket(c.labels) {
			if err := may.take(w.count()/8 + seriesOverhead); err != nil {
				return nil, err
			}
		}
		c.add(s, w)
	}
	for _, c := range byLabels {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.sum(w.count())
	}
	return byLabels, nil
}

// suppressEvents takes out of the intervals what is of too few events.
func suppressEvents(finest map[string]*eventCell, w windows, d *policy.Dataset) {
	byHistogram := map[string][]*eventCell{}
	for _, c := range finest {
		if isBucket(c.labels) {
			key := string(c.labels.BytesWithoutLabels(nil, labels.BucketLabel))
			byHistogram[key] = append(byHistogram[key], c)
			continue
		}
		for j, v := range c.sums {
			if v > 0 && v < float64(d.Cells.K) {
				c.sums[j] = math.NaN()
			}
		}
	}
	for _, cells := range byHistogram {
		releaseEventBuckets(cells, w, d)
	}
}

const (
	// maxWindows is of how many intervals a leaf may be.
	maxWindows = 1_000_000
	// intervalBytes is about what is held of a cell for each of them.
	intervalBytes = 48
)

// releaseEventBuckets releases the buckets of a classic histogram of events, in
// each interval. That there were none is told, as it is of any event.
func releaseEventBuckets(cells []*eventCell, w windows, d *policy.Dataset) {
	buckets := make([]*bucket, len(cells))
	for i, c := range cells {
		bound, ok := boundOf(c.labels)
		buckets[i] = &bucket{bound: bound, counts: c.sums, there: newMoments(w.count()), members: c.when}
		for _, of := range c.increases {
			if ok {
				buckets[i].there.add(of.interval)
			}
		}
	}
	slices.SortFunc(buckets, func(a, b *bucket) int { return cmp.Compare(a.bound, b.bound) })
	least := slices.Repeat([]float64{float64(d.Cells.K)}, w.count())
	releaseBuckets(buckets, least, true)
}

// windows are the intervals that a leaf's ranges are made of, each known by its
// end: from first to last, Unix milliseconds.
type windows struct{ first, last, length int64 }

func windowsOf(l leaf, length int64) windows {
	w := windows{length: length, first: math.MaxInt64, last: math.MinInt64}
	for i := range l.times.count() {
		end := w.end(l, i)
		w.first, w.last = min(w.first, end-l.milliseconds()+length), max(w.last, end)
	}
	return w
}

func (w windows) count() int { return int((w.last-w.first)/w.length) + 1 }

// end is the end of the last interval that is over at the leaf's i-th time.
func (w windows) end(l leaf, i int) int64 {
	at := l.times.at(i)
	if l.selector.Timestamp != nil {
		at = *l.selector.Timestamp
	}
	at -= l.selector.OriginalOffset.Milliseconds()
	return at - mod(at, w.length)
}

// index is that of an interval's end.
func (w windows) index(end int64) int { return int((end - w.first) / w.length) }

// eventCell is what one set of dimensions has.
type eventCell struct {
	labels    labels.Labels
	increases []increase         // of each series
	when      map[string]moments // of each series of a classic histogram, by histogramKey
	sums      []float64          // of the increases, by interval; NaN is none
}

// increase is that of a counter in an interval, by index.
type increase struct {
	interval int
	by       float64
}

// add adds a counter, given with its last value of each interval.
func (c *eventCell) add(s promql.Series, w windows) {
	var when moments
	if isBucket(c.labels) {
		when = newMoments(w.count())
		c.when[histogramKey(s.Metric)] = when
	}
	for i := 1; i < len(s.Floats); i++ {
		before, now := s.Floats[i-1], s.Floats[i]
		if now.T-before.T != w.length {
			continue // a gap: whose increase it was isn't known
		}
		by := now.F - before.F
		if now.F < before.F {
			by = now.F // it began anew
		}
		if math.IsNaN(by) || math.IsInf(by, 0) {
			continue
		}
		j := w.index(now.T)
		c.increases = append(c.increases, increase{j, by})
		if when != nil {
			when.add(j)
		}
	}
}

// sum adds up the increases of each of n intervals.
func (c *eventCell) sum(n int) {
	slices.SortFunc(c.increases, func(a, b increase) int {
		return cmp.Or(cmp.Compare(a.interval, b.interval), cmp.Compare(a.by, b.by))
	})
	c.sums = slices.Repeat([]float64{math.NaN()}, n)
	for i := 0; i < len(c.increases); {
		j := c.increases[i].interval
		var sum compensated
		for ; i < len(c.increases) && c.increases[i].interval == j; i++ {
			sum.add(c.increases[i].by)
		}
		if v := sum.value(); !math.IsInf(v, 0) {
			c.sums[j] = v
		}
	}
}

// release adds up what is released of the intervals of each range: what there is
// until its end, but for what there was before it.
func (c *eventCell) release(l leaf, w windows, d *policy.Dataset) promql.Series {
	until, some := make([]compensated, len(c.sums)+1), make([]int, len(c.sums)+1)
	for j, v := range c.sums {
		until[j+1], some[j+1] = until[j], some[j]
		if !math.IsNaN(v) {
			until[j+1].add(d.Rounding.Round(v))
			some[j+1]++
		}
	}
	out := promql.Series{Metric: c.labels}
	for i := range l.times.count() {
		end := w.end(l, i)
		first, last := w.index(end-l.milliseconds()+w.length), w.index(end)+1
		if some[last] == some[first] {
			continue
		}
		v := until[last].sum - until[first].sum + (until[last].correction - until[first].correction)
		if l.function == "rate" {
			v /= l.seconds
		}
		out.Floats = append(out.Floats, promql.FPoint{T: l.times.at(i), F: v})
	}
	return out
}
