package metricstest

import (
	"fmt"
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Cells returns series of seven metrics by region, status, user and pod. Each
// region and status has either k users or more, made by big, or fewer, made by
// small. Two stores with the same big differ inside cells of fewer than k users
// alone, and inside buckets of fewer than k observations of wait_bucket and
// wait_native. Which are small is big's to say; they may be empty.
//
// No bucket of latency_bucket has fewer than k observations between two
// samples, of k users or more, as far as rates of two samples go.
func Cells(big, small *rand.Rand, k int) []Series {
	var out []Series
	for _, region := range []string{"eu", "us", "ap", ""} {
		for _, status := range []string{"200", "500"} {
			r, prefix, users := big, "user", k+big.IntN(3)
			if big.IntN(2) == 0 {
				r, prefix, users = small, fmt.Sprintf("rare-%d", small.IntN(1000)), small.IntN(k)
			}
			var members []*labels.Builder
			for user := range users {
				for pod := range 1 + r.IntN(2) {
					members = append(members, labels.NewBuilder(labels.FromStrings(
						"region", region, "status", status,
						"user", fmt.Sprintf("%s-%s-%s-%d", prefix, region, status, user), "pod", fmt.Sprintf("pod-%d", pod))))
				}
			}
			waits := waiting(r, small, len(members), k)
			for i, ls := range members {
				out = append(out, measured(r, ls)...)
				out = append(out, waits[i].series(ls)...)
			}
		}
	}
	return out
}

func measured(r *rand.Rand, ls *labels.Builder) []Series {
	of := func(name string) labels.Labels { return ls.Set(labels.MetricName, name).Labels() }
	out := []Series{
		{Labels: of("requests_total"), Values: counter(r)},
		{Labels: of("errors_total"), Values: counter(r)},
		{Labels: of("queue_length"), Values: gauge(r)},
		{Labels: of("latency_native"), Histograms: fine(r)},
	}
	buckets := labels.NewBuilder(of("latency_bucket"))
	total := make([]float64, Samples)
	for _, bound := range []string{"0.1", "1", "+Inf"} {
		for i, n := range many(r) {
			total[i] += n
		}
		out = append(out, Series{Labels: buckets.Set("le", bound).Labels(), Values: append([]float64(nil), total...)})
	}
	return out
}

// many counts observations that are at least four in each sample. Of k series
// that is k, even where the rate of two samples is extrapolated most.
func many(r *rand.Rand) []float64 {
	out := make([]float64, Samples)
	v := 0.0
	for i := range out {
		v += float64(4 + r.IntN(5))
		out[i] = v
	}
	return out
}

// waitBounds are the bounds of waits. Many are between 0.1 and 0.2, and between
// 0.3 and 0.5; fewer than k in a cell are below, between these, and above.
var waitBounds = []string{"0.01", "0.1", "0.2", "0.3", "0.5", "1", "5", "+Inf"}

// wait is how many observations each bucket of a histogram has, by sample.
type wait [8][]float64

// waiting are the histograms of a cell. Small says which buckets the few are
// in, and of those that are in one with many, whether they are there at all.
func waiting(r, small *rand.Rand, members, k int) []wait {
	out := make([]wait, members)
	for i := range out {
		for j := range out[i] {
			out[i][j] = make([]float64, Samples)
		}
		copy(out[i][2], many(r))
		copy(out[i][4], many(r))
	}
	if members == 0 {
		return out
	}
	put := func(bucket, member, sample int, n float64) {
		for i := sample; i < Samples; i++ {
			out[member][bucket][i] += n
		}
	}
	for range small.IntN(k) { // fast ones
		member, sample := small.IntN(members), small.IntN(Samples)
		put(small.IntN(2), member, sample, 1)
		put(2, member, sample, -1)
	}
	for range small.IntN(k) { // some in the middle
		member, sample := small.IntN(members), small.IntN(Samples)
		put(3, member, sample, 1)
		put(4, member, sample, -1)
	}
	for range r.IntN(k) { // slow ones, as many in both
		put(5+small.IntN(3), r.IntN(members), r.IntN(Samples), 1)
	}
	return out
}

// series are the histogram as a classic and as a native one.
func (w wait) series(ls *labels.Builder) []Series {
	native := Series{Labels: ls.Set(labels.MetricName, "wait_native").Labels(), Histograms: make([]*histogram.FloatHistogram, Samples)}
	for i := range native.Histograms {
		h := &histogram.FloatHistogram{
			ZeroThreshold: 0.001, PositiveSpans: []histogram.Span{{Offset: -4, Length: uint32(len(w))}}, PositiveBuckets: make([]float64, len(w)),
		}
		for j := range w {
			h.PositiveBuckets[j] = w[j][i]
			h.Count += w[j][i]
		}
		h.Sum = h.Count * 1.25
		native.Histograms[i] = h
	}
	out := []Series{native}
	buckets := labels.NewBuilder(ls.Set(labels.MetricName, "wait_bucket").Labels())
	total := make([]float64, Samples)
	for j, bound := range waitBounds {
		for i, n := range w[j] {
			total[i] += n
		}
		out = append(out, Series{Labels: buckets.Set("le", bound).Labels(), Values: append([]float64(nil), total...)})
	}
	return out
}

// fine are histograms of a high resolution with many small buckets.
func fine(r *rand.Rand) []*histogram.FloatHistogram {
	out := make([]*histogram.FloatHistogram, Samples)
	buckets := make([]float64, 12)
	for i := range out {
		count := 0.0
		for j := range buckets {
			buckets[j] += float64(r.IntN(2))
			count += buckets[j]
		}
		out[i] = &histogram.FloatHistogram{
			Schema: 3, ZeroThreshold: 0.001, Count: count, Sum: count * 1.25,
			PositiveSpans:   []histogram.Span{{Offset: -4, Length: 6}, {Offset: 2, Length: 6}},
			PositiveBuckets: append([]float64(nil), buckets...),
		}
	}
	return out
}
