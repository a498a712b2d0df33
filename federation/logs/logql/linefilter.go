package logql

import (
	"regexp"
	"strings"
)

// lineFilter keeps lines in which one of the alternatives is found, or none.
type lineFilter struct {
	negative     bool
	alternatives []func(line string) bool
}

func newLineFilter(s *LineFilter) (step, error) {
	f := lineFilter{negative: s.Op.Negative()}
	for _, a := range s.Alternatives {
		found, err := newLineMatch(s.Op, a)
		if err != nil {
			return nil, err
		}
		f.alternatives = append(f.alternatives, found)
	}
	return f, nil
}

func newLineMatch(op LineFilterOp, a LinePattern) (func(string) bool, error) {
	switch op {
	case MatchesRegexp, MatchesRegexpN:
		re, err := regexp.Compile(a.Text)
		if err != nil {
			return nil, err
		}
		if literal, whole := re.LiteralPrefix(); whole {
			return func(line string) bool { return strings.Contains(line, literal) }, nil
		}
		return re.MatchString, nil
	case MatchesPattern, NotPattern:
		p, err := parsePattern(a.Text, true)
		return p.matches, err
	}
	if a.IP {
		r, err := parseAddresses(a.Text)
		return r.in, err
	}
	return func(line string) bool { return strings.Contains(line, a.Text) }, nil
}

func (f lineFilter) keeps(line string) bool {
	for _, found := range f.alternatives {
		if found(line) {
			return !f.negative
		}
	}
	return f.negative
}

func (f lineFilter) process(e *entry) bool { return f.keeps(e.line) }
