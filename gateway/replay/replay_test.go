package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

var agreements = []tenants.Agreement{
	{
		Partner: "globex", Policy: "parley.partners.globex", Signals: []tenants.Signal{tenants.Metrics},
		Purposes: []tenants.Purpose{"slo-review", "incident-response"},
	},
}

// folder is acme's, with what globex is answered.
func folder(t testing.TB, text string) *inspect.Folder {
	t.Helper()
	f, err := inspect.Load(t.Context(), inspect.Config{
		Org: "acme", Dir: written(t, map[string]string{"globex.rego": "package parley.partners.globex\n\n" + text}),
		Agreements: agreements, Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// written is a folder of files.
func written(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const before = `default decision := {"allow": false, "reasons": ["no"]}

decision := {"allow": true, "max_age": "7d", "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {"user": "pseudonym"}}]} if {
	input.principal.purpose == "slo-review"
}

decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose == "incident-response"
	input.principal.case != ""
}
`

const after = `default decision := {"allow": false, "reasons": ["not any more"]}

decision := {"allow": true, "max_age": "7d", "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {"user": "keep"}}]} if {
	input.principal.purpose == "slo-review"
	data.parley.lib.asks_only(["http_.*"])
}

decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}]} if {
	input.principal.purpose == "incident-response"
}
`

// question is one of globex, that was asked at noon and some seconds.
func question(seconds int, purpose tenants.Purpose, expression string) gateway.Exchange {
	at := noon.Add(time.Duration(seconds) * time.Second)
	return gateway.Exchange{
		ID: "x", Door: gateway.PeerDoor, Org: "acme", Signal: tenants.Metrics, Kind: policy.Instant, Query: expression,
		Window: policy.Window{Start: at.Add(-time.Hour), End: at}, Start: at, Outcome: gateway.Answered,
		Principal: tenants.Principal{
			Org: "globex", Workload: spiffeid.RequireFromString("spiffe://globex.example/parley"), Purpose: purpose,
			User: tenants.User{Subject: "alice", Proof: tenants.ProvenByJWT},
		},
	}
}

// decided is an exchange with what policies said of it then.
func decided(t testing.TB, f *inspect.Folder, x gateway.Exchange) gateway.Exchange {
	t.Helper()
	recorded := metrics.Recorded
	switch x.Signal {
	case tenants.Logs:
		recorded = logs.Recorded
	case tenants.Traces:
		recorded = traces.Recorded
	}
	r, err := recorded(x.Kind, x.Query)
	if err != nil {
		t.Fatal(err)
	}
	r.Side, r.Owner, r.Principal, r.Label, r.Window, r.Step = policy.Answer, x.Org, x.Principal, x.Label, x.Window, x.Step
	if x.Door == gateway.PeerDoor {
		r.Package, r.Purposes = agreements[0].Policy, agreements[0].Under(x.Principal.Purpose)
		if x.Principal.BreakGlass != "" {
			r.Package += "_emergency"
		}
	}
	if x.Decision, err = f.Policies.DecideAt(t.Context(), r, x.Start.Add(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if !x.Decision.Allow {
		x.Outcome = gateway.Refused
	}
	return x
}

func logOf(t testing.TB, exchanges ...gateway.Exchange) fs.FS {
	t.Helper()
	var text bytes.Buffer
	for _, x := range exchanges {
		line, err := json.Marshal(audit.Of(x))
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	return fstest.MapFS{"audit-00000001.jsonl": {Data: text.Bytes(), ModTime: noon.Add(time.Hour)}}
}

func run1(t testing.TB, c Config, log fs.FS) Report {
	t.Helper()
	report, err := Run(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// story is a report in a few lines.
func story(r Report) []string {
	out := []string{fmt.Sprint(r.Questions)}
	for _, g := range r.Groups {
		line := fmt.Sprintf("%d %s %s %s %q %s", g.Count, g.Outcome, g.Purpose, g.Kind, g.Query, g.Why)
		for _, d := range g.Differences {
			line += fmt.Sprintf("[%s %s]", d.Kind, d.Text)
		}
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

func TestReplay(t *testing.T) {
	old, next := folder(t, before), folder(t, after)
	var exchanges []gateway.Exchange
	for i := range 3 {
		exchanges = append(exchanges, decided(t, old, question(i, "slo-review", "sum(http_requests_total)")))
	}
	incident := question(10, "incident-response", "up")
	incident.Principal.Case = "INC-7"
	values := question(14, "slo-review", "http_requests_total\n")
	values.Kind, values.Label = policy.LabelValues, "user"
	mine := question(20, "operations", "up")
	mine.Door, mine.Principal = gateway.FrontDoor, tenants.Principal{Org: "acme", Purpose: "operations"}
	exchanges = append(exchanges,
		decided(t, old, incident),
		decided(t, old, question(11, "incident-response", "up")),
		decided(t, old, question(12, "slo-review", "up / sum(http_requests_total)")),
		decided(t, old, question(13, "slo-review", "up / sum(http_requests_total)")),
		decided(t, old, values),
		decided(t, old, mine),
	)
	report := run1(t, Config{Current: old, New: next}, logOf(t, exchanges...))
	want := []string{
		"map[changed:4 newly-allowed:1 newly-denied:2 unchanged:2]",
		`1 newly-allowed incident-response query "up" [allowed up (row)]`,
		`2 newly-denied slo-review query "up / sum(http_requests_total)" [denied not any more]`,
		`3 changed slo-review query "sum(http_requests_total)" [labels requests: user: keep, was pseudonym]`,
		`1 changed slo-review label_values "http_requests_total\n" [labels requests: user: keep, was pseudonym]`,
	}
	if diff := cmp.Diff(want, story(report)); diff != "" {
		t.Error(diff)
	}
	if report.Summaries != 0 || !report.First.Equal(noon) || !report.Last.Equal(noon.Add(20*time.Second)) {
		t.Errorf("%+v", report)
	}
	if got := report.ByPartner; len(got) != 3 || got[0].Partner != "acme" || got[2].Questions[Changed] != 4 {
		t.Errorf("by partner %+v", got)
	}
	// The same policies say the same.
	if report := run1(t, Config{Current: old, New: old}, logOf(t, exchanges...)); report.Questions[Unchanged] != len(exchanges) || len(report.Groups) > 0 {
		t.Errorf("the same policies: %v", story(report))
	}
}

// What was asked in an emergency is decided by its policy, and told apart.
func TestEmergencies(t *testing.T) {
	const other = `package parley.partners.globex_emergency

decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row", "labels": {"pod": "MODE"}}]} if input.principal.break_glass
`
	loaded := func(mode string, of ...tenants.Agreement) *inspect.Folder {
		f, err := inspect.Load(t.Context(), inspect.Config{
			Org: "acme", Agreements: of, Now: func() time.Time { return noon },
			Dir: written(t, map[string]string{
				"globex.rego":    "package parley.partners.globex\n\n" + before,
				"emergency.rego": strings.Replace(other, "MODE", mode, 1),
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	agreed := agreements[0]
	agreed.BreakGlass = &tenants.BreakGlass{Policy: "parley.partners.globex_emergency", Longest: time.Hour}
	old, next := loaded("keep", agreed), loaded("pseudonym", agreed)

	everyDay := question(1, "incident-response", "up")
	everyDay.Principal.Case = "INC-7"
	emergency := everyDay
	emergency.Principal.BreakGlass = "checkout is down"
	emergency.Grant = gateway.Grant{Opened: noon, Ends: noon.Add(time.Hour)}
	log := logOf(t, decided(t, old, everyDay), decided(t, old, emergency))

	report := run1(t, Config{Current: old, New: next}, log)
	want := []string{"map[changed:1 unchanged:1]", `1 changed incident-response query "up" [labels up: pod: pseudonym, was keep]`}
	if diff := cmp.Diff(want, story(report)); diff != "" || report.Summaries != 0 || !report.Groups[0].BreakGlass {
		t.Errorf("%+v\n%s", report, diff)
	}
	// Agreed no more.
	report = run1(t, Config{Current: old, New: loaded("keep", agreements[0])}, log)
	want = []string{"map[unchanged:1 undecidable:1]", `1 undecidable incident-response query "up" the agreement does not cover the emergency any more`}
	if diff := cmp.Diff(want, story(report)); diff != "" {
		t.Error(diff)
	}
	// The same of both is not the same.
	none := loaded("keep", agreed)
	none.Policies = folder(t, `default decision := {"allow": false, "reasons": ["no more"]}`).Policies
	if report := run1(t, Config{Current: old, New: none}, log); len(report.Groups) != 2 || report.Groups[0].BreakGlass == report.Groups[1].BreakGlass {
		t.Errorf("%+v", report.Groups)
	}
}

// What other policies than those that serve have decided is compared by what
// was recorded of it.
func TestOfOlderPolicies(t *testing.T) {
	older := folder(t, before+"\n# an older one\n")
	old, next := folder(t, before), folder(t, after)
	log := logOf(t, decided(t, older, question(1, "slo-review", "http_requests_total")), decided(t, older, question(2, "incident-response", "up")))
	want := []string{
		"map[changed:1 newly-allowed:1]",
		`1 newly-allowed incident-response query "up" [allowed up (row)]`,
		`1 changed slo-review query "http_requests_total" [labels requests: user: keep, was pseudonym]`,
	}
	report := run1(t, Config{Current: old, New: next}, log)
	if diff := cmp.Diff(want, story(report)); diff != "" || report.Summaries != 2 {
		t.Errorf("%d by summaries\n%s", report.Summaries, diff)
	}
	// Which series there are isn't recorded.
	series := folder(t, strings.ReplaceAll(before, `"series": ["http_requests_total"]`, `"series": ["http_requests_total{env=\"prod\"}"]`))
	if report := run1(t, Config{Current: old, New: series}, log); report.Questions[Unchanged] != 2 {
		t.Errorf("by summary: %v", story(report))
	}
	// A dataset of another name is there instead; what becomes of labels that were
	// asked for comes first, and ages are told as such.
	renamed := folder(t, strings.NewReplacer(`"name": "requests"`, `"name": "slo"`, `"user": "pseudonym"`, `"user": "keep"`, `7d`, `31d`).Replace(before))
	named := logOf(t, decided(t, older, question(1, "slo-review", `sum by (user) (http_requests_total)`)))
	want = []string{"map[changed:1]", `1 changed slo-review query "sum by (user) (http_requests_total)" ` +
		`[labels slo: user: keep, was pseudonym][datasets slo is there instead of requests][time max_age: 31d, was 1w]`}
	if diff := cmp.Diff(want, story(run1(t, Config{Current: old, New: renamed}, named))); diff != "" {
		t.Error(diff)
	}
	log = logOf(t, decided(t, old, question(1, "slo-review", "http_requests_total")))
	if report := run1(t, Config{Current: old, New: series}, log); report.Questions[Changed] != 1 {
		t.Errorf("by the policies that serve: %v", story(report))
	}
}

// What a policy looks at is part of the question: two that differ in nothing else
// are not decided as one.
func TestWhatPoliciesLookAt(t *testing.T) {
	old := folder(t, before)
	for part, c := range map[string]struct {
		condition string
		change    func(*gateway.Exchange)
	}{
		"window": {"input.window.end.unix - input.window.start.unix < 7200", func(x *gateway.Exchange) { x.Window.Start = x.Window.Start.Add(-24 * time.Hour) }},
		"now":    {"time.clock(time.parse_rfc3339_ns(input.now.time))[0] == 12", func(x *gateway.Exchange) { x.Start = x.Start.Add(5 * time.Hour) }},
		"step":   {"input.step_seconds < 60", func(x *gateway.Exchange) { x.Step = time.Hour }},
		"kind":   {`input.kind == "query"`, func(x *gateway.Exchange) { x.Kind = policy.Exemplars }},
		"query":  {`"http_requests_total" in input.metrics`, func(x *gateway.Exchange) { x.Query = "up" }},
		"label":  {`input.label == ""`, func(x *gateway.Exchange) { x.Label = "up" }},
		"case":   {`input.principal.case == ""`, func(x *gateway.Exchange) { x.Principal.Case = "INC-7" }},
		"user":   {`input.principal.user == "alice"`, func(x *gateway.Exchange) { x.Principal.User.Subject = "bob" }},
		"proof":  {`input.principal.proof == "jwt"`, func(x *gateway.Exchange) { x.Principal.User.Proof = tenants.ProvenBySVID }},
		"workload": {`endswith(input.principal.workload, "/parley")`, func(x *gateway.Exchange) {
			x.Principal.Workload = spiffeid.RequireFromString("spiffe://globex.example/other")
		}},
	} {
		next := folder(t, strings.Replace(before, `	input.principal.purpose == "slo-review"
`, `	input.principal.purpose == "slo-review"
	`+c.condition+"\n", 1))
		plain := question(1, "slo-review", "http_requests_total")
		other := plain
		c.change(&other)
		report := run1(t, Config{Current: old, New: next}, logOf(t, decided(t, old, plain), decided(t, old, other), decided(t, old, plain)))
		if report.Questions[NewlyDenied] != 1 || report.Questions[Unchanged] != 2 {
			t.Errorf("%s: %v", part, story(report))
		}
	}
}

// Questions about logs are decided as those about metrics, and what policies look
// at of them is read from their text.
func TestLogs(t *testing.T) {
	agreed := agreements[0]
	agreed.Signals = []tenants.Signal{tenants.Metrics, tenants.Logs}
	loaded := func(text string, a tenants.Agreement) *inspect.Folder {
		f, err := inspect.Load(t.Context(), inspect.Config{
			Org: "acme", Dir: written(t, map[string]string{"globex.rego": "package parley.partners.globex\n\n" + text}),
			Agreements: []tenants.Agreement{a}, Now: func() time.Time { return noon },
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const answers = `default decision := {"allow": false, "reasons": ["no"]}
decision := {"allow": true, "datasets": [
	{"name": "up", "series": ["up"], "release": "row"},
	{"name": "shop", "streams": ["{service=\"shop\"}"], "release": "row", "labels": {"service": "keep"}, "line": "shape"},
]} if %s
`
	always := fmt.Sprintf(answers, "input.side")
	old := loaded(always, agreed)
	about := func(seconds int, kind policy.Kind, text string) gateway.Exchange {
		x := question(seconds, "slo-review", text)
		x.Signal, x.Kind = tenants.Logs, kind
		return decided(t, old, x)
	}
	metric := decided(t, old, question(1, "slo-review", "up"))
	log := logOf(t, metric,
		about(2, policy.Range, `{service="shop"} |= "refused"`), about(3, policy.Range, `{service="shop"} | json | user = "bob"`),
		about(4, policy.Instant, `sum(rate({service="shop"}[5m]))`), about(5, policy.Series, "{service=\"shop\"}\n"), about(6, policy.Tail, `{service="shop"}`))
	for name, c := range map[string]struct {
		next *inspect.Folder
		want []string
	}{
		"the same": {old, []string{"map[unchanged:6]"}},
		"lines": {
			loaded(strings.Replace(always, `"shape"`, `"keep"`, 1), agreed), []string{
				"map[changed:5 unchanged:1]",
				`1 changed slo-review query "sum(rate({service=\"shop\"}[5m]))" [lines shop: lines: keep, was shape]`,
				`1 changed slo-review tail "{service=\"shop\"}" [lines shop: lines: keep, was shape]`,
				`1 changed slo-review series "{service=\"shop\"}\n" [lines shop: lines: keep, was shape]`,
				`1 changed slo-review query_range "{service=\"shop\"} | json | user = \"bob\"" [lines shop: lines: keep, was shape]`,
				`1 changed slo-review query_range "{service=\"shop\"} |= \"refused\"" [lines shop: lines: keep, was shape]`,
			},
		},
		"stages": {loaded(fmt.Sprintf(answers, `not "json" in input.stages`), agreed), []string{
			"map[newly-denied:1 unchanged:5]", `1 newly-denied slo-review query_range "{service=\"shop\"} | json | user = \"bob\"" [denied no]`,
		}},
		"line filters": {loaded(fmt.Sprintf(answers, `count(input.line_filters) == 0`), agreed), []string{
			"map[newly-denied:1 unchanged:5]", `1 newly-denied slo-review query_range "{service=\"shop\"} |= \"refused\"" [denied no]`,
		}},
		"functions": {loaded(fmt.Sprintf(answers, `not "rate" in input.functions`), agreed), []string{
			"map[newly-denied:1 unchanged:5]", `1 newly-denied slo-review query "sum(rate({service=\"shop\"}[5m]))" [denied no]`,
		}},
	} {
		if diff := cmp.Diff(c.want, story(run1(t, Config{Current: old, New: c.next}, log))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// Logs are agreed on no more.
	report := run1(t, Config{Current: old, New: loaded(always, agreements[0])}, log)
	if report.Questions[Undecidable] != 5 || report.Questions[Unchanged] != 1 || report.Groups[0].Why != "the agreement does not cover logs any more" || report.Groups[0].Signal != tenants.Logs {
		t.Errorf("%+v", report)
	}
}

// Of questions about traces policy is told the ids and TraceQL, and of what was
// decided the mode of spans is recorded.
func TestTraces(t *testing.T) {
	agreed := agreements[0]
	agreed.Signals = []tenants.Signal{tenants.Metrics, tenants.Traces}
	loaded := func(text string, a tenants.Agreement) *inspect.Folder {
		f, err := inspect.Load(t.Context(), inspect.Config{
			Org: "acme", Dir: written(t, map[string]string{"globex.rego": "package parley.partners.globex\n\n" + text}),
			Agreements: []tenants.Agreement{a}, Now: func() time.Time { return noon },
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const answers = `default decision := {"allow": false, "reasons": ["no"]}
decision := {"allow": true, "datasets": [
	{"name": "up", "series": ["up"], "release": "row"},
	{"name": "shop", "spans": ["{\"resource.service.name\"=\"shop\"}"], "release": "row", "labels": {"name": "keep"}, "span": "attributes"},
]} if %s
`
	always := fmt.Sprintf(answers, "input.side")
	old := loaded(always, agreed)
	about := func(seconds int, kind policy.Kind, text string) gateway.Exchange {
		x := question(seconds, "slo-review", text)
		x.Signal, x.Kind = tenants.Traces, kind
		return decided(t, old, x)
	}
	metric := decided(t, old, question(1, "slo-review", "up"))
	log := logOf(t, metric, about(2, policy.Trace, "4bf92f3577b34da6a3ce929d0e0e4736"), about(3, policy.Search, `{ name = "pay" }`), about(4, policy.Operations, ""))
	unknown := loaded(strings.Replace(always, "input.side", "input.side\n# another revision", 1), agreed)
	for name, c := range map[string]struct {
		current, next *inspect.Folder
		want          []string
	}{
		"the same": {old, old, []string{"map[unchanged:4]"}},
		"spans": {old, loaded(strings.Replace(always, `"attributes"`, `"boundary"`, 1), agreed), []string{
			"map[changed:3 unchanged:1]",
			`1 changed slo-review operations "" [spans shop: spans: boundary, was attributes]`,
			`1 changed slo-review trace "4bf92f3577b34da6a3ce929d0e0e4736" [spans shop: spans: boundary, was attributes]`,
			`1 changed slo-review search "{ name = \"pay\" }" [spans shop: spans: boundary, was attributes]`,
		}},
		"by what was recorded": {unknown, loaded(strings.Replace(always, `"attributes"`, `"boundary"`, 1), agreed), []string{
			"map[changed:3 unchanged:1]",
			`1 changed slo-review operations "" [spans shop: spans: boundary, was attributes]`,
			`1 changed slo-review trace "4bf92f3577b34da6a3ce929d0e0e4736" [spans shop: spans: boundary, was attributes]`,
			`1 changed slo-review search "{ name = \"pay\" }" [spans shop: spans: boundary, was attributes]`,
		}},
		"TraceQL": {old, loaded(fmt.Sprintf(answers, `not contains(input.query, "pay")`), agreed), []string{
			"map[newly-denied:1 unchanged:3]", `1 newly-denied slo-review search "{ name = \"pay\" }" [denied no]`,
		}},
	} {
		if diff := cmp.Diff(c.want, story(run1(t, Config{Current: c.current, New: c.next}, log))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	report := run1(t, Config{Current: old, New: loaded(always, agreements[0])}, log)
	if report.Questions[Undecidable] != 3 || report.Groups[0].Why != "the agreement does not cover traces any more" {
		t.Errorf("%+v", report)
	}
}

func TestUndecidable(t *testing.T) {
	old := folder(t, before)
	stranger := decided(t, old, question(1, "slo-review", "up"))
	stranger.Principal.Org = "umbrella"
	unagreed := decided(t, old, question(2, "slo-review", "up"))
	unagreed.Principal.Purpose = "audit"
	cut := decided(t, old, question(3, "incident-response", "up + "+strings.Repeat("up + ", 400)+"up"))
	broken := decided(t, old, question(4, "slo-review", "up"))
	broken.Query = "sum("
	turnedAway := question(5, "slo-review", "up")
	turnedAway.Outcome, turnedAway.TurnedAway = gateway.Refused, "over-rate"
	unlabelled := question(6, "slo-review", "up\n")
	unlabelled.Kind = policy.LabelValues
	unlabelled = decided(t, old, unlabelled)
	log := logOf(t, stranger, unagreed, cut, broken, turnedAway, unlabelled)
	// Of policies that don't look at it, what wasn't recorded isn't missed.
	if report := run1(t, Config{Current: old, New: old}, log); report.Questions[Undecidable] != 2 || report.Questions[Unchanged] != 3 {
		t.Errorf("policies that don't look: %v", report.Questions)
	}
	report := run1(t, Config{Current: old, New: folder(t, before+`
decision := {"allow": false} if {
	input.query == "payroll"
	input.label == "payroll"
}
`)}, log)
	var whys []string
	for _, g := range report.Groups {
		whys = append(whys, string(g.Outcome)+": "+g.Why)
	}
	want := []string{
		"undecidable: the agreement does not cover the purpose any more",
		"undecidable: its text was cut when it was recorded",
		"undecidable: its text can't be read any more",
		"undecidable: the label that was asked for was not recorded",
		"undecidable: there is no agreement with the partner any more",
	}
	if diff := cmp.Diff(want, whys); diff != "" || report.Questions[TurnedAway] != 1 {
		t.Errorf("%v\n%s", report.Questions, diff)
	}
}

// Only what was asked since a time is read, from files that have such questions
// whenever they were changed; what is no record is counted.
func TestSince(t *testing.T) {
	old := folder(t, before)
	lines := func(seconds ...int) []byte {
		var exchanges []gateway.Exchange
		for _, s := range seconds {
			exchanges = append(exchanges, decided(t, old, question(s, "slo-review", "up")))
		}
		text, err := fs.ReadFile(logOf(t, exchanges...), "audit-00000001.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const day = 24 * 60 * 60
	log := fstest.MapFS{
		// Changed by a copy since.
		"audit-00000001.jsonl": {Data: append([]byte("older nonsense\n"), lines(1)...), ModTime: noon.Add(48 * time.Hour)},
		// Restored with an old date.
		"audit-00000002.jsonl": {Data: append(lines(60), append([]byte("nonsense\n"), lines(day, day+60)...)...), ModTime: noon.Add(-time.Hour)},
		"audit-00000003.jsonl": {Data: lines(day + 61), ModTime: noon.Add(48 * time.Hour)},
	}
	report := run1(t, Config{Current: old, New: old, Since: noon.Add(24*time.Hour + time.Minute)}, log)
	if report.Questions[Unchanged] != 2 || report.Unread != 1 {
		t.Errorf("%v, %d unread", report.Questions, report.Unread)
	}
}

// What can't be read may hold questions: there is no report without them.
func TestALogThatCannotBeRead(t *testing.T) {
	old := folder(t, before)
	c := Config{Current: old, New: old}
	if _, err := Run(t.Context(), c, os.DirFS(filepath.Join(t.TempDir(), "nowhere"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a log that isn't there: %v", err)
	}
	whole := logOf(t, decided(t, old, question(1, "slo-review", "up"))).(fstest.MapFS)
	whole["audit-00000002.jsonl"] = whole["audit-00000001.jsonl"]
	for _, opens := range []bool{false, true} {
		_, err := Run(t.Context(), c, broken{whole, "audit-00000001.jsonl", opens})
		if !errors.Is(err, errBadSector) || !strings.Contains(err.Error(), "audit-00000001.jsonl") {
			t.Errorf("opens %v: %v", opens, err)
		}
	}
	// What was torn by a crash is a line.
	whole["audit-00000001.jsonl"] = &fstest.MapFile{Data: []byte(`{"v":1,"ti`)}
	if report := run1(t, c, whole); report.Unread != 1 || report.Questions[Unchanged] != 1 {
		t.Errorf("%v, %d unread", report.Questions, report.Unread)
	}
}

// broken has a file that can't be read, or not even be opened.
type broken struct {
	fs.FS
	name  string
	opens bool
}

var errBadSector = errors.New("bad sector")

func (b broken) Open(name string) (fs.File, error) {
	f, err := b.FS.Open(name)
	if err != nil || name != b.name {
		return f, err
	}
	if !b.opens {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: errBadSector}, f.Close())
	}
	return brokenFile{f}, nil
}

type brokenFile struct{ fs.File }

func (brokenFile) Read([]byte) (int, error) { return 0, errBadSector }

// Memory is bounded, and no question is lost for it.
func TestManyQuestions(t *testing.T) {
	old, next := folder(t, before), folder(t, `decision := {"allow": false, "reasons": ["no more"]}`)
	asked := decided(t, old, question(1, "slo-review", "up"))
	r, err := newRun(Config{Current: old, New: next})
	if err != nil {
		t.Fatal(err)
	}
	const most, many = 20, 70
	r.most = most
	for i := range many {
		record := audit.Of(asked)
		record.Query = fmt.Sprintf("up + %d", i)
		if err := r.take(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	report := r.done()
	total := 0
	for _, g := range report.Groups {
		total += g.Count
	}
	if len(report.Groups) != most+1 || total != many || report.Groups[0].Query != Beyond || report.Groups[0].Count != many-most {
		t.Errorf("%d groups of %d questions, the first %+v", len(report.Groups), total, report.Groups[0])
	}
}
