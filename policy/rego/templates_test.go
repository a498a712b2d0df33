package rego

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/tenants"
)

// Every template is loaded as a gateway loads it, is decided by for the purposes
// it speaks of, and passes its own tests, which look at all of it.
func TestTemplates(t *testing.T) {
	list, err := Templates()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, template := range list {
		names = append(names, template.Name)
		if template.About == "" || strings.Contains(template.About, "example") {
			t.Errorf("%s says of itself %q", template.Name, template.About)
		}
		for _, partner := range []tenants.OrgID{"globex", "big-co", "7seas"} {
			files, pkg, err := template.For(partner)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, text := range files {
				if strings.Contains(text, "example") || strings.Contains(name, "example") {
					t.Errorf("%s for %s: %s speaks of the example:\n%s", template.Name, partner, name, text)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c := Config{
				Org: "acme", Dir: dir, Now: time.Now, Log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)),
				Agreements: func() []tenants.Agreement {
					a := agreement(string(partner), pkg, "slo-review", "incident-response", "capacity", "audit")
					a.Signals = []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces}
					return []tenants.Agreement{a}
				},
			}
			policies, err := New(t.Context(), c)
			if err != nil {
				t.Fatalf("%s for %s: %v", template.Name, partner, err)
			}
			if p, ok := policies.Inventory().Package(pkg); !ok || !p.Answers {
				t.Errorf("%s for %s: %+v can't answer a partner", template.Name, partner, p)
			}
			if unreached := policies.Unreached(); len(unreached) > 0 {
				t.Errorf("%s: nothing uses %v", template.Name, unreached)
			}
			tests, err := Test(t.Context(), c, true)
			if err != nil {
				t.Fatalf("%s for %s: %v", template.Name, partner, err)
			}
			for _, r := range tests.Results {
				if r.Outcome != Passed {
					t.Errorf("%s for %s: %s: %s %s %v", template.Name, partner, r.Name, r.Outcome, r.Error, r.Failed)
				}
			}
			for _, covered := range tests.Coverage {
				if covered.Percent < 100 {
					t.Errorf("%s: no test looks at %v", template.Name, covered.Missed)
				}
			}
		}
	}
	if want := []string{"capacity", "full-trust", "incident-room", "regulated", "slo-only"}; !slices.Equal(names, want) {
		t.Errorf("templates %v, want %v", names, want)
	}
	if _, _, err := (Template{Name: "none"}).For("globex"); err == nil {
		t.Error("a template that isn't there was written")
	}
}
