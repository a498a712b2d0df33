package metrics

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/policy"
)

// cells are released: sums over the series of at least as many units as policy
// says, and how many series each is of, as series with a sample or a stale
// marker at each of the leaf's times. A stale marker says that there is no cell
// then; without it an engine would look back for an older one.
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
	only []bool
}

// cell is what one set of dimensions has, and then what of it leaves.
type cell struct {
	labels  labels.Labels
	members []contribution
	other   bool // made of what is suppressed in others

	fates       []cellFate // by time
	sums, count promql.Series
	bucket      *bucket // of a classic histogram
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
func newCells(raw rawLeaf, l leaf, d *policy.Dataset) cells {
	var out cells
	for _, c := range releaseCells(raw, l, d) {
		out.sums, out.counts = append(out.sums, c.sums), append(out.counts, c.count)
	}
	return out
}

// releaseCells makes the finest cells, and says of each what leaves.
func releaseCells(raw rawLeaf, l leaf, d *policy.Dataset) []*cell {
	var out []*cell
	t := newThreshold(raw, l, d)
	others := map[string]*cell{}
	for _, c := range sortIntoCells(raw, l, d) {
		t.release(c)
		out = append(out, c)
		if d.Cells.Other && slices.Contains(c.fates, cellSmall) {
			small := make([]bool, len(c.fates))
			for i, f := range c.fates {
				small[i] = f == cellSmall
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
		t.release(c)
		out = append(out, c)
	}
	t.releaseBuckets(out)
	for _, c := range out {
		c.round(d.Rounding)
	}
	return out
}

// round makes what leaves as exact as policy lets it be.
func (c *cell) round(r policy.Rounding) {
	for _, s := range []*promql.Series{&c.sums, &c.count} {
		for i := range s.Floats {
			s.Floats[i].F = r.Round(s.Floats[i].F)
		}
		for _, p := range s.Histograms {
			roundHistogram(p.H, r)
		}
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

	// By time, of the cell at hand:
	series, histograms, units []int
	last                      []int // the unit counted last, from 1
	ofUnit, largest, total    []float64
}

func newThreshold(raw rawLeaf, l leaf, d *policy.Dataset) *threshold {
	n := l.times.count()
	return &threshold{
		cells: d.Cells, raw: raw, leaf: l, n: n,
		series: make([]int, n), histograms: make([]int, n), units: make([]int, n), last: make([]int, n),
		ofUnit: make([]float64, n), largest: make([]float64, n), total: make([]float64, n),
	}
}

// release finds a cell's sum and count.
func (t *threshold) release(c *cell) {
	c.fates = t.judge(c)
	c.sums = t.sum(c)
	c.count.Metric = c.labels
	for i, f := range c.fates {
		v := math.Float64frombits(value.StaleNaN)
		if f == cellLeaves {
			v = float64(t.series[i])
		}
		c.count.Floats = append(c.count.Floats, promql.FPoint{T: t.leaf.times.at(i), F: v})
	}
	if t.leaf.ofHistograms() && isBucket(c.labels) {
		c.bucket = t.bucket(c)
	}
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
func (t *threshold) judge(c *cell) []cellFate {
	t.count(c.members)
	out := make([]cellFate, t.n)
	for i := range out {
		switch {
		case t.units[i] == 0:
		case t.units[i] < t.cells.K:
			out[i] = cellSmall
		case t.histograms[i] > 0 && (t.histograms[i] < t.series[i] || isBucket(c.labels)):
			out[i] = cellMixed
		case t.cells.Dominance > 0 && t.largest[i] > t.cells.Dominance*t.total[i]:
			out[i] = cellDominated
		default:
			out[i] = cellLeaves
		}
	}
	return out
}

// count counts series and units, and adds up what each unit has, by time.
func (t *threshold) count(members []contribution) {
	for _, list := range [][]int{t.series, t.histograms, t.units, t.last} {
		clear(list)
	}
	for _, list := range [][]float64{t.ofUnit, t.largest, t.total} {
		clear(list)
	}
	slices.SortStableFunc(members, func(a, b contribution) int { return cmp.Compare(a.unit, b.unit) })
	unit := 0
	for j, m := range members {
		if j == 0 || m.unit != members[j-1].unit {
			unit++
		}
		see := func(at int64, size float64, histograms int) {
			i := t.leaf.times.index(at)
			if m.only != nil && !m.only[i] {
				return
			}
			t.series[i]++
			t.histograms[i] += histograms
			if t.last[i] != unit {
				t.last[i] = unit
				t.units[i]++
				t.ofUnit[i] = 0
			}
			t.ofUnit[i] += math.Abs(size)
			t.total[i] += math.Abs(size)
			t.largest[i] = max(t.largest[i], t.ofUnit[i])
		}
		for _, p := range m.series.Floats {
			see(p.T, p.F, 0)
		}
		for _, p := range m.series.Histograms {
			see(p.T, p.H.Count, 1)
		}
	}
}

// sum adds up the members in an order that depends on their values alone, at
// the times at which the cell leaves.
func (t *threshold) sum(c *cell) promql.Series {
	slices.SortFunc(c.members, func(a, b contribution) int { return compareValues(a.series, b.series) })
	floats := make([]compensated, t.n)
	histograms := make([]histogramSum, t.n)
	for _, m := range c.members {
		in := func(i int) bool { return c.fates[i] == cellLeaves && (m.only == nil || m.only[i]) }
		for _, p := range m.series.Floats {
			if i := t.leaf.times.index(p.T); in(i) {
				floats[i].add(p.F)
			}
		}
		for _, p := range m.series.Histograms {
			if i := t.leaf.times.index(p.T); in(i) {
				histograms[i].add(p.H)
			}
		}
	}
	out := promql.Series{Metric: c.labels}
	var least []float64
	if slices.ContainsFunc(t.histograms, func(n int) bool { return n > 0 }) {
		least = t.least(c)
	}
	for i, f := range c.fates {
		at := t.leaf.times.at(i)
		v := math.Float64frombits(value.StaleNaN)
		switch {
		case f != cellLeaves:
		case t.histograms[i] == 0:
			v = floats[i].value()
		default:
			if h := releaseHistogram(histograms[i].value(), t.cells.Schema, least[i]); h != nil {
				out.Histograms = append(out.Histograms, promql.HPoint{T: at, H: h})
				continue
			}
			c.fates[i] = cellMerged
		}
		out.Floats = append(out.Floats, promql.FPoint{T: at, F: v})
	}
	return out
}

// eachTime visits the times at which a series is in a cell.
func (t *threshold) eachTime(m contribution, visit func(i int)) {
	see := func(at int64) {
		if i := t.leaf.times.index(at); m.only == nil || m.only[i] {
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
func (r *rules) released(d *policy.Dataset, c cells) cells {
	return cells{sums: r.merge(d, c.sums), counts: r.merge(d, c.counts)}
}

func (r *rules) merge(d *policy.Dataset, finest []promql.Series) []promql.Series {
	byLabels := map[string][]promql.Series{}
	for _, s := range finest {
		s.Metric = r.seenLabels(d, s.Metric)
		key := string(s.Metric.Bytes(nil))
		byLabels[key] = append(byLabels[key], s)
	}
	out := make([]promql.Series, 0, len(byLabels))
	for _, same := range byLabels {
		out = append(out, mergeCells(same))
	}
	slices.SortFunc(out, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return out
}

// mergeCells adds up cells, in an order that depends on their values alone.
func mergeCells(same []promql.Series) promql.Series {
	if len(same) == 1 {
		return same[0]
	}
	slices.SortFunc(same, func(a, b promql.Series) int { return compareValues(&a, &b) })
	floats, times := map[int64]*compensated{}, map[int64]bool{}
	histograms := map[int64]*histogramSum{}
	for _, s := range same {
		for _, p := range s.Floats {
			times[p.T] = true
			if value.IsStaleNaN(p.F) {
				continue
			}
			if floats[p.T] == nil {
				floats[p.T] = &compensated{}
			}
			floats[p.T].add(p.F)
		}
		for _, p := range s.Histograms {
			times[p.T] = true
			if histograms[p.T] == nil {
				histograms[p.T] = &histogramSum{}
			}
			histograms[p.T].add(p.H)
		}
	}
	out := promql.Series{Metric: same[0].Metric}
	for at := range times {
		f, h := floats[at], histograms[at]
		switch {
		case f != nil && h == nil:
			out.Floats = append(out.Floats, promql.FPoint{T: at, F: f.value()})
			continue
		case h != nil && f == nil && h.value() != nil:
			out.Histograms = append(out.Histograms, promql.HPoint{T: at, H: h.value()})
			continue
		}
		out.Floats = append(out.Floats, promql.FPoint{T: at, F: math.Float64frombits(value.StaleNaN)})
	}
	slices.SortFunc(out.Floats, func(a, b promql.FPoint) int { return cmp.Compare(a.T, b.T) })
	slices.SortFunc(out.Histograms, func(a, b promql.HPoint) int { return cmp.Compare(a.T, b.T) })
	return out
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
			if value, _ := r.inMode([]*policy.Dataset{d}, l); value != "" {
				b.Add(l.Name, value)
			}
		}
	})
	b.Add(orgLabel, string(r.org))
	b.Sort()
	return b.Labels()
}

// rowsAsCells lets released rows stand beside cells: each is a sum over itself.
func rowsAsCells(matrix promql.Matrix, t times) cells {
	var out cells
	for _, s := range matrix {
		sum, count := promql.Series{Metric: s.Metric, Histograms: s.Histograms}, promql.Series{Metric: s.Metric}
		present := make([]bool, t.count())
		for _, p := range s.Histograms {
			present[t.index(p.T)] = true
		}
		next := 0
		for i := range present {
			at := t.at(i)
			f := math.Float64frombits(value.StaleNaN)
			if next < len(s.Floats) && s.Floats[next].T == at {
				f = s.Floats[next].F
				present[i] = true
				next++
			}
			if !value.IsStaleNaN(f) || !present[i] {
				sum.Floats = append(sum.Floats, promql.FPoint{T: at, F: f})
			}
			c := math.Float64frombits(value.StaleNaN)
			if present[i] {
				c = 1
			}
			count.Floats = append(count.Floats, promql.FPoint{T: at, F: c})
		}
		out.sums, out.counts = append(out.sums, sum), append(out.counts, count)
	}
	return out
}
