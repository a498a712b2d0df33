package rego

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// includingAs is a package p whose dataset includes the rule ours, has these keys
// besides, and is asked for a signal.
func includingAs(t testing.TB, signal tenants.Signal, keys, rules string) (policy.Decision, error) {
	t.Helper()
	return decisionOn(t, signal, `{"allow": true, "datasets": [{"name": "d", "include": "ours"`+keys+`}]}`, rules)
}

func decisionOn(t testing.TB, signal tenants.Signal, decision, rules string) (policy.Decision, error) {
	t.Helper()
	src, err := readSources("", "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	src.files = append(src.files,
		file{name: "p.rego", path: "p.rego", text: []byte("package p\ndecision := " + decision + "\n" + rules)},
		file{name: "d.yaml", path: "d.yaml", text: []byte(includeData)})
	rev, err := compile(t.Context(), src, Config{CacheEntries: 64, Timeout: proofTimeout})
	if err != nil {
		return policy.Decision{}, err
	}
	r := asks("globex", "p", "slo-review", "up")
	r.Signal = signal
	input, err := describe(r, noon, rev.packages["p"].reads)
	if err != nil {
		t.Fatal(err)
	}
	v, err := rev.evaluate(t.Context(), rev.packages["p"], input, policy.Answer, signal, allowance{proofTimeout, maxMemory})
	return v.decision, err
}

// A rule is of what it asks for, and a dataset of what its rule is of.
func TestADatasetIsOfWhatItsRuleAsksFor(t *testing.T) {
	for name, test := range map[string]struct {
		signal            tenants.Signal
		keys, rule, wants string
	}{
		"streams":               {tenants.Logs, `, "line": "shape"`, `ours if { input.stream.service == "checkout"; not input.stream.env == "dev" }`, `{env!="dev",service="checkout"}`},
		"streams of an owner":   {tenants.Logs, `, "line": "keep"`, `ours if input.stream.org == input.owner`, `{org="acme"}`},
		"streams, by a helper":  {tenants.Logs, ``, "ours if of(input.stream)\nof(x) if x.team in data.teams", `{team=~"api|web"}`},
		"streams denied":        {tenants.Logs, ``, `ours if startswith(input.stream.service, "vault")`, `{service=~"vault.*"}`},
		"spans":                 {tenants.Traces, `, "span": "full"`, `ours if input.span["resource.service.name"] in data.teams`, `{resource.service.name=~"api|web"}`},
		"spans by their kind":   {tenants.Traces, `, "span": "boundary", "counts": true`, `ours if input.span.kind in ["server", "client"]`, `{kind=~"client|server"}`},
		"spans by their status": {tenants.Traces, `, "span": "attributes", "labels": {"name": "keep"}`, `ours if not input.span.status == "error"`, `{status!="error"}`},
		"spans by a number":     {tenants.Traces, `, "span": "shape"`, `ours if input.span["span.http.response.status_code"] == "500"`, `{span.http.response.status_code="500"}`},
		"spans without a user":  {tenants.Traces, `, "span": "shape", "durations": "withheld"`, `ours if not input.span["span.enduser.id"]`, `{span.enduser.id=""}`},
		"spans by scope":        {tenants.Traces, `, "span": "full"`, `ours if regex.match("^io\\.otel", input.span["scope.name"])`, `{scope.name=~"(?s:io\\.otel.*)"}`},
		"by variable":           {tenants.Traces, `, "span": "full"`, `ours if { some l in ["resource.env", "span.env"]; input.span[l] == "prod" }`, `{resource.env="prod"} {span.env="prod"}`},
		"nothing of it":         {tenants.Metrics, `, "round": {"digits": 2}`, `ours if input.principal.purpose == "slo-review"`, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			release := "row"
			if strings.HasSuffix(name, "denied") {
				release = "deny"
			}
			d, err := includingAs(t, test.signal, `, "release": "`+release+`"`+test.keys, test.rule)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Obligations.Datasets) != 1 {
				t.Fatalf("%+v", d)
			}
			ds := d.Obligations.Datasets[0]
			if got := asText(ds.Selectors()); got != test.wants || ds.Signal() != test.signal {
				t.Errorf("got %s of %s, want %s of %s", got, ds.Signal(), test.wants, test.signal)
			}
		})
	}
}

// A dataset by a rule is the dataset that it would be by its selectors.
func TestARuleIsAsGoodAsSelectors(t *testing.T) {
	for signal, pair := range map[tenants.Signal][2]string{
		tenants.Logs: {
			`{"name": "d", "include": "ours", "release": "row", "line": [{"mask": "email"}], "labels": {"service": "keep"}}`,
			`{"name": "d", "streams": ["{service=\"checkout\"}"], "release": "row", "line": [{"mask": "email"}], "labels": {"service": "keep"}}`,
		},
		tenants.Traces: {
			`{"name": "d", "include": "theirs", "release": "row", "span": "boundary", "durations": "withheld", "labels": {"name": "keep"}}`,
			`{"name": "d", "spans": ["{\"resource.service.name\"=\"checkout\"}"], "release": "row", "span": "boundary", "durations": "withheld", "labels": {"name": "keep"}}`,
		},
	} {
		rules := "ours if input.stream.service == \"checkout\"\ntheirs if input.span[\"resource.service.name\"] == \"checkout\""
		var decisions [2]policy.Decision
		for i, dataset := range pair {
			var err error
			if decisions[i], err = decisionOn(t, signal, `{"allow": true, "datasets": [`+dataset+`]}`, rules); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(decisions[1], decisions[0], cmp.Comparer(func(a, b *labels.Matcher) bool { return a.String() == b.String() }), cmp.Comparer(func(a, b policy.Line) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s: %s", signal, diff)
		}
	}
}

// Rules of all signals stand in one decision, each question sees its own.
func TestAQuestionSeesTheRulesOfItsSignal(t *testing.T) {
	const decision = `{"allow": true, "datasets": [
		{"name": "streams", "include": "s", "release": "row", "line": "keep"},
		{"name": "spans", "include": "t", "release": "row", "span": "full"},
		{"name": "secrets", "include": "u", "release": "deny"},
		{"name": "series", "include": "m", "release": "row"},
	]}`
	const rules = `
m if input.series.env == "prod"
s if input.stream.env == "prod"
t if input.span["resource.env"] == "prod"
u if input.span["span.db.statement"]`
	for signal, want := range map[tenants.Signal]string{
		tenants.Metrics: `series {env="prod"}`, tenants.Logs: `streams {env="prod"}`, tenants.Traces: `spans {resource.env="prod"}; secrets {span.db.statement!=""}`,
	} {
		d, err := decisionOn(t, signal, decision, rules)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ds := range d.Obligations.Datasets {
			got = append(got, ds.Name+" "+asText(ds.Selectors()))
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s: %s, want %s", signal, text, want)
		}
	}
}

// What a rule can't say of streams and spans, and a dataset not of its rule, says
// so; whatever was asked, nothing is released.
func TestWhatCannotBeIncluded(t *testing.T) {
	for name, test := range map[string]struct {
		signal           tenants.Signal
		keys, rule, want string
	}{
		"two of them":           {tenants.Logs, ``, "ours if input.stream.env == \"prod\"\nours if input.span.name == \"x\"", "include rule ours: it is asked of input.stream and of input.span, and a dataset is of one of them; write a rule for each"},
		"two, by a helper":      {tenants.Metrics, ``, "ours if { input.series.env == \"prod\"; other }\nother if input.stream.env == \"prod\"", "it is asked of input.series and of input.stream"},
		"a metric's name":       {tenants.Logs, ``, `ours if input.stream.__name__ == "up"`, "p.rego:3: include rule ours can't be translated to selectors: `input.stream.__name__ == \"up\"`: streams have no __name__: it is the name of metrics; of a label can be asked: "},
		"all of a stream":       {tenants.Logs, ``, `ours if count(input.stream) > 1`, "only single labels can be translated, as input.stream.service; not input.stream as a whole"},
		"which attribute":       {tenants.Traces, ``, `ours if { some k; k != "x"; input.span[k] == "prod" }`, "which attribute it is has to be known without the span: no iteration over input.span"},
		"an attribute of which": {tenants.Traces, ``, `ours if input.span["service.name"] == "checkout"`, "spans aren't selected by \"service.name\"; did you mean \"resource.service.name\" or \"span.service.name\"?"},
		"a part of it":          {tenants.Traces, ``, `ours if input.span.resource["service.name"] == "checkout"`, "only single attributes can be translated, as input.span[\"resource.service.name\"]"},
		"a short name":          {tenants.Traces, ``, `ours if input.span.service in ["a"]`, "`input.span.service`: spans aren't selected by \"service\""},
		"a list":                {tenants.Logs, ``, `ours if input.stream.service == data.teams`, "never equal to [\"web\", \"api\"]; in asks for one of a list"},
		"no list":               {tenants.Logs, ``, `ours if input.stream.service in data.number`, "nothing is in 5: it is no list"},
		"two, and lines":        {tenants.Logs, `, "line": "keep"`, `ours if { input.stream.env == "prod"; input.series.env == "prod" }`, "include rule ours: it is asked of input.series and of input.stream"},
		"an event":              {tenants.Traces, ``, `ours if input.span["event.name"] == "exception"`, "spans aren't selected by \"event.name\""},
		"what gateways say":     {tenants.Traces, ``, `ours if input.span["resource.parley.org"] == "globex"`, "which only gateways say"},
		"no such kind":          {tenants.Traces, ``, `ours if input.span.kind == "SERVER"`, `no span has the kind "SERVER"; want unspecified, internal, server, client, producer or consumer`},
		"no such status":        {tenants.Traces, ``, `ours if not input.span.status in ["failed", "error"]`, `no span has the status "failed"; want unset, ok or error`},
		"a number":              {tenants.Traces, ``, `ours if input.span["span.http.response.status_code"] == data.number`, "never equal to 5; a number is written in quotes"},
		"another attribute":     {tenants.Traces, ``, `ours if input.span["span.a"] == input.span["span.b"]`, "an attribute (span.a) can be compared with what is known without the span, not with another attribute (span.b)"},
		"a part of text":        {tenants.Traces, ``, `ours if lower(input.span["span.a"]) == "x"`, "lower of an attribute can't be translated; of an attribute can be asked: "},

		"lines of series":       {tenants.Metrics, `, "line": "keep"`, `ours if input.series.env == "prod"`, `dataset "d": line is for datasets of streams; the rule ours, which it includes, is of series`},
		"a span of streams":     {tenants.Metrics, `, "span": "full"`, `ours if input.stream.env == "prod"`, `dataset "d": span is for datasets of spans; the rule ours, which it includes, is of streams`},
		"counts of series":      {tenants.Traces, `, "counts": true`, `ours := true`, `counts is for datasets of spans; the rule ours, which it includes, is of series`},
		"rounded streams":       {tenants.Metrics, `, "round": {"digits": 2}`, `ours if input.stream.env == "prod"`, `round is for datasets of series; the rule ours, which it includes, is of streams`},
		"cells of spans":        {tenants.Metrics, `, "release": "aggregate", "dimensions": ["a"], "units": ["b"], "k": 5`, `ours if input.span.name == "x"`, `the release aggregate is for datasets of series; the rule ours, which it includes, is of spans`},
		"hidden and named":      {tenants.Metrics, `, "labels": {"name": "keep"}`, `ours if input.span.kind == "server"`, `hidden spans, as they are without span, have none`},
		"no such rule":          {tenants.Traces, ``, `mine if input.span.name == "x"`, `include "ours": package p has no rule of this name that gives true or false and nothing else; those it has: mine`},
		"denied without a word": {tenants.Traces, `, "release": "deny"`, `ours if input.principal.org == "globex"`, `p.rego:3: include rule ours asks for none of input.series, input.stream and input.span, so that it doesn't say what a dataset denies`},
		"kinds by a number":     {tenants.Traces, ``, `ours if input.span.kind == 2`, "never equal to 2; a number is written in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(test.keys, "release") {
				test.keys += `, "release": "row"`
			}
			d, err := includingAs(t, test.signal, test.keys, test.rule)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if d.Allow || len(d.Obligations.Datasets) > 0 {
				t.Errorf("released: %+v", d)
			}
		})
	}
}

// What a dataset is of nobody knows whose rule can't be translated: were it taken for
// one of series, what it denies of streams would leave.
func TestWhatIsDeniedByARuleThatCannotBeTranslated(t *testing.T) {
	const decision = `{"allow": true, "datasets": [
		{"name": "all", "streams": ["{}"], "release": "row", "line": "keep"},
		{"name": "vault", "include": concat("", ["va", "ult"]), "release": "deny"},
	]}`
	for name, rules := range map[string]string{
		"all of the input, to a function":    "of(i) if i.stream.service == \"vault\"\nvault if of(input)",
		"all of the input, by a variable":    "vault if { x := input; x.stream.service == \"vault\" }",
		"a part that a variable names":       "vault if { some k in [\"stream\"]; input[k].service == \"vault\" }",
		"all of the input, by object.get":    "vault if object.get(input, [\"stream\", \"service\"], \"\") == \"vault\"",
		"series and streams, by two rules":   "vault if input.series.service == \"vault\"\nvault if input.stream.service == \"vault\"",
		"streams, in a way that isn't known": "vault if input.stream.service == \"vault\"\nelse := false",
	} {
		t.Run(name, func(t *testing.T) {
			for _, signal := range []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces} {
				d, err := decisionOn(t, signal, decision, rules)
				if err == nil || !strings.Contains(err.Error(), "include rule vault: ") || d.Allow || len(d.Obligations.Datasets) > 0 {
					t.Errorf("of %s %+v is released: %v", signal, d.Obligations.Datasets, err)
				}
			}
		})
	}
}
