package rego

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
)

func (w *world) explain(t testing.TB, r policy.Request) Explanation {
	t.Helper()
	e, err := w.Explain(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.decide(t, r).Allow, e.Decision.Allow); diff != "" {
		t.Errorf("explains another decision:\n%s", diff)
	}
	return e
}

func (w *world) at(name string, line int) Place {
	return Place{File: filepath.Join(w.dir, filepath.FromSlash(name)), Line: line}
}

func TestExplain(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	e := w.explain(t, globexAsks("incident-response"))
	const globex = "partners/globex.rego"
	want := []Rule{
		{Name: "decision", Place: w.at(globex, 6), Decides: true, Default: true, Held: true},
		{Name: "decision", Place: w.at(globex, 8), Decides: true, Unmet: &Condition{w.at(globex, 9), `input.principal.purpose == "slo-review"`}},
		{Name: "decision", Place: w.at(globex, 12), Decides: true, Unmet: &Condition{w.at(globex, 14), `input.principal.case != ""`}},
	}
	if diff := cmp.Diff(want, e.Rules); diff != "" {
		t.Errorf("denied:\n%s", diff)
	}

	r := globexAsks("incident-response")
	r.Principal.Case = "INC-7"
	e = w.explain(t, r)
	want[0].Held, want[2].Held, want[2].Unmet = false, true, nil
	if diff := cmp.Diff(want[1:], e.Rules); diff != "" {
		t.Errorf("allowed:\n%s", diff)
	}
	if len(e.Datasets) != 3 {
		t.Fatalf("datasets at %v", e.Datasets)
	}
	for _, c := range []struct {
		dataset int
		label   string
		line    int
	}{{0, "", 18}, {0, "user", 21}, {0, "region", 21}, {0, "colour", 18}, {1, "queue", 28}, {1, "*", 28}, {1, "release", 27}, {2, "release", 31}} {
		if got := e.Datasets[c.dataset].Of(c.label); got != w.at(globex, c.line) {
			t.Errorf("dataset %d, label %q: at %s, want line %d", c.dataset, c.label, got, c.line)
		}
	}
}

// Helpers with conditions are among the rules, those of other packages by their
// whole names; the library's are not.
func TestExplainHelpers(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	w.write(t, "partners/initech.rego", `package parley.partners.initech

import data.helpers
import data.parley.lib

default decision := {"allow": false}

decision := {"allow": true, "datasets": datasets} if {
	weekday
	helpers.known("a")
	lib.asks_only(["http_.*"])
}

weekday if input.side == "answer"

datasets := [object.union(helpers.base, {"name": "joined"})]
`)
	w.write(t, "helpers.rego", `package helpers

known(x) if x == "b"

known(x) if x == "a"

base := {"series": ["up"], "release": "row"}
`)
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := w.explain(t, asks("initech", "parley.partners.initech", "slo-review", "http_requests_total"))
	want := []Rule{
		{Name: "helpers.known", Place: w.at("helpers.rego", 3), Unmet: &Condition{w.at("helpers.rego", 3), `x == "b"`}},
		{Name: "helpers.known", Place: w.at("helpers.rego", 5), Held: true},
		{Name: "decision", Place: w.at("partners/initech.rego", 8), Decides: true, Held: true},
		{Name: "weekday", Place: w.at("partners/initech.rego", 14), Held: true},
	}
	if diff := cmp.Diff(want, e.Rules); diff != "" {
		t.Error(diff)
	}
	// Put together by rules, it is part of the decision.
	if len(e.Datasets) != 1 || e.Datasets[0].Of("x") != w.at("partners/initech.rego", 8) {
		t.Errorf("datasets at %v", e.Datasets)
	}
	if e := w.explain(t, asks("initech", "parley.partners.initech", "slo-review", "up")); e.Decision.Allow ||
		e.Rules[3].Unmet == nil || !strings.Contains(e.Rules[3].Unmet.Text, "asks_only") {
		t.Errorf("%+v", e)
	}
}

// Where no package is asked there is nothing to explain.
func TestExplainRefusals(t *testing.T) {
	w := mustOpen(t, "")
	for _, r := range []policy.Request{
		asks("globex", "parley.own", "slo-review", "up"),
		asks("globex", "nowhere", "slo-review", "up"),
		asks("", "", "slo-review", "up"),
	} {
		if e := w.explain(t, r); e.Decision.Allow || e.Package != "" || len(e.Decision.Reasons) == 0 {
			t.Errorf("%s: %+v", r.Package, e)
		}
	}
	if e := w.explain(t, asks("globex", "", "slo-review", "up")); e.Package != "parley.default.answer" || len(e.Rules) > 0 {
		t.Errorf("the default: %+v", e)
	}
}
