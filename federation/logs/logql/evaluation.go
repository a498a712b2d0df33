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

// counterRate is PromQL's rate of a counter: what it grew by, resets set
// right, and extrapolated to the window's ends where samples are close to them.
func counterRate(samples []sample, from, to int64) float64 {
	const nanosecond = 1e-9
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
	sampled := float64(last.at-first.at) * nanosecond
	toStart := float64(first.at-from) * nanosecond
	toEnd := float64(to-last.at) * nanosecond
	between := sampled / float64(len(samples)-1)
	if grown > 0 && first.value >= 0 {
		toStart = min(toStart, sampled*first.value/grown) // a counter isn't less than 0
	}
	extrapolated := sampled
	for _, gap := range []float64{toStart, toEnd} {
		if gap < between*1.1 {
			extrapolated += gap
		} else {
			extrapolated += between / 2
		}
	}
	return grown * (extrapolated / sampled) / (float64(to-from) * nanosecond)
}
