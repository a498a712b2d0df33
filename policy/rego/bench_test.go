package rego

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/tenants"
)

// fifty is a gateway with fifty partners, each with its own package.
func fifty(b *testing.B) *world {
	w := mustOpen(b, "testdata/acme", agreements...)
	for i := range 50 {
		name := fmt.Sprintf("partner%d", i)
		w.write(b, name+".rego", fmt.Sprintf(`package parley.partners.%s

import data.parley.lib

decision := {"allow": true, "datasets": [{
	"name": "requests",
	"series": lib.matching(["http_.*"], {"env": "prod"}),
	"release": "row",
	"labels": {"region": "keep", "status": lib.status_class, "pod": "pseudonym"},
}]} if input.principal.purpose == "slo-review"
`, name))
		w.agreements = append(w.agreements, agreement(name, "parley.partners."+name, "slo-review"))
	}
	if err := w.Reload(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	return w
}

func BenchmarkDecideCold(b *testing.B) {
	w := fifty(b)
	r := globexAsks("slo-review")
	for i := range b.N {
		r.Principal.Case = tenants.CaseID(fmt.Sprint(i))
		if d, err := w.Decide(b.Context(), r); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkDecideCached(b *testing.B) {
	w := fifty(b)
	r := globexAsks("slo-review")
	for b.Loop() {
		if d, err := w.Decide(b.Context(), r); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

// A question with a long expression: the key grows with it.
func BenchmarkDecideCachedLong(b *testing.B) {
	w := fifty(b)
	r := globexAsks("slo-review")
	r.Query = strings.Repeat(`rate(http_requests_total{service="api"}[5m]) + `, 20) + "1"
	for range 20 {
		r.Selectors = append(r.Selectors, asks("", "", "", `http_requests_total{service="api"}`).Selectors[0])
	}
	for b.Loop() {
		if d, err := w.Decide(b.Context(), r); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	w := fifty(b)
	for i := range b.N {
		w.write(b, "more.yaml", fmt.Sprintf("a: %d", i))
		if err := w.Reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// An include rule is evaluated and translated: once per revision, principal and
// purpose.
func BenchmarkIncludeCold(b *testing.B) {
	w, err := globexIncludes(b, `include if {
	input.principal.purpose == "slo-review"
	input.series.env == "prod"
	input.series.team in data.agreement.teams
	not hidden
}
hidden if startswith(input.series.__name__, "internal_")
hidden if { some x in ["a", "b", "c"]; input.series.tier == x; not input.series.shared }`)
	if err != nil {
		b.Fatal(err)
	}
	rev := w.current.Load()
	p := rev.packages["parley.partners.globex"]
	input, err := describe(globexAsks("slo-review"), noon, p.reads)
	if err != nil {
		b.Fatal(err)
	}
	value, err := parseInput(input)
	if err != nil {
		b.Fatal(err)
	}
	e := allowance{math.MaxInt64, maxMemory}.begin(b.Context())
	defer e.end()
	for b.Loop() {
		rev.included.entries.Purge()
		if s, err := rev.include(e, p, "include", value); err != nil || len(s) == 0 {
			b.Fatal(s, err)
		}
	}
}
