package inspect

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

// Selectors are compared by what they say, not by what a store holds: labels
// are independent of one another, so that a series which two selectors match
// exists where each label has a value that both allow.

// answer is what can be told of selectors.
type answer int

const (
	no answer = iota
	yes
	// unknown: their expressions are too much to work out.
	unknown
)

// meeting is whether a series exists that all selectors match, with the labels
// of one.
func meeting(selectors ...policy.Selector) (example labels.Labels, possible answer) {
	byLabel := map[string][]*labels.Matcher{}
	for _, s := range selectors {
		for _, m := range s {
			byLabel[m.Name] = append(byLabel[m.Name], m)
		}
	}
	b, possible := labels.NewBuilder(labels.EmptyLabels()), yes
	for name, matchers := range byLabel {
		value, found, known := valueOf(matchers)
		switch {
		case !known:
			possible = unknown
		case !found:
			return labels.EmptyLabels(), no
		}
		b.Set(name, value)
	}
	return b.Labels(), possible
}

// overlap is whether a series could be in both datasets.
func overlap(a, b policy.Dataset) (example labels.Labels, possible answer) {
	possible = no
	if a.Signal() != b.Signal() {
		return labels.EmptyLabels(), no
	}
	for _, left := range a.Selectors() {
		for _, right := range b.Selectors() {
			switch series, both := meeting(left, right); both {
			case yes:
				return series, yes
			case unknown:
				possible = unknown
			case no:
			}
		}
	}
	return labels.EmptyLabels(), possible
}

// maxCases bounds how many parts a selector is taken into to see whether
// several others cover it.
const maxCases = 1000

// covers says whether every series that s matches is matched by one of others.
func covers(others []policy.Selector, s policy.Selector) answer {
	cases := maxCases
	return covered(s, others, &cases)
}

// covered takes away from s what the first of others matches, and looks at
// what is left of it: the parts in which one of its matchers doesn't match.
func covered(s policy.Selector, others []policy.Selector, cases *int) answer {
	if *cases--; *cases < 0 {
		return unknown
	}
	switch _, possible := meeting(s); {
	case possible == no:
		return yes
	case possible == unknown:
		return unknown
	case len(others) == 0:
		return no
	}
	out := yes
	for _, m := range others[0] {
		inverse, err := m.Inverse()
		if err != nil {
			return unknown
		}
		switch covered(append(slices.Clone(s), inverse), others[1:], cases) {
		case no:
			return no
		case unknown:
			out = unknown
		case yes:
		}
	}
	return out
}

// within says whether all of dataset d is in dataset in.
func within(d, in policy.Dataset) answer { return allIn(d.Selectors(), in) }
