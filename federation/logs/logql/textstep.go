package logql

import (
	"errors"
	"regexp"
)

// regexpStep makes labels of named groups.
type regexpStep struct {
	re    *regexp.Regexp
	names []string // by group; empty: none
}

func newRegexpStep(s *RegexpParser) (step, error) {
	re, err := regexp.Compile(s.Re)
	if err != nil {
		return nil, err
	}
	return &regexpStep{re: re, names: re.SubexpNames()}, checkGroups(re)
}

func (s *regexpStep) process(e *entry) bool {
	if e.hasEnough() {
		return true
	}
	at := s.re.FindStringSubmatchIndex(e.line)
	if at == nil {
		return true
	}
	for i, name := range s.names {
		if name == "" {
			continue
		}
		value := ""
		if at[2*i] >= 0 {
			value = e.line[at[2*i]:at[2*i+1]]
		}
		if err := e.extract(name, value); err != nil {
			return !errors.Is(err, errGone)
		}
	}
	return true
}

// patternStep makes labels of captures.
type patternStep struct{ pattern pattern }

func (s *patternStep) process(e *entry) bool {
	if e.hasEnough() {
		return true
	}
	return !errors.Is(s.pattern.extract(e.line, e.extract), errGone)
}
