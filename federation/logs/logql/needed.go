package logql

import (
	"slices"
	"strings"
)

// needed says which labels an aggregation needs of entries. Like Loki's, our
// parsers then read no more than that: where one label is needed, what is
// wrong in a line after it isn't seen, and where none is, nothing is parsed.
type needed struct {
	all, none bool
	names     []string // unless all or none
	// preserve: the query looks at ErrorLabel, so that entries with a problem
	// are for it to judge and don't fail it.
	preserve bool
	// early are conditions that are stages of their own, by the label that they
	// are of. An entry that doesn't satisfy one when a parser finds the label is
	// gone, whatever stages there are between. Loki does that to save time.
	early map[string][]condition
}

// newNeededOfLog is for entries of a log query.
func newNeededOfLog(s *LogSelector) (*needed, error) {
	n := &needed{all: true}
	return n, n.addEarly(s, nil)
}

// newNeeded is for grouped entries that go through the stages. The grouping is
// nil if all labels are the result's.
func newNeeded(g *Grouping, s *LogSelector, u *Unwrap) (*needed, error) {
	var names []string
	for _, stage := range s.Stages {
		names = append(names, stageLabels(stage)...)
	}
	if u != nil {
		names = append(names, u.Label)
		for _, f := range u.Filters {
			names = append(names, filterLabels(f)...)
		}
	}
	n := &needed{all: g == nil || g.Without}
	if !n.all {
		names = append(names, g.Labels...)
		n.none = len(names) == 0
	}
	n.preserve = !n.all && slices.Contains(names, ErrorLabel)
	for _, name := range names {
		n.names = append(n.names, name)
		if taken, ok := strings.CutSuffix(name, extractedSuffix); ok {
			n.names = append(n.names, taken)
		}
	}
	n.names = sortedOnce(n.names)
	if !n.all && len(g.Labels) == 0 {
		return n, nil
	}
	return n, n.addEarly(s, u)
}

func (n *needed) addEarly(s *LogSelector, u *Unwrap) error {
	var filters []LabelFilter
	for _, stage := range s.Stages {
		if f, ok := stage.(*LabelFilterStage); ok {
			filters = append(filters, f.Filter)
		}
	}
	if u != nil {
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
		name := filterLabels(f)[0]
		n.early[name] = append(n.early[name], c)
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

// stageLabels are those whose values a stage looks at.
func stageLabels(s Stage) []string {
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

// enough says whether what parsers found is all that is needed.
func (n *needed) enough(parsed []string) bool {
	if n.all {
		return false
	}
	for _, name := range n.names {
		if !slices.Contains(parsed, name) {
			return false
		}
	}
	return true
}
