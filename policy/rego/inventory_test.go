package rego

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/tenants"
)

func TestInventory(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	w.write(t, "released.rego", "package released\n\nnothing := []\n")
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	inventory := w.Inventory()
	if inventory.Revision != w.Status().Revision || inventory.Samples != 1 {
		t.Errorf("revision %s and %d samples; want %s and 1", inventory.Revision, inventory.Samples, w.Status().Revision)
	}
	var own []Package
	for _, p := range inventory.Packages {
		if !p.Library {
			own = append(own, p)
		}
	}
	file := func(name string, line int) Place { return Place{File: filepath.Join(w.dir, name), Line: line} }
	want := []Package{
		{
			Name: "parley.partners.globex", Place: file("partners/globex.rego", 6), Decides: true, Answers: true,
			Purposes: []tenants.Purpose{"incident-response", "slo-review"},
			Reads:    []string{"principal.case", "principal.purpose"},
		},
		{
			Name: "parley.partners.initech", Place: file("partners/initech.rego", 6), Decides: true, Answers: true,
			Reads: []string{"input", "now"},
		},
		{Name: "released", Place: file("released.rego", 1)},
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Error(diff)
	}
	if p, ok := inventory.Package("parley.default.own"); !ok || p.Answers || !p.Decides || !p.Library {
		t.Errorf("the library's own package: %+v", p)
	}
	if !slices.IsSortedFunc(inventory.Packages, func(a, b Package) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("packages aren't sorted by name")
	}
	if want := []string{"requests", "queues", "agent_queue_length"}; slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(inventory.Strings, s) }) {
		t.Errorf("strings %q; want %q among them", inventory.Strings, want)
	}
}
