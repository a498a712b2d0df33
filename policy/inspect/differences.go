package inspect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// DifferenceKind is what sort of thing differs between two decisions. The set is
// closed: metrics count by it.
type DifferenceKind string

// The kinds.
const (
	NewlyAllowed  DifferenceKind = "allowed"
	NewlyDenied   DifferenceKind = "denied"
	OtherDatasets DifferenceKind = "datasets" // which there are, of which series, at which level
	OtherLabels   DifferenceKind = "labels"
	OtherLines    DifferenceKind = "lines" // what leaves of them
	OtherSpans    DifferenceKind = "spans" // what leaves of them
	OtherCells    DifferenceKind = "cells"
	OtherQueries  DifferenceKind = "queries"
	OtherTime     DifferenceKind = "time"
	OtherBounds   DifferenceKind = "bounds" // resolution, rounding, functions, limits, differencing
	OtherEpoch    DifferenceKind = "epoch"
)

// DifferenceKinds are all of them, in the order in which differences come.
var DifferenceKinds = []DifferenceKind{
	NewlyAllowed, NewlyDenied, OtherDatasets, OtherLabels, OtherLines, OtherSpans, OtherCells, OtherQueries, OtherTime, OtherBounds, OtherEpoch,
}

// Difference is one between a decision and another one on the same question.
type Difference struct {
	Kind DifferenceKind `json:"kind"`
	// Text says what, for the owner.
	Text string `json:"text"`
	// Label is the label that it is about, of a dataset that both have; empty for
	// all else.
	Label string `json:"label,omitempty"`
	// Brief says it without selectors, reasons and expressions, which may hold what
	// a log of the gateway must not; empty where nothing is left.
	Brief string `json:"-"`
}

// sameMoment is how far apart bounds of time may be that follow from when a
// question was decided.
const sameMoment = time.Second

// Differences are what the decision after says otherwise than the one before.
func Differences(before, after policy.Decision) []Difference {
	var d differences
	switch {
	case !before.Allow && !after.Allow:
		return nil
	case !before.Allow:
		d.add(NewlyAllowed, "%s", released(after.Obligations))
	case !after.Allow:
		d.add(NewlyDenied, "%s", because(after))
	default:
		d.datasets(before.Obligations.Datasets, after.Obligations.Datasets)
		d.queries(before.Obligations.Queries, after.Obligations.Queries)
		d.rest(before.Obligations, after.Obligations)
	}
	slices.SortStableFunc(d, func(a, b Difference) int {
		return cmp.Compare(slices.Index(DifferenceKinds, a.Kind), slices.Index(DifferenceKinds, b.Kind))
	})
	return d
}

func because(d policy.Decision) string {
	if len(d.Reasons) == 0 {
		return "no reason is given"
	}
	return strings.Join(d.Reasons, "; ")
}

func released(o policy.Obligations) string {
	var out []string
	for _, d := range o.Datasets {
		if d.Release != policy.Deny {
			out = append(out, fmt.Sprintf("%s (%s)", d.Name, d.Release))
		}
	}
	for _, q := range o.Queries {
		out = append(out, q.Name+" (query)")
	}
	if len(out) == 0 {
		return "nothing is released"
	}
	return strings.Join(out, ", ")
}

type differences []Difference

func (d *differences) add(kind DifferenceKind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	brief := text
	switch kind {
	case NewlyAllowed, NewlyDenied:
		brief = ""
	case OtherDatasets, OtherQueries:
		brief, _, _ = strings.Cut(text, ": ")
	}
	*d = append(*d, Difference{Kind: kind, Text: text, Brief: brief})
}

// changed adds a difference where two texts aren't the same.
func (d *differences) changed(kind DifferenceKind, what, before, after string) {
	if before != after {
		d.add(kind, "%s: %s, was %s", what, orNothing(after), orNothing(before))
		if kind == OtherDatasets || kind == OtherLines {
			(*d)[len(*d)-1].Brief = what
		}
	}
}

func orNothing(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// datasets compares those of one name, in their order where several have it,
// and of the others those of which one seems to have taken the other's place.
func (d *differences) datasets(before, after []policy.Dataset) {
	var added []policy.Dataset
	gone := slices.Clone(before)
	take := func(at int) policy.Dataset {
		taken := gone[at]
		gone = slices.Delete(gone, at, at+1)
		return taken
	}
	for _, a := range after {
		at := slices.IndexFunc(gone, func(b policy.Dataset) bool { return b.Name == a.Name && b.Signal() == a.Signal() })
		if at < 0 {
			added = append(added, a)
			continue
		}
		d.dataset(take(at), a)
	}
	unpaired := len(added)
	for _, a := range added {
		at := slices.IndexFunc(gone, func(b policy.Dataset) bool { return b.Signal() == a.Signal() && selectAlike(a, b) })
		switch {
		case at >= 0:
			b := take(at)
			d.add(OtherDatasets, "%s: renamed, was %s", a.Name, b.Name)
			d.dataset(b, a)
		case unpaired == 1 && len(gone) == 1 && len(a.Selectors())+len(gone[0].Selectors()) == 0:
			// Which series they have isn't known.
			b := take(0)
			d.add(OtherDatasets, "%s is there instead of %s", a.Name, b.Name)
			d.dataset(b, a)
		default:
			d.add(OtherDatasets, "%s is new: %s", a.Name, datasetText(a))
		}
	}
	for _, b := range gone {
		d.add(OtherDatasets, "%s is gone: it was %s", b.Name, datasetText(b))
	}
}

// selectAlike says whether series could be in both of two datasets.
func selectAlike(a, b policy.Dataset) bool {
	for _, left := range a.Selectors() {
		for _, right := range b.Selectors() {
			if _, possible := meeting(left, right); possible == yes {
				return true
			}
		}
	}
	return false
}

// datasetText is all that a dataset says, as far as it is known.
func datasetText(d policy.Dataset) string {
	out := string(d.Release)
	if text := selectorsText(d.Selectors()); text != "" {
		out += " of " + text
	}
	if d.Cells != nil {
		out += "; cells " + cellsText(d.Cells)
	}
	byRule := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		rule := d.Labels[name].String()
		byRule[rule] = append(byRule[rule], name)
	}
	rules := slices.Sorted(maps.Keys(byRule))
	for _, rule := range rules {
		out += fmt.Sprintf("; labels %s: %s", strings.Join(byRule[rule], ", "), rule)
	}
	if d.Release == policy.Row {
		out += "; all other labels: " + d.Others.String()
	}
	switch {
	case d.Release != policy.Row:
	case d.Signal() == tenants.Logs:
		out += "; lines: " + d.Line.String()
	case d.Signal() == tenants.Traces:
		out += "; spans: " + d.Span.String()
	}
	if d.Rounding != (policy.Rounding{}) {
		out += "; numbers: " + roundingText(d.Rounding)
	}
	return out
}

func (d *differences) dataset(before, after policy.Dataset) {
	d.changed(OtherDatasets, after.Name+": release", string(before.Release), string(after.Release))
	of := map[tenants.Signal]string{tenants.Metrics: "series", tenants.Logs: "streams", tenants.Traces: "selectors of spans"}
	d.changed(OtherDatasets, after.Name+": "+of[after.Signal()], selectorsText(before.Selectors()), selectorsText(after.Selectors()))
	names := map[string]bool{}
	for _, labels := range []map[string]policy.LabelRule{before.Labels, after.Labels} {
		for name := range labels {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.label(name, after.Name+": "+name, before.Rule(name), after.Rule(name))
	}
	d.label(Others, after.Name+": all other labels", before.Others, after.Others)
	d.changed(OtherLines, after.Name+": lines", before.Line.String(), after.Line.String())
	d.changed(OtherSpans, after.Name+": spans", before.Span.String(), after.Span.String())
	d.changed(OtherCells, after.Name+": cells", cellsText(before.Cells), cellsText(after.Cells))
	d.changed(OtherBounds, after.Name+": numbers", roundingText(before.Rounding), roundingText(after.Rounding))
}

func (d *differences) label(name, what string, before, after policy.LabelRule) {
	n := len(*d)
	d.changed(OtherLabels, what, before.String(), after.String())
	if len(*d) > n {
		(*d)[n].Label = name
	}
}

func (d *differences) queries(before, after []policy.Query) {
	text := func(q policy.Query) string {
		out := q.Expression
		for _, name := range slices.Sorted(maps.Keys(q.Parameters)) {
			p := q.Parameters[name]
			out += fmt.Sprintf("; %s %s %q %v %g-%g %q", name, p.Type, p.Values, p.Pattern, p.Least, p.Most, p.Default)
		}
		return out + "; " + roundingText(q.Rounding)
	}
	byName := map[string]string{}
	for _, q := range before {
		byName[q.Name] = text(q)
	}
	for _, q := range after {
		was, known := byName[q.Name]
		switch {
		case !known:
			d.add(OtherQueries, "%s is new: %s", q.Name, q.Expression)
		case was != text(q):
			d.add(OtherQueries, "%s is another one: %s, was %s", q.Name, text(q), was)
		}
		delete(byName, q.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		d.add(OtherQueries, "%s is gone", name)
	}
}

func (d *differences) rest(before, after policy.Obligations) {
	d.time("max_age", "not_before", before.NotBefore, after.NotBefore, before.MaxAge, after.MaxAge)
	d.time("delay", "not_after", before.NotAfter, after.NotAfter, before.Delay, after.Delay)
	d.changed(OtherBounds, "resolution", durationText(before.Resolution), durationText(after.Resolution))
	d.changed(OtherBounds, "functions", strings.Join(before.Functions, ", "), strings.Join(after.Functions, ", "))
	d.changed(OtherBounds, "limits", limitsText(before.Limits), limitsText(after.Limits))
	d.changed(OtherBounds, "differencing", differencingText(before.Differencing), differencingText(after.Differencing))
	d.changed(OtherEpoch, "pseudonyms stay for", epochText(before.Epoch), epochText(after.Epoch))
}

// time compares a bound of time, which follows from an age where there is one.
func (d *differences) time(age, moment string, before, after time.Time, beforeAge, afterAge time.Duration) {
	text := func(t time.Time, of time.Duration, key bool) string {
		switch {
		case of > 0 && key:
			return age + " " + durationText(of)
		case of > 0:
			return durationText(of)
		case !t.IsZero() && key:
			return moment + " " + t.UTC().Format(time.RFC3339)
		case !t.IsZero():
			return t.UTC().Format(time.RFC3339)
		}
		return ""
	}
	aged, dated := beforeAge > 0 || afterAge > 0, beforeAge == 0 && !before.IsZero() || afterAge == 0 && !after.IsZero()
	switch {
	case beforeAge == afterAge && beforeAge > 0, sameTime(before, after):
	case aged && dated:
		d.changed(OtherTime, "times of data", text(before, beforeAge, true), text(after, afterAge, true))
	case aged:
		d.changed(OtherTime, age, text(before, beforeAge, false), text(after, afterAge, false))
	default:
		d.changed(OtherTime, moment, text(before, 0, false), text(after, 0, false))
	}
}

func sameTime(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() == b.IsZero()
	}
	return a.Sub(b).Abs() <= sameMoment
}

// selectorsText is the same for lists that differ in their order alone.
func selectorsText(list []policy.Selector) string {
	texts := make([]string, len(list))
	for i, s := range list {
		v := parser.VectorSelector{LabelMatchers: []*labels.Matcher(s)}
		texts[i] = cmp.Or(v.String(), "{}")
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func cellsText(c *policy.Cells) string {
	if c == nil {
		return ""
	}
	units := strings.Join(c.Units, " and ")
	if units == "" {
		units = "events"
	}
	out := fmt.Sprintf("by %s over at least %d %s", orNothing(strings.Join(c.Dimensions, ", ")), c.K, units)
	if c.Other {
		out += ", the rest as one"
	}
	if c.Dominance > 0 {
		out += ", of which none has more than " + strconv.FormatFloat(c.Dominance, 'g', -1, 64)
	}
	if c.Schema != nil {
		out += ", histograms of schema " + strconv.Itoa(int(*c.Schema))
	}
	return out
}

func roundingText(r policy.Rounding) string {
	var out []string
	if r.Digits > 0 {
		out = append(out, strconv.Itoa(r.Digits)+" digits")
	}
	if r.Base > 0 {
		out = append(out, "multiples of "+strconv.FormatFloat(r.Base, 'g', -1, 64))
	}
	if len(out) == 0 {
		return "exact"
	}
	return strings.Join(out, ", ")
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return model.Duration(d).String()
}

func epochText(d time.Duration) string {
	if d == 0 {
		return "one question"
	}
	return model.Duration(d).String()
}

func limitsText(l tenants.Limits) string {
	var out []string
	for _, limit := range []struct {
		n    int
		what string
	}{{l.Series, "series"}, {l.Samples, "samples"}, {l.Bytes, "bytes"}, {l.Lines, "lines"}, {l.Spans, "spans"}} {
		if limit.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", limit.n, limit.what))
		}
	}
	if l.Range > 0 {
		out = append(out, "range "+durationText(l.Range))
	}
	return strings.Join(out, ", ")
}

func differencingText(d policy.Differencing) string {
	if d.Budget == 0 {
		return ""
	}
	action := "flag"
	if d.Refuse {
		action = "refuse"
	}
	return fmt.Sprintf("%s beyond %d in %s", action, d.Budget, durationText(d.Within))
}
