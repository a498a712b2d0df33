package logql

import (
	"errors"
	"regexp/syntax"
)

// The bounds of a query. They are far beyond what people and dashboards write,
// and keep what reads a query from being the attack: a few bytes of regular
// expression can be a program of a hundred megabytes.
const (
	maxText = 128 << 10 // bytes
	// maxNesting is how deep expressions, and label filters, may be nested.
	maxNesting = 500
	// maxOperators counts binary operators, and operators of label filters: a
	// chain of them is a tree as deep as it is long.
	maxOperators = 1000
	// maxStages is how many steps all pipelines of a query may have.
	maxStages = 1000
	// maxRepetitions is by how many instructions counted repetitions may make
	// regular expressions longer than they are written.
	maxRepetitions = 10_000
)

// repetitions is how many instructions a regular expression has because of
// counted repetitions. What isn't one has none, and is refused elsewhere.
func repetitions(re string) int {
	parsed, err := syntax.Parse(re, syntax.Perl|syntax.DotNL)
	var invalid *syntax.Error
	switch {
	case errors.As(err, &invalid) && invalid.Code == syntax.ErrLarge:
		return maxRepetitions + 1
	case err != nil:
		return 0
	}
	_, more := instructions(parsed)
	return more
}

// instructions is about how long the program of a regular expression is, and
// how much of that comes from counted repetitions. The depth is bounded by
// syntax.Parse.
func instructions(re *syntax.Regexp) (all, more int) {
	switch re.Op {
	case syntax.OpLiteral:
		all = len(re.Rune)
	default:
		all = 1
	}
	for _, sub := range re.Sub {
		a, m := instructions(sub)
		all, more = all+a, more+m
	}
	if re.Op == syntax.OpRepeat {
		times := max(re.Max, re.Min+1)
		more = max(all*times-(all-more), more)
		all *= times
	}
	return all, more
}
