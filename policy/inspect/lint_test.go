package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// linted are the findings in a folder, as "id file:line, for whom".
func linted(t *testing.T, f *Folder) []string {
	t.Helper()
	findings, err := f.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, finding := range findings {
		if finding.Text == "" || finding.Advice == "" || !slices.Contains(Severities, finding.Severity) {
			t.Errorf("not a whole finding: %+v", finding)
		}
		at := filepath.Base(finding.Place.File)
		out = append(out, fmt.Sprintf("%s %s %s:%d %s", finding.Severity, finding.ID, at, finding.Place.Line, strings.Join(finding.For, ", ")))
	}
	return out
}

func TestLint(t *testing.T) {
	const allow = "package parley.partners.globex\ndecision := {\"allow\": true, \"max_age\": \"7d\", \"resolution\": \"1m\", \"limits\": {\"series\": 10}, \"datasets\": [%s]}"
	row := func(name, series, rest string) string {
		return fmt.Sprintf(`{"name": %q, "series": [%q], "release": "row"%s}`, name, series, rest)
	}
	cells := func(name, series, dimension string, k int) string {
		return fmt.Sprintf(`{"name": %q, "series": [%q], "release": "aggregate", "dimensions": [%q], "units": ["user"], "k": %d}`, name, series, dimension, k)
	}
	for name, c := range map[string]struct {
		datasets string
		want     []string
	}{
		"nothing to say": {row("a", "up", "") + ",\n" + row("b", "down", `, "labels": {"*": "keep"}`) + ",\n" + cells("c", "logins", "region", 5), nil},
		"labels": {
			row("a", "{__name__=~\"http_.*\"}", `, "labels": {"user": "keep", "region": "keep"}`) + ",\n" + row("b", "{__name__=~\".*_total\"}", `, "labels": {"region": "keep"}`),
			[]string{"warning label-disagreement globex.rego:2 globex for audit"},
		},
		"labels of datasets that don't meet": {
			row("a", "{__name__=~\"http_.*\"}", `, "labels": {"user": "keep"}`) + ",\n" + row("b", "{__name__=~\"rpc_.*\"}", ""), nil,
		},
		"labels that a star shows":     {row("a", "up", `, "labels": {"*": "keep"}`) + ",\n" + row("b", "up", `, "labels": {"user": "drop", "*": "keep"}`), nil},
		"small k":                      {"\n" + cells("a", "logins", "region", 4), []string{"warning small-k globex.rego:3 globex for audit"}},
		"everything":                   {row("a", "{}", `, "labels": {"*": "keep"}`), []string{"error everything globex.rego:2 globex for audit"}},
		"everything in two":            {row("a", "{env=\"\"}", "") + "," + row("b", "{env=~\".*\"}", `, "labels": {"*": "keep"}`), []string{"error everything globex.rego:2 globex for audit"}},
		"everything by name":           {row("a", "{__name__=~\".+\"}", `, "labels": {"*": "keep"}`), []string{"error everything globex.rego:2 globex for audit"}},
		"every series and few labels":  {row("a", "{}", `, "labels": {"job": "keep"}`), nil},
		"nothing matches":              {row("a", "up{env=~\"a\",env=~\"b\"}", ""), []string{"warning matches-nothing globex.rego:2 globex for audit"}},
		"denied":                       {row("a", "up", "") + `, {"name": "never", "series": ["{__name__=~\"up|down\"}"], "release": "deny"}`, []string{"warning always-denied globex.rego:2 globex for audit"}},
		"denied in part":               {row("a", "{__name__=~\"u.*\"}", "") + `, {"name": "never", "series": ["up"], "release": "deny"}`, nil},
		"rows under cells":             {row("a", "{__name__=~\"log.*\"}", "") + ",\n" + cells("b", "logins", "region", 5), []string{"info rows-under-cells globex.rego:2 globex for audit"}},
		"cells in two datasets":        {cells("a", "{__name__=~\"log.*\"}", "region", 5) + ",\n" + cells("b", "logins", "region", 5), []string{"warning cells-in-two-datasets globex.rego:3 globex for audit"}},
		"cells in two that don't meet": {cells("a", "logins{env=\"a\"}", "region", 5) + ",\n" + cells("b", "logins{env=\"b\"}", "region", 5), nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t, map[string]string{"globex.rego": fmt.Sprintf(allow, c.datasets)})
			if diff := cmp.Diff(c.want, linted(t, load(t, dir, agreement("globex", "parley.partners.globex", "audit")))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is wrong of a folder as a whole, and between partners.
func TestLintOfAFolder(t *testing.T) {
	dir := written(t, map[string]string{
		"globex.rego": `package parley.partners.globex

import data.released

default decision := {"allow": false}

decision := {"allow": true, "resolution": "1m", "datasets": [released.requests, {
	"name": "logins", "series": ["logins_total"], "release": "aggregate",
	"dimensions": ["region"], "units": ["user"], "k": 5,
}]} if {
	input.principal.purpose == "slo-revue"
	weekday
}

decision := {"allow": true, "max_age": "1d", "resolution": "1m", "limits": {"range": "1h"}, "datasets": [{
	"name": "logins", "series": ["logins_total"], "release": "aggregate",
	"dimensions": ["region", "device"], "units": ["user"], "k": 5,
}]} if {
	input.principal.purpose == "audit"
}

weekday if input.side == "answer"

leftover := 1
`,
		"released.rego": `package released

import data.parley.lib

requests := {"name": "requests", "series": lib.named(["http_.*"]), "release": "row"}

unused(x) := y if y := x + 1
`,
		"initech.rego": `package parley.partners.initech

decision := {"allow": true, "max_age": "1d", "resolution": "1m", "limits": {"range": "1h"}, "datasets": [{
	"name": "people", "series": ["{__name__=~\"log.*\"}"], "release": "aggregate",
	"dimensions": ["region"], "units": ["user"], "k": 7,
}]}
`,
		"umbrella.rego": `package parley.partners.umbrella

decision := {"allow": true, "max_age": "1d", "limits": {"range": "1h"}, "datasets": [{"name": "rows", "series": ["logins_total"], "release": "row"}]}
`,
		"spare.rego": "package parley.partners.spare\n\ndecision := {\"allow\": false}\n",
	})
	f := load(t, dir,
		agreement("globex", "parley.partners.globex", "slo-review", "audit"),
		agreement("initech", "parley.partners.initech", "capacity"),
		agreement("umbrella", "parley.partners.umbrella", "capacity"),
		agreement("nobody", "", "capacity"),
	)
	want := []string{
		"info never-answered .:0 nobody for capacity",
		"info never-answered globex.rego:5 globex for slo-review",
		"warning unknown-purpose globex.rego:5 ",
		"info rows-beside-cells globex.rego:16 umbrella for capacity and globex for audit",
		"warning unreachable-rule globex.rego:24 ",
		"info rows-beside-cells initech.rego:4 umbrella for capacity and initech for capacity",
		"error two-lattices initech.rego:4 initech for capacity and globex for audit",
		"warning unreachable-rule released.rego:7 ",
		"info unused-package spare.rego:3 ",
	}
	if diff := cmp.Diff(want, linted(t, f)); diff != "" {
		t.Error(diff)
	}
}

// Cells are of units that are scraped at different moments, unless the view has
// a resolution.
func TestLintOfCellsAtAnyMoment(t *testing.T) {
	const policy = `package parley.partners.globex

decision := {"allow": true, "max_age": "1d",%s "limits": {"range": "1h"}, "datasets": [
	{"name": "rows", "series": ["up"], "release": "row"},
	{"name": "logins", "series": ["logins_total"], "release": "aggregate", "dimensions": ["region"], "units": ["user"], "k": 5},
]}
`
	a := agreement("globex", "parley.partners.globex", "audit")
	want := []string{"warning cells-without-resolution globex.rego:5 globex for audit"}
	if diff := cmp.Diff(want, linted(t, load(t, written(t, map[string]string{"globex.rego": fmt.Sprintf(policy, "")}), a))); diff != "" {
		t.Error(diff)
	}
	if got := linted(t, load(t, written(t, map[string]string{"globex.rego": fmt.Sprintf(policy, ` "resolution": "15s",`)}), a)); len(got) > 0 {
		t.Errorf("with a resolution: %q", got)
	}
}

// Who is told to set a limit is told the one that counts what is released.
func TestLintNamesTheLimitOfASignal(t *testing.T) {
	for dataset, limit := range map[string]string{
		`"series": ["up"]`: "series", `"streams": ["{app=\"a\"}"], "line": "keep"`: "lines",
		`"spans": ["{\"resource.service.name\"=\"a\"}"], "span": "boundary", "labels": {}`: "spans",
	} {
		dir := written(t, map[string]string{"globex.rego": `package parley.partners.globex

decision := {"allow": true, "max_age": "1d", "datasets": [{"name": "a", ` + dataset + `, "release": "row"}]}
`})
		a := agreement("globex", "parley.partners.globex", "audit")
		a.Signals = []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces}
		findings, err := load(t, dir, a).Lint(t.Context())
		at := slices.IndexFunc(findings, func(f Finding) bool { return f.ID == NoLimits })
		if err != nil || at < 0 || !strings.Contains(findings[at].Advice, `"limits": {"`+limit+`": `) {
			t.Errorf("%s: %+v, %v", dataset, findings, err)
		}
	}
}

// Without bounds of their own, decisions have parley's.
func TestLintOfBounds(t *testing.T) {
	dir := written(t, map[string]string{"globex.rego": `package parley.partners.globex

default decision := {"allow": false}

decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose == "audit"
}
`})
	a := agreement("globex", "parley.partners.globex", "audit")
	want := []string{"info no-limits globex.rego:5 globex for audit", "info no-max-age globex.rego:5 globex for audit"}
	if diff := cmp.Diff(want, linted(t, load(t, dir, a))); diff != "" {
		t.Error(diff)
	}
	a.Limits.Series = 10
	if diff := cmp.Diff(want[1:], linted(t, load(t, dir, a))); diff != "" {
		t.Errorf("with limits in the agreement:\n%s", diff)
	}
	// Where agreements are assumed nothing is said of them.
	if diff := cmp.Diff(want, linted(t, load(t, dir))); diff != "" {
		t.Errorf("assumed:\n%s", diff)
	}
}

// What a comment says is meant is left out, if it says why, there and nowhere else.
func TestIgnoredFindings(t *testing.T) {
	const policy = `package parley.partners.globex

COMMENT
decision := {"allow": true, "max_age": "7d", "resolution": "1m", "datasets": [
	{"name": "a", "series": ["logins"], "release": "aggregate", "dimensions": ["region"], "units": ["user"], "k": 2}, TRAILING
]}
`
	const small, limits = "warning small-k globex.rego:5 globex for audit", "info no-limits globex.rego:4 globex for audit"
	for name, c := range map[string]struct {
		comment, trailing string
		want              []string
	}{
		"nothing":             {"#", "", []string{limits, small}},
		"the line before":     {"# lint ignore no-limits: the agreement has them", "", []string{small}},
		"on the line":         {"#", "# lint ignore small-k: they are machines", []string{limits}},
		"several":             {"# lint ignore small-k, no-limits: for now", "", []string{small}},
		"without a reason":    {"# lint ignore no-limits", "# lint ignore small-k:", []string{limits, small}},
		"of another name":     {"# lint ignore no-limit: for now", "", []string{limits, small}},
		"somewhere else":      {"# lint ignore small-k: for now", "", []string{limits, small}},
		"in other words":      {"# please lint ignore no-limits: for now", "", []string{limits, small}},
		"two lines, together": {"# lint ignore no-limits: for now", "# lint ignore everything,small-k: they are machines", nil},
	} {
		text := strings.NewReplacer("COMMENT", c.comment, "TRAILING", c.trailing).Replace(policy)
		f := load(t, written(t, map[string]string{"globex.rego": text}), agreement("globex", "parley.partners.globex", "audit"))
		if diff := cmp.Diff(c.want, linted(t, f)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// What is probably misspelt may be meant as well.
func TestIgnoredDoubts(t *testing.T) {
	const policy = `package parley.partners.globex

decision := {"allow": true, "datasets": [{"name": "a", "series": ["up"], "release": "row"}]}

%s
decisions := 3
`
	for comment, want := range map[string]int{"#": 1, "# lint ignore misspelt-decision: how many there are": 0} {
		f := load(t, written(t, map[string]string{"globex.rego": fmt.Sprintf(policy, comment)}))
		if got := f.Doubts(); len(got) != want {
			t.Errorf("%s: %+v", comment, got)
		}
	}
}

// The templates are what we say a policy should be.
func TestTemplatesAreCleanUnderLint(t *testing.T) {
	templates, err := rego.Templates()
	if err != nil {
		t.Fatal(err)
	}
	for _, template := range templates {
		files, _, err := template.For("globex")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Load(t.Context(), Config{Dir: dir, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if found := linted(t, f); len(found) > 0 {
			t.Errorf("%s: %s", template.Name, strings.Join(found, "\n"))
		}
	}
}
