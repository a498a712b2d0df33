package rego

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// tested runs the tests of acme's policies with these files besides.
func tested(t *testing.T, coverage bool, files map[string]string) (*world, Tests, error) {
	t.Helper()
	w := mustOpen(t, "testdata/acme", agreements...)
	for name, text := range files {
		w.write(t, name, text)
	}
	tests, err := Test(t.Context(), w.config(), coverage)
	return w, tests, err
}

const globexTests = `package parley.partners.globex_test

import data.parley.partners.globex

asks(purpose, id) := {"principal": {"purpose": purpose, "case": id}}

test_slo_review if globex.decision.allow with input as asks("slo-review", "")

test_agreements if "audit" in data.parley.agreements.globex.purposes

test_hours if data.shifts.day.from == 8

test_incident if {
	print("without a case")
	globex.decision.allow with input as asks("incident-response", "")
}

test_each[c.note] if {
	some c in [{"note": "one", "purpose": "slo-review"}, {"note": "two", "purpose": "audit"}]
	globex.decision.allow with input as asks(c.purpose, "")
}

test_error if to_number("x") == 1

todo_test_more if false
`

func TestTest(t *testing.T) {
	w, tests, err := tested(t, true, map[string]string{"partners/globex_test.rego": globexTests})
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(w.dir, "partners", name) }
	result := func(name string, line int, outcome TestOutcome) TestResult {
		return TestResult{Name: "parley.partners.globex_test." + name, Place: Place{File: file("globex_test.rego"), Line: line}, Outcome: outcome}
	}
	incident := result("test_incident", 13, Failed)
	incident.Output = "without a case"
	incident.Failed = &FailedExpression{Place: Place{File: file("globex_test.rego"), Line: 15}}
	incident.Because = []Condition{{Place: Place{File: file("globex.rego"), Line: 14}, Text: `input.principal.case != ""`}}
	each := result("test_each", 18, Failed)
	each.Cases = []string{"two"}
	each.Failed = &FailedExpression{Place: Place{File: file("globex_test.rego"), Line: 20}}
	want := []TestResult{
		result("test_slo_review", 7, Passed), result("test_agreements", 9, Passed), result("test_hours", 11, Passed),
		incident, each, result("test_error", 23, Errored), result("todo_test_more", 25, Skipped),
	}
	ignored := cmp.Options{
		cmpopts.IgnoreFields(TestResult{}, "Took", "Error"), cmpopts.IgnoreFields(FailedExpression{}, "Text"),
	}
	if diff := cmp.Diff(want, tests.Results, ignored); diff != "" {
		t.Error(diff)
	}
	if got := tests.Results[5].Error; !strings.Contains(got, "to_number") {
		t.Errorf("the error is %q", got)
	}
	if got := tests.Results[3].Failed.Text; !strings.HasPrefix(got, "globex.decision.allow with input as") {
		t.Errorf("failed at %q", got)
	}
	if len(tests.Coverage) != 2 || tests.Coverage[0].Percent <= tests.Coverage[1].Percent || tests.Coverage[1].Percent != 0 {
		t.Errorf("coverage %+v; want some of globex.rego and none of initech.rego", tests.Coverage)
	}
	if diff := cmp.Diff([]Lines{{12, 12}, {24, 29}, {31, 31}}, tests.Coverage[0].Missed); diff != "" {
		t.Errorf("lines that no test evaluates:\n%s", diff)
	}
}

// A comparison that isn't true is shown with what it compares; undefined is what
// isn't there.
func TestComparisonsThatAreFalse(t *testing.T) {
	const given = `with input as {"principal": {"purpose": "slo-review", "case": ""}}`
	_, tests, err := tested(t, false, map[string]string{"partners/globex_test.rego": `package parley.partners.globex_test

import data.parley.partners.globex

test_1 if globex.decision.allow == false ` + given + `

test_2 if globex.decision.datasets[0].name == concat("", ["a", "b"]) ` + given + `

test_3 if count(globex.decision.datasets) > 3 - 1 ` + given + `

test_4 if input.principal.purpose == "audit" ` + given + `

test_5 if input.principal.case != "" with input as {"principal": {}}

test_6 if {
	some d in globex.decision.datasets ` + given + `
	d.name == "x"
}

test_7 if globex.decision.allow with input as {"principal": {"purpose": "audit", "case": ""}}

test_8 if globex.decision.datasets[_].name == "x" ` + given + `
`})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"globex.decision.allow: true", `globex.decision.datasets[0].name: "requests"` + "\n" + `concat("", ["a", "b"]): "ab"`,
		"count(globex.decision.datasets): 1\n3 - 1: 2", `input.principal.purpose: "slo-review"`, "input.principal.case: undefined", `d.name: "requests"`,
		"globex.decision.allow: false", "",
	} {
		text := tests.Results[i].Failed.Text
		if _, values, _ := strings.Cut(text, "\n"); values != want {
			t.Errorf("%s shows\n%s\nwant\n%s", tests.Results[i].Name, values, want)
		}
	}
}

func TestTestsSayWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"no tests":       {"partners/globex_test.rego", "package a_test\n\nnothing := 1\n", ErrNoTests.Error()},
		"syntax":         {"a_test.rego", "package a_test\n\ntest_a if\n", "a_test.rego:"},
		"unknown input":  {"a_test.rego", "package a_test\n\ntest_a if input.colour == 1\n", "undefined ref: input.colour"},
		"unknown data":   {"a_test.rego", "package a_test\n\ntest_a if data.parley.lib.nothing\n", "parley.lib has"},
		"network":        {"a_test.rego", "package a_test\n\ntest_a if http.send({}).ok\n", "policies can't use"},
		"policy":         {"a.rego", "package a\n\nx := y\n", "a.rego:3"},
		"parley's names": {"a_test.rego", "package parley.lib\n\ntest_a if true\n", "belongs to the embedded library"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := tested(t, false, map[string]string{c.file: c.text})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %q in it", err, c.want)
			}
			var broken *LoadError
			if !errors.Is(err, ErrNoTests) && !errors.As(err, &broken) {
				t.Errorf("a %T has no places", err)
			}
		})
	}
}
