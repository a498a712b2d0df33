package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
)

// withheld says what of the store isn't in the partner's answer.
func (t tried) withheld(out *strings.Builder) {
	if t.Account == nil {
		return
	}
	t.heading(out, "BETWEEN THEM")
	switch {
	case t.Account.Logs != nil:
		t.ofLogs(out, t.Account.Logs)
	case t.Account.Traces != nil:
		t.ofTraces(out, t.Account.Traces)
	default:
		t.ofMetrics(out, t.Account.Metrics)
	}
}

func (t tried) ofMetrics(out *strings.Builder, account *metrics.Account) {
	var labels []metrics.LabelAccount
	for _, s := range account.Selectors {
		labels = append(labels, s.Labels...)
		fmt.Fprintf(out, "  %s matches %d series:\n", s.Selector, s.Series)
		became := []countedAs{
			{s.Rows, "released, one by one"},
			{s.InCells, "counted into cells"},
			{s.InTwo, "in two datasets that release cells, and so in the cells of neither"},
		}
		out.WriteString(counted(append(append(became, t.by(s.Denied, "denied")...),
			countedAs{s.Outside, "in no dataset"},
			countedAs{s.Unmatched, "released, but matched by what is hidden"},
			countedAs{s.Elsewhen, "without samples in the time that may be seen"},
		)))
	}
	t.labels(out, "their labels", labels)
	for _, c := range account.Cells {
		t.cells(out, c)
	}
	for _, e := range account.Events {
		t.events(out, e)
	}
	for _, p := range account.Published {
		out.WriteString(paragraph("  ", fmt.Sprintf("%s is a published query that gives %d series; what it reads is its author's to account for:", p.Query, p.Series)))
		out.WriteString(paragraph("     ", p.Expression))
	}
}

// findings says what the policy names and the store doesn't have.
func (t tried) findings(out *strings.Builder) {
	if len(t.Findings) == 0 && t.NotLooked == "" {
		return
	}
	t.heading(out, "NOT IN YOUR DATA")
	if t.NotLooked != "" {
		out.WriteString(paragraph("  ", "what the policy names couldn't be looked for: "+t.NotLooked))
		return
	}
	var rows [][]string
	others := map[string]int{} // rows about metrics of a dataset of which none is similar to another
	for _, f := range t.Findings {
		if f.Missing == metrics.MissingMetric && f.Similar == "" {
			if row, said := others[f.Dataset]; said {
				rows[row][1] += fmt.Sprintf(", nor %q", f.Name)
				continue
			}
			others[f.Dataset] = len(rows)
		}
		rows = append(rows, []string{within(t.dir, f.Place), f.Text})
	}
	out.WriteString(tabulate(rows))
	if t.Looked == (policy.Window{}) {
		return
	}
	fmt.Fprintf(out, "  looked for from %s to %s\n", stamp(t.Looked.Start), stamp(t.Looked.End))
}

// cells says which cells of a leaf are suppressed.
func (t tried) cells(out *strings.Builder, c metrics.CellAccount) {
	d := t.Datasets[c.Dataset]
	units := strings.Join(d.Units, " and ")
	if c.Cells == 0 {
		fmt.Fprintf(out, "  %s has no series in a cell of %s\n", c.Leaf, d.Name)
		return
	}
	fmt.Fprintf(out, "  %s is %d series in %d cells of %s:\n", c.Leaf, c.Series, c.Cells, d.Name)
	always := ""
	if c.Times > 1 {
		always = fmt.Sprintf(" at all of %d times", c.Times)
	}
	out.WriteString(counted([]countedAs{
		{c.Released, "released" + always},
		{c.Partly, "released at some of the times"},
		{c.Small, fmt.Sprintf("of fewer than %d %s", d.K, units)},
		{c.Dominated, "of which one " + units + " has too much"},
		{c.Merged, fmt.Sprintf("buckets of fewer than %d observations, merged with others", d.K)},
		{c.Mixed, "of floats and histograms, which have no sum"},
	}))
	var list []string
	for _, s := range c.Suppressed {
		what := fmt.Sprintf("%s: %s, k is %d", cellName(s.Labels), span(s.LeastUnits, s.MostUnits, units), d.K)
		if s.Fate != metrics.SmallCell {
			what += fmt.Sprintf(", %s", s.Fate)
		}
		if c.Times > 1 {
			what += fmt.Sprintf(", at %d of %d times", s.Times, s.Of)
		}
		list = append(list, what)
	}
	suppressed(out, list, c.Unlisted)
}

// events says which increases of a leaf are suppressed, or not known.
func (t tried) events(out *strings.Builder, e metrics.EventAccount) {
	d := t.Datasets[e.Dataset]
	if e.Cells == 0 {
		fmt.Fprintf(out, "  %s has no series in a cell of %s\n", e.Leaf, d.Name)
		return
	}
	out.WriteString(paragraph("  ", fmt.Sprintf("%s is %d series in %d cells of %s, of each %s of %s:",
		e.Leaf, e.Series, e.Cells, d.Name, count(e.Intervals, "interval"), model.Duration(e.Interval))))
	out.WriteString(counted([]countedAs{
		{e.Released, "released, with no event or enough"},
		{e.Small, fmt.Sprintf("of 1 to %d events", d.K-1)},
		{e.Merged, fmt.Sprintf("of buckets of fewer than %d events, merged with others", d.K)},
		{e.Unknown, "in which no series has an increase that is known"},
		{e.Gaps, "gaps of single series, whose increase is lost: the resolution has to be longer than the scrape interval"},
	}))
	var list []string
	for _, s := range e.Suppressed {
		list = append(list, fmt.Sprintf("%s: %s, k is %d, in %d of %s", cellName(s.Labels), span(s.Least, s.Most, "events"), d.K, s.Intervals, count(s.Of, "interval")))
	}
	suppressed(out, list, e.Unlisted)
}

// countedAs is a number and of what.
type countedAs struct {
	n    int
	what string
}

func counted(list []countedAs) string {
	rows := [][]string{}
	for _, c := range list {
		if c.n > 0 {
			rows = append(rows, []string{" ", fmt.Sprint(c.n), c.what})
		}
	}
	return tabulate(rows)
}

// suppressed lists cells.
func suppressed(out *strings.Builder, list []string, unlisted int) {
	if len(list) == 0 {
		return
	}
	out.WriteString("  suppressed are:\n")
	for _, what := range list {
		out.WriteString("     " + what + "\n") // names of cells are whole
	}
	if unlisted > 0 {
		fmt.Fprintf(out, "     and %d more\n", unlisted)
	}
}

// span is how much there is, or from how much to how much.
func span[T int | float64](least, most T, what string) string {
	if least < most {
		return fmt.Sprintf("%v to %v %s", least, most, what)
	}
	return fmt.Sprintf("%v %s", least, what)
}

// cellName is what tells a cell from the others of its leaf.
func cellName(labels map[string]string) string {
	metric := model.Metric{}
	for name, value := range labels {
		if name != model.MetricNameLabel {
			metric[model.LabelName(name)] = model.LabelValue(value)
		}
	}
	return printable(metric.String())
}

// labels says how many values of each label the partner may see.
func (t tried) labels(out *strings.Builder, title string, all []metrics.LabelAccount) {
	counted := map[string]metrics.LabelAccount{}
	var names []string
	for _, l := range all {
		c, known := counted[l.Name]
		if !known {
			names = append(names, l.Name)
		}
		c.Values, c.Seen, c.Kept = max(c.Values, l.Values), max(c.Seen, l.Seen), max(c.Kept, l.Kept)
		c.InCells, c.Dimension = c.InCells || l.InCells, c.Dimension || l.Dimension
		c.Datasets = append(c.Datasets, l.Datasets...)
		counted[l.Name] = c
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	rows := [][]string{}
	for _, name := range names {
		rows = append(rows, []string{" ", printable(name), count(counted[name].Values, "value"), t.said(name, counted[name].Datasets), t.seen(name, counted[name])})
	}
	out.WriteString("  " + title + ":\n" + tabulate(rows))
}

// seen says how many values of a label are seen, and how.
func (t tried) seen(name string, l metrics.LabelAccount) string {
	if l.Seen == 0 && l.Dimension {
		return "in no cell that is released"
	}
	if l.Seen == 0 {
		return "hidden"
	}
	out := fmt.Sprintf("%d seen, ", l.Seen)
	if l.InCells {
		out = fmt.Sprintf("%d seen in cells that are released, ", l.Seen)
	}
	switch {
	case l.Kept == 0:
		return out + t.fate(name)
	case l.Kept < l.Seen:
		return out + fmt.Sprintf("%d of them as they are", l.Kept)
	}
	return out + policy.Keep.String()
}

// said is where policy says what becomes of a label in these datasets.
func (t tried) said(name string, datasets []int) string {
	byDataset := map[int]rego.Place{}
	for _, l := range t.Labels {
		of := l.LabelFate.Dataset
		_, said := byDataset[of]
		if slices.Contains(datasets, of) && (l.Label == name || l.Label == inspect.Others && !said) {
			byDataset[of] = l.Place
		}
	}
	var at []string
	for _, place := range byDataset {
		at = append(at, within(t.dir, place))
	}
	slices.Sort(at)
	return cmp.Or(strings.Join(slices.Compact(at), ", "), "-")
}

// fate is what policy says of a label that is seen otherwise, in words.
func (t tried) fate(name string) string {
	for _, label := range []string{name, inspect.Others} {
		for _, l := range t.Labels {
			if l.Label == label && l.Mode != policy.Drop && l.Mode != policy.Keep {
				return l.What
			}
			for _, p := range l.LabelFate.Partly {
				if l.Label == label && p.Mode != policy.Drop {
					return p.What
				}
			}
		}
	}
	return policy.Drop.String()
}
