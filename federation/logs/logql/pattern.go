package logql

import (
	"errors"
	"regexp"
	"strings"
)

// pattern is a sequence of literals and captures, never two captures in a row.
type pattern []patternPart

// patternPart is a literal, or a capture: named, or <_>.
type patternPart struct {
	literal string
	capture bool
	name    string // of a capture; empty: it is thrown away
}

var capture = regexp.MustCompile(`<[A-Za-z_][A-Za-z0-9_]*>`)

// parsePattern reads a pattern of a pattern parser, which has at least one
// name, or of a line filter, which has none.
func parsePattern(s string, filter bool) (pattern, error) {
	var (
		all   pattern
		names = map[string]bool{}
	)
	for s != "" {
		at := capture.FindStringIndex(s)
		if at == nil {
			at = []int{len(s), len(s)}
		}
		if at[0] > 0 {
			all = append(all, patternPart{literal: s[:at[0]]})
		}
		if at[1] == at[0] {
			break
		}
		name := s[at[0]+1 : at[1]-1]
		switch {
		case len(all) > 0 && all[len(all)-1].capture:
			return nil, errors.New("two captures need text between them")
		case name == "_":
			name = ""
		case filter:
			return nil, errors.New("a line filter takes <_> only, not <" + name + ">")
		case names[name]:
			return nil, errors.New("<" + name + "> is in it twice")
		default:
			names[name] = true
		}
		all = append(all, patternPart{capture: true, name: name})
		s = s[at[1]:]
	}
	if !filter && len(names) == 0 {
		return nil, errors.New("it needs a named capture such as <name>")
	}
	return all, nil
}

// extract calls take with the name of every capture, in order, and what it
// captured, until it fails. A line that ends early ends the captures.
func (p pattern) extract(line string, take func(name, value string) error) error {
	if line == "" {
		return nil
	}
	if first := p[0]; !first.capture {
		rest, ok := strings.CutPrefix(line, first.literal)
		if !ok {
			return nil
		}
		line, p = rest, p[1:]
	}
	for len(p) > 0 {
		name := p[0].name
		value, rest, more := line, "", false
		if len(p) > 1 {
			value, rest, more = strings.Cut(line, p[1].literal)
		}
		if name != "" {
			if err := take(name, value); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		line, p = rest, p[2:]
	}
	return nil
}

// matches says whether a line is as the pattern of a line filter: the literals
// in order, at the ends of the line where the pattern has no capture there,
// and something for every capture.
func (p pattern) matches(line string) bool {
	if len(p) == 0 {
		return line == ""
	}
	for i, part := range p {
		if part.capture {
			continue
		}
		at := strings.Index(line, part.literal)
		if at < 0 || i > 0 && at == 0 {
			return false
		}
		line = line[at+len(part.literal):]
	}
	return p[len(p)-1].capture == (line != "")
}
