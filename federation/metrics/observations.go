package metrics

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// How many observations a number in a histogram's bucket is of depends on the
// function of a leaf: an increase is extrapolated, and in a sum over time an
// observation counts once for each sample. So that the number of a bucket that
// leaves is never of fewer than K, it is asked of how many samples it is.

// counting returns an expression for how many samples of each histogram the
// leaf's function is of: native ones, and classic ones by their last bucket.
func (l leaf) counting(matchers []*labels.Matcher) (string, error) {
	text, err := l.with(append(slices.Clone(matchers), labels.MustNewMatcher(labels.MatchRegexp, labels.BucketLabel, `|\+Inf`)))
	if err != nil {
		return "", err
	}
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return "", err
	}
	if call, ok := unwrapParens(expr).(*parser.Call); ok {
		call.Func = parser.Functions["count_over_time"]
	}
	return expr.String(), nil
}

// ofHistograms says whether the leaf's numbers are of a histogram's
// observations; a number of samples is not.
func (l leaf) ofHistograms() bool {
	return l.function != "count_over_time" && l.function != "present_over_time"
}

// ofSamples says whether it depends on the number of samples how many
// observations a number is of. Otherwise it is as many as there were at one
// moment, or between the numbers of several.
func (l leaf) ofSamples() bool {
	return slices.Contains([]string{"delta", "increase", "rate", "sum_over_time"}, l.function)
}

// counted is by how much an observation counts at most, where the function's
// range has n samples of the series.
func (l leaf) counted(n float64) float64 {
	if n < 1 {
		return math.Inf(1)
	}
	// Up to 1.1 times the mean distance of two samples is added to the time
	// between the first and the last of them, on either side; see
	// extrapolatedRate in Prometheus's promql.
	extrapolated := 1 + 2.2/(n-1)
	switch l.function {
	case "delta", "increase":
		return extrapolated
	case "rate":
		return extrapolated / l.seconds
	case "sum_over_time":
		return n // it is there in each sample
	}
	return 1
}

// least is, by time, the smallest number that a bucket of a cell's histograms
// may have: it is of K observations at least, whichever series they are in.
func (t *threshold) least(c *cell) []float64 {
	out := make([]float64, t.n)
	if !t.leaf.ofSamples() {
		for i := range out {
			out[i] = float64(t.cells.K)
		}
		return out
	}
	for _, m := range c.members {
		if m.histogram == "" {
			continue
		}
		samples := t.raw.samples[m.histogram]
		t.eachTime(m, func(i int) {
			n := 0.0
			if j, found := slices.BinarySearchFunc(samples, t.leaf.times.at(i), func(p promql.FPoint, at int64) int { return cmp.Compare(p.T, at) }); found {
				n = samples[j].F
			}
			out[i] = max(out[i], float64(t.cells.K)*t.leaf.counted(n))
		})
	}
	return out
}
