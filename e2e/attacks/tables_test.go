package attacks

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var example = Results{
	Date: "2026-01-02", Machine: "2 cores", Go: "go1.99", Command: "make attacks", Worlds: 24,
	Attacks: []Result{
		{
			Chapter: "Labels", Name: "a|b", Learns: "a name", Bits: 4, Policies: []string{Rows, Cells},
			Got: map[string]Got{
				Direct: {Bits: 4}, LabelProxy: {Bits: 3.96}, Ground(Unhidden, Peer): {Bits: 4},
				Ground(Rows, Front): {Ways: 1}, Ground(Rows, Peer): {Ways: 1}, Ground(Cells, Front): {Ways: 24}, Ground(Cells, Peer): {Ways: 2, Seen: 0.5},
			},
		},
		{
			Chapter: "Cells", Name: "c", Learns: "who", Bits: 2, Policies: []string{Cells}, Foreign: true, Open: map[string]string{Cells: "Because."},
			Got: map[string]Got{Direct: {Bits: 2}, LabelProxy: {Bits: 1}, Ground(Cells, Front): {}, Ground(Cells, Peer): {Bits: 2}},
		},
	},
}

func TestTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	if err := example.Save(file); err != nil {
		t.Fatal(err)
	}
	results, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example, results); diff != "" {
		t.Error(diff)
	}
	page := results.Markdown()
	var printed strings.Builder
	if err := results.Print(&printed); err != nil {
		t.Fatal(err)
	}
	for text, wants := range map[string][]string{
		page: {
			"| attack | tries to learn | bits | Prometheus | label proxy | parley, rows | parley, cells |\n|---|---|---|---|---|---|---|\n",
			`| a\|b | a name | 4.0 | 4.0 | 4.0 † | 0 | 0.5 ! |`, "| c | who | 2.0 | 2.0 | 1.0 | 2.0 (1) |", "\n1. Because.\n",
			"2 of 2 attacks succeed at a Prometheus, 2 of 2 at the label proxy", "made 6 times", "2 times all that was answered was the same", "2 times something was learned, by 1 attacks that parley is known to be open to and 1 times by others.",
		},
		printed.String(): {"a|b", "0.5 !", "(1) Because."},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
}
