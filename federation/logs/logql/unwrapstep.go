package logql

import (
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
)

// unwrapStep makes a number of an entry.
type unwrapStep struct {
	label   string
	read    func(string) (float64, error)
	filters []condition
}

func newUnwrapStep(u *Unwrap) (*unwrapStep, error) {
	s := &unwrapStep{label: u.Label}
	switch u.Conversion {
	case Duration, DurationSeconds:
		s.read = func(s string) (float64, error) {
			d, err := time.ParseDuration(s)
			return d.Seconds(), err
		}
	case Bytes:
		s.read = func(s string) (float64, error) {
			n, err := humanize.ParseBytes(s)
			return float64(n), err
		}
	default:
		s.read = func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	}
	for _, f := range u.Filters {
		c, err := newCondition(f)
		if err != nil {
			return nil, err
		}
		s.filters = append(s.filters, c)
	}
	return s, nil
}

// value is the entry's number. An entry without the label has none.
func (s *unwrapStep) value(e *entry) (float64, bool) {
	text, ok := e.get(s.label)
	if !ok || text == "" {
		return 0, false
	}
	v, err := s.read(text)
	if err != nil {
		e.fail(unwrapProblem, err.Error())
		v = 0
	}
	for _, c := range s.filters {
		if !c.holds(e.fields) {
			return 0, false
		}
	}
	return v, true
}
