package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// lines looks at what leaves of the lines of a dataset beside its labels.
func (l *linter) lines(d decidedFor, i int) {
	ds, at := d.Decision.Obligations.Datasets[i], d.Datasets[i]
	if ds.Release != policy.Row || ds.Line.Mode != policy.LineKeep {
		return
	}
	var hidden []string
	for _, name := range slices.Sorted(maps.Keys(ds.Labels)) {
		if ds.Labels[name].Mode != policy.Keep {
			hidden = append(hidden, name)
		}
	}
	if len(hidden) > 0 {
		l.add(Finding{
			ID: LinesTellLabels, Severity: Warning, Place: at.Of("line"),
			Text:   fmt.Sprintf("dataset %s hides %s and keeps lines as they are, which may have it", ds.Name, strings.Join(hidden, ", ")),
			Advice: "keep fields of lines by name, or mask",
		}, d.String())
	}
}

// every says what is matched by selectors that match every stream or span, or every
// one that has some labels: LogQL has no other way to ask for all.
func every(thing string, selectors []policy.Selector) (text string, is bool) {
	if covers(selectors, policy.Selector{}) == yes {
		return "every " + thing, true
	}
	for _, s := range selectors {
		var names []string
		var all policy.Selector
		for _, m := range s {
			if !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
				all = append(all, labels.MustNewMatcher(labels.MatchNotEqual, m.Name, ""))
			}
		}
		if covers(selectors, all) == yes {
			return "every " + thing + " that has " + strings.Join(names, " and "), true
		}
	}
	return "", false
}

// andLines says what leaves of lines beside labels, where it is all or but for
// what a mask finds.
func andLines(l policy.Line) string {
	switch {
	case l.Mode == policy.LineKeep:
		return ", and lines as they are"
	case l.Mode == policy.LineByRules && !slices.ContainsFunc(l.Rules, func(r policy.LineRule) bool { return r.JSON != nil || r.Logfmt != nil }):
		return ", and lines as they are but for what masks find"
	}
	return ""
}

// twoLines looks for rules of lines that have no common one.
func (l *linter) twoLines(d decidedFor, i, j int, example string) {
	a, b := &d.Decision.Obligations.Datasets[i], &d.Decision.Obligations.Datasets[j]
	if a.Line.Mode == policy.LineNone || b.Line.Mode == policy.LineNone || policy.StrictestLine([]*policy.Dataset{a, b}).Mode != policy.LineNone {
		return
	}
	l.add(Finding{
		ID: TwoLines, Severity: Warning, Place: d.Datasets[j].Of("line"),
		Text:   fmt.Sprintf("a stream such as %s is in the datasets %s and %s, which say different things of its lines: none of them leaves", example, a.Name, b.Name),
		Advice: "say the same of lines in both, or let their selectors exclude each other",
	}, d.String())
}

// acrossSignals looks for labels that are named for several signals, and kept in
// some of them alone: what is hidden in one can be seen in the other.
func (l *linter) acrossSignals(decisions []decidedFor) {
	for _, a := range decisions {
		for _, b := range decisions {
			across := l.acrossDatasets
			switch {
			case a.signal() == tenants.Metrics && b.signal() == tenants.Logs:
			case a.signal() != tenants.Traces && b.signal() == tenants.Traces:
				across = l.acrossSpans
			default:
				continue
			}
			for i := range a.Decision.Obligations.Datasets {
				for j := range b.Decision.Obligations.Datasets {
					across(a, b, i, j)
				}
			}
		}
	}
}

func (l *linter) acrossDatasets(a, b decidedFor, i, j int) {
	series, streams := a.Decision.Obligations.Datasets[i], b.Decision.Obligations.Datasets[j]
	if series.Release == policy.Deny || streams.Release == policy.Deny {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(series.Labels)) {
		ofSeries := series.Labels[name]
		ofStreams, named := streams.Labels[name]
		if !named || (ofSeries.Mode == policy.Keep) == (ofStreams.Mode == policy.Keep) {
			continue
		}
		also := a.Datasets[i].Of(name)
		l.add(Finding{
			ID: OtherInLogs, Severity: Warning, Place: b.Datasets[j].Of(name), Also: &also,
			Text:   fmt.Sprintf("label %s is %s in dataset %s, of logs, and %s in %s, of metrics", name, ofStreams, streams.Name, ofSeries, series.Name),
			Advice: "say the same of it in both, if it is the same",
		}, a.String())
	}
}
