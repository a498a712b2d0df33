package rego

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"github.com/prometheus/prometheus/model/labels"
)

// Prometheus matches an expression against the whole of a value, and its dot
// matches newlines too. The functions here say in its terms what OPA's
// functions say of a string.

// matching are the values that an expression of Prometheus matches, as a list
// where it is one.
func matching(expression string) (values, error) {
	m, err := labels.NewFastRegexMatcher(expression)
	if err != nil {
		return values{}, fmt.Errorf("as an expression of Prometheus, %q: %w", expression, err)
	}
	if list := m.SetMatches(); len(list) > 0 {
		return values{oneOf: list}, nil
	}
	return values{like: m}, nil
}

func startingWith(s string) (values, error) { return matching(regexp.QuoteMeta(s) + ".*") }

func endingWith(s string) (values, error) { return matching(".*" + regexp.QuoteMeta(s)) }

func containing(s string) (values, error) { return matching(".*" + regexp.QuoteMeta(s) + ".*") }

// finding are the values in which regex.match finds the pattern.
func finding(pattern string) (values, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return values{}, fmt.Errorf("the expression %q: %w", pattern, err)
	}
	re = plainly(re)
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	anything := &syntax.Regexp{Op: syntax.OpStar, Sub: []*syntax.Regexp{{Op: syntax.OpAnyChar}}}
	if len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		parts = parts[1:]
	} else {
		parts = slices.Concat([]*syntax.Regexp{anything}, parts)
	}
	if last := len(parts) - 1; last >= 0 && parts[last].Op == syntax.OpEndText {
		parts = parts[:last]
	} else {
		parts = slices.Concat(parts, []*syntax.Regexp{anything})
	}
	if len(parts) == 0 {
		return values{oneOf: []string{""}}, nil
	}
	return matching((&syntax.Regexp{Op: syntax.OpConcat, Sub: parts}).String())
}

// plainly is re without groups, which count nothing here, and with both cases
// of a letter written out: Prometheus's shortcuts for (?i) know other pairs of
// letters than its expressions do.
func plainly(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpCapture {
		return plainly(re.Sub[0])
	}
	if re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase != 0 {
		out := &syntax.Regexp{Op: syntax.OpConcat}
		for _, r := range re.Rune {
			out.Sub = append(out.Sub, eitherCase(r))
		}
		return out
	}
	out := *re
	out.Flags &^= syntax.FoldCase
	out.Sub = make([]*syntax.Regexp, len(re.Sub))
	for i, sub := range re.Sub {
		out.Sub[i] = plainly(sub)
	}
	return &out
}

func eitherCase(r rune) *syntax.Regexp {
	runes := []rune{r}
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		runes = append(runes, other)
	}
	slices.Sort(runes)
	if len(runes) == 1 {
		return &syntax.Regexp{Op: syntax.OpLiteral, Rune: runes}
	}
	class := &syntax.Regexp{Op: syntax.OpCharClass}
	for _, r := range runes {
		class.Rune = append(class.Rune, r, r)
	}
	return class
}

// globbed are the values that glob.match matches, for text with stars around
// it. OPA's globs have opinions about the rest: a*a matches a.
func globbed(pattern string, delimiters []rune) (values, error) {
	text := strings.Trim(pattern, "*")
	before := len(pattern) - len(strings.TrimLeft(pattern, "*"))
	after := len(pattern) - before - len(text)
	if strings.ContainsAny(text, "*?[]{}\\\x00") || before > 2 || after > 2 {
		return values{}, fmt.Errorf("of globs only text with * or ** before and after it can be translated, not %q; say it with regex.match", pattern)
	}
	segment := ".*"
	if len(delimiters) > 0 {
		segment = "[^"
		for _, r := range delimiters {
			segment += fmt.Sprintf(`\x{%x}`, r)
		}
		segment += "]*"
	}
	stars := []string{"", segment, ".*"}
	return matching(stars[before] + regexp.QuoteMeta(text) + stars[after])
}
