package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

var writeDocs = flag.Bool("write-docs", false, "write the generated tables of the documentation")

const policyDocs = "../../POLICY.md"

// The table in the documentation is that of the code.
func TestThePlacementsAreDocumented(t *testing.T) {
	const begin, end = "<!-- placements: written by go test ./federation/metrics -run Documented -write-docs -->\n", "<!-- end of placements -->"
	text, err := os.ReadFile(policyDocs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", policyDocs)
	}
	want := before + begin + placements() + end + after
	if *writeDocs {
		if err := os.WriteFile(policyDocs, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table in %s is not that of the code; write it with -write-docs", policyDocs)
	}
}

func placements() string {
	var b strings.Builder
	for _, table := range []struct {
		title string
		rows  []metrics.Placement
	}{{"aggregation", metrics.Aggregations()}, {"operator", metrics.Operators()}, {"function", metrics.Functions()}} {
		fmt.Fprintf(&b, "\n| %s | over series | over cells |\n|---|---|---|\n", table.title)
		for _, p := range table.rows {
			word := map[bool]string{true: "accepted", false: "refused"}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, word[p.OverSeries], word[p.OverCells])
		}
	}
	return b.String() + "\n"
}

// Every construct PromQL has is where the table says: over series and over
// cells it is answered or refused by name.
func TestPlacements(t *testing.T) {
	parser.EnableExperimentalFunctions = true
	defer func() { parser.EnableExperimentalFunctions = false }()
	local := newLocalAt(t, metricstest.Store(t, nil))
	check := func(name, where, expression string, accepted bool) {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: inCells(nil)}, partner)
		switch {
		case accepted && err != nil:
			t.Errorf("%s %s: %s: %v", name, where, expression, err)
		case !accepted && (err == nil || federation.AsError(err).Kind != federation.NeedsAggregation || !strings.Contains(err.Error(), name)):
			t.Errorf("%s %s: %s: %v, want it to be refused by its name", name, where, expression, err)
		}
	}
	for _, p := range metrics.Functions() {
		f := parser.Functions[p.Name]
		overSeries, overCells := call(f, "up"), call(f, "sum(up)")
		if strings.Contains(overSeries, "up") {
			check(p.Name, "over series", "sum("+overSeries+")", p.OverSeries)
		}
		check(p.Name, "over cells", overCells+" or on () sum(up)", p.OverCells)
	}
	for _, p := range metrics.Aggregations() {
		parameter := map[string]string{"topk": "1, ", "bottomk": "1, ", "quantile": "0.5, ", "count_values": `"x", `, "limitk": "1, ", "limit_ratio": "0.5, "}[p.Name]
		check(p.Name, "over series", p.Name+"("+parameter+"up)", p.OverSeries)
		check(p.Name, "over cells", p.Name+"("+parameter+"sum(up))", p.OverCells)
	}
	for _, p := range metrics.Operators() {
		check(p.Name, "over series", "sum(up "+p.Name+" up)", p.OverSeries)
		check(p.Name, "over cells", "sum(up) "+p.Name+" sum(up)", p.OverCells)
	}
	if n := len(metrics.Operators()); n < 16 {
		t.Errorf("only %d operators: the test is blind", n)
	}
}

// call is a call of a function over a vector.
func call(f *parser.Function, vector string) string {
	var args []string
	for _, kind := range f.ArgTypes {
		switch kind {
		case parser.ValueTypeMatrix:
			if vector == "up" {
				args = append(args, "up[5m]")
			} else {
				args = append(args, vector+"[5m:1m]")
			}
		case parser.ValueTypeVector:
			args = append(args, vector)
		case parser.ValueTypeScalar:
			args = append(args, "0.5")
		case parser.ValueTypeString:
			args = append(args, `"a"`)
		}
	}
	if f.Variadic > 0 && len(args) > 1 && f.ArgTypes[len(f.ArgTypes)-1] != parser.ValueTypeString {
		args = args[:len(args)-f.Variadic]
	}
	out := f.Name + "(" + strings.Join(args, ", ") + ")"
	if f.ReturnType == parser.ValueTypeScalar {
		out = "vector(" + out + ")"
	}
	return out
}
