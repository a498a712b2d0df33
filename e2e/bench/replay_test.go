package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/replay"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// BenchmarkReplay decides recorded questions once more. It reports how many
// seconds a million takes: of dashboards that ask the same again and again, by
// policies that look at what is asked; and of questions that are all different,
// by policies that don't.
func BenchmarkReplay(b *testing.B) {
	const questions = 100_000
	for _, c := range []struct {
		name      string
		different int
		condition string
	}{
		{"dashboards", 1000, `lib.asks_only(["http_.*"])`},
		{"all-different", questions, "true"},
	} {
		b.Run(c.name, func(b *testing.B) {
			before, after := replayed(b, "pseudonym", c.condition), replayed(b, "keep", c.condition)
			dir := recordedLog(b, before, questions, c.different)
			b.ResetTimer()
			for range b.N {
				report, err := replay.Run(b.Context(), replay.Config{Current: before, New: after}, os.DirFS(dir))
				if err != nil {
					b.Fatal(err)
				}
				if report.Questions[replay.Changed] != questions || report.Unread > 0 {
					b.Fatalf("%v, %d unread", report.Questions, report.Unread)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/questions*1e6, "s/million")
		})
	}
}

// replayed are policies for fifty partners.
func replayed(b *testing.B, user, condition string) *inspect.Folder {
	dir := b.TempDir()
	var agreements []tenants.Agreement
	for i := range 50 {
		name := fmt.Sprintf("partner%d", i)
		text := fmt.Sprintf(`package parley.partners.%s

import data.parley.lib

default decision := {"allow": false}

decision := {"allow": true, "max_age": "31d", "datasets": [{
	"name": "requests", "series": lib.matching(["http_.*"], {"env": "prod"}), "release": "row",
	"labels": {"region": "keep", "status": lib.status_class, "pod": "pseudonym", "user": %q},
}]} if {
	input.principal.purpose == "slo-review"
	%s
}
`, name, user, condition)
		if err := os.WriteFile(filepath.Join(dir, name+".rego"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		agreements = append(agreements, tenants.Agreement{
			Partner: tenants.OrgID(name), Policy: "parley.partners." + name, Purposes: []tenants.Purpose{"slo-review"}, Signals: []tenants.Signal{tenants.Metrics},
		})
	}
	f, err := inspect.Load(b.Context(), inspect.Config{Org: "acme", Dir: dir, Agreements: agreements, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// recordedLog is a log of questions, of which some are different ones, as a
// gateway with these policies writes it.
func recordedLog(b *testing.B, f *inspect.Folder, questions, different int) string {
	var text bytes.Buffer
	begin := time.Now().Add(-time.Hour)
	for i := range questions {
		n := i % different
		partner := f.Agreements[n%len(f.Agreements)].Partner
		at := begin.Add(time.Duration(i) * time.Millisecond)
		x := gateway.Exchange{
			ID: "01900000-0000-7000-8000-000000000000", Door: gateway.PeerDoor, Org: "acme", Signal: tenants.Metrics, Kind: policy.Range,
			Query:  fmt.Sprintf(`sum by (region, status) (rate(http_requests_total{service="service-%d"}[5m]))`, n),
			Window: policy.Window{Start: at.Add(-time.Hour), End: at}, Step: 30 * time.Second, Start: at, Outcome: gateway.Answered,
			Principal: tenants.Principal{
				Org: partner, Workload: spiffeid.RequireFromString("spiffe://" + string(partner) + ".example/parley"), Purpose: "slo-review",
				User: tenants.User{Subject: "someone", Proof: tenants.ProvenByJWT},
			},
			Decision: policy.Decision{Allow: true, Revision: f.Inventory.Revision},
			Series:   20, Samples: 2000, Bytes: 40_000, Latency: 30 * time.Millisecond,
		}
		line, err := json.Marshal(audit.Of(x))
		if err != nil {
			b.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit-00000001.jsonl"), text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return dir
}
