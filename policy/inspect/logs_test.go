package inspect

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// withLogs is an agreement about logs as well.
func withLogs(a tenants.Agreement) tenants.Agreement {
	a.Signals = append(slices.Clone(a.Signals), tenants.Metrics, tenants.Logs)
	return a
}

const ofBothSignals = `package parley.partners.globex
decision := {"allow": true, "max_age": "7d", "limits": {"series": 10}, "datasets": [
	{"name": "requests", "series": ["up"], "release": "row", "labels": {"pod": "pseudonym", "job": "keep"}},
	{"name": "app", "streams": ["{service=\"checkout\"}"], "release": "row", "labels": {"service": "keep", "job": "keep"},
		"line": [{"json": {"message": "keep", "user_id": "pseudonym", "secret": "drop"}}, {"mask": ["email", "card"]}]},
	{"name": "search", "streams": ["{service=\"search\"}"], "release": "row", "line": "shape"},
]}`

func TestCatalogOfLogs(t *testing.T) {
	for name, f := range map[string]*Folder{
		"agreed":  load(t, written(t, map[string]string{"globex.rego": ofBothSignals}), withLogs(agreement("globex", "parley.partners.globex", "audit"))),
		"assumed": load(t, written(t, map[string]string{"globex.rego": ofBothSignals})),
	} {
		t.Run(name, func(t *testing.T) {
			c := catalog(t, f, "globex")
			terms := c.Purposes[0].Terms
			if len(terms) != 2 {
				t.Fatalf("%+v", terms)
			}
			if diff := cmp.Diff(policy.Kinds(tenants.Logs), terms[1].Kinds); diff != "" || len(terms[1].Conditions) > 0 {
				t.Errorf("%v %s", terms[1].Conditions, diff)
			}
			want := []CatalogSet{
				{
					Signal: tenants.Logs, Selectors: []string{`{service="checkout"}`}, Release: policy.Row, Rounding: "exact",
					Labels: []CatalogLabel{{"job", "as it is"}, {"service", "as it is"}},
					Lines:  "rules", Fields: []CatalogLabel{{"message", "as it is"}, {"user_id", "by pseudonym"}}, Masks: []string{"email", "card"},
				},
				{Signal: tenants.Logs, Selectors: []string{"{}"}, Release: policy.Row, Labels: []CatalogLabel{}, Rounding: "exact", Lines: "shape"},
			}
			if terms[0].Limits.Lines != 0 || terms[1].Limits.Lines != tenants.DefaultLimits.Lines {
				t.Errorf("limits %+v of metrics, and %+v", terms[0].Limits, terms[1].Limits)
			}
			if diff := cmp.Diff(want, terms[1].Sets); diff != "" {
				t.Error(diff)
			}
			a, _ := f.Agreement("globex")
			answers, _, err := f.Answers(t.Context(), a)
			if err != nil || answers[0] != Answered {
				t.Errorf("%v, %v", answers, err)
			}
		})
	}
}

// A policy about one signal answers all that is asked of it.
func TestAnswersOfOneSignal(t *testing.T) {
	for name, dataset := range map[string]string{
		"metrics": `{"name": "a", "series": ["up"], "release": "row"}`,
		"logs":    `{"name": "a", "streams": ["{}"], "release": "row"}`,
	} {
		f := load(t, written(t, map[string]string{
			"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [" + dataset + "]}",
		}), withLogs(agreement("globex", "parley.partners.globex", "audit")))
		a, _ := f.Agreement("globex")
		if answers, _, err := f.Answers(t.Context(), a); err != nil || answers[0] != Answered {
			t.Errorf("%s: %v, %v", name, answers, err)
		}
	}
}

func TestLintOfLogs(t *testing.T) {
	streams := func(name, selector, rest string) string {
		return `{"name": "` + name + `", "streams": ["` + selector + `"], "release": "row"` + rest + "},\n"
	}
	for name, c := range map[string]struct {
		datasets string
		want     []string
	}{
		"nothing to say":  {streams("a", "{job=\\\"a\\\"}", `, "labels": {"job": "keep"}, "line": "keep"`) + streams("b", "{job=\\\"b\\\"}", `, "line": "shape"`), nil},
		"everything":      {streams("a", "{}", `, "labels": {"*": "keep"}, "line": "keep"`), []string{"error everything globex.rego:2 globex for audit"}},
		"every service":   {streams("a", "{service=~\\\".+\\\"}", `, "labels": {"*": "keep"}, "line": "keep"`), []string{"error everything globex.rego:2 globex for audit"}},
		"by halves":       {streams("a", "{job=\\\"a\\\"}\", \"{job!=\\\"a\\\"}", `, "labels": {"*": "keep"}, "line": [{"mask": "email"}]`), []string{"error everything globex.rego:2 globex for audit"}},
		"some services":   {streams("a", "{service=~\\\"a.+\\\"}", `, "labels": {"*": "keep"}, "line": "keep"`), nil},
		"few labels":      {streams("a", "{service=~\\\".+\\\"}", `, "labels": {"service": "keep"}, "line": "shape"`), nil},
		"nothing matches": {streams("a", "{a=\\\"b\\\",a=\\\"c\\\"}", ""), []string{"warning matches-nothing globex.rego:2 globex for audit"}},
		"lines that tell": {streams("a", "{}", `, "labels": {"user": "pseudonym", "job": "keep"}, "line": "keep"`), []string{"warning lines-tell-labels globex.rego:2 globex for audit"}},
		"two rules":       {streams("a", "{}", `, "line": "shape"`) + streams("b", "{job=\\\"b\\\"}", `, "line": [{"mask": "email"}]`), []string{"warning two-line-rules globex.rego:3 globex for audit"}},
		"one rule twice":  {streams("a", "{}", `, "line": [{"mask": "email"}]`) + streams("b", "{job=\\\"b\\\"}", `, "line": [{"mask": "email"}]`), nil},
		"other in logs": {
			streams("a", "{}", `, "labels": {"user": "keep", "job": "keep"}`) + `{"name": "b", "series": ["up"], "release": "row", "labels": {"user": "pseudonym", "job": "keep", "pod": "keep"}}`,
			[]string{"warning other-in-logs globex.rego:2 globex for audit"},
		},
		"labels": {
			streams("a", "{}", `, "labels": {"user": "keep"}`) + streams("b", "{job=\\\"b\\\"}", `, "labels": {"user": "drop"}`),
			[]string{"warning label-disagreement globex.rego:2 globex for audit"},
		},
		"denied": {
			streams("a", "{job=\\\"b\\\"}", "") + `{"name": "never", "streams": ["{}"], "release": "deny"}, {"name": "up", "series": ["up"], "release": "row"}`,
			[]string{"warning always-denied globex.rego:2 globex for audit"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := "package parley.partners.globex\ndecision := {\"allow\": true, \"max_age\": \"7d\", \"limits\": {\"series\": 10}, \"datasets\": [" + c.datasets + "]}"
			f := load(t, written(t, map[string]string{"globex.rego": text}), withLogs(agreement("globex", "parley.partners.globex", "audit")))
			if diff := cmp.Diff(c.want, linted(t, f)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What leaves where nothing is chosen is said.
func TestEverythingOfLogs(t *testing.T) {
	for dataset, want := range map[string]string{
		`"streams": ["{}"]`: "every stream, with labels nobody has thought of yet",
		`"streams": ["{service=~\".+\"}"], "line": "keep"`:                                                       "every stream that has service, with labels nobody has thought of yet, and lines as they are",
		`"streams": ["{service=~\".+\", env!=\"\"}"], "line": [{"mask": "email"}]`:                               "every stream that has service and env, with labels nobody has thought of yet, and lines as they are but for what masks find",
		`"streams": ["{a=\"b\"}", "{c=~\".*\", c!=\"\"}"], "line": [{"json": {"m": "keep"}}, {"mask": "email"}]`: "every stream that has c, with labels nobody has thought of yet",
	} {
		text := `package parley.partners.globex
decision := {"allow": true, "max_age": "7d", "limits": {"series": 10}, "datasets": [{"name": "a", "release": "row", "labels": {"*": "keep"}, ` + dataset + `}]}`
		f := load(t, written(t, map[string]string{"globex.rego": text}), withLogs(agreement("globex", "parley.partners.globex", "audit")))
		findings, err := f.Lint(t.Context())
		if err != nil || len(findings) != 1 || findings[0].Text != "dataset a releases "+want {
			t.Errorf("%s: %+v, %v", dataset, findings, err)
		}
	}
}

func TestDifferencesOfLogs(t *testing.T) {
	decision := func(streams []policy.Selector, l policy.Line) policy.Decision {
		return policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{Name: "app", Streams: streams, Release: policy.Row, Line: l}}}}
	}
	all, none := []policy.Selector{{}}, []policy.Selector{}
	keep := policy.Line{Mode: policy.LineKeep}
	want := []Difference{{Kind: OtherDatasets, Text: "app: streams: none, was {}", Brief: "app: streams"}, {Kind: OtherLines, Text: "app: lines: none, was keep", Brief: "app: lines"}}
	if diff := cmp.Diff(want, Differences(decision(all, keep), decision(none, policy.Line{}))); diff != "" {
		t.Error(diff)
	}
	if d := Differences(decision(all, keep), decision(all, keep)); len(d) > 0 {
		t.Error(d)
	}
}
