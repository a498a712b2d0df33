package shadow

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

const answersRequests = `package parley.partners.globex

decision := {"allow": true, "max_age": "7d", "datasets": [{
	"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {"user": "pseudonym"},
}]}
`

// lockedBuffer is a log that is written to and read at the same time.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// beside is a shadow of acme's policies, and the policies themselves.
type beside struct {
	*Shadow
	counts *rego.Policies
	dir    string
	log    *lockedBuffer
}

func open(t testing.TB, counts, shadow string) *beside {
	t.Helper()
	b := &beside{dir: t.TempDir(), log: &lockedBuffer{}}
	agreements := func() []tenants.Agreement {
		return []tenants.Agreement{{Partner: "globex", Policy: "parley.partners.globex", Purposes: []tenants.Purpose{"slo-review"}, Signals: []tenants.Signal{tenants.Metrics}}}
	}
	now := func() time.Time { return noon }
	dir := t.TempDir()
	write(t, dir, counts)
	write(t, b.dir, shadow)
	var err error
	if b.counts, err = rego.New(t.Context(), rego.Config{Org: "acme", Dir: dir, Agreements: agreements, Now: now, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	b.Shadow, err = New(t.Context(), Config{
		Org: "acme", Dir: b.dir, Agreements: agreements, Now: now, Registerer: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "globex.rego"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask decides on a question and lets the shadow decide on it too.
func (b *beside) ask(t testing.TB, id federation.ExchangeID, at time.Time) {
	t.Helper()
	r := policy.Request{
		Side: policy.Answer, Owner: "acme", Package: "parley.partners.globex", Signal: tenants.Metrics, Kind: policy.Instant,
		Query: "sum(http_requests_total{user=\"somebody\"})",
		Principal: tenants.Principal{
			Org: "globex", Purpose: "slo-review", User: tenants.User{Subject: "alice@globex.example", Proof: tenants.ProvenByJWT}, Case: "INC-7",
		},
	}
	d, err := b.counts.DecideAt(t.Context(), r, at)
	if err != nil {
		t.Fatal(err)
	}
	b.Observe(id, r, d, at)
}

// drain decides on all questions that wait.
func (b *beside) drain(t testing.TB) {
	t.Helper()
	for len(b.questions) > 0 {
		b.decide(t.Context(), <-b.questions)
	}
}

// metrics are the counters that aren't zero.
func (b *beside) metrics() map[string]float64 {
	out := map[string]float64{}
	for _, result := range []string{same, different, failed, notAsked} {
		if n := testutil.ToFloat64(b.decisions.WithLabelValues(result)); n > 0 {
			out[result] = n
		}
	}
	for _, kind := range []string{"allowed", "denied", "datasets", "labels", "cells", "queries", "time", "bounds", "epoch"} {
		if n := testutil.ToFloat64(b.differences.WithLabelValues("globex", kind)); n > 0 {
			out["globex "+kind] = n
		}
	}
	return out
}

func TestShadow(t *testing.T) {
	for name, c := range map[string]struct {
		shadow string
		want   map[string]float64
	}{
		"the same":       {answersRequests, map[string]float64{same: 1}},
		"said otherwise": {strings.ReplaceAll(answersRequests, `"7d"`, `"168h"`), map[string]float64{same: 1}},
		"denied":         {"package parley.partners.globex\n\ndecision := {\"allow\": false}", map[string]float64{different: 1, "globex denied": 1}},
		"a label":        {strings.ReplaceAll(answersRequests, "pseudonym", "keep"), map[string]float64{different: 1, "globex labels": 1}},
		"two things": {
			strings.ReplaceAll(strings.ReplaceAll(answersRequests, "pseudonym", "keep"), `"7d"`, `"1d"`),
			map[string]float64{different: 1, "globex labels": 1, "globex time": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, answersRequests, c.shadow)
			// Long after the policies were loaded: max_age is counted from the question.
			b.ask(t, "exchange-1", noon.Add(100*time.Hour))
			b.drain(t)
			if diff := cmp.Diff(c.want, b.metrics()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The log tells which exchange, with whom, why and what differs, once a minute,
// and nothing of the question or for whom it was asked.
func TestWhatIsLogged(t *testing.T) {
	b := open(t, answersRequests, "package parley.partners.globex\n\ndecision := {\"allow\": false, \"reasons\": [\"because of somebody\"]}")
	for i := range 100 {
		b.ask(t, "exchange-1", noon.Add(time.Duration(i)*time.Second))
	}
	b.drain(t)
	if n := strings.Count(b.log.String(), "shadow policies decide otherwise"); n != 2 {
		t.Errorf("logged %d times in a hundred seconds, want 2", n)
	}
	for _, want := range []string{"exchange=exchange-1", "partner=globex", "purpose=slo-review", "difference=denied"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("%s is missing in %s", want, b.log)
		}
	}
	for _, not := range []string{"somebody", "http_requests_total", "alice", "INC-7"} {
		if strings.Contains(b.log.String(), not) {
			t.Errorf("%s is in the log: %s", not, b.log)
		}
	}
	other := open(t, answersRequests, strings.Replace(answersRequests, `"labels": {`, `"labels": {"shard": "keep", `, 1))
	other.ask(t, "exchange-2", noon)
	other.drain(t)
	if want := `what="requests: shard: keep, was drop"`; !strings.Contains(other.log.String(), want) {
		t.Errorf("%s is missing in %s", want, other.log)
	}
	if got := b.metrics()["globex denied"]; got != 100 {
		t.Errorf("counted %v differences, want 100", got)
	}
}

// Nobody waits for a shadow: what comes while too many wait isn't decided.
func TestObserveNeverWaits(t *testing.T) {
	b := open(t, answersRequests, answersRequests)
	const more = 10
	for range waiting + more {
		b.ask(t, "x", noon)
	}
	b.Observe("x", policy.Request{Query: strings.Repeat("x", maxQuery+1)}, policy.Decision{}, noon)
	b.drain(t)
	if diff := cmp.Diff(map[string]float64{same: waiting, notAsked: more + 1}, b.metrics()); diff != "" {
		t.Error(diff)
	}
}

// Policies that don't load don't decide, which is said; once they do, they
// decide, and what changes in their folder counts.
func TestPoliciesThatDoNotLoad(t *testing.T) {
	b := open(t, answersRequests, "package parley.partners.globex\n\ndecision := x")
	if b.Problem() == nil || !strings.Contains(b.log.String(), "shadow policies do not load") {
		t.Errorf("problem %v, log %s", b.Problem(), b.log)
	}
	b.ask(t, "x", noon)
	b.drain(t)
	if diff := cmp.Diff(map[string]float64{notAsked: 1}, b.metrics()); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ticks, done := make(chan time.Time), make(chan struct{}, 2)
	go func() { b.Watch(ctx, ticks); done <- struct{}{} }()
	go func() { b.Run(ctx); done <- struct{}{} }()
	write(t, b.dir, answersRequests)
	at := noon
	tickUntil := func(what string, ok func() bool) {
		t.Helper()
		for range 100 {
			at = at.Add(retry)
			ticks <- at
			if ok() {
				return
			}
		}
		t.Fatalf("never: %s", what)
	}
	tickUntil("the policies load", func() bool { return b.Problem() == nil })
	write(t, b.dir, "package parley.partners.globex\n\ndecision := {\"allow\": false}")
	tickUntil("a change counts", func() bool {
		before := testutil.ToFloat64(b.decisions.WithLabelValues(same)) + testutil.ToFloat64(b.decisions.WithLabelValues(different))
		b.ask(t, "x", noon)
		for testutil.ToFloat64(b.decisions.WithLabelValues(same))+testutil.ToFloat64(b.decisions.WithLabelValues(different)) == before {
			ticks <- at
		}
		return b.metrics()["globex denied"] > 0
	})
	cancel()
	<-done
	<-done
}
