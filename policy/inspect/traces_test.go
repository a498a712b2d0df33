package inspect

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// withTraces is an agreement about traces as well.
func withTraces(a tenants.Agreement) tenants.Agreement {
	a.Signals = append(slices.Clone(a.Signals), tenants.Metrics, tenants.Logs, tenants.Traces)
	return a
}

const ofTraces = `package parley.partners.globex
decision := {"allow": true, "max_age": "7d", "limits": {"spans": 500}, "datasets": [
	{"name": "shop", "spans": ["{\"resource.service.name\"=\"checkout\"}"], "release": "row", "span": "attributes",
		"labels": {"name": "keep", "resource.service.name": "keep", "span.user.id": "pseudonym", "span.db.statement": "drop"}},
	{"name": "edge", "spans": ["{\"resource.service.name\"=\"search\",name=\"poll\"}"], "release": "row", "span": "boundary", "counts": true,
		"labels": {"resource.service.name": "keep"}},
	{"name": "shape", "spans": ["{\"resource.service.name\"=\"agents\"}"], "release": "row", "span": "shape", "durations": "withheld"},
	{"name": "open", "spans": ["{\"resource.service.name\"=\"status\"}"], "release": "row", "span": "full"},
	{"name": "payroll", "spans": ["{\"resource.service.name\"=\"payroll\"}"], "release": "row"},
]}`

// A catalog of spans names what can be seen, and not what is dropped or hidden, nor
// by what that is hidden things are chosen.
func TestCatalogOfTraces(t *testing.T) {
	for name, f := range map[string]*Folder{
		"agreed":  load(t, written(t, map[string]string{"globex.rego": ofTraces}), withTraces(agreement("globex", "parley.partners.globex", "audit"))),
		"assumed": load(t, written(t, map[string]string{"globex.rego": ofTraces})),
	} {
		t.Run(name, func(t *testing.T) {
			terms := catalog(t, f, "globex").Purposes[0].Terms
			if len(terms) != 1 {
				t.Fatalf("%+v", terms)
			}
			if diff := cmp.Diff(policy.Kinds(tenants.Traces), terms[0].Kinds); diff != "" || len(terms[0].Conditions) > 0 || terms[0].Limits.Spans != 500 {
				t.Errorf("%v %+v %s", terms[0].Conditions, terms[0].Limits, diff)
			}
			set := func(selector, spans string) CatalogSet {
				return CatalogSet{Signal: tenants.Traces, Selectors: []string{selector}, Release: policy.Row, Labels: []CatalogLabel{}, Rounding: "exact", Spans: spans}
			}
			want := []CatalogSet{set(`{"resource.service.name"="checkout"}`, "attributes"), set(`{"resource.service.name"="search"}`, "boundary"), set("{}", "shape"), set(`{"resource.service.name"="status"}`, "full")}
			want[0].Labels = []CatalogLabel{{"name", "as it is"}, {"resource.service.name", "as it is"}, {"span.user.id", "by pseudonym"}}
			want[1].Labels, want[1].Folded = []CatalogLabel{{"resource.service.name", "as it is"}}, true
			want[2].DurationsWithheld = true
			want[3].Others = "as it is"
			// By what payroll is hidden isn't told of the others either.
			for i := range want {
				want[i].Selectors = []string{"{}"}
			}
			if diff := cmp.Diff(want, terms[0].Sets); diff != "" {
				t.Error(diff)
			}
			a, _ := f.Agreement("globex")
			if answers, _, err := f.Answers(t.Context(), a); err != nil || answers[0] != Answered {
				t.Errorf("%v, %v", answers, err)
			}
		})
	}
}

// Without anything hidden, services are named.
func TestCatalogNamesServices(t *testing.T) {
	f := load(t, written(t, map[string]string{"globex.rego": `package parley.partners.globex
decision := {"allow": true, "datasets": [{"name": "shop", "spans": ["{\"resource.service.name\"=~\"checkout|cart\", \"span.secret\"=\"x\", kind=\"server\"}"], "release": "row",
	"span": "attributes", "labels": {"resource.service.name": "keep"}}]}`}), withTraces(agreement("globex", "parley.partners.globex", "audit")))
	sets := catalog(t, f, "globex").Purposes[0].Terms[0].Sets
	if want := []string{`{"resource.service.name"=~"checkout|cart", kind="server"}`}; len(sets) != 1 || !slices.Equal(sets[0].Selectors, want) {
		t.Errorf("%+v", sets)
	}
}

func TestLintOfTraces(t *testing.T) {
	spans := func(name, selector, rest string) string {
		return `{"name": "` + name + `", "spans": ["` + selector + `"], "release": "row"` + rest + "},\n"
	}
	const shop, everyService = `{\"resource.service.name\"=\"shop\"}`, `{\"resource.service.name\"=~\".+\"}`
	for name, c := range map[string]struct {
		datasets string
		want     []string
	}{
		"nothing to say":       {spans("a", everyService, `, "span": "attributes", "labels": {"name": "keep"}`) + spans("b", shop, `, "span": "shape"`), nil},
		"everything":           {spans("a", "{}", `, "span": "full"`), []string{"error everything globex.rego:2 globex for audit"}},
		"every service":        {spans("a", everyService, `, "span": "full"`), []string{"error everything globex.rego:2 globex for audit"}},
		"every attribute":      {spans("a", "{}", `, "span": "boundary", "labels": {"*": "keep"}`), []string{"error everything globex.rego:2 globex for audit"}},
		"every shape":          {spans("a", "{}", `, "span": "shape"`), nil},
		"some, full":           {spans("a", shop, `, "span": "full"`), nil},
		"nothing matches":      {spans("a", `{name=\"a\",name=\"b\"}`, `, "span": "full"`), []string{"warning matches-nothing globex.rego:2 globex for audit"}},
		"statements":           {spans("a", shop, `, "span": "attributes", "labels": {"span.user.id": "pseudonym", "span.db.statement": "keep"}`), []string{"warning spans-tell-attributes globex.rego:2 globex for audit"}},
		"nothing else hidden":  {spans("a", shop, `, "span": "attributes", "labels": {"span.db.statement": "keep"}`), nil},
		"attributes disagree":  {spans("a", everyService, `, "span": "attributes", "labels": {"name": "keep"}`) + spans("b", shop, `, "span": "boundary", "labels": {"name": "drop"}`), []string{"warning label-disagreement globex.rego:2 globex for audit"}},
		"modes may differ":     {spans("a", everyService, `, "span": "attributes", "labels": {"name": "keep"}`) + spans("b", shop, `, "span": "full"`), nil},
		"another in metrics":   {spans("a", shop, `, "span": "attributes", "labels": {"span.user.id": "keep", "status": "keep"}`) + `{"name": "b", "series": ["up"], "release": "row", "labels": {"user_id": "pseudonym", "status": "drop"}}`, []string{"warning other-in-traces globex.rego:2 globex for audit"}},
		"another in logs":      {spans("a", shop, `, "span": "attributes", "labels": {"resource.service.name": "pseudonym"}`) + `{"name": "b", "streams": ["{a=\"b\"}"], "release": "row", "labels": {"service_name": "keep"}}`, []string{"warning other-in-traces globex.rego:2 globex for audit"}},
		"the same in metrics":  {spans("a", shop, `, "span": "attributes", "labels": {"span.user.id": "pseudonym"}`) + `{"name": "b", "series": ["up"], "release": "row", "labels": {"user_id": "drop"}}`, nil},
		"denied":               {spans("a", shop, `, "span": "full"`) + `{"name": "never", "spans": ["{}"], "release": "deny"}, {"name": "up", "series": ["up"], "release": "row"}`, []string{"warning always-denied globex.rego:2 globex for audit"}},
		"denied in logs alone": {spans("a", shop, `, "span": "full"`) + `{"name": "never", "streams": ["{}"], "release": "deny"}, {"name": "up", "series": ["up"], "release": "row"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			text := "package parley.partners.globex\ndecision := {\"allow\": true, \"max_age\": \"7d\", \"limits\": {\"series\": 10}, \"datasets\": [" + c.datasets + "]}"
			f := load(t, written(t, map[string]string{"globex.rego": text}), withTraces(agreement("globex", "parley.partners.globex", "audit")))
			if diff := cmp.Diff(c.want, linted(t, f)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEverythingOfTraces(t *testing.T) {
	text := `package parley.partners.globex
decision := {"allow": true, "max_age": "7d", "limits": {"series": 10}, "datasets": [{"name": "a", "release": "row", "spans": ["{\"resource.service.name\"!=\"\"}"], "span": "full"}]}`
	f := load(t, written(t, map[string]string{"globex.rego": text}), withTraces(agreement("globex", "parley.partners.globex", "audit")))
	findings, err := f.Lint(t.Context())
	if err != nil || len(findings) != 1 || findings[0].Text != "dataset a releases every span that has resource.service.name, with names and attributes nobody has thought of yet" {
		t.Errorf("%+v, %v", findings, err)
	}
}

func TestDifferencesOfTraces(t *testing.T) {
	decision := func(s policy.Span, labels map[string]policy.LabelRule) policy.Decision {
		return policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{Name: "app", Spans: []policy.Selector{{}}, Release: policy.Row, Span: s, Labels: labels}}}}
	}
	kept := map[string]policy.LabelRule{"name": {Mode: policy.Keep}}
	before, after := decision(policy.Span{Mode: policy.SpanAttributes}, kept), decision(policy.Span{Mode: policy.SpanBoundary, Counts: true}, nil)
	want := []Difference{
		{Kind: OtherLabels, Text: "app: name: drop, was keep", Brief: "app: name: drop, was keep", Label: "name"},
		{Kind: OtherSpans, Text: "app: spans: boundary, counts told, was attributes", Brief: "app: spans: boundary, counts told, was attributes"},
	}
	if diff := cmp.Diff(want, Differences(before, after)); diff != "" {
		t.Error(diff)
	}
	if d := Differences(before, before); len(d) > 0 {
		t.Error(d)
	}
	want = []Difference{{Kind: OtherDatasets, Text: "app is new: row of {}; labels name: keep; all other labels: drop; spans: attributes", Brief: "app is new"}}
	if diff := cmp.Diff(want, Differences(policy.Decision{Allow: true}, before)); diff != "" {
		t.Error(diff)
	}
}
