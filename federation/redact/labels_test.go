package redact_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/redact"
)

// randomMatchers are a few on a few labels, of all types.
func randomMatchers(r *rand.Rand) []*labels.Matcher {
	out := make([]*labels.Matcher, r.IntN(4))
	for i := range out {
		value := []string{"", "x", "y"}[r.IntN(3)]
		kind := labels.MatchType(r.IntN(4))
		if kind == labels.MatchRegexp || kind == labels.MatchNotRegexp {
			value = []string{"x|y", ".*", ".+", "x", ""}[r.IntN(5)]
		}
		out[i] = labels.MustNewMatcher(kind, []string{labels.MetricName, "a"}[r.IntN(2)], value)
	}
	return out
}

// every label set there is of two labels and three values.
func everySet() []labels.Labels {
	var out []labels.Labels
	for _, name := range []string{"", "x", "y", "z"} {
		for _, a := range []string{"", "x", "y", "z"} {
			out = append(out, labels.New(labels.Label{Name: labels.MetricName, Value: name}, labels.Label{Name: "a", Value: a}).WithoutEmpty())
		}
	}
	return out
}

// What isn't compatible has nothing in common, and what is implied changes
// nothing.
func TestMatchersAreNarrowedWithoutLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sets := everySet()
	incompatible, shorter := 0, 0
	for range 20_000 {
		a, b := randomMatchers(r), randomMatchers(r)
		if !redact.Compatible(a, b) {
			incompatible++
			if i := slices.IndexFunc(sets, func(ls labels.Labels) bool { return redact.Matches(a, ls) && redact.Matches(b, ls) }); i >= 0 {
				t.Fatalf("%v and %v are called incompatible, and both match %v", a, b, sets[i])
			}
		}
		less := redact.WithoutImplied(a)
		shorter += len(a) - len(less)
		for _, ls := range sets {
			if redact.Matches(a, ls) != redact.Matches(less, ls) {
				t.Fatalf("%v became %v, which says something else of %v", a, less, ls)
			}
		}
	}
	if incompatible < 1000 || shorter < 1000 {
		t.Errorf("only %d were incompatible and %d implied: the test is blind", incompatible, shorter)
	}
}
