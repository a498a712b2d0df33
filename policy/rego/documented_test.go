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
	rules := strings.Join(rulesOf(string(text)), "\n\n")
	seen := map[tenants.Signal]int{}
	for _, example := range examplesOf(string(text)) {
		w := mustOpen(t, "")
		w.write(t, "p.rego", "package p\ndecision := {\"allow\": true, \"resolution\": \"1m\", \"datasets\": [\n"+example+"\n]}\n\n"+rules+"\n")
		w.write(t, "agreement/data.yaml", "teams: [web, api]")
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
			if d := w.explain(t, r).Decision; d.Allow {
				seen[signal] += len(d.Obligations.Datasets)
			}
		}
	}
	if seen[tenants.Metrics] < 2 || seen[tenants.Logs] < 2 || seen[tenants.Traces] < 2 {
		t.Errorf("only these were tried: %v", seen)
	}
}

// rulesOf are the indented rules that datasets may include.
func rulesOf(text string) []string {
	var out []string
	for block := range strings.SplitSeq(text, "\n\n") {
		if first, _, _ := strings.Cut(block, "\n"); strings.HasPrefix(block, "    ") && strings.Contains(first, " if ") && strings.Contains(block, "input.s") {
			out = append(out, block)
		}
	}
	return out
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
