package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

const partners = 50

// BenchmarkDecide decides on a partner's question, with fifty partners whose
// policies are packages of their own: cold, as a question is that was not
// asked before, and cached.
func BenchmarkDecide(b *testing.B) {
	policies := fiftyPartners(b)
	request, err := metrics.Question{
		Kind: policy.Range, Expression: questions[0].expression, Start: firstStep(), End: lastStep(), Step: step,
	}.Request()
	if err != nil {
		b.Fatal(err)
	}
	request.Side, request.Owner = policy.Answer, "acme"
	request.Package = "parley.partners.partner7"
	request.Principal = tenants.Principal{
		Org: "partner7", Workload: spiffeid.RequireFromString("spiffe://partner7.example/parley"), Purpose: "slo-review",
	}
	decide := func(b *testing.B) {
		if d, err := policies.Decide(b.Context(), request); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			request.Principal.Case = tenants.CaseID(fmt.Sprint("INC-", i))
			decide(b)
		}
	})
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			decide(b)
		}
	})
}

func fiftyPartners(b *testing.B) *rego.Policies {
	b.Helper()
	dir := b.TempDir()
	var agreements []tenants.Agreement
	for i := range partners {
		name := fmt.Sprint("partner", i)
		text := fmt.Sprintf("package parley.partners.%s\n\n%s if input.principal.purpose == \"slo-review\"\n", name, releasePseudonym)
		if err := os.WriteFile(filepath.Join(dir, name+".rego"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		agreements = append(agreements, tenants.Agreement{
			Partner: tenants.OrgID(name), TrustDomain: spiffeid.RequireTrustDomainFromString(name + ".example"),
			Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"slo-review"}, Policy: "parley.partners." + name,
		})
	}
	policies, err := rego.New(context.WithoutCancel(b.Context()), rego.Config{
		Org: "acme", Dir: dir, Agreements: func() []tenants.Agreement { return agreements }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	return policies
}
