package bench

import (
	"slices"
	"testing"
	"time"
)

// minPairs is how often at least both sides are measured: a median of fewer
// says little.
const minPairs = 5

// pairs times two ways to the same answer in turn, each as often first as
// second, until the benchmark has run long enough. It reports the median of
// ours as the time of the benchmark, and its ratio to the baseline's as unit.
func pairs(b *testing.B, unit string, baseline, ours func() error) {
	b.Helper()
	var base, own []time.Duration
	timed := func(into *[]time.Duration, f func() error) {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		*into = append(*into, time.Since(start))
	}
	pair := func() {
		if len(base)%2 == 0 {
			timed(&base, baseline)
			timed(&own, ours)
			return
		}
		timed(&own, ours)
		timed(&base, baseline)
	}
	for b.Loop() {
		pair()
	}
	for len(base) < minPairs {
		pair()
	}
	b.ReportMetric(float64(median(own)), "ns/op")
	b.ReportMetric(float64(median(own))/float64(median(base)), unit)
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}
