package demo_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var purposes = []tenants.Purpose{"slo-review", "incident-response", "capacity"}

// until is the end of what is written: a busy time in eu.
var until = time.Date(2026, 3, 4, 10, 0, 7, 0, time.UTC)

// everything is the decision on our own users' questions about our own data.
var everything = policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
	Name: "all", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
}}}}

func openStore(t testing.TB) *metrics.TSDB {
	t.Helper()
	store, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func company(t testing.TB, org tenants.OrgID) demo.Company {
	t.Helper()
	for _, c := range demo.Companies() {
		if c.Org == org {
			return c
		}
	}
	t.Fatalf("%s is not in the demo", org)
	return demo.Company{}
}

func fill(t testing.TB, c demo.Company, store *metrics.TSDB, span time.Duration) {
	t.Helper()
	if err := c.Fill(t.Context(), store, until, span); err != nil {
		t.Fatal(err)
	}
}

// filled is a company's store with its hour.
func filled(t testing.TB, org tenants.OrgID) *metrics.Local {
	t.Helper()
	store := openStore(t)
	fill(t, company(t, org), store, time.Hour)
	return newLocal(t, org, store)
}

func newLocal(t testing.TB, org tenants.OrgID, store *metrics.TSDB) *metrics.Local {
	t.Helper()
	local, err := metrics.NewLocal(metrics.LocalConfig{
		Org: org, Source: store, Secret: []byte("0123456789abcdef0123456789abcdef"), Now: func() time.Time { return until },
	})
	if err != nil {
		t.Fatal(err)
	}
	return local
}

// ask evaluates over all of a company's own data.
func ask(t testing.TB, local *metrics.Local, q metrics.Question) promql.Matrix {
	t.Helper()
	released, _, err := local.Answer(t.Context(), q, everything, metrics.Asking{Org: "self", ExchangeID: "x"})
	if err != nil {
		t.Fatalf("%s: %v", q.Expression, err)
	}
	m, err := released.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// value is the one number that the expression is at a time.
func value(t testing.TB, local *metrics.Local, at time.Time, expr string) float64 {
	t.Helper()
	m := ask(t, local, metrics.Question{Kind: policy.Instant, Expression: expr, Start: at, End: at})
	if len(m) != 1 || len(m[0].Floats) != 1 {
		t.Fatalf("%s at %s: want one number, got %v", expr, at, m)
	}
	return m[0].Floats[0].F
}

func agreementsOf(t testing.TB, owner tenants.OrgID, now time.Time) []tenants.Agreement {
	t.Helper()
	dir := t.TempDir()
	for _, c := range demo.Companies() {
		if c.Org == owner {
			continue
		}
		var text bytes.Buffer
		a := demo.Agreement{
			Owner: owner, Partner: c.Org, Addresses: []string{"127.0.0.1:9490"},
			BundleAddress: "127.0.0.1:9500", BundleFile: filepath.Join("bundles", string(c.Org)+".json"),
		}
		if err := a.Write(&text, now); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, string(c.Org)+".yml"), text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self := tenants.Self{Org: owner, TrustDomain: demo.TrustDomain(owner)}
	agreements, err := tenants.ReadAgreements(dir, self)
	if err != nil {
		t.Fatal(err)
	}
	return agreements
}

func policiesOf(t testing.TB, owner tenants.OrgID, agreements []tenants.Agreement) *rego.Policies {
	t.Helper()
	dir := t.TempDir()
	folder, err := demo.Policies(owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, folder); err != nil {
		t.Fatal(err)
	}
	p, err := rego.New(context.Background(), rego.Config{
		Org: owner, Dir: dir, Agreements: func() []tenants.Agreement { return agreements },
		Now: func() time.Time { return until }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
