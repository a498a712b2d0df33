package logql

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// match says whether a text satisfies something.
type match func(text string) bool

// newRegexpMatch is a regular expression of a line filter, which is looked for,
// or, whole, of a label filter, which all of the text has to satisfy.
//
// As in Loki, those that are made of literals, .*, .+ and alternatives only are
// no regular expressions when they run, which shows in three ways: the dot then
// is any character, line ends included; what has .* is looked for in a label's
// value too, which needn't begin or end with the rest; and of several
// alternatives those that everything satisfies, the empty one and .*, count for
// nothing. With nothing but such ones all texts match.
func newRegexpMatch(re string, whole bool) (match, error) {
	parsed, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return nil, err
	}
	parsed = parsed.Simplify()
	if m, always, ok := simpleMatch(parsed, whole); ok {
		if always {
			return func(string) bool { return true }, nil
		}
		return m, nil
	}
	return compiledMatch(re, whole)
}

// matchesAll says whether a label filter's regular expression is one that all
// values satisfy, for which Loki doesn't need the label.
func matchesAll(re string) bool {
	parsed, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return false
	}
	_, always, ok := simpleMatch(parsed, true)
	return ok && always
}

func compiledMatch(re string, whole bool) (match, error) {
	if whole {
		re = "^(?:" + re + ")$"
	}
	compiled, err := regexp.Compile(re)
	if err != nil {
		return nil, err
	}
	return compiled.MatchString, nil
}

// simpleMatch is what needs no regular expression to run. Always says that all
// texts match.
func simpleMatch(re *syntax.Regexp, whole bool) (m match, always, ok bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return nil, true, true
	case syntax.OpCapture:
		return simpleMatch(re.Sub[0], whole)
	case syntax.OpLiteral:
		return literalMatch(re, whole)
	case syntax.OpStar:
		return nil, true, isAny(re.Sub[0])
	case syntax.OpPlus:
		return func(text string) bool { return text != "" }, false, isAny(re.Sub[0])
	case syntax.OpAlternate:
		return anyMatch(re.Sub, whole)
	case syntax.OpConcat:
		return aroundMatch(re.Sub)
	}
	return nil, false, false
}

func isAny(re *syntax.Regexp) bool {
	return re.Op == syntax.OpAnyChar || re.Op == syntax.OpAnyCharNotNL
}

func literalMatch(re *syntax.Regexp, whole bool) (m match, always, ok bool) {
	literal := string(re.Rune)
	switch {
	case re.Flags&syntax.FoldCase != 0:
		m, err := compiledMatch(re.String(), whole)
		return m, false, err == nil
	case whole:
		return func(text string) bool { return text == literal }, false, true
	default:
		return func(text string) bool { return strings.Contains(text, literal) }, false, true
	}
}

func anyMatch(alternatives []*syntax.Regexp, whole bool) (m match, always, ok bool) {
	var all []match
	for _, a := range alternatives {
		m, always, ok := simpleMatch(a, whole)
		switch {
		case !ok:
			return nil, false, false
		case !always:
			all = append(all, m)
		}
	}
	return func(text string) bool {
		for _, m := range all {
			if m(text) {
				return true
			}
		}
		return false
	}, len(all) == 0, true
}

// aroundMatch is a literal with .* around it, or with alternatives after it. As
// in Loki it is looked for in the text, be it all of a label's value or a line.
func aroundMatch(parts []*syntax.Regexp) (m match, always, ok bool) {
	literals, ok := containedLiterals(parts, "")
	if !ok {
		return nil, false, false
	}
	return func(text string) bool {
		return slices.ContainsFunc(literals, func(l string) bool { return strings.Contains(text, l) })
	}, false, true
}

// containedLiterals are what a text has to hold one of. They begin with what
// stands before the parts.
func containedLiterals(parts []*syntax.Regexp, begin string) (literals []string, ok bool) {
	const most = 3 // Loki takes no more parts for simple
	found := begin != ""
	parts = slices.DeleteFunc(slices.Clone(parts), func(re *syntax.Regexp) bool { return re.Op == syntax.OpEmptyMatch })
	if len(parts) > most {
		return nil, false
	}
	own := 0
	for _, part := range parts {
		switch {
		case part.Op == syntax.OpStar && isAny(part.Sub[0]):
		case part.Op == syntax.OpLiteral && part.Flags&syntax.FoldCase == 0 && own == 0:
			own, found = own+1, true
			begin += string(part.Rune)
		case part.Op == syntax.OpAlternate && found:
			for _, alternative := range part.Sub {
				more, ok := containedLiterals(concatenated(alternative), begin)
				if !ok {
					return nil, false
				}
				literals = append(literals, more...)
			}
		default:
			return nil, false
		}
	}
	if literals == nil && found {
		literals = []string{begin}
	}
	return literals, found
}

func concatenated(re *syntax.Regexp) []*syntax.Regexp {
	if re.Op == syntax.OpConcat {
		return re.Sub
	}
	return []*syntax.Regexp{re}
}
