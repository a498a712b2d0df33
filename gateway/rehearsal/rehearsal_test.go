package rehearsal

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const globexPolicy = `package parley.partners.globex

default decision := {"allow": false, "reasons": ["not for this"]}

decision := {"allow": true, "datasets": [requests, logins, never], "limits": {"series": 2}} if {
	input.principal.purpose == "slo-review"
}

requests := {
	"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "pod": "pseudonym"},
}

logins := {
	"name": "logins", "series": ["logins_total"], "release": "aggregate",
	"dimensions": ["region"], "units": ["user"], "k": 3,
}

never := {"name": "never", "series": ["payroll_total"], "release": "deny"}
`

// stage is acme with an agreement and a store.
func stage(t *testing.T) (Stage, Backend) {
	t.Helper()
	return stageOf(t, globexPolicy)
}

func stageOf(t *testing.T, policyText string) (Stage, Backend) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "globex.rego"), []byte(policyText), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := inspect.Load(t.Context(), inspect.Config{
		Org: "acme", Dir: dir, Now: metricstest.End,
		Agreements: []tenants.Agreement{{
			Partner: "globex", Policy: "parley.partners.globex", Purposes: []tenants.Purpose{"slo-review", "audit"},
			Signals: []tenants.Signal{tenants.Metrics}, NotAfter: metricstest.End().Add(time.Hour),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	one := slices.Repeat([]float64{1}, metricstest.Samples)
	var series []metricstest.Series
	add := func(ls ...string) {
		series = append(series, metricstest.Series{Labels: labels.FromStrings(ls...), Values: one})
	}
	for i := range 4 {
		region := []string{"eu", "us"}[i/3]
		add("__name__", "http_requests_total", "region", region, "pod", fmt.Sprint("pod-", i), "user", fmt.Sprint("user-", i))
		add("__name__", "logins_total", "region", region, "user", fmt.Sprint("user-", i))
	}
	add("__name__", "payroll_total", "region", "eu")
	return Stage{Folder: folder}, Backend{Metrics: metricstest.Store(t, series), Secret: make([]byte, 32), Timeout: time.Minute}
}

func ask(expression string, purpose tenants.Purpose) Ask {
	return Ask{Partner: "globex", Purpose: purpose, Question: metrics.Question{
		Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End(),
	}}
}

// over asks over a time up to the end of the store.
func over(expression string, length time.Duration) metrics.Question {
	return metrics.Question{Kind: policy.Range, Expression: expression, Start: metricstest.End().Add(-length), End: metricstest.End(), Step: time.Hour}
}

// What is explained without data is what is met when it is tried.
func TestExplainedIsWhatIsTried(t *testing.T) {
	s, b := stage(t)
	long := ask("http_requests_total", "slo-review")
	long.Question = over("http_requests_total", 90*24*time.Hour)
	stranger := ask("up", "slo-review")
	stranger.Partner = "umbrella"
	for _, c := range []struct {
		ask      Ask
		refused  federation.Kind
		released int
		// needsData: only the data can tell that it is refused.
		needsData bool
	}{
		{ask: ask("sum by (region) (http_requests_total)", "slo-review"), released: 2},
		{ask: ask("sum by (user) (http_requests_total)", "slo-review"), released: 1},
		{ask: ask("sum by (region) (logins_total)", "slo-review"), released: 1},
		{ask: ask("sum(payroll_total)", "slo-review")},
		{ask: ask("http_requests_total", "slo-review"), refused: federation.OverLimit, needsData: true},
		{ask: ask("logins_total", "slo-review"), refused: federation.NeedsAggregation},
		{ask: ask("up", "audit"), refused: federation.Refused},
		{ask: ask("up", "billing"), refused: federation.Refused},
		{ask: ask("sum(", "slo-review"), refused: federation.BadQuestion},
		{ask: long, refused: federation.OverLimit},
		{ask: stranger, refused: federation.Refused},
	} {
		name := fmt.Sprintf("%s, %s", c.ask.Question.Asked().Query, c.ask.Purpose)
		e, err := s.Explain(t.Context(), c.ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tried, err := s.Try(t.Context(), b, c.ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := kindOf(tried.Refused); got != c.refused {
			t.Errorf("%s: tried, it is %q; want %q", name, got, c.refused)
		}
		if got := kindOf(e.Refused); got != c.refused && !c.needsData {
			t.Errorf("%s: explained, it is %q; want %q", name, got, c.refused)
		}
		if e.Refused != nil && tried.Refused != nil && *e.Refused != *tried.Refused {
			t.Errorf("%s: explained %+v, tried %+v", name, *e.Refused, *tried.Refused)
		}
		if len(tried.Released.Series) != c.released {
			t.Errorf("%s: %d series, want %d: %v", name, len(tried.Released.Series), c.released, tried.Released)
		}
	}
}

func kindOf(r *Refusal) federation.Kind {
	if r == nil {
		return ""
	}
	return r.Kind
}

// A trial has what the owner sees, and nothing of it is in the partner's part.
func TestTry(t *testing.T) {
	s, b := stage(t)
	tried, err := s.Try(t.Context(), b, ask("sum by (user, pod, region) (http_requests_total{region=\"us\"})", "slo-review"))
	if err != nil {
		t.Fatal(err)
	}
	if len(tried.Raw.Series) != 1 || tried.Raw.Series[0].Labels["user"] != "user-3" || tried.Raw.Series[0].Labels["pod"] != "pod-3" {
		t.Errorf("raw: %v", tried.Raw)
	}
	released, err := json.Marshal([]any{tried.Released, tried.Notices, tried.Refused})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(released), "user-3") || strings.Contains(string(released), "pod-3") {
		t.Errorf("released: %s", released)
	}
	if got := tried.Released.Series[0].Labels["pod"]; !strings.HasPrefix(string(got), "p-") {
		t.Errorf("pod %q isn't a pseudonym", got)
	}
	if a := tried.Account.Metrics.Selectors[0]; a.Series != 1 || a.Rows != 1 {
		t.Errorf("account %+v", a)
	}

	// Of what is in cells two of three regions are too small.
	if tried, err = s.Try(t.Context(), b, ask("sum by (region) (logins_total)", "slo-review")); err != nil {
		t.Fatal(err)
	}
	if a := tried.Account.Metrics.Cells[0]; a.Cells != 2 || a.Released != 1 || a.Small != 1 || tried.Datasets[a.Dataset].Name != "logins" {
		t.Errorf("cells %+v of %v", a, tried.Datasets)
	}
	// Its owner reads for what it could be asked.
	if tried, err = s.Try(t.Context(), b, ask("up", "billing")); err != nil {
		t.Fatal(err)
	}
	if r := tried.Refused; r.Told != federation.NotAllowed || r.Reason != "refused: purpose-not-agreed (partner globex): billing; agreed for slo-review, audit" {
		t.Errorf("a purpose that isn't agreed: %+v", r)
	}
	// Where policy denies there is nothing to account for, and still the raw answer.
	if tried, err = s.Try(t.Context(), b, ask("sum(payroll_total)", "audit")); err != nil {
		t.Fatal(err)
	}
	if tried.Account != nil || len(tried.Raw.Series) != 1 || tried.Refused.Reason != "denied by policy: not for this" {
		t.Errorf("denied: %+v", tried)
	}
}

func TestExplain(t *testing.T) {
	s, _ := stage(t)
	e, err := s.Explain(t.Context(), ask(`sum by (region) (logins_total) / on (region) sum by (region, user) (http_requests_total{org="acme"})`, "slo-review"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, l := range e.Labels {
		said = append(said, fmt.Sprintf("%s %s (%s) %s, %s :%d", l.Dataset, l.Label, strings.Join(l.In, " "), l.What, l.Why, l.Place.Line))
	}
	want := []string{
		"requests org (matcher) keep, the gateway sets it to acme :0",
		"requests pod () pseudonym,  :11", "requests region (by on) keep,  :11", "requests user (by) drop, it isn't named :10",
		"requests * () drop,  :10",
		"logins region (by on) keep, it is a dimension :16", "logins user () drop, it is a unit: counted, never seen :16", "logins * () drop,  :16",
	}
	if !slices.Equal(said, want) {
		t.Errorf("labels:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	buckets, err := s.Explain(t.Context(), ask("sum by (le) (logins_total)", "slo-review"))
	if err != nil {
		t.Fatal(err)
	}
	if l := buckets.Labels[0]; l.Label != "le" || l.What != "keep" || l.Why != "buckets of classic histograms always have it" {
		t.Errorf("le of cells: %+v", l)
	}
	if len(e.Plan.Metrics.Cells) != 1 || e.Plan.Metrics.Cells[0].Dataset != 1 {
		t.Errorf("cells %+v", e.Plan.Metrics.Cells)
	}
	if o := e.Obligations; o.Limits.Series != 2 || o.Limits.Bytes != tenants.DefaultLimits.Bytes || o.Limits.Range != tenants.DefaultLimits.Range || !o.Datasets[0].Met || o.Datasets[2].Met {
		t.Errorf("obligations %+v", o)
	}
}

// What the policy names and the store doesn't have is said, where it is written
// and with what was perhaps meant.
func TestFindings(t *testing.T) {
	policyText := strings.NewReplacer("http_requests_total", "http_request_total", `"pod": "pseudonym"`, `"pdo": "pseudonym"`, `["user"]`, `["usr"]`, "payroll_total", "payrol").Replace(globexPolicy)
	s, b := stageOf(t, policyText)
	tried, err := s.Try(t.Context(), b, ask("sum(up)", "slo-review"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range tried.Findings {
		said = append(said, fmt.Sprintf("%s:%d: %s", filepath.Base(f.Place.File), f.Place.Line, f.Text))
	}
	want := []string{
		"globex.rego:10: dataset requests matches no series",
		`globex.rego:10: in your data there is no metric "http_request_total"; did you mean http_requests_total?`,
		`globex.rego:11: in your data there is no label "pdo"; did you mean pod?`,
		`globex.rego:16: in your data there is no label "usr": as the unit of logins it is the same for all of its series, and no cell has enough; did you mean user?`,
		"globex.rego:19: dataset never matches no series",
		`globex.rego:19: in your data there is no metric "payrol"; did you mean payroll_total?`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	long := ask("sum(up)", "slo-review")
	long.Question = over("sum(up)", 7*24*time.Hour)
	if tried, err = s.Try(t.Context(), b, long); err != nil || len(tried.Findings) != len(want) || tried.Looked.End.Sub(tried.Looked.Start) != 24*time.Hour {
		t.Errorf("of a week: %d findings in %v, %v", len(tried.Findings), tried.Looked, err)
	}
	s, b = stage(t)
	if tried, err = s.Try(t.Context(), b, ask("sum(up)", "slo-review")); err != nil || len(tried.Findings) > 0 {
		t.Errorf("of a policy without mistakes: %v, %v", tried.Findings, err)
	}
}
