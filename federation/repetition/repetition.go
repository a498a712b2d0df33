// Package repetition answers how much longer counted repetitions make a regular
// expression than it is written: a few bytes can be a program of a hundred
// megabytes.
//
//	repetition.Added("(abcdefghij){1000}") // about 10,000
package repetition

import (
	"errors"
	"regexp/syntax"
)

// tooLarge is what is beyond what is parsed: more than any bound, and a thousand
// of them are still a number.
const tooLarge = 1 << 30

// Added is about how many instructions the program of a regular expression has
// because of counted repetitions. What isn't one has none, and is refused
// elsewhere.
func Added(re string) int {
	parsed, err := syntax.Parse(re, syntax.Perl|syntax.DotNL)
	var invalid *syntax.Error
	switch {
	case errors.As(err, &invalid) && invalid.Code == syntax.ErrLarge:
		return tooLarge
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
