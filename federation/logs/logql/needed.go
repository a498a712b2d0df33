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
}

// everything is what a log query needs.
var everything = &needed{all: true}

// newNeeded is for grouped entries that go through the stages. The grouping is
// nil if all labels are the result's.
func newNeeded(g *Grouping, s *LogSelector, u *Unwrap) *needed {
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
	n.preserve = slices.Contains(names, ErrorLabel)
	for _, name := range names {
		n.names = append(n.names, name)
		if taken, ok := strings.CutSuffix(name, extractedSuffix); ok {
			n.names = append(n.names, taken)
		}
	}
	n.names = sortedOnce(n.names)
	return n
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
