package rego

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// readStreams reads a decision with one dataset of streams that says more.
func readStreams(t *testing.T, more string) (policy.Dataset, error) {
	t.Helper()
	shape, err := newShape()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	text := `{"allow": true, "datasets": [{"name": "app", "streams": ["{service=\"checkout\"}"], "release": "row"` + more + `}]}`
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	v, err := shape.read(value, policy.Answer, ofSeries)
	if err != nil {
		return policy.Dataset{}, err
	}
	return v.decision.Obligations.Datasets[0], nil
}

func TestWhatIsSaidOfLines(t *testing.T) {
	ticket := regexp.MustCompile("TCK-[0-9]+")
	for text, want := range map[string]policy.Line{
		``:                  {},
		`, "line": "none"`:  {},
		`, "line": "shape"`: {Mode: policy.LineShape},
		`, "line": "keep"`:  {Mode: policy.LineKeep},
		`, "line": [{"json": {"message": "keep", "request.path": {"generalize": {"prefix": 3}}, "*": "pseudonym"}}]`: {
			Mode: policy.LineByRules, Rules: []policy.LineRule{{JSON: &policy.Fields{
				Named: map[string]policy.LabelRule{
					"message":      {Mode: policy.Keep},
					"request.path": {Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 3}},
				},
				Others: policy.LabelRule{Mode: policy.Pseudonym},
			}}},
		},
		`, "line": [{"logfmt": {"msg": "keep"}}, {"mask": "email"}, {"mask": ["ipv4", {"name": "ticket", "pattern": "TCK-[0-9]+"}]}]`: {
			Mode: policy.LineByRules, Rules: []policy.LineRule{
				{Logfmt: &policy.Fields{Named: map[string]policy.LabelRule{"msg": {Mode: policy.Keep}}}},
				{Masks: []policy.Mask{{Name: "email"}}},
				{Masks: []policy.Mask{{Name: "ipv4"}, {Name: "ticket", Pattern: ticket}}},
			},
		},
	} {
		got, err := readStreams(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !got.Line.Equal(want) {
			t.Errorf("%s: %s, want %s", text, got.Line, want)
		}
	}
}

func TestWhatCannotBeSaidOfLines(t *testing.T) {
	for text, because := range map[string]string{
		`, "line": "all"`:                                                `line is "all"; want keep, shape, none or a list of rules`,
		`, "line": []`:                                                   "line is []; want keep",
		`, "line": [{}]`:                                                 "line.0 wants one of json, logfmt and mask",
		`, "line": [{"json": {}}]`:                                       "line.0.json is empty",
		`, "line": [{"json": {"a..b": "keep"}}]`:                         "a..b",
		`, "line": [{"json": {"a.*": "keep"}}]`:                          "a.*",
		`, "line": [{"json": {"a": "hash"}}]`:                            `line.0.json.a is "hash"; want keep, pseudonym, drop, or`,
		`, "line": [{"logfmt": {"a b": "keep"}}]`:                        "a b",
		`, "line": [{"mask": "e-mail"}]`:                                 `is "e-mail"; want one of email,`,
		`, "line": [{"mask": []}]`:                                       "line.0.mask is empty",
		`, "line": [{"mask": {"name": "x", "pattern": "("}}]`:            "missing closing",
		`, "line": [{"mask": {"name": "x", "pattern": "a*"}}]`:           "matches empty text",
		`, "line": [{"mask": {"name": "email", "pattern": "a"}}]`:        "a detector has this name",
		`, "line": [{"mask": {"name": "<b>", "pattern": "a"}}]`:          `is "<b>", which does not match ^`,
		`, "line": [{"mask": "email"}, {"json": {"a": "keep"}}]`:         "json or logfmt is the first rule",
		`, "line": [{"json": {"a": "keep"}}, {"logfmt": {"a": "keep"}}]`: "json or logfmt is the first rule",
		`, "line": [{"json": {"a": "keep"}, "mask": "email"}]`:           "can't be given here",
		`, "series": ["up"]`:                                             "more than one of series, include, streams and spans",
		`, "include": "include"`:                                         "more than one of series, include, streams and spans",
		`, "round": {"digits": 1}`:                                       "can't be given here",
		`, "dimensions": ["a"], "k": 5`:                                  "k is for the release aggregate; this is row",
		`, "streams": ["tools"]`:                                         `dataset app: streams: a selector of streams has braces, {service="tools"}: streams have no metric's name`,
		`, "streams": ["{}"], "line": 5`:                                 "line is 5; want keep",
	} {
		if _, err := readStreams(t, text); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v, want %q in it", text, err, because)
		}
	}
	w := mustOpen(t, "")
	w.write(t, "p.rego", `package p
decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row", "line": "keep"}]}`)
	config := w.config()
	config.Agreements = func() []tenants.Agreement { return []tenants.Agreement{agreement("globex", "p", "slo-review")} }
	if _, err := New(t.Context(), config); err == nil || !strings.Contains(err.Error(), "p.rego:2: dataset up: line is for datasets of streams") {
		t.Errorf("lines of series: %v", err)
	}
	if _, err := readStreams(t, `, "release": "aggregate"`); err == nil {
		t.Error("streams in cells")
	}
}

func TestTheSchemaNamesAllDetectors(t *testing.T) {
	var schema struct {
		Defs struct {
			Mask struct {
				Then struct{ Enum []policy.Detector }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(DecisionSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(policy.Detectors, schema.Defs.Mask.Then.Enum); diff != "" {
		t.Error(diff)
	}
}

// A question sees what is said of its signal alone.
func TestASignalSeesItsOwnDatasets(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "both.rego", `package both
decision := {"allow": true, "datasets": [
	{"name": "app", "streams": ["{service=\"checkout\"}"], "release": "row", "line": "keep"},
	{"name": "requests", "include": "include", "release": "row"},
	{"name": "internal", "streams": ["{internal=\"true\"}"], "release": "deny"},
	{"name": "up", "series": ["up"], "release": "row"},
], "queries": [{"name": "q", "expr": "sum(up)"}]}
include if input.series.env == "prod"`)
	w.write(t, "metrics.rego", `package metrics
decision := {"allow": true, "reasons": ["why"], "datasets": [{"name": "up", "series": ["up"], "release": "row"}]}`)
	w.write(t, "logs.rego", `package logs
decision := {"allow": true, "datasets": [{"name": "app", "streams": ["{}"], "release": "row"}]}`)
	for _, name := range []string{"both", "metrics", "logs"} {
		a := agreement(name, name, "slo-review")
		a.Signals = []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces}
		w.agreements = append(w.agreements, a)
	}
	var err error
	if w.Policies, err = New(t.Context(), w.config()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		signal tenants.Signal
		want   []string // nil: denied
	}{
		{"both", tenants.Metrics, []string{"requests", "up"}},
		{"both", tenants.Logs, []string{"app", "internal"}},
		{"both", tenants.Traces, nil},
		{"both", "", nil},
		{"metrics", tenants.Metrics, []string{"up"}},
		{"metrics", tenants.Logs, nil},
		{"logs", tenants.Metrics, nil},
		{"logs", tenants.Logs, []string{"app"}},
	} {
		r := asks(test.name, test.name, "slo-review", "up")
		r.Signal = test.signal
		e := w.explain(t, r)
		if test.want == nil {
			denies(t, e.Decision, "it releases nothing of the signal "+string(test.signal))
			continue
		}
		var got []string
		for i, ds := range e.Decision.Obligations.Datasets {
			got = append(got, ds.Name)
			if ds.Signal() != test.signal || (ds.Name == "requests") != (asText(ds.Selectors()) == `{env="prod"}`) {
				t.Errorf("%s of %s: %+v", test.name, test.signal, ds)
			}
			if at := e.Datasets[i].Of("release"); at.Line < 2 || ds.Name == "app" && test.name == "both" && at.Line != 3 {
				t.Errorf("%s is written at %s", ds.Name, at)
			}
		}
		if !slices.Equal(got, test.want) || (len(e.Decision.Obligations.Queries) > 0) != (test.name == "both" && test.signal == tenants.Metrics) {
			t.Errorf("%s of %s: %v with queries %v, want %v", test.name, test.signal, got, e.Decision.Obligations.Queries, test.want)
		}
	}
}
