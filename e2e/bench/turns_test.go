package bench

import (
	"slices"
	"testing"
	"time"
)

// minTurns is how often at least every side is measured, unless that takes
// minutes: a median of fewer says little.
const minTurns = 5

// side is one of several ways to the same answer.
type side struct {
	unit string // in which ours is compared with it; empty for ours
	run  func() error
}

// inTurn times ours and what it is compared with in turn, each as often first
// as any other, until the benchmark has run long enough, and at least so many
// turns. It reports the median
// of ours as the benchmark's time, and its ratio to each other side's.
func inTurn(b *testing.B, turns int, ours func() error, others ...side) {
	b.Helper()
	sides := append([]side{{run: ours}}, others...)
	took := make([][]time.Duration, len(sides))
	turn := func() {
		before := len(took[0])
		for i := range sides {
			i = (i + before) % len(sides)
			start := time.Now()
			if err := sides[i].run(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for b.Loop() {
		turn()
	}
	for len(took[0]) < turns {
		turn()
	}
	own := median(took[0])
	b.ReportMetric(float64(own), "ns/op")
	for i, s := range sides[1:] {
		b.ReportMetric(float64(own)/float64(median(took[i+1])), s.unit)
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}
