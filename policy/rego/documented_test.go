package rego

import (
	"os"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// The datasets that POLICY.md has as examples can be loaded as they stand there.
func TestDatasetsInTheDocumentationLoad(t *testing.T) {
	text, err := os.ReadFile("../../POLICY.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[tenants.Signal]int{}
	for _, example := range examplesOf(string(text)) {
		w := mustOpen(t, "")
		w.write(t, "p.rego", "package p\ndecision := {\"allow\": true, \"resolution\": \"1m\", \"datasets\": [\n"+example+"\n]}\n\ninclude if input.series.env == \"prod\"\n")
		a := agreement("globex", "p", "slo-review")
		a.Signals = []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces}
		w.agreements = []tenants.Agreement{a}
		if w.Policies, err = New(t.Context(), w.config()); err != nil {
			t.Errorf("%s\n%v", example, err)
			continue
		}
		for _, signal := range a.Signals {
			r := asks("globex", "p", "slo-review", "up")
			r.Signal = signal
			if d := w.explain(t, r).Decision; d.Allow && len(d.Obligations.Datasets) == 1 {
				seen[signal]++
			}
		}
	}
	if seen[tenants.Metrics] < 2 || seen[tenants.Logs] < 1 || seen[tenants.Traces] < 1 {
		t.Errorf("only these were tried: %v", seen)
	}
}

// examplesOf are the indented objects with a name and a release.
func examplesOf(text string) []string {
	var out []string
	for block := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(block, "    {") && strings.Contains(block, `"name": `) && strings.Contains(block, `"release": "`+string(policy.Row)) ||
			strings.HasPrefix(block, "    {\n") && strings.Contains(block, `"release": "`+string(policy.Aggregate)) {
			out = append(out, block)
		}
	}
	return out
}
