package attacks

import (
	"math"
	"slices"
	"testing"
	"time"
)

// readAlong is why rows are open to who measures time.
var readAlong = map[string]string{Rows: "Where a selector could match series of several datasets, denied ones that it matches are read from the store and then left out: that takes time."}

// onTime are after how long an answer takes.
var onTime = []*attack{
	{name: "time of a small cell", of: laden, policies: cellsOnly, open: loads, long: true, watch: func(a *attempt) time.Duration {
		return a.asksRange(`sum(agent_pods{SERVICE,region="ap"})`, a.end.Add(-time.Hour), a.end, time.Minute).took
	}},
	{name: "time of a denied metric", of: burdened, foreign: true, watch: func(a *attempt) time.Duration {
		return a.asksRange(`count(internal_events_total{SERVICE})`, a.end.Add(-time.Hour), a.end, time.Minute).took
	}},
	{name: "time of denied metrics", of: burdened, long: true, foreign: true, open: readAlong, watch: func(a *attempt) time.Duration {
		return a.asksRange(`count({__name__=~"internal_.*",SERVICE})`, a.end.Add(-time.Hour), a.end, time.Minute).took
	}},
	{name: "time of everything", of: burdened, long: true, foreign: true, policies: rowsOnly, open: readAlong, watch: func(a *attempt) time.Duration {
		return a.asks(`count({SERVICE})`).took
	}},
	{name: "time of a listing", of: burdened, long: true, foreign: true, open: readAlong, watch: func(a *attempt) time.Duration {
		return a.lists("/api/v1/label/__name__/values", `{SERVICE}`).took
	}},
}

// A measurement is the median of this many, taken in turn in all worlds.
const measurements = 9

// How long something takes shows more than what was asked for, above all what
// else the machine does. So less is believed (timedAlpha) and only an effect
// that is gross fails the test: it must take so many times longer where there is
// what is looked for.
const (
	timedAlpha = 1e-3
	gross      = 1.5
)

// timed guesses by how long an attack takes: what takes long has what is looked
// for. It returns besides how many times longer it takes there in truth.
func (a *arena) timed(t testing.TB, k *attack, attempts []*attempt) (guesses []int, slower float64) {
	t.Helper()
	took := make([][]time.Duration, len(attempts))
	for range measurements {
		for i, attempt := range attempts {
			took[i] = append(took[i], k.watch(attempt))
			if attempt.err != nil {
				t.Fatal(attempt.err)
			}
		}
	}
	medians := make([]time.Duration, len(attempts))
	byTruth := map[int][]time.Duration{}
	for i := range attempts {
		medians[i] = median(took[i])
		truth := a.worlds[i].truth[k.of]
		byTruth[truth] = append(byTruth[truth], medians[i])
	}
	guesses = make([]int, len(attempts))
	long := threshold(medians)
	for i, m := range medians {
		if m >= long {
			guesses[i] = 1
		}
	}
	if len(byTruth) < 2 {
		return guesses, 0
	}
	return guesses, float64(median(byTruth[1])) / float64(median(byTruth[0]))
}

// threshold parts durations into short and long ones so that the means of the
// two are as far apart as can be (Otsu, https://doi.org/10.1109/TSMC.1979.4310076).
// It is the first of the long ones.
func threshold(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	logs := make([]float64, len(sorted))
	total := 0.0
	for i, d := range sorted {
		logs[i] = math.Log(float64(d))
		total += logs[i]
	}
	best, apart, below := sorted[0], -1.0, 0.0
	for i := 1; i < len(sorted); i++ {
		below += logs[i-1]
		short, long := float64(i), float64(len(sorted)-i)
		between := below/short - (total-below)/long
		if v := short * long * between * between; v > apart {
			best, apart = sorted[i], v
		}
	}
	return best
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
