package metricstest

import (
	"fmt"
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Cells returns series of five metrics by region, status, user and pod. Each
// region and status has either k users or more, made by big, or fewer, made by
// small: two stores with the same big differ inside cells of fewer than k
// users alone. Which are small is big's to say; they may be empty.
func Cells(big, small *rand.Rand, k int) []Series {
	var out []Series
	for _, region := range []string{"eu", "us", "ap", ""} {
		for _, status := range []string{"200", "500"} {
			r, prefix, users := big, "user", k+big.IntN(3)
			if big.IntN(2) == 0 {
				r, prefix, users = small, fmt.Sprintf("rare-%d", small.IntN(1000)), small.IntN(k)
			}
			for user := range users {
				for pod := range 1 + r.IntN(2) {
					ls := labels.NewBuilder(labels.FromStrings(
						"region", region, "status", status,
						"user", fmt.Sprintf("%s-%s-%s-%d", prefix, region, status, user), "pod", fmt.Sprintf("pod-%d", pod)))
					out = append(out, measured(r, ls)...)
				}
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
		for i, inc := range steady(r) {
			total[i] += inc
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
