package logql

import (
	"math"
	"slices"
)

// evaluation is what an aggregation makes of the samples of a window, of which
// there is at least one. The window is (from, to], in Unix nanoseconds.
func evaluation(r *RangeAggregation) func(samples []sample, from, to int64) float64 {
	seconds := r.Range.Seconds()
	switch r.Op {
	case Rate:
		if r.Unwrap == nil {
			return func(s []sample, _, _ int64) float64 { return float64(len(s)) / seconds }
		}
		return func(s []sample, _, _ int64) float64 { return sum(s) / seconds }
	case BytesRate:
		return func(s []sample, _, _ int64) float64 { return sum(s) / seconds }
	case CountOverTime:
		return func(s []sample, _, _ int64) float64 { return float64(len(s)) }
	case BytesOverTime, SumOverTime:
		return func(s []sample, _, _ int64) float64 { return sum(s) }
	case RateCounter:
		return counterRate
	case AvgOverTime:
		return func(s []sample, _, _ int64) float64 { return mean(s) }
	case MinOverTime:
		return func(s []sample, _, _ int64) float64 { return least(s, func(a, b float64) bool { return a < b }) }
	case MaxOverTime:
		return func(s []sample, _, _ int64) float64 { return least(s, func(a, b float64) bool { return a > b }) }
	case StdvarOverTime:
		return func(s []sample, _, _ int64) float64 { return variance(s) }
	case StddevOverTime:
		return func(s []sample, _, _ int64) float64 { return math.Sqrt(variance(s)) }
	case QuantileOverTime:
		return func(s []sample, _, _ int64) float64 { return quantile(r.Parameter, s) }
	case LastOverTime:
		return func(s []sample, _, _ int64) float64 { return s[len(s)-1].value }
	default: // FirstOverTime; AbsentOverTime asks for none
		return func(s []sample, _, _ int64) float64 { return s[0].value }
	}
}

func sum(samples []sample) float64 {
	total := 0.0
	for _, s := range samples {
		total += s.value
	}
	return total
}

func mean(samples []sample) float64 {
	m, n := 0.0, 0.0
	for _, s := range samples {
		n++
		if math.IsInf(m, 0) && (math.IsInf(s.value, 0) && (m > 0) == (s.value > 0) || !math.IsInf(s.value, 0) && !math.IsNaN(s.value)) {
			continue // stays infinite
		}
		m += s.value/n - m/n
	}
	return m
}

// least is the value before all others; NaN only if all are.
func least(samples []sample, before func(a, b float64) bool) float64 {
	v := samples[0].value
	for _, s := range samples[1:] {
		if before(s.value, v) || math.IsNaN(v) {
			v = s.value
		}
	}
	return v
}

// variance is that of the population, by Welford's method.
func variance(samples []sample) float64 {
	m, squares, n := 0.0, 0.0, 0.0
	for _, s := range samples {
		n++
		delta := s.value - m
		m += delta / n
		squares += delta * (s.value - m)
	}
	return squares / n
}

// quantile interpolates between the two closest ranks.
func quantile(q float64, samples []sample) float64 {
	switch {
	case q < 0:
		return math.Inf(-1)
	case q > 1:
		return math.Inf(1)
	}
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s.value
	}
	slices.Sort(values)
	rank := q * float64(len(values)-1)
	lower := int(rank)
	upper := min(lower+1, len(values)-1)
	weight := rank - math.Floor(rank)
	return values[lower]*(1-weight) + values[upper]*weight
}

// counterRate is what a counter grew by a second, resets set right. Loki's has
// PromQL's extrapolation to the window's ends in it, but for a slip of units:
// what the samples are apart is in microseconds there, and the gap before the
// first one, which is taken to be the whole window, in seconds.
func counterRate(samples []sample, from, to int64) float64 {
	if len(samples) < 2 {
		return 0
	}
	first, last := samples[0], samples[len(samples)-1]
	grown := last.value - first.value
	for i, s := range samples[1:] {
		if s.value < samples[i].value {
			grown += samples[i].value
		}
	}
	window := float64(to-from) / 1e9
	sampled := float64(last.at-first.at) / 1e3
	between := sampled / float64(len(samples)-1)
	gap := window
	if grown > 0 && first.value >= 0 {
		gap = min(gap, sampled*first.value/grown) // a counter isn't less than 0
	}
	if gap >= between*1.1 {
		gap = between / 2
	}
	return grown * ((sampled + gap) / sampled) / window
}
