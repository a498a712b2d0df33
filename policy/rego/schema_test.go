package rego

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
)

// What input.schema.json publishes is what policies are given.
func TestTheInputHasItsPublishedShape(t *testing.T) {
	type schema struct {
		Properties map[string]schema
		Required   []string
		Items      *schema
		Ref        string `json:"$ref"`
	}
	var published struct {
		schema
		Definitions map[string]schema
	}
	if err := json.Unmarshal(InputSchema(), &published); err != nil {
		t.Fatal(err)
	}
	// What a dataset is of is only there for include rules.
	for _, e := range elements {
		delete(published.Properties, e.name)
	}
	r := globexAsks("slo-review")
	text, err := describe(r, noon, reads{window: true, step: true, now: true})
	if err != nil {
		t.Fatal(err)
	}
	var given map[string]any
	if err := json.Unmarshal(text, &given); err != nil {
		t.Fatal(err)
	}
	var compare func(at string, value any, s schema)
	compare = func(at string, value any, s schema) {
		if s.Ref != "" {
			s = published.Definitions["instant"]
		}
		switch value := value.(type) {
		case map[string]any:
			if diff := cmp.Diff(slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(value))); diff != "" {
				t.Errorf("%s: %s", at, diff)
			}
			for key, inner := range value {
				compare(at+"/"+key, inner, s.Properties[key])
			}
		case []any:
			if s.Items == nil {
				t.Errorf("%s: published as no list", at)
				return
			}
			for _, inner := range value {
				compare(at+"/*", inner, *s.Items)
			}
		}
	}
	compare("", given, published.schema)

	text, err = describe(r, noon, reads{})
	if err != nil {
		t.Fatal(err)
	}
	var always map[string]any
	if err := json.Unmarshal(text, &always); err != nil {
		t.Fatal(err)
	}
	slices.Sort(published.Required)
	if diff := cmp.Diff(published.Required, slices.Sorted(maps.Keys(always))); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheInputSays(t *testing.T) {
	r := asks("globex", "p", "slo-review", `{__name__="up",job!="x"}`)
	r.Selectors = append(r.Selectors,
		asks("g", "", "", `{__name__=~"up|down"}`).Selectors[0],
		asks("g", "", "", `{__name__="a",__name__="b"}`).Selectors[0],
		asks("g", "", "", `{__name__="up"}`).Selectors[0],
		policy.Selector{},
	)
	r.Window.Start = time.Time{}
	text, err := describe(r, noon, reads{window: true})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"principal":{"org":"globex","workload":"","user":"","proof":"","purpose":"slo-review",` +
		`"purposes":["increase-service-robustness","optimisation-for-controller","service-optimisation","service-provision","slo-review"],"case":"","break_glass":false},` +
		`"side":"answer","owner":"acme","signal":"metrics","kind":"query_range","query":"{__name__=\"up\",job!=\"x\"}",` +
		`"selectors":[[{"name":"__name__","op":"=","value":"up"},{"name":"job","op":"!=","value":"x"}],` +
		`[{"name":"__name__","op":"=~","value":"up|down"}],` +
		`[{"name":"__name__","op":"=","value":"a"},{"name":"__name__","op":"=","value":"b"}],` +
		`[{"name":"__name__","op":"=","value":"up"}],[]],` +
		`"metrics":["up"],"functions":[],"stages":[],"line_filters":[],"label":"","window":{"end":{"time":"2026-03-14T11:59:59Z","unix":1773489599}}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

// A newcomer reads the published schema with any validator: it is valid itself.
func TestTheDecisionSchemaIsValid(t *testing.T) {
	if _, err := newShape(); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(DecisionSchema()) {
		t.Error("not JSON")
	}
}
