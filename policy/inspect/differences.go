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
	OtherCells    DifferenceKind = "cells"
	OtherQueries  DifferenceKind = "queries"
	OtherTime     DifferenceKind = "time"
	OtherBounds   DifferenceKind = "bounds" // resolution, rounding, functions, limits, differencing
	OtherEpoch    DifferenceKind = "epoch"
)

// DifferenceKinds are all of them, in the order in which differences come.
var DifferenceKinds = []DifferenceKind{
	NewlyAllowed, NewlyDenied, OtherDatasets, OtherLabels, OtherCells, OtherQueries, OtherTime, OtherBounds, OtherEpoch,
}

// Difference is one between a decision and another one on the same question.
type Difference struct {
	Kind DifferenceKind `json:"kind"`
	// Text says what, for the owner.
	Text string `json:"text"`
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
	*d = append(*d, Difference{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// changed adds a difference where two texts aren't the same.
func (d *differences) changed(kind DifferenceKind, what, before, after string) {
	if before != after {
		d.add(kind, "%s: %s, was %s", what, orNothing(after), orNothing(before))
	}
}

func orNothing(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// datasets compares those of one name, in their order where several have it.
func (d *differences) datasets(before, after []policy.Dataset) {
	used := make([]bool, len(before))
	for _, a := range after {
		at := -1
		for i, b := range before {
			if !used[i] && b.Name == a.Name {
				at = i
				break
			}
		}
		if at < 0 {
			d.add(OtherDatasets, "%s is new: %s of %s", a.Name, a.Release, selectorsText(a.Series))
			continue
		}
		used[at] = true
		d.dataset(before[at], a)
	}
	for i, b := range before {
		if !used[i] {
			d.add(OtherDatasets, "%s is gone: it was %s of %s", b.Name, b.Release, selectorsText(b.Series))
		}
	}
}

func (d *differences) dataset(before, after policy.Dataset) {
	d.changed(OtherDatasets, after.Name+": release", string(before.Release), string(after.Release))
	d.changed(OtherDatasets, after.Name+": series", selectorsText(before.Series), selectorsText(after.Series))
	names := map[string]bool{}
	for _, labels := range []map[string]policy.LabelRule{before.Labels, after.Labels} {
		for name := range labels {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.changed(OtherLabels, after.Name+": "+name, before.Rule(name).String(), after.Rule(name).String())
	}
	d.changed(OtherLabels, after.Name+": all other labels", before.Others.String(), after.Others.String())
	d.changed(OtherCells, after.Name+": cells", cellsText(before.Cells), cellsText(after.Cells))
	d.changed(OtherBounds, after.Name+": numbers", roundingText(before.Rounding), roundingText(after.Rounding))
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
	if !sameTime(before.NotBefore, after.NotBefore) {
		d.changed(OtherTime, "data from", timeText(before.NotBefore), timeText(after.NotBefore))
	}
	if !sameTime(before.NotAfter, after.NotAfter) {
		d.changed(OtherTime, "data until", timeText(before.NotAfter), timeText(after.NotAfter))
	}
	d.changed(OtherBounds, "resolution", durationText(before.Resolution), durationText(after.Resolution))
	d.changed(OtherBounds, "functions", strings.Join(before.Functions, ", "), strings.Join(after.Functions, ", "))
	d.changed(OtherBounds, "limits", limitsText(before.Limits), limitsText(after.Limits))
	d.changed(OtherBounds, "differencing", differencingText(before.Differencing), differencingText(after.Differencing))
	d.changed(OtherEpoch, "pseudonyms stay for", epochText(before.Epoch), epochText(after.Epoch))
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
		texts[i] = v.String()
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

func timeText(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.UTC().Format(time.RFC3339)
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
	}{{l.Series, "series"}, {l.Samples, "samples"}, {l.Bytes, "bytes"}} {
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
