package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// world is acme with its policies, a clock and a log.
type world struct {
	*Policies
	now        time.Time
	dir        string
	log        *bytes.Buffer
	agreements []tenants.Agreement
}

func agreement(partner, pkg string, purposes ...tenants.Purpose) tenants.Agreement {
	return tenants.Agreement{
		Partner: tenants.OrgID(partner), Policy: pkg, Purposes: purposes,
		Signals: []tenants.Signal{tenants.Metrics}, File: "agreements/" + partner + ".yaml",
	}
}

var agreements = []tenants.Agreement{
	agreement("globex", "parley.partners.globex", "slo-review", "incident-response", "audit"),
	agreement("initech", "parley.partners.initech", "slo-review"),
	agreement("umbrella", "", "slo-review"),
}

// open loads a copy of the folder, so that a test can change it.
func open(t testing.TB, from string, agreements ...tenants.Agreement) (*world, error) {
	t.Helper()
	w := &world{now: noon, dir: t.TempDir(), log: &bytes.Buffer{}, agreements: agreements}
	if from != "" {
		if err := os.CopyFS(w.dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.Policies, err = New(t.Context(), w.config())
	return w, err
}

func (w *world) config() Config {
	return Config{
		Org: "acme", Dir: w.dir,
		Agreements: func() []tenants.Agreement { return w.agreements },
		Now:        func() time.Time { return w.now },
		Log:        slog.New(slog.NewTextHandler(w.log, nil)),
	}
}

func mustOpen(t testing.TB, from string, agreements ...tenants.Agreement) *world {
	t.Helper()
	w, err := open(t, from, agreements...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) write(t testing.TB, name, text string) {
	t.Helper()
	file := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// asks is a question from one organization to acme.
func asks(org, pkg string, purpose tenants.Purpose, query string) policy.Request {
	matchers, err := parser.ParseMetricSelector(query)
	if err != nil {
		panic(err)
	}
	return policy.Request{
		Side:      policy.Answer,
		Principal: tenants.Principal{Org: tenants.OrgID(org), Purpose: purpose},
		Purposes:  tenants.Agreement{}.Under(purpose),
		Owner:     "acme", Package: pkg, Signal: tenants.Metrics, Kind: policy.Range,
		Window: policy.Window{Start: noon.Add(-time.Hour), End: noon.Add(-time.Second)},
		Step:   30 * time.Second, Query: query, Selectors: []policy.Selector{matchers},
	}
}

func globexAsks(purpose tenants.Purpose) policy.Request {
	return asks("globex", "parley.partners.globex", purpose, "http_requests_total")
}

func (w *world) decide(t testing.TB, r policy.Request) policy.Decision {
	t.Helper()
	d, err := w.Decide(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if d.Revision != w.Status().Revision {
		t.Errorf("decision of revision %q, status says %q", d.Revision, w.Status().Revision)
	}
	return d
}

func denies(t testing.TB, d policy.Decision, because string) {
	t.Helper()
	if d.Allow || len(d.Obligations.Datasets) > 0 {
		t.Errorf("allowed: %+v", d)
	}
	if reasons := strings.Join(d.Reasons, "; "); !strings.Contains(reasons, because) || reasons == "" {
		t.Errorf("reasons %q, want %q in them", reasons, because)
	}
}

func TestAPartnerSeesWhatThePolicyReleases(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)

	d := w.decide(t, globexAsks("slo-review"))
	if !d.Allow || len(d.Obligations.Datasets) != 1 {
		t.Fatalf("slo-review: %+v", d)
	}
	requests := d.Obligations.Datasets[0]
	if got := fmt.Sprint(requests.Series); got != `[[__name__=~"http_.*" env="prod"]]` {
		t.Errorf("series %s", got)
	}
	modes := map[string]string{}
	for name, r := range requests.Labels {
		modes[name] = r.Mode.String()
	}
	want := map[string]string{"region": "keep", "status": "generalize", "pod": "pseudonym", "user": "drop"}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
	status := requests.Labels["status"].Mapping
	if a, b := status.Apply("404"), status.Apply("teapot"); a != "4xx" || b != "other" {
		t.Errorf("404 is %q, teapot is %q", a, b)
	}
	if requests.Others.Mode != policy.Drop {
		t.Errorf("labels not named are to be dropped, not %s", requests.Others.Mode)
	}
	if got, want := d.Obligations.NotBefore, noon.Add(-7*24*time.Hour); !got.Equal(want) {
		t.Errorf("not before %s, want %s", got, want)
	}
	if got, want := d.Obligations.Limits, (tenants.Limits{Series: 1000, Bytes: 1_000_000}); got != want {
		t.Errorf("limits %+v", got)
	}

	denies(t, w.decide(t, globexAsks("incident-response")), "not for this purpose")
	incident := globexAsks("incident-response")
	incident.Principal.Case = "INC-7"
	d = w.decide(t, incident)
	if got := len(d.Obligations.Datasets); got != 3 || d.Obligations.Epoch != 24*time.Hour {
		t.Fatalf("incident: %+v", d)
	}
	if ds := d.Obligations.Datasets[2]; ds.Release != policy.Deny {
		t.Errorf("secrets: %+v", ds)
	}
	denies(t, w.decide(t, globexAsks("audit")), "not for this purpose")
}

func TestWithoutAPolicyPartnersGetNothingAndOurUsersEverything(t *testing.T) {
	w := mustOpen(t, "", agreements[2])

	denies(t, w.decide(t, asks("umbrella", "", "slo-review", "up")), "names no policy")

	d := w.decide(t, asks("acme", "", "operations", "up"))
	want := []policy.Dataset{{
		Name: "everything", Series: []policy.Selector{{}}, Release: policy.Row,
		Labels: map[string]policy.LabelRule{}, Others: policy.LabelRule{Mode: policy.Keep},
	}}
	if diff := cmp.Diff(want, d.Obligations.Datasets); !d.Allow || diff != "" {
		t.Errorf("%+v\n%s", d, diff)
	}
}

func TestOurUsersAskWhomItWasAgreedWith(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	ask := func(owner tenants.OrgID, purpose tenants.Purpose) policy.Decision {
		r := asks("acme", "", purpose, "up")
		r.Side, r.Owner = policy.Ask, owner
		return w.decide(t, r)
	}
	for _, owner := range []tenants.OrgID{"globex", "initech", "umbrella", "acme"} {
		if d := ask(owner, "slo-review"); !d.Allow {
			t.Errorf("asking %s: %+v", owner, d)
		}
	}
	denies(t, ask("globex", "marketing"), "no agreement")
	denies(t, ask("stranger", "slo-review"), "no agreement")
}

func TestTheFolderDecidesForOurOwnUsers(t *testing.T) {
	w := mustOpen(t, "", agreements[2])
	w.write(t, "own.rego", `package parley.own
decision := {"allow": true, "datasets": [{"name": "all", "series": [[]], "release": "row", "labels": {"user": "drop", "*": "keep"}}]}`)
	w.write(t, "ask.rego", `package parley.ask
decision := {"allow": false, "reasons": ["ask nobody"]}`)
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := w.decide(t, asks("acme", "", "operations", "up"))
	if !d.Allow || d.Obligations.Datasets[0].Name != "all" || len(d.Obligations.Datasets[0].Series[0]) != 0 {
		t.Errorf("own: %+v", d)
	}
	r := asks("acme", "", "slo-review", "up")
	r.Side, r.Owner = policy.Ask, "umbrella"
	denies(t, w.decide(t, r), "ask nobody")
}

func TestNobodyIsRefused(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	for name, test := range map[string]struct {
		change  func(*policy.Request)
		because string
	}{
		"nobody asks":               {func(r *policy.Request) { r.Principal = tenants.Principal{} }, "nobody asks"},
		"nobody and nobody":         {func(r *policy.Request) { r.Principal.Org, r.Owner = "", "" }, "nobody asks"},
		"nobody is asked":           {func(r *policy.Request) { r.Owner = "" }, "nobody is asked"},
		"no side":                   {func(r *policy.Request) { r.Side = "" }, "want ask or answer"},
		"a package there isn't":     {func(r *policy.Request) { r.Package = "parley.partners.hooli" }, "there is none"},
		"our own users' package":    {func(r *policy.Request) { r.Package = "parley.default.own" }, "not for partners"},
		"what may be asked of whom": {func(r *policy.Request) { r.Package = "parley.ask" }, "not for partners"},
		"the library":               {func(r *policy.Request) { r.Package = "parley.lib" }, "not for partners"},
	} {
		t.Run(name, func(t *testing.T) {
			r := globexAsks("slo-review")
			test.change(&r)
			denies(t, w.decide(t, r), test.because)
		})
	}
}

// A policy decides at a time of day, and a cached decision must not outlive it.
func TestATimeOfDay(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	question := asks("initech", "parley.partners.initech", "slo-review", "up")
	if d := w.decide(t, question); !d.Allow {
		t.Fatalf("at noon: %+v", d)
	}
	w.now = noon.Add(7 * time.Hour)
	denies(t, w.decide(t, question), "undefined")
	w.now = noon
	if d := w.decide(t, question); !d.Allow {
		t.Fatalf("at noon again: %+v", d)
	}
	question.Window.End = noon.Add(time.Minute)
	denies(t, w.decide(t, question), "undefined")
}

func TestACachedDecisionIsTheOneThatWouldBeMade(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	rev := w.current.Load()
	first := globexAsks("slo-review")
	w.decide(t, first)
	if got := rev.cache.entries.Len(); got != 1 {
		t.Fatalf("%d decisions kept", got)
	}

	// A dashboard refreshes: the window slides, the decision is the same but for its age.
	w.now = noon.Add(30 * time.Second)
	refreshed := first
	refreshed.Window = policy.Window{Start: first.Window.Start.Add(30 * time.Second), End: first.Window.End.Add(30 * time.Second)}
	refreshed.Step = time.Minute
	d := w.decide(t, refreshed)
	if got := rev.cache.entries.Len(); got != 1 {
		t.Errorf("a refresh was decided anew: %d decisions kept", got)
	}
	if want := w.now.Add(-7 * 24 * time.Hour); !d.Obligations.NotBefore.Equal(want) {
		t.Errorf("not before %s, want %s", d.Obligations.NotBefore, want)
	}

	// Whatever else a policy may test makes another question of it.
	for name, change := range map[string]func(*policy.Request){
		"case":     func(r *policy.Request) { r.Principal.Case = "INC-7" },
		"user":     func(r *policy.Request) { r.Principal.User.Subject = "bob" },
		"proof":    func(r *policy.Request) { r.Principal.User.Proof = tenants.ProvenByJWT },
		"purpose":  func(r *policy.Request) { r.Principal.Purpose = "audit" },
		"kind":     func(r *policy.Request) { r.Kind = policy.Series },
		"signal":   func(r *policy.Request) { r.Signal = tenants.Logs },
		"label":    func(r *policy.Request) { r.Label = "pod" },
		"query":    func(r *policy.Request) { r.Query += " > 1" },
		"function": func(r *policy.Request) { r.Functions = []string{"rate"} },
		"selector": func(r *policy.Request) { r.Selectors = nil },
		"partner":  func(r *policy.Request) { r.Principal.Org = "initech" },
	} {
		before := rev.cache.entries.Len()
		r := first
		change(&r)
		w.decide(t, r)
		if rev.cache.entries.Len() != before+1 {
			t.Errorf("another %s was answered from the cache", name)
		}
	}
}

func TestOnlyWhatAPolicyReadsIsGivenToIt(t *testing.T) {
	for name, test := range map[string]struct {
		rule string
		want reads
	}{
		"none":               {`decision := {"allow": false} if input.query != "x"`, reads{}},
		"window":             {`decision := {"allow": false} if input.window.start.unix > 5`, reads{window: true}},
		"step":               {`decision := {"allow": false} if input["step_seconds"] > 5`, reads{step: true}},
		"now, by a function": {"decision := {\"allow\": late(1)}\nlate(x) if input.now.unix > x", reads{now: true}},
		"now, by a rule":     {"decision := {\"allow\": late}\ndefault late := false\nlate if t > 1\nt := input.now.unix", reads{now: true}},
		"now, in an else":    {"decision := {\"allow\": false} if input.query == \"x\" else := {\"allow\": input.now.unix > 1}", reads{now: true}},
		"in a comprehension": {`decision := {"allow": count([w | w := input.window.end.unix]) > 3}`, reads{window: true}},
		"in an index":        {"decision := {\"allow\": x[input.now.time]}\nx := {}", reads{now: true}},
		"in an index of it":  {`decision := {"allow": input.selectors[input.now.unix][0].name == ""}`, reads{now: true}},
		"all, as a value":    {"decision := {\"allow\": f(input)}\nf(q) if q.now.unix > 1", reads{true, true, true}},
		"all, by a variable": {`decision := {"allow": true} if { some key; input[key] == "x" }`, reads{true, true, true}},
		"all, replaced":      {`decision := {"allow": true} if { x with input as {} }` + "\nx if input.query", reads{true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			src := &sources{files: []file{{name: "p.rego", path: "p.rego", text: []byte("package p\n" + test.rule)}}}
			rev, err := compile(t.Context(), src, Config{CacheEntries: 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := rev.packages["p"].reads; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// What a policy gets wrong at the time of the question denies.
func TestEverythingThatGoesWrongDenies(t *testing.T) {
	dataset := `{"name": "up", "series": ["up"], "release": "row", "labels": {"pod": "keep"}}`
	allow := func(dataset, more string) string {
		return `decision := {"allow": true, "datasets": [` + dataset + `]` + more + `} if input.query == "up"`
	}
	replace := func(old, with string) string { return allow(strings.Replace(dataset, old, with, 1), "") }
	generalize := func(mapping string) string { return replace(`"keep"`, `{"generalize": `+mapping+`}`) }
	for name, test := range map[string]struct{ rule, because string }{
		"undefined":             {`decision := {"allow": true} if input.query == "down"`, "undefined"},
		"a conflict":            {"decision := {\"allow\": a}\na := true if input.query == \"up\"\na := false if input.kind == \"query_range\"", "eval_conflict_error"},
		"a failing builtin":     {`decision := {"allow": to_number(input.query) > 1}`, "eval_builtin_error"},
		"no object":             {`decision := true if input.query == "up"`, "decision is true; want an object"},
		"a set":                 {`decision contains "allow" if input.query == "up"`, "want an object"},
		"no allow":              {`decision := {"reasons": ["x"]} if input.query == "up"`, "decision: allow is missing"},
		"allow as text":         {`decision := {"allow": "true"} if input.query == "up"`, "allow is the text \"true\"; want true or false"},
		"an unknown key":        {allow(dataset, `, "rounding": 5`), `decision: unknown key "rounding"; the keys here are allow, `},
		"an unknown obligation": {replace(`"release"`, `"noise": 1, "release"`), `dataset up: unknown key "noise"; the keys here are counts, dimensions, dominance, `},
		"no datasets":           {`decision := {"allow": true} if input.query == "up"`, "without datasets"},
		"empty datasets":        {allow("", ""), "without datasets"},
		"no release":            {replace(`, "release": "row"`, ``), "dataset up: release is missing"},
		"a wrong release":       {replace(`"row"`, `"rows"`), `dataset up: release is "rows"; want one of deny, aggregate, row; did you mean "row"?`},
		"cells without k":       {replace(`"row"`, `"aggregate"`), "dataset up: dimensions, k and units are missing"},
		"cells without units":   {replace(`"row"`, `"aggregate", "dimensions": ["pod"], "k": 5`), "dataset up: units is missing"},
		"events with units":     {replace(`"row"`, `"aggregate", "dimensions": ["pod"], "k": 5, "unit": "event", "units": ["user"]`), "dataset up: units is not for units that are events"},
		"a misspelt key":        {replace(`"release": "row"`, `"relase": "aggregate", "k": 5`), `describes: dataset up: unknown key "relase"; did you mean "release"?`},
		"series and an include": {replace(`"release"`, `"include": "x", "release"`), "dataset up has more than one of series, include, streams and spans"},
		"no series":             {replace(`"series": ["up"], `, ``), "dataset up: one of series, include, streams and spans is missing"},
		"text for a list":       {replace(`["up"]`, `"up"`), `dataset up: series is the text "up"; want a list`},
		"the same twice":        {allow(dataset, `, "functions": ["sum", "sum"]`), `decision: functions has "sum" twice`},
		"events at any time":    {replace(`"row"`, `"aggregate", "dimensions": ["pod"], "k": 5, "unit": "event"`), "the decision has none"},
		"no such function":      {allow(dataset, `, "functions": ["sum", "rates"]`), "neither PromQL nor LogQL has a function rates"},
		"digits of nothing":     {replace(`"row"`, `"row", "round": {"digits": 0}`), "dataset up: round.digits is 0; want at least 1"},

		"k of one":              {replace(`"row"`, `"aggregate", "dimensions": ["region"], "units": ["user"], "k": 1`), "dataset up: k is 1; a cell needs at least 2 units"},
		"k without cells":       {replace(`"row"`, `"row", "k": 5`), "dataset up: k is for the release aggregate; this is row"},
		"a unit that is seen":   {replace(`"row"`, `"aggregate", "dimensions": ["pod"], "units": ["pod"], "k": 5`), "both a dimension"},
		"cells for all labels":  {replace(`"row", "labels": {`, `"aggregate", "dimensions": ["region"], "units": ["user"], "k": 5, "labels": {"*": "keep", `), "dataset up: labels.* can't be given here"},
		"a label and no cells":  {replace(`"row"`, `"aggregate", "dimensions": ["region"], "units": ["user"], "k": 5`), "is not one of its dimensions"},
		"a wrong mode":          {replace(`"keep"`, `"hash"`), `dataset up: labels.pod is "hash"; want keep, pseudonym, drop, or {"generalize": {...}}`},
		"a null mode":           {replace(`"keep"`, `null`), "labels.pod is null; want keep, pseudonym, drop, or"},
		"a null selector":       {replace(`["up"]`, `[null]`), "dataset up: series.0 is null; want a list"},
		"an empty selector":     {replace(`["up"]`, `[""]`), "dataset up: series.0 is empty"},
		"a wrong selector":      {replace(`["up"]`, `["up{"]`), "selector"},
		"a query as selector":   {replace(`["up"]`, `["up offset 5m"]`), "selector"},
		"a wrong operator":      {replace(`["up"]`, `[[{"name": "a", "op": "==", "value": "b"}]]`), `dataset up: series.0.0.op is "=="; want one of =, !=, =~, !~`},
		"a wrong expression":    {replace(`["up"]`, `[[{"name": "a", "op": "=~", "value": "("}]]`), "matcher"},
		"the name":              {replace(`"pod"`, `"__name__"`), "__name__"},
		"an internal label":     {replace(`"pod"`, `"__address__"`), "__address__"},
		"the organization":      {replace(`"pod"`, `"org"`), "org"},
		"no mapping":            {generalize(`{}`), "dataset up: labels.pod.generalize wants exactly one of regex with its replacement, prefix, and buckets"},
		"two mappings":          {generalize(`{"prefix": 2, "buckets": [1]}`), "labels.pod.generalize wants exactly one"},
		"a wrong regex":         {generalize(`{"regex": "(", "replacement": ""}`), "regex"},
		"half a regex":          {generalize(`{"regex": "a)|(b", "replacement": ""}`), "regex"},
		"a group there isn't":   {generalize(`{"regex": "(.).*", "replacement": "$1xx"}`), "write ${1}xx"},
		"a number too high":     {generalize(`{"regex": "(.).*", "replacement": "$2"}`), "no group"},
		"a prefix of nothing":   {generalize(`{"prefix": 0}`), "labels.pod.generalize.prefix is 0; want at least 1"},
		"buckets out of order":  {generalize(`{"buckets": [1, 3, 2]}`), "ascending"},
		"a wrong time":          {allow(dataset, `, "not_before": "yesterday"`), "not_before"},
		"no time at all":        {allow(dataset, `, "not_after": "0001-01-01T00:00:00Z"`), "leaves no time"},
		"times out of order":    {allow(dataset, `, "not_before": "2026-01-02T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"`), "leaves no time"},
		"a zero age":            {allow(dataset, `, "max_age": "0s"`), "more than zero"},
		"a wrong age":           {allow(dataset, `, "max_age": "1 day"`), `max_age is "1 day"; want a duration such as 30s`},
		"a wrong epoch":         {allow(dataset, `, "pseudonym_epoch": "session"`), `pseudonym_epoch is "session"; want "question" or a duration`},
		"a zero epoch":          {allow(dataset, `, "pseudonym_epoch": "0d"`), "more than zero"},
		"a limit of nothing":    {allow(dataset, `, "limits": {"series": 0}`), "decision: limits.series is 0; want at least 1"},
		"no bytes":              {allow(dataset, `, "limits": {"bytes": 0}`), "decision: limits.bytes is 0; want at least 1"},
		"half a series":         {allow(dataset, `, "limits": {"series": 1.5}`), "limits.series is 1.5; want a whole number"},
		"a limit not ours":      {allow(dataset, `, "limits": {"concurrent": 1}`), `decision: limits: unknown key "concurrent"; the keys here are bytes, `},
		"a number out of range": {allow(dataset, `, "limits": {"series": 1e999}`), "out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			src := &sources{files: []file{{name: "p.rego", path: "p.rego", text: []byte("package p\n" + test.rule)}}}
			rev, err := compile(t.Context(), src, Config{CacheEntries: 8, Timeout: DefaultTimeout})
			if err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"asked", "asked again"} {
				v, err := rev.verdict(t.Context(), asks("globex", "p", "slo-review", "up"), noon)
				if err != nil {
					t.Fatal(when, err)
				}
				denies(t, v.at(noon), test.because)
			}
			if rev.cache.entries.Len() != 0 {
				t.Error("a mistake was cached")
			}
		})
	}
}

func TestAnAskingPolicyCannotOblige(t *testing.T) {
	shape, err := newShape()
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{
		`"datasets": [{"name": "x", "series": [], "release": "row"}]`,
		`"max_age": "1d"`, `"not_before": "2026-01-01T00:00:00Z"`, `"pseudonym_epoch": "1d"`, `"limits": {"series": 1}`,
	} {
		var value any
		if err := json.Unmarshal([]byte(`{"allow": true, `+more+`}`), &value); err != nil {
			t.Fatal(err)
		}
		if _, err := shape.read(value, policy.Ask, ofSeries); err == nil || !strings.Contains(err.Error(), "only allow and reasons") {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// A question that a policy takes too long over is denied, and the next one isn't.
func TestAPolicyThatTakesTooLong(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "slow.rego", `package slow
decision := {"allow": true} if {
	input.query == "slow"
	many := numbers.range(1, 100000)
	some a in many
	some b in many
	a + b < 0
}
decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}]} if input.query == "up"`)
	config := w.config()
	config.Timeout = 50 * time.Millisecond
	w.agreements = []tenants.Agreement{agreement("globex", "slow", "slo-review")}
	var err error
	if w.Policies, err = New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	denies(t, w.decide(t, asks("globex", "slow", "slo-review", "slow")), "took longer than 50ms")
	if d := w.decide(t, asks("globex", "slow", "slo-review", "up")); !d.Allow {
		t.Errorf("%+v", d)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := w.Decide(ended, asks("globex", "slow", "slo-review", "slow"))
	if !errors.Is(err, context.Canceled) || d.Allow {
		t.Errorf("%+v %v", d, err)
	}
}

// One that takes too long for a question isn't tried with all others of all
// partners: until it is known not to load, nothing else is loaded.
func TestAPolicyThatNeverEndsIsTriedOnce(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "p.rego", "package p\ndecision := {\"allow\": count([1 | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a*b == 0]) > 0}\n")
	w.write(t, "samples/p.json", `{"package": "p", "input": {"side": "answer"}}`)
	w.agreements = []tenants.Agreement{agreement("globex", "p", "slo-review", "audit"), agreement("initech", "p", "capacity")}
	src, err := readSources(w.dir, "acme", w.agreements)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := compile(t.Context(), src, Config{CacheEntries: 8, Timeout: DefaultTimeout})
	if err != nil {
		t.Fatal(err)
	}
	p := &proof{revision: rev, each: allowance{500 * time.Millisecond, maxMemory}, all: time.Minute, slow: map[*prepared]bool{}}
	start := time.Now()
	err = p.run(t.Context(), src, w.now)
	if took := time.Since(start); took > 8*time.Second { // with each of 21 questions it would be more than 10
		t.Errorf("it is tried for %s", took)
	}
	if text := fmt.Sprint(err); strings.Count(text, "took longer than") != 1 || strings.Contains(text, "all questions") {
		t.Error(text)
	}

	p = &proof{revision: rev, each: allowance{time.Minute, maxMemory}, all: 100 * time.Millisecond, slow: map[*prepared]bool{}}
	if text := fmt.Sprint(p.run(t.Context(), src, w.now)); !strings.Contains(text, "the policies take longer than 100ms to be tried") || strings.Contains(text, "took longer") {
		t.Error(text)
	}
}

func TestWhatDoesNotLoadSaysWhere(t *testing.T) {
	good := "package parley.partners.globex\ndecision := {\"allow\": false}\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  string // DIR is the folder
	}{
		"syntax":               {map[string]string{"a.rego": "package a\n\ndecision := {"}, "DIR/a.rego:3: "},
		"old syntax":           {map[string]string{"a.rego": "package a\ndecision[x] { x := 1 }"}, "DIR/a.rego:2: "},
		"network":              {map[string]string{"a.rego": "package a\ndecision := http.send({})"}, "DIR/a.rego:2: undefined function http.send (policies can't use"},
		"dns":                  {map[string]string{"a.rego": "package a\ndecision := net.lookup_ip_addr(\"x\")"}, "DIR/a.rego:2: undefined function net.lookup_ip_addr"},
		"environment":          {map[string]string{"a.rego": "package a\ndecision := opa.runtime()"}, "DIR/a.rego:2: undefined function opa.runtime"},
		"chance":               {map[string]string{"a.rego": "package a\ndecision := rand.intn(\"x\", 2)"}, "DIR/a.rego:2: undefined function rand.intn"},
		"the clock":            {map[string]string{"a.rego": "package a\ndecision := time.now_ns()"}, "the time of the question is input.now"},
		"a schema by URL":      {map[string]string{"a.rego": "package a\ndecision := json.match_schema({}, {})"}, "DIR/a.rego:2: undefined function json.match_schema"},
		"templates":            {map[string]string{"a.rego": "package a\ndecision := strings.render_template(\"\", {})"}, "or makes any amount of little in one step"},
		"a misspelt input":     {map[string]string{"a.rego": "package a\ndecision := {} if input.principal.purpos == \"x\""}, "DIR/a.rego:2: undefined ref: input.principal.purpos"},
		"a misspelt helper":    {map[string]string{"a.rego": "package a\ndecision := data.parley.lib.state_class"}, "DIR/a.rego:2: nothing is at data.parley.lib.state_class: no rule and no data file defines it; parley.lib has asks_only, free_text, has_case, matching, named, personal_attributes, personal_labels, request_attributes, slo_metrics, status_class: see policy/rego/library/lib.rego"},
		"a helper there isn't": {map[string]string{"a.rego": "package a\ndecision := data.parley.lib.nmed([])"}, "DIR/a.rego:2: undefined function data.parley.lib.nmed; parley.lib has asks_only, "},
		"a misspelt question":  {map[string]string{"a.rego": "package a\ndecision := {} if input.purpose == \"x\""}, "policy/rego/input.schema.json says what there is"},
		"no if":                {map[string]string{"a.rego": "package a\ndecision := {} input.kind == \"query\""}, "DIR/a.rego:2: rule name conflicts with built-in function; conditions stand after the word if"},
		"no assignment":        {map[string]string{"a.rego": "package a\nslo {\n\"name\": \"slo\",\n}"}, "\n\twhat has keys is given with :=, as slo := {\"name\": \"slo\"}"},
		"no comma":             {map[string]string{"a.rego": "package a\nslo := {\n\"name\": \"slo\"\n\"k\": 5\n}"}, "\n\ta comma is missing here or further down, or text isn't in double quotes"},
		"&& for and":           {map[string]string{"a.rego": "package a\nx if input.kind == \"a\" && input.label == \"b\""}, "\n\twhat has to hold together stands in braces after if, a condition a line"},
		"|| for or":            {map[string]string{"a.rego": "package a\nx if input.kind == \"a\" || input.label == \"b\""}, "each has a rule of its own, of the same name"},
		"text without quotes":  {map[string]string{"a.rego": "package a\nx := {\"release\": row}"}, "DIR/a.rego:2: var row is unsafe; nothing gives row a value; if it is text, it stands in double quotes"},
		"an assignment":        {map[string]string{"a.rego": "package a\nx if input.kind := \"a\""}, "DIR/a.rego:2: cannot assign to ref; == compares"},
		"an age of no unit":    {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"max_age\": 31, \"datasets\": []}"}, "globex.rego:2: decision: max_age is 31; want a duration such as 30s, 5m, 1h30m or 7d"},
		"a rule unquoted":      {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"a\", \"include\": r, \"release\": \"row\"}]}\nr if input.series.env == \"a\""}, "which only the rules see that a dataset names as its include, in quotes"},
		"cells of a rule":      {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"a\", \"include\": \"r\", \"release\": \"aggregate\"}]}\nr if input.stream.env == \"a\""}, "dataset a: dimensions, k and units are missing; the release aggregate is for datasets of series"},
		"a pattern of names":   {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"a\", \"series\": [\"http_*\"], \"release\": \"row\"}]}"}, "; want one such as http_requests_total{env=\"prod\"} or {__name__=~\"http_.*\"}"},
		"a misspelt mode":      {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"a\", \"series\": [\"a\"], \"release\": \"row\", \"labels\": {\"pod\": \"hash\"}}]}"}, "globex.rego:2: dataset a: labels.pod is \"hash\"; want keep, pseudonym, drop, or {\"generalize\": {...}} with regex and replacement, prefix, or buckets"},
		"a misspelt key":       {map[string]string{"globex.rego": "package parley.partners.globex\ndefault decision := {\"allow\": false}\ndecision := {\"allow\": true, \"datasets\": [a]} if input.query != \"\"\na := {\n\t\"name\": \"a\",\n\t\"series\": [\"a\"],\n\t\"relase\": \"row\",\n}"}, "DIR/globex.rego:7: dataset a: unknown key \"relase\"; did you mean \"release\"?"},
		"a key of a decision":  {map[string]string{"globex.rego": "package parley.partners.globex\ndefault decision := {\"allow\": false}\ndecision := {\n\t\"allow\": true, \"datasets\": [],\n\t\"maxage\": \"1d\",\n} if input.query != \"\""}, "DIR/globex.rego:5: decision: unknown key \"maxage\"; did you mean \"max_age\"?"},
		"a dataset's selector": {map[string]string{"globex.rego": "package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [a]}\na := {\"name\": \"a\", \"release\": \"row\",\n\t\"series\": [\"a{b=c}\"]}"}, "DIR/globex.rego:4: dataset a: series: selector \"a{b=c}\": "},
		"paths of an import":   {map[string]string{"a.rego": "package a\nimport data.b\ndecision := {} if {\n\tb.nothing.x\n\tb.y == 1\n}", "b.rego": "package b\ny := 1"}, "DIR/a.rego:4: nothing is at data.b.nothing.x"},
		"misspelt data":        {map[string]string{"a.rego": "package a\ndecision := {} if not data.bloked[input.owner]", "a.yaml": "blocked: {}"}, "DIR/a.rego:2: nothing is at data.bloked"},
		"data of a package":    {map[string]string{"a.rego": "package a\nimport data.b.x\ndecision := {} if x", "b.rego": "package b\ny := 1"}, "DIR/a.rego:3: nothing is at data.b.x"},
		"an unused import":     {map[string]string{"a.rego": "package a\nimport data.b\ndecision := 1"}, "DIR/a.rego:2: "},
		"recursion":            {map[string]string{"a.rego": "package a\nx := y + 1\ny := x"}, "DIR/a.rego:2: "},
		"the library":          {map[string]string{"a.rego": "package parley.default.answer\ndecision := {\"allow\": true}"}, "DIR/a.rego:1: package parley.default.answer belongs to the embedded library"},
		"its helpers":          {map[string]string{"a.rego": "package parley.lib.more\nx := 1"}, "DIR/a.rego:1: package parley.lib.more belongs"},
		"a name with dots":     {map[string]string{"a.rego": "package a[\"b.c\"]\nx := 1"}, "DIR/a.rego:1: "},
		"JSON":                 {map[string]string{"a/b.json": "{\n\"a\": 1,\n}"}, "DIR/a/b.json:3: "},
		"YAML":                 {map[string]string{"a.yaml": "a: 1\n\tb: 2"}, "DIR/a.yaml: yaml: line 2"},
		"data of no object":    {map[string]string{"a.yaml": "- 1"}, "DIR/a.yaml: want an object"},
		"data given twice":     {map[string]string{"a.yaml": "x: 1", "b.yaml": "x: 2"}, "DIR/b.yaml: a value is given here and in another"},
		"data over a rule":     {map[string]string{"a.yaml": "a: {x: 1}", "a.rego": "package a\nx := 2"}, "DIR/a.rego:"},
		"data over ours":       {map[string]string{"parley.yaml": "parley: {agreements: {hooli: {signals: []}}}", "b.yaml": "parley: {agreements: 1}"}, "a value is given"},
		"no such package":      {map[string]string{"globex.rego": ""}, "agreements/globex.yaml: policy \"parley.partners.globex\": the policy folder has no such package"},
		"no decision":          {map[string]string{"globex.rego": "package parley.partners.globex\ndecisions := {}"}, "agreements/globex.yaml: policy \"parley.partners.globex\": the package, in DIR/globex.rego, has no rule decision"},
		"our own's no rule":    {map[string]string{"own.rego": "package parley.own\nx := 1"}, "DIR/own.rego:1: package parley.own has no rule decision"},
		"a conflict":           {map[string]string{"globex.rego": good + "decision := {\"allow\": true} if input.principal.purpose == \"slo-review\""}, "DIR/globex.rego:3: decision has two values for one question, this one and that of line 2; let their conditions exclude each other (purpose slo-review, of globex to acme)"},
		"a shape of helpers":   {map[string]string{"globex.rego": "package parley.partners.globex\nimport data.parley.lib\ndecision := {\"allow\": true, \"datasets\": lib.named([])} if {\n\tinput.query\n}"}, "DIR/globex.rego:3: dataset 1 of the decision is [{"},
		"a wrong own":          {map[string]string{"own.rego": "package parley.own\ndecision := {\"allow\": 1}"}, "DIR/own.rego:2: decision: allow is 1; want true or false"},
		"a wrong ask":          {map[string]string{"ask.rego": "package parley.ask\ndecision := {\"allow\": 1}"}, "DIR/ask.rego:2: decision: allow is 1; want true or false"},
		"a sample's answer":    {map[string]string{"samples/a.json": `{"package": "parley.partners.globex", "input": {"side": "answer"}, "allow": true}`}, "DIR/samples/a.json: package parley.partners.globex: expected allow to be true"},
		"a sample's package":   {map[string]string{"samples/a.json": `{"package": "nope", "input": {"side": "answer"}}`}, "DIR/samples/a.json: package \"nope\": there is none"},
		"a sample's key":       {map[string]string{"samples/a.json": `{"pakage": "nope"}`}, "DIR/samples/a.json: json: unknown field"},
		"a sample's nonsense":  {map[string]string{"samples/a.json": "{\n]"}, "DIR/samples/a.json:2: "},
		"a sample's nothing":   {map[string]string{"samples/a.json": `{"package": "parley.partners.globex"}`}, "DIR/samples/a.json: input:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{now: noon, dir: t.TempDir(), log: &bytes.Buffer{}, agreements: []tenants.Agreement{agreements[0]}}
			w.write(t, "globex.rego", good)
			for file, text := range test.files {
				if text == "" {
					if err := os.Remove(filepath.Join(w.dir, file)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				w.write(t, file, text)
			}
			_, err := New(t.Context(), w.config())
			if w.log.Len() > 0 {
				t.Errorf("nothing was loaded before, and yet the log has %s", w.log)
			}
			if want := strings.ReplaceAll(test.want, "DIR", w.dir); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestAnAgreementCannotNameOurOwnUsersPackage(t *testing.T) {
	for _, name := range []string{"parley.own", "parley.ask", "parley.default.own", "parley.default.ask", "parley.lib"} {
		_, err := open(t, "", agreement("globex", name, "slo-review"))
		if err == nil || !strings.Contains(err.Error(), "agreements/globex.yaml: policy \""+name+"\" is not for partners") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	w := &world{now: noon, dir: t.TempDir(), log: &bytes.Buffer{}}
	w.write(t, "a.rego", "package a\nx := {")
	w.write(t, "b.json", "{")
	w.write(t, "c.rego", "x := 1")
	_, err := New(t.Context(), w.config())
	var failed *LoadError
	if !errors.As(err, &failed) || len(failed.Problems) < 3 {
		t.Fatalf("%v", err)
	}
	files := map[string]bool{}
	for _, p := range failed.Problems {
		files[filepath.Base(p.File)] = true
	}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"a.rego", "b.json", "c.rego"}) {
		t.Errorf("problems of %v", got)
	}
}

func TestAMissingFolder(t *testing.T) {
	w := &world{now: noon, dir: filepath.Join(t.TempDir(), "nowhere"), log: &bytes.Buffer{}}
	if _, err := New(t.Context(), w.config()); err == nil || !strings.Contains(err.Error(), w.dir+": can't be read") {
		t.Error(err)
	}
}

// A Kubernetes config map is a folder of links into a hidden folder.
func TestAFolderOfLinks(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "..2026/globex.rego", "package parley.partners.globex\ndecision := {\"allow\": false, \"reasons\": [\"linked\"]}")
	if err := os.Symlink(filepath.Join("..2026", "globex.rego"), filepath.Join(w.dir, "globex.rego")); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "linked")
}

// What moves with the clock does, and never past what stands.
func TestAgeAndDelayMoveWithTheClock(t *testing.T) {
	for rule, want := range map[string][2]time.Time{
		`"max_age": "1d"`:                                    {noon.Add(-24 * time.Hour), {}},
		`"delay": "1h"`:                                      {{}, noon.Add(-time.Hour)},
		`"max_age": "1d", "delay": "1h"`:                     {noon.Add(-24 * time.Hour), noon.Add(-time.Hour)},
		`"delay": "1h", "not_after": "2000-01-01T00:00:00Z"`: {{}, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		`"delay": "1h", "not_after": "2100-01-01T00:00:00Z"`: {{}, noon.Add(-time.Hour)},
	} {
		src := &sources{files: []file{{name: "p.rego", path: "p.rego", text: []byte(`package p
decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}], ` + rule + `}`)}}}
		rev, err := compile(t.Context(), src, Config{CacheEntries: 8, Timeout: DefaultTimeout})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // once from the cache
			v, err := rev.verdict(t.Context(), asks("globex", "p", "slo-review", "up"), noon)
			if err != nil {
				t.Fatal(err)
			}
			o := v.at(noon).Obligations
			if !o.NotBefore.Equal(want[0]) || !o.NotAfter.Equal(want[1]) {
				t.Errorf("%s: from %s to %s, want %v", rule, o.NotBefore, o.NotAfter, want)
			}
			if later := v.at(noon.Add(time.Minute)).Obligations; strings.Contains(rule, "max_age") && !later.NotBefore.Equal(want[0].Add(time.Minute)) {
				t.Errorf("%s: a minute later from %s", rule, later.NotBefore)
			}
		}
	}
}
