package inspect

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// changes are what differs, as "partner purpose questions/of kind: text".
func changes(t *testing.T, before, after *Folder) []string {
	t.Helper()
	list, err := Diff(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		for _, d := range c.Differences {
			out = append(out, fmt.Sprintf("%s %s %d/%d %s: %s", c.Partner, c.Purpose, c.Questions, c.Of, d.Kind, d.Text))
		}
	}
	return out
}

func TestDiff(t *testing.T) {
	before := load(t, written(t, map[string]string{
		"globex.rego": `package parley.partners.globex
default decision := {"allow": false}
decision := {"allow": true, "max_age": "7d", "datasets": [{"name": "a", "series": ["up"], "release": "row", "labels": {"user": "pseudonym"}}]} if input.principal.purpose == "slo-review"
decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]} if input.principal.purpose == "audit"`,
		"gone.rego": "package parley.partners.gone\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"b\", \"series\": [\"up\"], \"release\": \"row\"}]}",
		"same.rego": "package parley.partners.same\ndecision := {\"allow\": true, \"max_age\": \"1h\", \"datasets\": [{\"name\": \"b\", \"series\": [\"up\"], \"release\": \"row\"}]}",
	}))
	after := load(t, written(t, map[string]string{
		"globex.rego": `package parley.partners.globex
default decision := {"allow": false, "reasons": ["no more audits"]}
decision := {"allow": true, "max_age": "1d", "datasets": [{"name": "a", "series": ["{__name__=~\"up|down\"}"], "release": "row", "labels": {"user": "keep"}}]} if input.principal.purpose == "slo-review"
decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose == "capacity"
	input.principal.case != ""
	input.kind in {"query", "labels"}
}`,
		"same.rego": "package parley.partners.same\n# said otherwise\ndecision := {\"datasets\": [{\"release\": \"row\", \"name\": \"b\", \"series\": [\"{__name__=\\\"up\\\"}\"]}], \"max_age\": \"60m\", \"allow\": true}",
	}))
	want := []string{
		"globex capacity 2/14 allowed: a (row)",
		`globex slo-review 14/14 datasets: a: series: {__name__=~"up|down"}, was {__name__="up"}`,
		"globex slo-review 14/14 labels: a: user: keep, was pseudonym",
		"globex slo-review 14/14 time: max_age: 1d, was 1w",
		"globex audit 14/14 denied: no more audits",
		`gone capacity 1/1 denied: policy package "parley.partners.gone": there is none, or it has no rule decision`,
		`gone incident-response 1/1 denied: policy package "parley.partners.gone": there is none, or it has no rule decision`,
		`gone slo-review 1/1 denied: policy package "parley.partners.gone": there is none, or it has no rule decision`,
	}
	if diff := cmp.Diff(want, changes(t, before, after)); diff != "" {
		t.Error(diff)
	}
	if got := changes(t, before, before); got != nil {
		t.Errorf("with itself: %v", got)
	}
}

// What a dataset that is new, gone or renamed says is told, and times as they
// are written.
func TestDifferencesInWords(t *testing.T) {
	selector := func(name string) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}}
	}
	row := func(name, metric string) policy.Dataset {
		return policy.Dataset{Name: name, Series: selector(metric), Release: policy.Row, Labels: map[string]policy.LabelRule{"job": {Mode: policy.Keep}, "pod": {Mode: policy.Pseudonym}}}
	}
	unknown := func(name string) policy.Dataset {
		return policy.Dataset{Name: name, Release: policy.Row}
	}
	cells := policy.Dataset{
		Name: "logins", Series: selector("logins"), Release: policy.Aggregate, Rounding: policy.Rounding{Digits: 2},
		Cells: &policy.Cells{Dimensions: []string{"region"}, Units: []string{"user"}, K: 5},
	}
	kept := row("b", "up")
	kept.Labels["pod"] = policy.LabelRule{Mode: policy.Keep}
	of := func(datasets ...policy.Dataset) policy.Obligations { return policy.Obligations{Datasets: datasets} }
	aged := func(d time.Duration) policy.Obligations {
		return policy.Obligations{NotBefore: noon.Add(-d), MaxAge: d}
	}
	for name, c := range map[string]struct {
		before, after policy.Obligations
		want          []string
	}{
		"new":     {of(), of(row("a", "up")), []string{`a is new: row of {__name__="up"}; labels job: keep; labels pod: pseudonym; all other labels: drop`}},
		"gone":    {of(cells), of(), []string{`logins is gone: it was aggregate of {__name__="logins"}; cells by region over at least 5 user; numbers: 2 digits`}},
		"renamed": {of(row("a", "up")), of(kept), []string{"b: renamed, was a", "b: pod: keep, was pseudonym"}},
		"another": {of(row("a", "up")), of(row("b", "down")), []string{
			`b is new: row of {__name__="down"}; labels job: keep; labels pod: pseudonym; all other labels: drop`,
			`a is gone: it was row of {__name__="up"}; labels job: keep; labels pod: pseudonym; all other labels: drop`,
		}},
		"of which less is known": {of(unknown("a")), of(unknown("b")), []string{"b is there instead of a"}},
		"of which less is known, and more": {of(unknown("a")), of(unknown("b"), unknown("c")), []string{
			"b is new: row; all other labels: drop", "c is new: row; all other labels: drop", "a is gone: it was row; all other labels: drop",
		}},
		"an age":           {policy.Obligations{}, aged(31 * 24 * time.Hour), []string{"max_age: 31d, was none"}},
		"no age":           {aged(time.Hour), policy.Obligations{}, []string{"max_age: none, was 1h"}},
		"an age or a time": {aged(time.Hour), policy.Obligations{NotBefore: noon}, []string{"times of data: not_before 2026-03-14T12:00:00Z, was max_age 1h"}},
		"a time":           {policy.Obligations{}, policy.Obligations{NotAfter: noon}, []string{"not_after: 2026-03-14T12:00:00Z, was none"}},
	} {
		var got []string
		for _, d := range Differences(policy.Decision{Allow: true, Obligations: c.before}, policy.Decision{Allow: true, Obligations: c.after}) {
			got = append(got, d.Text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// Everything that an obligation can say is compared.
func TestDifferences(t *testing.T) {
	selector := func(name string) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}}
	}
	base := func() policy.Decision {
		return policy.Decision{Allow: true, Obligations: policy.Obligations{
			Datasets: []policy.Dataset{
				{Name: "rows", Series: selector("up"), Release: policy.Row, Labels: map[string]policy.LabelRule{"job": {Mode: policy.Keep}}},
				{Name: "cells", Series: selector("logins"), Release: policy.Aggregate, Cells: &policy.Cells{Dimensions: []string{"region"}, Units: []string{"user"}, K: 5}},
			},
			Queries:   []policy.Query{{Name: "q", Expression: "up"}},
			NotBefore: noon.Add(-time.Hour),
		}}
	}
	schema := int32(2)
	for name, c := range map[string]struct {
		change func(*policy.Decision)
		want   []DifferenceKind
	}{
		"nothing":  {func(*policy.Decision) {}, nil},
		"reasons":  {func(d *policy.Decision) { d.Reasons = []string{"other words"} }, nil},
		"revision": {func(d *policy.Decision) { d.Revision = "other" }, nil},
		"the order of series": {func(d *policy.Decision) {
			d.Obligations.Datasets[0].Series = append(selector("up"), selector("up")[1:]...)
		}, nil},
		"denied":         {func(d *policy.Decision) { *d = policy.Decision{} }, []DifferenceKind{NewlyDenied}},
		"a dataset less": {func(d *policy.Decision) { d.Obligations.Datasets = d.Obligations.Datasets[:1] }, []DifferenceKind{OtherDatasets}},
		"a dataset more": {func(d *policy.Decision) {
			d.Obligations.Datasets = append(d.Obligations.Datasets, policy.Dataset{Name: "x"})
		}, []DifferenceKind{OtherDatasets}},
		"a name":  {func(d *policy.Decision) { d.Obligations.Datasets[0].Name = "other" }, []DifferenceKind{OtherDatasets}},
		"series":  {func(d *policy.Decision) { d.Obligations.Datasets[0].Series = selector("down") }, []DifferenceKind{OtherDatasets}},
		"release": {func(d *policy.Decision) { d.Obligations.Datasets[0].Release = policy.Deny }, []DifferenceKind{OtherDatasets}},
		"a label": {func(d *policy.Decision) { d.Obligations.Datasets[0].Labels["job"] = policy.LabelRule{} }, []DifferenceKind{OtherLabels}},
		"a mapping": {func(d *policy.Decision) {
			d.Obligations.Datasets[0].Labels["job"] = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 2}}
		}, []DifferenceKind{OtherLabels}},
		"other labels": {func(d *policy.Decision) { d.Obligations.Datasets[0].Others.Mode = policy.Keep }, []DifferenceKind{OtherLabels}},
		"rounding":     {func(d *policy.Decision) { d.Obligations.Datasets[0].Rounding.Digits = 2 }, []DifferenceKind{OtherBounds}},
		"k":            {func(d *policy.Decision) { d.Obligations.Datasets[1].Cells.K = 6 }, []DifferenceKind{OtherCells}},
		"units":        {func(d *policy.Decision) { d.Obligations.Datasets[1].Cells.Units = nil }, []DifferenceKind{OtherCells}},
		"dominance":    {func(d *policy.Decision) { d.Obligations.Datasets[1].Cells.Dominance = 0.5 }, []DifferenceKind{OtherCells}},
		"the rest":     {func(d *policy.Decision) { d.Obligations.Datasets[1].Cells.Other = true }, []DifferenceKind{OtherCells}},
		"schema":       {func(d *policy.Decision) { d.Obligations.Datasets[1].Cells.Schema = &schema }, []DifferenceKind{OtherCells}},
		"a query":      {func(d *policy.Decision) { d.Obligations.Queries[0].Expression = "down" }, []DifferenceKind{OtherQueries}},
		"no query":     {func(d *policy.Decision) { d.Obligations.Queries = nil }, []DifferenceKind{OtherQueries}},
		"a parameter": {func(d *policy.Decision) {
			d.Obligations.Queries[0].Parameters = map[string]policy.Parameter{"x": {Type: policy.Number, Most: 2}}
		}, []DifferenceKind{OtherQueries}},
		"a moment later": {func(d *policy.Decision) { d.Obligations.NotBefore = d.Obligations.NotBefore.Add(20 * time.Millisecond) }, nil},
		"since when":     {func(d *policy.Decision) { d.Obligations.NotBefore = d.Obligations.NotBefore.Add(time.Minute) }, []DifferenceKind{OtherTime}},
		"since ever":     {func(d *policy.Decision) { d.Obligations.NotBefore = time.Time{} }, []DifferenceKind{OtherTime}},
		"until when":     {func(d *policy.Decision) { d.Obligations.NotAfter = noon }, []DifferenceKind{OtherTime}},
		"resolution":     {func(d *policy.Decision) { d.Obligations.Resolution = time.Minute }, []DifferenceKind{OtherBounds}},
		"functions":      {func(d *policy.Decision) { d.Obligations.Functions = []string{"sum"} }, []DifferenceKind{OtherBounds}},
		"limits":         {func(d *policy.Decision) { d.Obligations.Limits = tenants.Limits{Series: 2} }, []DifferenceKind{OtherBounds}},
		"bytes":          {func(d *policy.Decision) { d.Obligations.Limits = tenants.Limits{Bytes: 2} }, []DifferenceKind{OtherBounds}},
		"differencing":   {func(d *policy.Decision) { d.Obligations.Differencing.Budget = 2 }, []DifferenceKind{OtherBounds}},
		"epoch":          {func(d *policy.Decision) { d.Obligations.Epoch = time.Hour }, []DifferenceKind{OtherEpoch}},
	} {
		after := base()
		c.change(&after)
		var got []DifferenceKind
		for _, d := range Differences(base(), after) {
			got = append(got, d.Kind)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := Differences(policy.Decision{}, base()); len(got) != 1 || got[0].Kind != NewlyAllowed || got[0].Text != "rows (row), cells (aggregate), q (query)" {
		t.Errorf("newly allowed: %v", got)
	}
}
