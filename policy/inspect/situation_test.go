package inspect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// emergencies are the policies of globex: of every day, and of an emergency with
// these datasets.
func emergencies(datasets string) map[string]string {
	return map[string]string{
		"globex.rego": `package parley.partners.globex
default decision := {"allow": false}
decision := {"allow": true, "max_age": "1d", "limits": {"series": 10}, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row"}]} if {
	input.principal.purpose == "slo-review"
}`,
		"emergency.rego": `package parley.partners.globex_emergency
default decision := {"allow": false}
decision := {"allow": true, "max_age": "1h", "resolution": "1m", "limits": {"series": 10}, "datasets": [` + datasets + `]} if {
	input.principal.break_glass
	input.principal.case != ""
	input.principal.proof != "none"
	input.principal.purpose == "incident-response"
}`,
	}
}

func breakable(purposes ...tenants.Purpose) tenants.Agreement {
	a := agreement("globex", "parley.partners.globex", purposes...)
	a.BreakGlass = &tenants.BreakGlass{Policy: "parley.partners.globex_emergency", Longest: 2 * time.Hour}
	return a
}

const loginsInCells = `{"name": "logins", "series": ["logins_total"], "release": "aggregate", "dimensions": ["region"], "units": ["user"], "k": %d}`

// An emergency's policy is linted as that of every day is.
func TestLintOfAnEmergency(t *testing.T) {
	a := breakable("slo-review", "incident-response")
	got := linted(t, load(t, written(t, emergencies(`{"name": "all", "series": ["{}"], "release": "row", "labels": {"*": "keep"}}, `+fmt.Sprintf(loginsInCells, 2))), a))
	want := []string{
		"error everything emergency.rego:3 globex for incident-response in an emergency",
		"info rows-under-cells emergency.rego:3 globex for incident-response in an emergency",
		"warning small-k emergency.rego:3 globex for incident-response in an emergency",
		"info never-answered globex.rego:2 globex for incident-response",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Its own partner has both views.
	got = linted(t, load(t, written(t, map[string]string{
		"globex.rego": `package parley.partners.globex
decision := {"allow": true, "max_age": "1d", "resolution": "1m", "limits": {"series": 10}, "datasets": [` + fmt.Sprintf(loginsInCells, 5) + "]}",
		"emergency.rego": `package parley.partners.globex_emergency
decision := {"allow": true, "max_age": "1d", "resolution": "1m", "limits": {"series": 10}, "datasets": [` + strings.Replace(fmt.Sprintf(loginsInCells, 5), `"region"`, `"region", "device"`, 1) + "]}",
	}), breakable("audit")))
	want = []string{"error two-lattices emergency.rego:2 globex for audit in an emergency and globex for audit"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// That it answers some purposes only is what it is for; none is a mistake.
	files := emergencies(fmt.Sprintf(loginsInCells, 5))
	files["globex.rego"] = strings.Replace(files["globex.rego"], `== "slo-review"`, `in {"slo-review", "audit"}`, 1)
	if got := linted(t, load(t, written(t, files), breakable("audit", "slo-review"))); len(got) != 2 ||
		got[0] != "info never-answered emergency.rego:2 globex in an emergency" || !strings.HasPrefix(got[1], "warning purpose-not-agreed emergency.rego") {
		t.Errorf("%q", got)
	}
}

func TestAnswersInAnEmergency(t *testing.T) {
	files := emergencies(fmt.Sprintf(loginsInCells, 5))
	agreed := breakable("slo-review", "incident-response")
	for name, f := range map[string]*Folder{"agreed": load(t, written(t, files), agreed), "assumed": load(t, written(t, files))} {
		a := agreed
		if f.Assumed {
			a, _ = f.Agreement("globex-emergency")
			a.Purposes = agreed.Purposes
		}
		everyDay, emergency, err := f.Answers(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		want := []Answer{Answered, Never}
		if f.Assumed {
			want = []Answer{Never, Never}
		}
		if diff := cmp.Diff(want, everyDay); diff != "" {
			t.Errorf("%s, every day:\n%s", name, diff)
		}
		if diff := cmp.Diff([]Answer{Never, Answered}, emergency); diff != "" {
			t.Errorf("%s, in an emergency:\n%s", name, diff)
		}
	}
	f := load(t, written(t, files))
	open, _ := f.Agreement("globex")
	if _, emergency, err := f.Answers(t.Context(), open); err != nil || emergency != nil {
		t.Errorf("of a policy that doesn't look at emergencies one is assumed: %v, %v", emergency, err)
	}
}

func TestDiffOfAnEmergency(t *testing.T) {
	a := breakable("slo-review", "incident-response")
	before := load(t, written(t, emergencies(fmt.Sprintf(loginsInCells, 2))), a)
	after := load(t, written(t, emergencies(fmt.Sprintf(loginsInCells, 9))), a)
	list, err := Diff(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || !list[0].Emergency || list[0].Partner != "globex" || list[0].Purpose != "incident-response" || list[0].Differences[0].Kind != OtherCells {
		t.Errorf("%+v", list)
	}
	if s := list[0].Examples[0]; !s.Emergency || s.Case == "" {
		t.Errorf("an emergency without a case: %+v", s)
	}
}

func TestCatalogOfAnEmergency(t *testing.T) {
	c := catalog(t, load(t, written(t, emergencies(fmt.Sprintf(loginsInCells, 5))), breakable("slo-review", "incident-response")), "globex")
	if c.BreakGlass != 2*time.Hour {
		t.Errorf("a grant lasts %s", c.BreakGlass)
	}
	if p := c.Purposes[0]; len(p.Terms) != 1 || len(p.Emergency) != 0 {
		t.Errorf("%+v", p)
	}
	p := c.Purposes[1]
	if len(p.Terms) != 0 || len(p.Emergency) != 1 {
		t.Fatalf("%+v", p)
	}
	if terms := p.Emergency[0]; terms.Sets[0].Release != policy.Aggregate || terms.MaxAge != time.Hour || len(terms.Conditions) != 0 {
		t.Errorf("%+v", terms)
	}
}
