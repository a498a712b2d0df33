package metrics

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// The buckets of a classic histogram are cells that tell of each other: what is
// between two bounds is a difference of their counts. So they are released
// together, as the buckets of a native histogram are (see releaseHistogram):
// none of fewer than K observations is told apart. A bound that isn't has the
// count of the last one below that is, so that its observations are in the
// bucket above; and those above the highest one, where they are few, are in the
// one that ends there. A bound stays a bound: were it missing where it isn't
// told, a sum over several cells would have other cells in each bucket.

// bucket is what a histogram has up to a bound: at each of several times a
// count, for want of one NaN.
type bucket struct {
	bound  float64
	counts []float64
	// there says when there is such a bound, and that this may be told; dominated,
	// that one unit has too much of its count.
	there, dominated moments
	// members are the series in it, by their labels but le, and when they are.
	members map[string]moments

	// fates are those of the cell, series how many are in it, and own its counts, as
	// they were before others were known.
	fates  []cellFate
	series []int32
	own    []float64
}

// boundOf reads the label le. A bound that is no number is of no histogram.
func boundOf(ls labels.Labels) (bound float64, ok bool) {
	bound, err := strconv.ParseFloat(ls.Get(labels.BucketLabel), 64)
	return bound, err == nil && !math.IsNaN(bound)
}

// isBucket says whether a cell is one of a classic histogram. It goes by le
// alone: a recording rule's has not its name.
func isBucket(ls labels.Labels) bool { return ls.Has(labels.BucketLabel) }

// histogramKey tells histograms apart: the labels of a series but its name and le.
func histogramKey(ls labels.Labels) string {
	return string(ls.BytesWithoutLabels(nil, labels.MetricName, labels.BucketLabel))
}

// releaseBuckets replaces the counts of a histogram's buckets, given by ascending
// bound, by what leaves. least is, by time, the smallest difference of two counts
// that is of enough observations. none says that no observations at all may be
// told.
//
// Nothing leaves of what isn't a histogram: that has no bucket without an end,
// two with the same, or counts that fall. A bound that not all of its series have
// is none of the histogram's.
func releaseBuckets(buckets []*bucket, least []float64, none bool) {
	last := buckets[len(buckets)-1]
	others := make([]moments, len(buckets))
	for j, b := range buckets {
		others[j] = b.differs(last, len(least))
	}
	column := make([]upTo, 0, len(buckets))
	for i := range least {
		column = column[:0]
		whole := math.IsInf(last.bound, 1) && last.there.has(i)
		below := math.NaN()
		for j, b := range buckets {
			if !b.there.has(i) || others[j].has(i) {
				b.counts[i] = math.NaN()
				continue
			}
			whole, below = whole && b.bound != below, b.bound
			column = append(column, upTo{&b.counts[i], b.dominated.has(i)})
		}
		if !whole || !mergeBuckets(column, least[i], none) {
			for _, b := range buckets {
				b.counts[i] = math.NaN()
			}
		}
	}
}

// differs says when two buckets don't have the same series in them.
func (b *bucket) differs(o *bucket, n int) moments {
	out := newMoments(n)
	for key, when := range b.members {
		out.differ(when, o.members[key])
	}
	for key, when := range o.members {
		if b.members[key] == nil {
			out.differ(when, nil)
		}
	}
	return out
}

// upTo is a cumulative count; NaN is none. A dominated one must not be told.
type upTo struct {
	count     *float64
	dominated bool
}

// mergeBuckets merges, in cumulative counts, the last of which is of all, those
// of buckets that have fewer observations than least, and those that must not be
// told. It returns false where there is nothing that may.
//
// Which buckets are large enough doesn't depend on what one unit has of them: were
// a bound told instead of one below that must not be, it would show those few
// observations that are between the two.
func mergeBuckets(counts []upTo, least float64, none bool) bool {
	// One count may fall below another by what sums of the same numbers differ.
	const tolerance = 1e-12
	last := counts[len(counts)-1]
	total := *last.count
	if !(total >= least) && !(none && total == 0) || math.IsInf(total, 1) || last.dominated {
		return false
	}
	before, enough, told, end := 0.0, 0.0, 0.0, 0
	for i, c := range counts[:len(counts)-1] {
		if v := *c.count; !math.IsNaN(v) {
			if v < before*(1-tolerance) || math.IsInf(v, 1) {
				return false
			}
			if v-enough >= least {
				if enough = v; !c.dominated {
					told, end = v, i
				}
			}
			before = v
		}
		*c.count = told
	}
	if total < before*(1-tolerance) {
		return false
	}
	if told > 0 && total-told < least {
		for _, c := range counts[end:] {
			*c.count = total
		}
	}
	return true
}

// bucket is a cell of a classic histogram, as it is before others are known.
func (t *threshold) bucket(c *cell) (*bucket, error) {
	bound, ok := boundOf(c.labels)
	if err := t.pass(t.n*bucketBytes + len(c.members)*(t.n/8+seriesOverhead)); err != nil {
		return nil, err
	}
	b := &bucket{
		bound: bound, counts: make([]float64, t.n), fates: slices.Clone(t.fates), series: slices.Clone(t.series), there: newMoments(t.n), dominated: newMoments(t.n),
		members: make(map[string]moments, len(c.members)),
	}
	for i, f := range t.fates {
		b.counts[i] = math.NaN()
		if f != cellLeaves && f != cellDominated {
			continue
		}
		if ok {
			b.there.add(i)
		}
		if f == cellDominated {
			b.dominated.add(i)
		}
		// Of buckets there are floats alone. What isn't finite is dominated, too.
		if v := t.floats[i].value(); f == cellLeaves || !math.IsInf(v, 0) {
			b.counts[i] = v
		}
	}
	b.own = slices.Clone(b.counts)
	for _, m := range c.members {
		when := newMoments(t.n)
		t.eachTime(m, when.add)
		b.members[m.histogram] = when
	}
	return b, nil
}

// bucketBytes is about what a bucket holds for each time.
const bucketBytes = 22

// releaseBuckets releases the buckets among cells, those of a histogram together.
func (t *threshold) releaseBuckets(ctx context.Context, all []*cell) error {
	byHistogram := map[string][]*cell{}
	for _, c := range all {
		if c.bucket != nil {
			key := string(c.labels.BytesWithoutLabels(nil, labels.BucketLabel))
			byHistogram[key] = append(byHistogram[key], c)
		}
	}
	for _, cells := range byHistogram {
		slices.SortFunc(cells, func(a, b *cell) int { return cmp.Compare(a.bucket.bound, b.bucket.bound) })
		buckets := make([]*bucket, len(cells))
		for i, c := range cells {
			buckets[i] = c.bucket
		}
		releaseBuckets(buckets, t.least(cells[len(cells)-1]), false)
		for _, c := range cells {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.takeBucket(t.leaf.times)
			if err := t.may.takeCell(c.sums, c.count); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeBucket makes of a cell what leaves of its bucket.
func (c *cell) takeBucket(t times) {
	b := c.bucket
	c.bucket, c.best = nil, cellEmpty
	for i, v := range b.counts {
		fate := b.fates[i]
		if fate == cellLeaves && b.own[i] != v || fate == cellDominated {
			fate = cellMerged
		}
		c.best = max(c.best, fate)
		if math.IsNaN(v) {
			continue
		}
		c.sums.Floats = append(c.sums.Floats, promql.FPoint{T: t.at(i), F: v})
		c.count.Floats = append(c.count.Floats, promql.FPoint{T: t.at(i), F: float64(b.series[i])})
	}
}

// moments are some of several times, by index; nil is none.
type moments []uint64

func newMoments(n int) moments { return make(moments, (n+63)/64) }

func (m moments) add(i int) { m[i/64] |= 1 << (i % 64) }

func (m moments) has(i int) bool { return m != nil && m[i/64]&(1<<(i%64)) != 0 }

// differ adds what is in one of two but not in both.
func (m moments) differ(a, b moments) {
	for i := range m {
		switch {
		case b == nil:
			m[i] |= a[i]
		case a == nil:
			m[i] |= b[i]
		default:
			m[i] |= a[i] ^ b[i]
		}
	}
}
