package metrics

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/policy"
)

// cells are released: sums over the series of at least as many units as policy
// says, and how many series each is of, at those of the leaf's times at which
// there are some.
type cells struct{ sums, counts []promql.Series }

func (c *cells) add(o cells) {
	c.sums, c.counts = append(c.sums, o.sums...), append(c.counts, o.counts...)
}

// cellLabels are the labels that tell the cells of a dataset apart, sorted.
func cellLabels(d *policy.Dataset, named bool) []string {
	out := append([]string{labels.BucketLabel}, d.Cells.Dimensions...)
	if named {
		out = append(out, labels.MetricName)
	}
	slices.Sort(out)
	return out
}

// rawLeaf is a leaf evaluated over a dataset's raw series.
type rawLeaf struct {
	matrix promql.Matrix
	// samples is how many samples of each histogram the leaf's function is of, by
	// histogramKey, where that matters.
	samples map[string][]promql.FPoint
}

// contribution is a series in a cell.
type contribution struct {
	unit      string
	histogram string // histogramKey of a histogram or a bucket
	series    *promql.Series
	// only says at which times it is in the cell; nil is always.
	only moments
}

// cell is what one set of dimensions has, and then what of it leaves.
type cell struct {
	labels  labels.Labels
	members []contribution
	other   bool // made of what is suppressed in others

	best        cellFate      // of all times
	sums, count promql.Series // what leaves, when it does
	bucket      *bucket       // of a classic histogram, until its others are known
}

// sortIntoCells puts the series of a leaf in cells.
func sortIntoCells(raw rawLeaf, l leaf, d *policy.Dataset) map[string]*cell {
	byLabels := map[string]*cell{}
	names := cellLabels(d, l.function == "")
	for i := range raw.matrix {
		s := &raw.matrix[i]
		key := string(s.Metric.BytesWithLabels(nil, names...))
		c := byLabels[key]
		if c == nil {
			c = &cell{labels: s.Metric.MatchLabels(true, names...)}
			byLabels[key] = c
		}
		m := contribution{unit: string(s.Metric.BytesWithLabels(nil, d.Cells.Units...)), series: s}
		if len(s.Histograms) > 0 || isBucket(s.Metric) {
			m.histogram = histogramKey(s.Metric)
		}
		c.members = append(c.members, m)
	}
	return byLabels
}

// newCells makes the cells of a dataset, finest first and last.
func newCells(ctx context.Context, raw rawLeaf, l leaf, d *policy.Dataset, may *allowance) (cells, error) {
	var out cells
	released, err := releaseCells(ctx, raw, l, d, may)
	for _, c := range released {
		if len(c.count.Floats) > 0 {
			out.sums, out.counts = append(out.sums, c.sums), append(out.counts, c.count)
		}
	}
	return out, err
}

// releaseCells makes the finest cells, and says of each what leaves.
func releaseCells(ctx context.Context, raw rawLeaf, l leaf, d *policy.Dataset, may *allowance) ([]*cell, error) {
	var out []*cell
	t, err := newThreshold(raw, l, d, may)
	if err != nil {
		return nil, err
	}
	others := map[string]*cell{}
	release := func(c *cell) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		out = append(out, c)
		return t.release(c)
	}
	for _, c := range sortIntoCells(raw, l, d) {
		if err := release(c); err != nil {
			return nil, err
		}
		if d.Cells.Other && slices.Contains(t.fates, cellSmall) {
			small := newMoments(t.n)
			for i, f := range t.fates {
				if f == cellSmall {
					small.add(i)
				}
			}
			other := otherCell(c.labels, d)
			key := string(other.Bytes(nil))
			if others[key] == nil {
				others[key] = &cell{labels: other, other: true}
			}
			for _, m := range c.members {
				m.only = small
				others[key].members = append(others[key].members, m)
			}
		}
	}
	for _, c := range others {
		if err := release(c); err != nil {
			return nil, err
		}
	}
	if err := t.releaseBuckets(ctx, out); err != nil {
		return nil, err
	}
	for _, c := range out {
		c.round(d.Rounding)
	}
	t.done()
	return out, nil
}

// round makes what leaves as exact as policy lets it be. How many series a cell
// is of is no multiple of anything.
func (c *cell) round(r policy.Rounding) {
	for i := range c.sums.Floats {
		c.sums.Floats[i].F = r.Round(c.sums.Floats[i].F)
	}
	for _, p := range c.sums.Histograms {
		roundHistogram(p.H, r)
	}
	r.Base = 0
	for i := range c.count.Floats {
		c.count.Floats[i].F = r.Round(c.count.Floats[i].F)
	}
}

// otherCell are the labels of the cell that what is suppressed in one with the
// given labels becomes part of.
func otherCell(ls labels.Labels, d *policy.Dataset) labels.Labels {
	b := labels.NewBuilder(ls)
	for _, name := range d.Cells.Dimensions {
		b.Set(name, policy.OtherCell)
	}
	return b.Labels()
}

// threshold decides, time by time, which cells leave.
type threshold struct {
	cells *policy.Cells
	raw   rawLeaf
	leaf  leaf
	n     int
	may   *allowance
	// passing is what was taken of the allowance until all cells are released.
	passing int

	// By time, of the cell at hand:
	series, histograms, units []int32
	last                      []int32 // the unit counted last, from 1
	shares                    [measures][]share
	floats                    []compensated
	histogramSums             []histogramSum
	fates                     []cellFate
}

// What a unit may have too much of: of the sum, or of a histogram's count; of a
// histogram's sum; of the number of series.
const measures = 3

// share is what one unit has of a cell, the largest that one of those before it
// had, and what all have.
type share struct{ ofUnit, largest, total float64 }

func (s *share) add(v float64, anotherUnit bool) {
	if anotherUnit {
		s.ofUnit = 0
	}
	s.ofUnit += math.Abs(v)
	s.total += math.Abs(v)
	s.largest = max(s.largest, s.ofUnit)
}

// exceeds says whether one unit has more than a share of all, or nobody can say:
// what isn't finite has no shares.
func (s *share) exceeds(most float64) bool {
	return !(s.largest <= most*s.total) || math.IsInf(s.total, 0)
}

// thresholdBytes is about what is held for each time until a leaf is released.
const thresholdBytes = 160

func newThreshold(raw rawLeaf, l leaf, d *policy.Dataset, may *allowance) (*threshold, error) {
	n := l.times.count()
	t := &threshold{cells: d.Cells, raw: raw, leaf: l, n: n, may: may}
	if err := t.pass(n * thresholdBytes); err != nil {
		return nil, err
	}
	t.series, t.histograms, t.units, t.last = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	t.floats, t.histogramSums, t.fates = make([]compensated, n), make([]histogramSum, n), make([]cellFate, n)
	if d.Cells.Dominance > 0 {
		for i := range t.shares {
			t.shares[i] = make([]share, n)
		}
	}
	return t, nil
}

// pass takes of the allowance what done gives back.
func (t *threshold) pass(bytes int) error {
	t.passing += bytes
	return t.may.take(bytes)
}

func (t *threshold) done() { t.may.bytes += t.passing }

// release finds a cell's sum and count. Those of a bucket are found when all
// buckets are known.
func (t *threshold) release(c *cell) error {
	t.judge(c)
	c.best = slices.Max(t.fates)
	c.sums.Metric, c.count.Metric = c.labels, c.labels
	if c.best < cellDominated {
		return nil
	}
	t.sum(c)
	if t.leaf.ofHistograms() && isBucket(c.labels) {
		var err error
		c.bucket, err = t.bucket(c)
		return err
	}
	var least []float64
	if slices.ContainsFunc(t.histograms, func(n int32) bool { return n > 0 }) {
		least = t.least(c)
	}
	c.best = cellEmpty
	for i, f := range t.fates {
		if f == cellLeaves && !t.keep(c, i, least) {
			f = cellMerged
		}
		c.best = max(c.best, f)
	}
	return t.may.takeCell(c.sums, c.count)
}

// keep adds to a cell what leaves of it at a time, if anything does.
func (t *threshold) keep(c *cell, i int, least []float64) bool {
	at := t.leaf.times.at(i)
	if t.histograms[i] > 0 {
		h := releaseHistogram(t.histogramSums[i].value(), t.cells.Schema, least[i])
		if h == nil {
			return false
		}
		c.sums.Histograms = append(c.sums.Histograms, promql.HPoint{T: at, H: h})
	} else {
		c.sums.Floats = append(c.sums.Floats, promql.FPoint{T: at, F: t.floats[i].value()})
	}
	c.count.Floats = append(c.count.Floats, promql.FPoint{T: at, F: float64(t.series[i])})
	return true
}

// cellFate is what becomes of a cell at one time.
type cellFate uint8

const (
	cellEmpty     cellFate = iota
	cellSmall              // too few units
	cellMixed              // floats and histograms, which as in Prometheus have no sum
	cellDominated          // one unit has too much of it
	cellMerged             // a histogram or bucket of too few observations, or a bucket of no histogram
	cellLeaves
)

// judge says what becomes of a cell, by time.
func (t *threshold) judge(c *cell) {
	t.count(c.members)
	for i := range t.fates {
		switch {
		case t.units[i] == 0:
			t.fates[i] = cellEmpty
		case int(t.units[i]) < t.cells.K:
			t.fates[i] = cellSmall
		case t.histograms[i] > 0 && (t.histograms[i] < t.series[i] || isBucket(c.labels)):
			t.fates[i] = cellMixed
		case t.dominated(i):
			t.fates[i] = cellDominated
		default:
			t.fates[i] = cellLeaves
		}
	}
}

func (t *threshold) dominated(i int) bool {
	return t.cells.Dominance > 0 && slices.ContainsFunc(t.shares[:], func(of []share) bool { return of[i].exceeds(t.cells.Dominance) })
}

// count counts series and units, and adds up what each unit has, by time.
func (t *threshold) count(members []contribution) {
	for _, list := range [][]int32{t.series, t.histograms, t.units, t.last} {
		clear(list)
	}
	for _, of := range t.shares {
		clear(of)
	}
	slices.SortStableFunc(members, func(a, b contribution) int { return cmp.Compare(a.unit, b.unit) })
	unit := int32(0)
	for j, m := range members {
		if j == 0 || m.unit != members[j-1].unit {
			unit++
		}
		see := func(at int64, histograms int32, sizes [measures]float64) {
			i := t.leaf.times.index(at)
			if m.only != nil && !m.only.has(i) {
				return
			}
			t.series[i]++
			t.histograms[i] += histograms
			another := t.last[i] != unit
			if another {
				t.last[i] = unit
				t.units[i]++
			}
			if t.cells.Dominance > 0 {
				for of, size := range sizes {
					t.shares[of][i].add(size, another)
				}
			}
		}
		for _, p := range m.series.Floats {
			see(p.T, 0, [measures]float64{p.F, 0, 1})
		}
		for _, p := range m.series.Histograms {
			see(p.T, 1, [measures]float64{p.H.Count, p.H.Sum, 1})
		}
	}
}

// sum adds up the members in an order that depends on their values alone, at
// the times at which the cell leaves. Of buckets that of those is known which one
// unit has too much of, too.
func (t *threshold) sum(c *cell) {
	slices.SortFunc(c.members, func(a, b contribution) int { return compareValues(a.series, b.series) })
	clear(t.floats)
	clear(t.histogramSums)
	for _, m := range c.members {
		in := func(i int) bool {
			return (t.fates[i] == cellLeaves || t.fates[i] == cellDominated && isBucket(c.labels)) && (m.only == nil || m.only.has(i))
		}
		for _, p := range m.series.Floats {
			if i := t.leaf.times.index(p.T); in(i) {
				t.floats[i].add(p.F)
			}
		}
		for _, p := range m.series.Histograms {
			if i := t.leaf.times.index(p.T); in(i) {
				t.histogramSums[i].add(p.H)
			}
		}
	}
}

// eachTime visits the times at which a series is in a cell.
func (t *threshold) eachTime(m contribution, visit func(i int)) {
	see := func(at int64) {
		if i := t.leaf.times.index(at); m.only == nil || m.only.has(i) {
			visit(i)
		}
	}
	for _, p := range m.series.Floats {
		see(p.T)
	}
	for _, p := range m.series.Histograms {
		see(p.T)
	}
}

// compareValues orders series by what they hold.
func compareValues(a, b *promql.Series) int {
	return cmp.Or(
		slices.CompareFunc(a.Floats, b.Floats, func(x, y promql.FPoint) int {
			return cmp.Or(cmp.Compare(x.T, y.T), cmp.Compare(math.Float64bits(x.F), math.Float64bits(y.F)))
		}),
		slices.CompareFunc(a.Histograms, b.Histograms, func(x, y promql.HPoint) int {
			return cmp.Or(cmp.Compare(x.T, y.T), cmp.Compare(x.H.String(), y.H.String()))
		}),
	)
}

// compensated is a sum as Prometheus forms it, by Neumaier's variant of Kahan's
// summation (https://doi.org/10.1002/zamm.19740540106).
type compensated struct {
	sum, correction float64
	some            bool
}

func (c *compensated) add(v float64) {
	if !c.some {
		c.sum, c.some = v, true
		return
	}
	sum := c.sum + v
	switch {
	case math.IsInf(sum, 0):
		c.correction = 0
	case math.Abs(c.sum) >= math.Abs(v):
		c.correction += c.sum - sum + v
	default:
		c.correction += v - sum + c.sum
	}
	c.sum = sum
}

func (c *compensated) value() float64 { return c.sum + c.correction }

// released gives finest cells the labels this partner sees. Cells that are the
// same to it become one.
func (r *rules) released(ctx context.Context, d *policy.Dataset, c cells, t times, may *allowance) (cells, error) {
	m := &merging{times: t, may: may}
	sums, err := r.merge(ctx, d, c.sums, m)
	if err != nil {
		return cells{}, err
	}
	counts, err := r.merge(ctx, d, c.counts, m)
	may.bytes += m.passing
	return cells{sums: sums, counts: counts}, err
}

func (r *rules) merge(ctx context.Context, d *policy.Dataset, finest []promql.Series, m *merging) ([]promql.Series, error) {
	byLabels := map[string][]promql.Series{}
	for _, s := range finest {
		s.Metric = r.seenLabels(d, s.Metric)
		key := string(s.Metric.Bytes(nil))
		byLabels[key] = append(byLabels[key], s)
	}
	out := make([]promql.Series, 0, len(byLabels))
	for _, same := range byLabels {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one, err := m.merge(same)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return out, nil
}

// merging merges cells of one leaf.
type merging struct {
	times   times
	may     *allowance
	passing int // taken of the allowance until all are merged

	floats     []compensated // by time
	histograms []histogramSum
}

// mergingBytes is what is held for each time meanwhile.
const mergingBytes = 40

// merge adds up cells, in an order that depends on their values alone.
func (m *merging) merge(same []promql.Series) (promql.Series, error) {
	if len(same) == 1 {
		return same[0], nil
	}
	if m.floats == nil {
		n := m.times.count()
		m.passing = n * mergingBytes
		if err := m.may.take(m.passing); err != nil {
			return promql.Series{}, err
		}
		m.floats, m.histograms = make([]compensated, n), make([]histogramSum, n)
	}
	clear(m.floats)
	clear(m.histograms)
	slices.SortFunc(same, func(a, b promql.Series) int { return compareValues(&a, &b) })
	for _, s := range same {
		for _, p := range s.Floats {
			m.floats[m.times.index(p.T)].add(p.F)
		}
		for _, p := range s.Histograms {
			m.histograms[m.times.index(p.T)].add(p.H)
		}
	}
	out := promql.Series{Metric: same[0].Metric}
	for i := range m.floats {
		at, f, h := m.times.at(i), &m.floats[i], &m.histograms[i]
		switch {
		case f.some && h.sum == nil:
			out.Floats = append(out.Floats, promql.FPoint{T: at, F: f.value()})
		case h.sum != nil && !f.some && h.value() != nil:
			out.Histograms = append(out.Histograms, promql.HPoint{T: at, H: h.value()})
		}
	}
	return out, m.may.takeCell(out)
}

// seenLabels are the labels of a cell as this partner sees them.
func (r *rules) seenLabels(d *policy.Dataset, raw labels.Labels) labels.Labels {
	b := labels.NewScratchBuilder(8)
	raw.Range(func(l labels.Label) {
		switch {
		case l.Name == labels.MetricName, l.Name == labels.BucketLabel, l.Value == policy.OtherCell:
			if seen(d, l.Name) {
				b.Add(l.Name, l.Value)
			}
		default:
			if value, _ := r.InMode([]*policy.Dataset{d}, l); value != "" {
				b.Add(l.Name, value)
			}
		}
	})
	b.Add(orgLabel, string(r.org))
	b.Sort()
	return b.Labels()
}

// rowsAsCells lets released rows stand beside cells: each is a sum over itself.
func rowsAsCells(matrix promql.Matrix, may *allowance) (cells, error) {
	var out cells
	for _, s := range matrix {
		count := promql.Series{Metric: s.Metric, Floats: make([]promql.FPoint, 0, len(s.Floats)+len(s.Histograms))}
		for _, p := range s.Floats {
			count.Floats = append(count.Floats, promql.FPoint{T: p.T, F: 1})
		}
		for _, p := range s.Histograms {
			count.Floats = append(count.Floats, promql.FPoint{T: p.T, F: 1})
		}
		slices.SortFunc(count.Floats, func(a, b promql.FPoint) int { return cmp.Compare(a.T, b.T) })
		if err := may.takeCell(s, count); err != nil {
			return cells{}, err
		}
		out.sums, out.counts = append(out.sums, s), append(out.counts, count)
	}
	return out, nil
}

// ended puts a stale marker where values end. Without it an engine would look
// back for the last one.
func (t times) ended(s promql.Series) promql.Series {
	if t.step == 0 {
		return s
	}
	var floats []promql.FPoint
	mark := func(at int64) {
		floats = append(floats, promql.FPoint{T: at, F: math.Float64frombits(value.StaleNaN)})
	}
	last, f, h := int64(math.MaxInt64), 0, 0
	for f < len(s.Floats) || h < len(s.Histograms) {
		float := h == len(s.Histograms) || f < len(s.Floats) && s.Floats[f].T < s.Histograms[h].T
		var at int64
		if float {
			at = s.Floats[f].T
		} else {
			at = s.Histograms[h].T
		}
		if last < at-t.step {
			mark(last + t.step)
		}
		if float {
			floats = append(floats, s.Floats[f])
			f++
		} else {
			h++
		}
		last = at
	}
	if last < t.end-(t.end-t.start)%t.step {
		mark(last + t.step)
	}
	s.Floats = floats
	return s
}
