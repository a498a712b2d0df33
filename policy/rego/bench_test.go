package rego

import (
	"fmt"
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
