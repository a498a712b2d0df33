package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// BenchmarkBundle loads a signed bundle of a thousand rules, as a gateway does
// before it lets them decide: verified, compiled, tried on sample questions of
// twenty partners, and the rules that say which series translated to selectors.
func BenchmarkBundle(b *testing.B) {
	const packages, rules = 20, 50
	files := map[string]string{}
	var agreements []tenants.Agreement
	for i := range packages {
		name := fmt.Sprint("partner", i)
		var text strings.Builder
		fmt.Fprintf(&text, "package parley.partners.%s\n\n"+
			`decision := {"allow": true, "datasets": [{"name": "ours", "include": "include", "release": "row"}]} if input.principal.purpose == "slo-review"`+"\n\n", name)
		for j := range rules - 1 {
			fmt.Fprintf(&text, "include if {\n\tinput.series.env == \"env-%d\"\n\tinput.series.team in [\"a-%d\", \"b-%d\"]\n\tnot startswith(input.series.zone, \"z%d\")\n}\n\n", j, j, j, j)
		}
		files["partners/"+name+".rego"] = text.String()
		agreements = append(agreements, tenants.Agreement{
			Partner: tenants.OrgID(name), TrustDomain: spiffeid.RequireTrustDomainFromString(name + ".example"),
			Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"slo-review"}, Policy: "parley.partners." + name,
		})
	}
	key := bundletest.NewKey(b)
	file := filepath.Join(b.TempDir(), "policy.tar.gz")
	if err := os.WriteFile(file, key.Sign(b, files), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("thousand-rules", func(b *testing.B) {
		for b.Loop() {
			policies, err := rego.New(context.WithoutCancel(b.Context()), rego.Config{
				Org: "acme", Now: time.Now, Log: slog.New(slog.DiscardHandler),
				Bundle:     &rego.BundleConfig{File: file, Keys: bundle.Keys{PEM: []string{key.Public}, Algorithm: bundletest.Algorithm}},
				Agreements: func() []tenants.Agreement { return agreements },
			})
			if err != nil || policies.Status().Revision == "" {
				b.Fatal(err)
			}
		}
	})
}
