package tenants_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is acme's folder of agreements.
type folder struct {
	t   *testing.T
	dir string
}

func newFolder(t *testing.T, partners ...string) folder {
	f := folder{t: t, dir: t.TempDir()}
	for _, p := range partners {
		f.write(p, agreementWith(p))
	}
	return f
}

func (f folder) path(partner string) string { return filepath.Join(f.dir, partner+".yml") }

func (f folder) write(partner, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(partner), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) remove(partner string) {
	f.t.Helper()
	if err := os.Remove(f.path(partner)); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) open(c tenants.DirectoryConfig) *tenants.Directory {
	f.t.Helper()
	c.Dir, c.Self = f.dir, acme
	d, err := tenants.OpenDirectory(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func agreementWith(partner string) string {
	return strings.ReplaceAll(`
partner: PARTNER
trust_domain: PARTNER.example
gateway_id: spiffe://PARTNER.example/parley
bundle: {file: PARTNER.json}
signals: [metrics]
purposes: [incident-response]
not_after: 2027-01-01
`, "PARTNER", partner)
}

func names(agreements []tenants.Agreement) string {
	var all []string
	for _, a := range agreements {
		all = append(all, string(a.Partner))
	}
	return strings.Join(all, " ")
}

func reasonOf(t *testing.T, err error) tenants.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *tenants.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a refusal: %v", err)
	}
	return r.Reason
}

var globexGateway = spiffeid.RequireFromString("spiffe://globex.example/parley")

func TestWhoIsAtTheDoor(t *testing.T) {
	d := newFolder(t, "globex", "initech").open(tenants.DirectoryConfig{})
	for _, c := range []struct {
		id   spiffeid.ID
		want tenants.Reason
	}{
		{globexGateway, ""},
		{spiffeid.RequireFromString("spiffe://globex.example/parley/other"), tenants.WrongWorkload},
		{spiffeid.RequireFromString("spiffe://globex.example"), tenants.WrongWorkload},
		{spiffeid.RequireFromString("spiffe://hooli.example/parley"), tenants.UnknownTrustDomain},
		{spiffeid.RequireFromString("spiffe://acme.example/parley"), tenants.UnknownTrustDomain},
		{spiffeid.ID{}, tenants.UnknownTrustDomain},
	} {
		a, err := d.ByWorkload(c.id)
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%q: refused for %q, want %q", c.id, got, c.want)
		}
		if err == nil && a.Partner != "globex" {
			t.Errorf("%q is %s", c.id, a.Partner)
		}
	}
	if a, ok := d.Partner("initech"); !ok || a.TrustDomain.Name() != "initech.example" {
		t.Errorf("initech: %v %+v", ok, a)
	}
	if _, ok := d.Partner("hooli"); ok {
		t.Error("hooli is no partner")
	}
}

func TestCovers(t *testing.T) {
	start, end := time.Unix(1000, 0), time.Unix(2000, 0)
	a := tenants.Agreement{
		Partner: "globex", NotBefore: start, NotAfter: end,
		Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"audit"},
	}
	for _, c := range []struct {
		at      time.Time
		signal  tenants.Signal
		purpose tenants.Purpose
		want    tenants.Reason
	}{
		{start, tenants.Metrics, "audit", ""},
		{end.Add(-1), tenants.Metrics, "audit", ""},
		{start.Add(-1), tenants.Metrics, "audit", tenants.NotYetValid},
		{end, tenants.Metrics, "audit", tenants.Expired},
		{start, tenants.Logs, "audit", tenants.SignalNotAgreed},
		{start, tenants.Metrics, "capacity", tenants.PurposeNotAgreed},
		{start, tenants.Metrics, "", tenants.PurposeNotAgreed},
	} {
		if got := reasonOf(t, a.Covers(c.at, c.signal, c.purpose)); got != c.want {
			t.Errorf("%v: refused for %q, want %q", c, got, c.want)
		}
	}
}

func TestRemovingTheFileRevokes(t *testing.T) {
	f := newFolder(t, "globex", "initech")
	d := f.open(tenants.DirectoryConfig{})
	f.remove("globex")
	if err := d.Reload(); err != nil {
		t.Fatal(err)
	}
	_, err := d.ByWorkload(globexGateway)
	if got := reasonOf(t, err); got != tenants.UnknownTrustDomain {
		t.Errorf("globex was revoked and is refused for %q", got)
	}
	f.remove("initech")
	if err := d.Reload(); err != nil {
		t.Errorf("a folder without agreements is a gateway without partners: %v", err)
	}
}

func TestBadFileChangesNothing(t *testing.T) {
	f := newFolder(t, "globex", "initech")
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	d := f.open(tenants.DirectoryConfig{
		Logger:     slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
		Registerer: reg,
		Now:        func() time.Time { return time.Unix(1_700_000_000, 0) },
	})
	var seen []string
	cancel := d.Subscribe(func(a []tenants.Agreement) { seen = append(seen, names(a)) })
	defer cancel()

	f.write("globex", agreementWith("globex")+"colour: green\n")
	f.write("umbrella", agreementWith("umbrella"))
	for range 3 {
		err := d.Reload()
		if want := f.path("globex") + ":9: unknown key"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
	if got := names(d.Partners()); got != "globex initech" {
		t.Errorf("partners are %s, want those from before", got)
	}
	if n := strings.Count(log.String(), "agreements not loaded"); n != 1 {
		t.Errorf("said %d times what is wrong, want once:\n%s", n, &log)
	}
	checkMetrics(t, reg, 2, 0)

	// Revoking works all the same.
	f.remove("initech")
	if err := d.Reload(); err == nil {
		t.Error("globex.yml is still wrong")
	}
	if got := names(d.Partners()); got != "globex" {
		t.Errorf("partners are %s; initech's file is gone", got)
	}
	checkMetrics(t, reg, 1, 0)

	f.write("globex", agreementWith("globex"))
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
	checkMetrics(t, reg, 2, 1)
	if diff := cmp.Diff([]string{"globex initech", "globex", "globex umbrella"}, seen); diff != "" {
		t.Errorf("what a subscriber saw (-want +got):\n%s", diff)
	}

	cancel()
	f.remove("globex")
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
	if len(seen) != 3 {
		t.Error("called after cancel")
	}
}

func checkMetrics(t *testing.T, reg *prometheus.Registry, agreements, successful int) {
	t.Helper()
	want := map[string]float64{
		"parley_agreements":                                       float64(agreements),
		"parley_agreements_last_reload_successful":                float64(successful),
		"parley_agreements_last_reload_success_timestamp_seconds": 1_700_000_000,
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestFolderThatGoesAwayChangesNothing(t *testing.T) {
	f := newFolder(t, "globex")
	d := f.open(tenants.DirectoryConfig{})
	away := f.dir + "-away"
	if err := os.Rename(f.dir, away); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the folder isn't there", err)
	}
	if got := names(d.Partners()); got != "globex" {
		t.Errorf("partners are %q", got)
	}
	if err := os.Rename(away, f.dir); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
}

func TestOpenDirectoryOfABadFolder(t *testing.T) {
	f := newFolder(t, "globex")
	f.write("initech", "partner: initech\n")
	var log bytes.Buffer
	_, err := tenants.OpenDirectory(tenants.DirectoryConfig{Dir: f.dir, Self: acme, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil || strings.Count(err.Error(), "is required") != 6 {
		t.Errorf("want the six missing keys, got %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("nothing was there before that could stay: %s", &log)
	}
}

func TestWatchFollowsTheFolder(t *testing.T) {
	f := newFolder(t, "globex")
	d := f.open(tenants.DirectoryConfig{Interval: time.Millisecond})
	changes := make(chan string, 10)
	defer d.Subscribe(func(a []tenants.Agreement) { changes <- names(a) })()

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Watch(ctx)
	}()
	// As editors and configuration management write: beside, then rename.
	f.write("initech", agreementWith("initech"))
	wait(t, changes, "globex initech")
	f.write("globex.yml.tmp", "x")
	if err := os.Rename(f.path("globex"), f.path("globex")+".retired"); err != nil {
		t.Fatal(err)
	}
	wait(t, changes, "initech")
	stop()
	<-done
}

func wait(t *testing.T, changes <-chan string, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-changes:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the set never became %q", want)
		}
	}
}
