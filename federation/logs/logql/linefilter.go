package logql

import "strings"

// lineFilter keeps lines in which one of the alternatives is found, or none.
type lineFilter struct {
	negative     bool
	alternatives []match
}

func newLineFilter(s *LineFilter) (step, error) {
	f := lineFilter{negative: s.Op.Negative()}
	for _, a := range s.Alternatives {
		if a.Text == "" && len(s.Alternatives) > 1 && (s.Op == Contains || s.Op == MatchesRegexp) {
			continue // Loki passes over it, unless it is all there is
		}
		found, err := newLineMatch(s.Op, a)
		if err != nil {
			return nil, err
		}
		f.alternatives = append(f.alternatives, found)
	}
	return f, nil
}

func newLineMatch(op LineFilterOp, a LinePattern) (match, error) {
	switch op {
	case MatchesRegexp, MatchesRegexpN:
		return newRegexpMatch(a.Text, false)
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
	if len(f.alternatives) == 0 {
		return true
	}
	for _, found := range f.alternatives {
		if found(line) {
			return !f.negative
		}
	}
	return f.negative
}

func (f lineFilter) process(e *entry) bool { return f.keeps(e.line) }
