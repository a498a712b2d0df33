package logql

import (
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/prometheus/model/labels"
)

// What can go wrong with an entry, as the values of ErrorLabel.
const (
	jsonProblem     = "JSONParserErr"
	logfmtProblem   = "LogfmtParserErr"
	unwrapProblem   = "SampleExtractionErr"
	filterProblem   = "LabelFilterErr"
	templateProblem = "TemplateFormatErr"
	// labelsProblem is none of Loki's: stages found or made more than maxLabelText.
	labelsProblem = "LabelsTooLargeErr"
)

// condition is a label filter at work.
type condition interface {
	// holds may make the entry one with a problem, which then is kept.
	holds(f *fields) bool
}

type conditionStep struct{ condition }

func (s conditionStep) process(e *entry) bool { return s.holds(e.fields) }

func newCondition(f LabelFilter) (condition, error) {
	switch f := f.(type) {
	case *StringFilter:
		return newStringCondition(f.Matcher)
	case *NumberFilter:
		return &numberCondition{f.Name, f.Op, f.Value, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }}, nil
	case *DurationFilter:
		return &numberCondition{f.Name, f.Op, float64(f.Value), func(s string) (float64, error) {
			d, err := time.ParseDuration(s)
			return float64(d), err
		}}, nil
	case *BytesFilter:
		return &numberCondition{f.Name, f.Op, float64(f.Value), func(s string) (float64, error) {
			n, err := humanize.ParseBytes(s)
			return float64(n), err
		}}, nil
	case *IPFilter:
		r, err := parseAddresses(f.Pattern)
		return ipCondition{f.Name, f.Not, r}, err
	case *AndFilter:
		return both(f.Left, f.Right, false)
	case *OrFilter:
		return both(f.Left, f.Right, true)
	}
	return nil, &ParseError{Line: 1, Column: 1, Message: "a label filter that isn't known"}
}

func both(left, right LabelFilter, or bool) (condition, error) {
	l, err := newCondition(left)
	if err != nil {
		return nil, err
	}
	r, err := newCondition(right)
	if or {
		return orCondition{l, r}, err
	}
	return andCondition{l, r}, err
}

type stringCondition struct {
	name    string
	not     bool
	matches match
}

func newStringCondition(m *labels.Matcher) (condition, error) {
	c := stringCondition{name: m.Name, not: m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp}
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		c.matches = func(value string) bool { return value == m.Value }
		return c, nil
	}
	var err error
	c.matches, err = newRegexpMatch(m.Value, true)
	return c, err
}

func (c stringCondition) holds(f *fields) bool {
	value, _ := f.get(c.name)
	return c.matches(value) != c.not
}

type numberCondition struct {
	name  string
	op    CompareOp
	value float64
	read  func(string) (float64, error)
}

func (c *numberCondition) holds(f *fields) bool {
	text, ok := f.get(c.name)
	if !ok {
		return false
	}
	v, err := c.read(text)
	if err != nil {
		if f.problem == "" {
			f.fail(filterProblem, err.Error())
		}
		return true
	}
	switch c.op {
	case "==":
		return v == c.value
	case "!=":
		return v != c.value
	case ">":
		return v > c.value
	case ">=":
		return v >= c.value
	case "<":
		return v < c.value
	default:
		return v <= c.value
	}
}

type ipCondition struct {
	name string
	not  bool
	in   addresses
}

func (c ipCondition) holds(f *fields) bool {
	if f.problem != "" {
		return true
	}
	text, ok := f.get(c.name)
	if !ok {
		return false
	}
	return c.in.in(text) != c.not
}

type andCondition struct{ left, right condition }

// holds asks both: the right one may have a problem that a filter after it sees.
func (c andCondition) holds(f *fields) bool {
	left := c.left.holds(f)
	return c.right.holds(f) && left
}

type orCondition struct{ left, right condition }

func (c orCondition) holds(f *fields) bool { return c.left.holds(f) || c.right.holds(f) }
