package logql

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// needed says which labels an aggregation needs of entries. Like Loki's, our
// parsers then read no more than that: where one label is needed, what is
// wrong in a line after it isn't seen, and where none is, nothing is parsed.
type needed struct {
	all   bool
	names []string // unless all; none: nothing is parsed
	// preserve: the query looks at ErrorLabel, so that entries with a problem
	// are for it to judge and don't fail it.
	preserve bool
	// early are conditions that are stages of their own, by the label that they
	// are of. An entry that doesn't satisfy one when a parser finds the label is
	// gone, whatever stages there are between. Loki does that to save time, but
	// for entries that are grouped by labels.
	early map[string][]condition
}

// newNeededOfLog is for entries of a log query.
func newNeededOfLog(s *LogSelector) (*needed, error) {
	n := &needed{all: true}
	return n, n.addEarly(s, nil)
}

// newNeeded is for entries of a leaf whose result is grouped so; nil: by all
// labels. The given labels are none that lines are read for.
func newNeeded(r *RangeAggregation, g *Grouping, given []string) (*needed, error) {
	var names []string
	for _, stage := range r.Selector.Stages {
		names = append(names, StageLabels(stage)...)
	}
	if u := r.Unwrap; u != nil {
		names = append(names, u.Label)
		for _, f := range u.Filters {
			names = append(names, filterLabels(f)...)
		}
	}
	n := &needed{all: g == nil || g.Without}
	if !n.all {
		grouped := slices.DeleteFunc(slices.Clone(g.Labels), func(name string) bool { return slices.Contains(given, name) })
		names = append(names, grouped...)
		n.setNames(names)
		if len(grouped) > 0 {
			return n, nil
		}
	}
	return n, n.addEarly(r.Selector, r.Unwrap)
}

func (n *needed) setNames(names []string) {
	n.preserve = slices.Contains(names, ErrorLabel)
	for _, name := range names {
		n.names = append(n.names, name)
		if taken, ok := strings.CutSuffix(name, extractedSuffix); ok {
			n.names = append(n.names, taken)
		}
	}
	n.names = sortedOnce(n.names)
}

func (n *needed) addEarly(s *LogSelector, u *Unwrap) error {
	var filters []LabelFilter
	for _, stage := range s.Stages {
		if f, ok := stage.(*LabelFilterStage); ok {
			filters = append(filters, f.Filter)
		}
	}
	if u != nil && len(u.Filters) == 1 { // several are one to Loki
		filters = append(filters, u.Filters...)
	}
	n.early = map[string][]condition{}
	for _, f := range filters {
		switch f.(type) {
		case *AndFilter, *OrFilter:
			continue
		}
		c, err := newCondition(f)
		if err != nil {
			return err
		}
		for _, name := range filterLabels(f) {
			n.early[name] = append(n.early[name], c)
		}
	}
	return nil
}

// gone says whether the entry is, now that a parser has set the label.
func (n *needed) gone(f *fields, name string) bool {
	for _, c := range n.early[name] {
		if !c.holds(f) {
			return true
		}
	}
	return false
}

// StageLabels are the labels whose values a stage looks at.
func StageLabels(s Stage) []string {
	var names []string
	switch s := s.(type) {
	case *LabelFilterStage:
		names = filterLabels(s.Filter)
	case *LineFormat:
		names = templateLabels(s.Template)
	case *LabelFormat:
		for _, f := range s.Formats {
			if f.Rename {
				names = append(names, f.Source)
			} else {
				names = append(names, templateLabels(f.Source)...)
			}
		}
	}
	return names
}

func filterLabels(f LabelFilter) []string {
	switch f := f.(type) {
	case *StringFilter:
		if f.Matcher.Type == labels.MatchRegexp && matchesAll(f.Matcher.Value) {
			return nil
		}
		return []string{f.Matcher.Name}
	case *NumberFilter:
		return []string{f.Name}
	case *DurationFilter:
		return []string{f.Name}
	case *BytesFilter:
		return []string{f.Name}
	case *IPFilter:
		return []string{f.Name}
	case *AndFilter:
		return append(filterLabels(f.Left), filterLabels(f.Right)...)
	case *OrFilter:
		return append(filterLabels(f.Left), filterLabels(f.Right)...)
	}
	return nil
}

// has says whether the label is needed.
func (n *needed) has(name string) bool { return n.all || slices.Contains(n.names, name) }

// below says whether a label may be needed whose name begins with the object's.
func (n *needed) below(object string) bool {
	return n.all || slices.ContainsFunc(n.names, func(name string) bool { return strings.HasPrefix(name, object) })
}

// hasEnough says whether parsers have nothing to do: all that is needed was
// found, or is nothing.
func (e *entry) hasEnough() bool {
	if e.needed.all {
		return false
	}
	for _, name := range e.needed.names {
		if !slices.Contains(e.parsed, name) {
			return false
		}
	}
	return true
}
