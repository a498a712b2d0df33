package inspect

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/tenants"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// written is a folder with these files.
func written(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads a folder; without agreements they are assumed.
func load(t testing.TB, dir string, agreements ...tenants.Agreement) *Folder {
	t.Helper()
	f, err := Load(t.Context(), Config{Dir: dir, Agreements: agreements, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func agreement(partner tenants.OrgID, policy string, purposes ...tenants.Purpose) tenants.Agreement {
	return tenants.Agreement{Partner: partner, Policy: policy, Purposes: purposes, Signals: []tenants.Signal{tenants.Metrics}}
}

// Without agreements a partner is assumed for each package that could answer
// one, and what is asked of it is what its policy tells apart.
func TestWhoIsAnswered(t *testing.T) {
	f := load(t, written(t, map[string]string{
		"open.rego": `package parley.partners.open_co
decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]}`,
		"case.rego": `package parley.partners.incident
default decision := {"allow": false}
decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose in {"incident-response", "audit"}
	input.principal.case != ""
}`,
		"queues.rego": `package parley.partners.queues
import data.parley.lib
default decision := {"allow": false}
decision := {"allow": true, "datasets": [{"name": "a", "series": ["queue_length"], "release": "row"}]} if {
	input.principal.purpose == "capacity"
	lib.asks_only(["queue_.*"])
}`,
		"series.rego": `package parley.partners.series
default decision := {"allow": false}
decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose == "audit"
	input.kind in {"series", "labels"}
}`,
		"never.rego":  "package parley.partners.never\ndecision := {\"allow\": false}",
		"helper.rego": "package helper\nnothing := []",
	}))
	if !f.Assumed {
		t.Error("the agreements are not said to be assumed")
	}
	got := map[tenants.OrgID]map[tenants.Purpose]Answer{}
	for _, a := range f.Agreements {
		answers, _, err := f.Answers(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		got[a.Partner] = map[tenants.Purpose]Answer{}
		for i, purpose := range a.Purposes {
			got[a.Partner][purpose] = answers[i]
		}
	}
	want := map[tenants.OrgID]map[tenants.Purpose]Answer{
		"open-co":  {"capacity": Answered, "incident-response": Answered, "slo-review": Answered},
		"incident": {"audit": WithCase, "incident-response": WithCase},
		"queues":   {"capacity": Sometimes},
		"series":   {"audit": Sometimes},
		"never":    {"capacity": Never, "incident-response": Never, "slo-review": Never},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What rules ask for is of a signal, although no dataset says so.
func TestSignalsOfRulesAreAssumed(t *testing.T) {
	const start = "package parley.partners.globex\n\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"ours\", \"include\": \"ours\", \"release\": \"row\"}]}\n\n"
	for rule, want := range map[string][]tenants.Signal{
		`ours if input.series.team == "a"`:                     {tenants.Metrics},
		`ours if input.stream.team == "a"`:                     {tenants.Metrics, tenants.Logs},
		`ours if input.span["resource.service.name"] == "web"`: {tenants.Metrics, tenants.Traces},
	} {
		f := load(t, written(t, map[string]string{"globex.rego": start + rule + "\n"}))
		if got := f.Agreements[0].Signals; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
}

func TestAgreementsAreNotAssumedWhereThereAreNone(t *testing.T) {
	f, err := Load(t.Context(), Config{
		Org: "acme", Now: time.Now, Agreements: []tenants.Agreement{},
		Dir: written(t, map[string]string{"a.rego": "package parley.partners.globex\ndecision := {\"allow\": false}"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Assumed || len(f.Agreements) > 0 {
		t.Errorf("assumed %v", f.Agreements)
	}
}
