package rego

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// readDecision reads the JSON of a decision on the side answer.
func readDecision(t *testing.T, text string) (policy.Obligations, error) {
	t.Helper()
	shape, err := newShape()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	v, err := shape.read(value, policy.Answer, ofSeries)
	return v.decision.Obligations, err
}

// readSpans reads a decision with one dataset of spans that says more.
func readSpans(t *testing.T, more string) (policy.Dataset, error) {
	t.Helper()
	o, err := readDecision(t, `{"allow": true, "datasets": [{"name": "app", "spans": ["{\"resource.service.name\"=\"checkout\"}"], "release": "row"`+more+`}]}`)
	if err != nil {
		return policy.Dataset{}, err
	}
	return o.Datasets[0], nil
}

func TestWhatIsSaidOfSpans(t *testing.T) {
	for text, want := range map[string]policy.Span{
		``:                                  {},
		`, "span": "hidden"`:                {},
		`, "span": "full"`:                  {Mode: policy.SpanFull},
		`, "span": "attributes"`:            {Mode: policy.SpanAttributes},
		`, "span": "shape"`:                 {Mode: policy.SpanShape},
		`, "span": "boundary"`:              {Mode: policy.SpanBoundary},
		`, "span": "shape", "counts": true`: {Mode: policy.SpanShape, Counts: true},
		`, "span": "boundary", "counts": false, "durations": "withheld"`:                                           {Mode: policy.SpanBoundary, WithholdDurations: true},
		`, "span": "boundary", "labels": {"name": "keep", "*": "drop"}`:                                            {Mode: policy.SpanBoundary},
		`, "span": "attributes", "labels": {"resource.service.name": "keep", "event.exception.type": "keep"}`:      {Mode: policy.SpanAttributes},
		`, "span": "attributes", "labels": {"scope.name": "keep", "link.why": "pseudonym", "trace_state": "drop"}`: {Mode: policy.SpanAttributes},
		`, "spans": [], "span": "full"`: {Mode: policy.SpanFull},
	} {
		got, err := readSpans(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.Span != want || got.Signal() != tenants.Traces || got.Series != nil || got.Streams != nil {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	got, err := readSpans(t, `, "span": "attributes", "labels": {"span.http.route": "keep", "span.user.id": "pseudonym", "*": {"generalize": {"prefix": 2}}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rule("span.http.route").Mode != policy.Keep || got.Rule("span.user.id").Mode != policy.Pseudonym || got.Rule("span.other").Mapping.Prefix != 2 {
		t.Errorf("%+v", got)
	}
}

func TestSelectorsOfSpans(t *testing.T) {
	for text, want := range map[string]string{
		`"{}"`: `{}`,
		`"{\"resource.service.name\"=~\"check.*\", name!=\"poll\"}"`:                                                 `{resource.service.name=~"check.*",name!="poll"}`,
		`"{kind=\"server\", status!~\"ok|unset\"}"`:                                                                  `{kind="server",status!~"ok|unset"}`,
		`[{"name": "span.http.route", "op": "=", "value": "/pay"}, {"name": "scope.name", "op": "!=", "value": ""}]`: `{span.http.route="/pay",scope.name!=""}`,
		`[]`: `{}`,
	} {
		got, err := readSpans(t, `, "spans": [`+text+`]`)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if text := asText(got.Spans); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

func TestWhatCannotBeSaidOfSpans(t *testing.T) {
	for text, because := range map[string]string{
		`, "span": "all"`:                                                                     `span is "all"; want one of hidden, boundary, shape, attributes, full`,
		`, "span": 3`:                                                                         `span is 3; want one of hidden`,
		`, "span": null`:                                                                      `span is null; want one of hidden`,
		`, "spans": ["checkout"]`:                                                             `dataset app: spans: a selector of spans has braces, {"resource.service.name"="checkout"}: spans have no metric's name`,
		`, "spans": ["{service=\"checkout\"}"]`:                                               `spans aren't selected by "service"; want name, kind, status, scope.name or scope.version, or an attribute as resource.service.name, span.http.route or scope.NAME`,
		`, "spans": ["{\"event.name\"=\"exception\"}"]`:                                       `selected by "event.name"`,
		`, "spans": ["{\"span.\"=\"x\"}"]`:                                                    `selected by "span."`,
		`, "spans": ["{\"resource.parley.org\"=\"acme\"}"]`:                                   `selected by "resource.parley.org", which only gateways say`,
		`, "spans": ["{kind=\"SERVER\"}"]`:                                                    `no span has the kind "SERVER"; want unspecified, internal, server, client, producer or consumer`,
		`, "spans": ["{status!=\"failed\"}"]`:                                                 `no span has the status "failed"; want unset, ok or error`,
		`, "spans": [[{"name": "stats", "op": "=", "value": "ok"}]]`:                          `selected by "stats"; did you mean "status"?`,
		`, "spans": ["{name=~\"(\"}"]`:                                                        "missing closing",
		`, "span": "full", "labels": {"*": "keep"}`:                                           "labels are for the modes attributes and boundary; full leaves all of them as they are",
		`, "span": "shape", "labels": {"name": "keep"}`:                                       "shape leaves no name and no attribute",
		`, "labels": {"name": "keep"}`:                                                        "hidden spans, as they are without span, have none",
		`, "span": "attributes", "counts": true`:                                              "counts is for the modes boundary and shape: in attributes no spans are folded",
		`, "span": "full", "durations": "withheld"`:                                           "durations is for the modes boundary and shape: in full no spans are folded",
		`, "span": "boundary", "durations": "kept"`:                                           "durations is",
		`, "span": "boundary", "counts": "yes"`:                                               "counts is",
		`, "span": "boundary", "counts": true, "durations": "withheld"`:                       "leave one of them out",
		`, "span": "attributes", "labels": {"service.name": "keep"}`:                          `labels: spans have no "service.name"; did you mean "resource.service.name" or "span.service.name"? want name, status, status_message, trace_state, scope.name, scope.version or event.name, or an attribute as resource.service.name, span.http.route, scope.NAME, event.exception.type or link.NAME`,
		`, "span": "attributes", "labels": {"kind": "drop"}`:                                  "the kind of a span is always seen",
		`, "span": "attributes", "labels": {"status-message": "keep"}`:                        `did you mean "status_message"?`,
		`, "span": "attributes", "labels": {"span.parley.x": "keep"}`:                         `"span.parley.x", which only gateways say`,
		`, "span": "attributes", "labels": {"org": "keep"}`:                                   `"org" can't be named`,
		`, "span": "attributes", "labels": {"name": "hash"}`:                                  `labels.name is "hash"; want keep, pseudonym, drop, or`,
		`, "streams": ["{}"]`:                                                                 "more than one of series, include, streams and spans",
		`, "line": "keep"`:                                                                    "line is for datasets of streams",
		`, "round": {"digits": 1}`:                                                            "can't be given here",
		`, "dimensions": ["a"], "k": 5`:                                                       "k is for the release aggregate; this is row",
		`, "release": "aggregate", "dimensions": ["name"], "units": ["span.user.id"], "k": 5`: `release is "aggregate"; want one of deny, row`,
		`, "release": "deny", "span": "full"`:                                                 "span is full, and the release deny lets no spans leave",
	} {
		if _, err := readSpans(t, text); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v, want %q in it", text, err, because)
		}
	}
	for _, key := range []string{`"span": "full"`, `"counts": true`, `"durations": "withheld"`} {
		for _, source := range []string{`"series": ["up"]`, `"streams": ["{}"]`} {
			_, err := readDecision(t, `{"allow": true, "datasets": [{"name": "up", `+source+`, "release": "row", `+key+`}]}`)
			if err == nil || !strings.Contains(err.Error(), "is for datasets of spans") {
				t.Errorf("%s of %s: %v", key, source, err)
			}
		}
	}
}

// A mistake is told where it is written.
func TestWhereAMistakeAboutSpansIs(t *testing.T) {
	for at, dataset := range map[string]string{
		"p.rego:5: ": `"span": "attributes", "labels": {
		"service.name": "keep"}`,
		"p.rego:4: ": `"span": "full", "labels": {"*": "keep"}`,
	} {
		w := mustOpen(t, "")
		w.write(t, "p.rego", `package p
decision := {"allow": true, "datasets": [
	{"name": "app", "spans": ["{}"], "release": "row",
	`+dataset+`}]}`)
		config := w.config()
		config.Agreements = func() []tenants.Agreement { return []tenants.Agreement{agreement("globex", "p", "slo-review")} }
		if _, err := New(t.Context(), config); err == nil || !strings.Contains(err.Error(), at+`dataset "app": `) {
			t.Errorf("%v, want it at %s", err, at)
		}
	}
}

func TestLimitOfSpans(t *testing.T) {
	o, err := readDecision(t, `{"allow": true, "datasets": [{"name": "app", "spans": ["{}"], "release": "row", "span": "full"}], "limits": {"spans": 500}}`)
	if err != nil || o.Limits.Spans != 500 {
		t.Errorf("%+v, %v", o.Limits, err)
	}
}

// A question about traces sees what is said of spans alone, and the default lets
// our own users see all of them.
func TestTracesSeeDatasetsOfSpans(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "p.rego", `package p
decision := {"allow": true, "datasets": [
	{"name": "up", "series": ["up"], "release": "row"},
	{"name": "app", "streams": ["{}"], "release": "row"},
	{"name": "all", "spans": ["{}"], "release": "row", "span": "shape"},
	{"name": "payroll", "spans": ["{\"resource.service.name\"=\"payroll\"}"], "release": "deny"},
]} if {
	input.kind in {"trace", "search"}
	input.selectors == []
}`)
	a := agreement("globex", "p", "slo-review")
	a.Signals = []tenants.Signal{tenants.Traces}
	w.agreements = []tenants.Agreement{a}
	var err error
	if w.Policies, err = New(t.Context(), w.config()); err != nil {
		t.Fatal(err)
	}
	r := asks("globex", "p", "slo-review", "up")
	r.Signal, r.Kind, r.Query, r.Selectors = tenants.Traces, policy.Trace, strings.Repeat("4b", 16), nil
	e := w.explain(t, r)
	var names []string
	for _, ds := range e.Decision.Obligations.Datasets {
		names = append(names, ds.Name)
	}
	if !cmp.Equal(names, []string{"all", "payroll"}) || e.Datasets[1].Of("release").Line != 6 {
		t.Errorf("%v, %+v", names, e.Datasets)
	}
	r.Kind = policy.Operations
	if d := w.explain(t, r).Decision; d.Allow {
		t.Error("kinds of traces don't reach the policy")
	}
	r.Principal.Org, r.Owner, r.Package = "acme", "acme", ""
	if o := w.explain(t, r).Decision.Obligations; len(o.Datasets) != 1 || o.Datasets[0].Span != (policy.Span{Mode: policy.SpanFull}) {
		t.Errorf("our own users: %+v", o)
	}
}

// The schema has a mode for each there is, and no other.
func TestTheSchemaNamesAllSpanModes(t *testing.T) {
	var schema struct {
		Defs struct {
			Dataset struct {
				Properties struct {
					Span struct{ Enum []string }
				}
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(DecisionSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	var modes []string
	for m := policy.SpanHidden; m <= policy.SpanFull; m++ {
		modes = append(modes, m.String())
	}
	if got := schema.Defs.Dataset.Properties.Span.Enum; !reflect.DeepEqual(got, modes) {
		t.Errorf("%v, want %v", got, modes)
	}
}
