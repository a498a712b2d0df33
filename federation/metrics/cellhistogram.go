package metrics

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
)

// histogramSum adds up native histograms. Those that have no sum, such as
// exponential and custom ones, are none together, as in Prometheus.
type histogramSum struct {
	sum          *histogram.FloatHistogram
	incompatible bool
}

func (s *histogramSum) add(h *histogram.FloatHistogram) {
	if s.sum == nil {
		s.sum = h.Copy()
		return
	}
	sum, _, _, err := s.sum.Add(h)
	if err != nil {
		s.incompatible = true
		return
	}
	s.sum = sum
}

// value is nil where there is no sum.
func (s *histogramSum) value() *histogram.FloatHistogram {
	if s.incompatible {
		return nil
	}
	return s.sum
}

// releaseHistogram returns a native histogram as it may leave: no finer than
// the schema, where there is one, and with no bucket of less than least, which is
// what K observations have at least; each of those is merged with its neighbour
// above, the last with the one below. It is nil when there is less in all.
func releaseHistogram(h *histogram.FloatHistogram, schema *int32, least float64) *histogram.FloatHistogram {
	if h == nil || !(h.Count >= least) {
		return nil
	}
	out := h.Copy()
	if schema != nil && !out.UsesCustomBuckets() && out.Schema > *schema {
		out = out.CopyToSchema(*schema)
	}
	ascending := make([]*float64, 0, len(out.NegativeBuckets)+1+len(out.PositiveBuckets))
	for i := range slices.Backward(out.NegativeBuckets) {
		ascending = append(ascending, &out.NegativeBuckets[i])
	}
	ascending = append(ascending, &out.ZeroCount)
	for i := range out.PositiveBuckets {
		ascending = append(ascending, &out.PositiveBuckets[i])
	}
	var kept *float64
	carried := 0.0
	for _, bucket := range ascending {
		carried += *bucket
		*bucket = 0
		if carried >= least {
			*bucket, kept, carried = carried, bucket, 0
		}
	}
	if kept == nil {
		return nil
	}
	*kept += carried
	for _, bucket := range append(ascending, &out.Count, &out.Sum) {
		*bucket = withoutOrder(*bucket)
	}
	return out.Compact(0)
}

// withoutOrder takes off a sum the last digits, which depend on how its terms
// were added up and so on small buckets: seven decimal digits stay. Whole
// numbers have the same sum in every order.
func withoutOrder(v float64) float64 {
	const bits = 24
	if v == math.Trunc(v) {
		return v
	}
	fraction, exponent := math.Frexp(v)
	return math.Ldexp(math.Round(math.Ldexp(fraction, bits)), exponent-bits)
}
