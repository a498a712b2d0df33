package demo

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// distribution is a histogram, classic and, where it has another name for
// that, native too.
type distribution struct {
	bounds    []float64 // upper bounds of the classic buckets, +Inf left out
	counts    []float64 // by classic bucket, the last one above all bounds
	sum       float64
	bucketIDs []identity // one for each of counts
	sumID     identity
	countID   identity
	native    *nativeHistogram // nil: there is none

	// highest is since the last scrape, with its classic bucket and, if it has
	// labels, as an exemplar.
	highest   float64
	highestIn int
	exemplar  *exemplar.Exemplar
}

// newDistribution has the series of metric and, unless native is empty, a
// native histogram of that name.
func newDistribution(bounds []float64, metric, native string, pairs ...string) *distribution {
	id := newIdentity(metric, pairs...)
	d := &distribution{
		bounds: bounds, counts: make([]float64, len(bounds)+1),
		sumID: id.with("_sum", ""), countID: id.with("_count", ""),
	}
	for _, bound := range bounds {
		d.bucketIDs = append(d.bucketIDs, id.with("_bucket", strconv.FormatFloat(bound, 'f', -1, 64)))
	}
	d.bucketIDs = append(d.bucketIDs, id.with("_bucket", "+Inf"))
	if native != "" {
		d.native = &nativeHistogram{identity: newIdentity(native, pairs...)}
	}
	return d
}

// observe counts v and says whether it is the highest since the last scrape.
func (d *distribution) observe(v float64) (highest bool) {
	i, _ := slices.BinarySearch(d.bounds, v)
	d.counts[i]++
	d.sum += v
	if d.native != nil {
		d.native.observe(v)
	}
	if v <= d.highest {
		return false
	}
	d.highest, d.highestIn = v, i
	return true
}

// example gives labels to the highest value since the last scrape, which makes
// it an exemplar.
func (d *distribution) example(t time.Time, pairs ...string) {
	d.exemplar = &exemplar.Exemplar{Labels: labels.FromStrings(pairs...), Value: d.highest, Ts: t.UnixMilli(), HasTs: true}
}

func (d *distribution) write(s *scrape) {
	total := 0.0
	for i := range d.counts {
		total += d.counts[i]
		s.append(&d.bucketIDs[i], total)
	}
	s.append(&d.sumID, d.sum)
	s.append(&d.countID, total)
	if d.native != nil {
		d.native.write(s, d.sum)
	}
	if d.exemplar != nil && !s.stale && !s.old {
		d.writeExemplar(s, &d.bucketIDs[d.highestIn])
		if d.native != nil {
			d.writeExemplar(s, &d.native.identity)
		}
	}
	d.highest, d.exemplar = 0, nil
}

func (d *distribution) writeExemplar(s *scrape, of *identity) {
	_, err := s.to.AppendExemplar(of.ref, of.labels, *d.exemplar)
	s.appended(of, of.ref, err)
}

func (d *distribution) reset() {
	clear(d.counts)
	d.sum, d.highest, d.exemplar = 0, 0, nil
	if d.native != nil {
		d.native.counts = [nativeBuckets]int64{}
	}
}

// Buckets of native histograms (schema 3) are bounded by powers of the eighth
// root of two: from 2^-11 s, half a millisecond, to 2^13 s, over two hours.
const (
	nativeSchema  = 3
	nativeLowest  = -11 << nativeSchema
	nativeHighest = 13 << nativeSchema
	nativeBuckets = nativeHighest - nativeLowest + 1
)

// nativeHistogram is the native part of a distribution.
type nativeHistogram struct {
	identity
	counts [nativeBuckets]int64
}

func (n *nativeHistogram) observe(v float64) {
	i := int(math.Ceil(math.Log2(v) * (1 << nativeSchema)))
	n.counts[min(max(i, nativeLowest), nativeHighest)-nativeLowest]++
}

func (n *nativeHistogram) write(s *scrape, sum float64) {
	h := n.histogram(sum)
	if s.stale {
		h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	}
	ref, err := s.to.AppendHistogram(n.ref, n.labels, s.at, h, nil)
	s.appended(&n.identity, ref, err)
}

// histogram has one span of buckets, from the lowest to the highest that isn't empty.
func (n *nativeHistogram) histogram(sum float64) *histogram.Histogram {
	h := &histogram.Histogram{Schema: nativeSchema, ZeroThreshold: 1e-9, Sum: sum}
	first, last := nativeBuckets, -1
	for i, c := range n.counts {
		if c > 0 {
			first, last = min(first, i), i
			h.Count += uint64(c)
		}
	}
	if last < 0 {
		return h
	}
	h.PositiveSpans = []histogram.Span{{Offset: int32(nativeLowest + first), Length: uint32(last - first + 1)}}
	before := int64(0)
	for _, c := range n.counts[first : last+1] {
		h.PositiveBuckets = append(h.PositiveBuckets, c-before)
		before = c
	}
	return h
}
