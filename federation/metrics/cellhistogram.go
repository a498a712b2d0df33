package metrics

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/parley-gateway/parley/policy"
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
// policy's schema, and with no bucket of fewer than K observations; each of
// those is merged with its neighbour above, the last with the one below. It is
// nil when there are fewer than K in all. observations is by what a bucket has
// to be multiplied to be a number of them.
func releaseHistogram(h *histogram.FloatHistogram, c *policy.Cells, observations float64) *histogram.FloatHistogram {
	if h == nil || h.Count*observations < float64(c.K) {
		return nil
	}
	out := h.Copy()
	if c.Schema != nil && !out.UsesCustomBuckets() && out.Schema > *c.Schema {
		out = out.CopyToSchema(*c.Schema)
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
		if carried*observations >= float64(c.K) {
			*bucket, kept, carried = carried, bucket, 0
		}
	}
	if kept == nil {
		return nil
	}
	*kept += carried
	return out.Compact(0)
}
