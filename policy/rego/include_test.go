package rego

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// includeData is what the rules below find at data.
const includeData = `
teams: [web, api]
owners: {web: alice, api: bob}
blocked: []
mixed: [a, 5]
number: 5
prefix: prod-
`

// including is a package p whose decision includes the rule include, which the
// text defines.
func including(t testing.TB, text string) (*revision, error) {
	t.Helper()
	imports, rules := "", text
	if strings.HasPrefix(text, "import ") {
		imports, rules, _ = strings.Cut(text, "\n")
	}
	text = "package p\n" + imports + "\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"d\", \"include\": \"include\", \"release\": \"row\"}]}\n" + rules
	src, err := readSources("", "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	src.files = append(src.files,
		file{name: "p.rego", path: "p.rego", text: []byte(text)},
		file{name: "d.yaml", path: "d.yaml", text: []byte(includeData)})
	return compile(t.Context(), src, Config{CacheEntries: 64, Timeout: proofTimeout})
}

// include is the selectors that the rule include of p becomes when globex
// asks for slo-review.
func include(t testing.TB, text string) ([]policy.Selector, error) {
	t.Helper()
	rev, err := including(t, text)
	if err != nil {
		return nil, err
	}
	r := asks("globex", "p", "slo-review", "up")
	input, err := describe(r, noon, rev.packages["p"].reads)
	if err != nil {
		t.Fatal(err)
	}
	v, err := rev.evaluate(t.Context(), rev.packages["p"], input, policy.Answer, r.Signal, allowance{proofTimeout, maxMemory})
	if err != nil {
		return nil, err
	}
	return v.decision.Obligations.Datasets[0].Series, nil
}

// What a rule says of a series, and how Prometheus selects it.
func TestIncludeRulesBecomeSelectors(t *testing.T) {
	for name, test := range map[string]struct {
		rule string
		want string
	}{
		"the natural thing":   {`include if { input.series.env == "prod"; input.series.team in data.teams }`, `{env="prod",team=~"api|web"}`},
		"the metric's name":   {`include if startswith(input.series.__name__, "http_")`, `{__name__=~"http_.*"}`},
		"a label in brackets": {`include if input.series["k8s.io/team"] == "web"`, `{k8s.io/team="web"}`},
		"everything":          {`include := true`, `{}`},
		"nothing":             {`include := false`, ``},
		"nothing, by purpose": {`include if { input.principal.purpose == "audit"; input.series.env == "prod" }`, ``},
		"a value":             {`include := input.series.env == "prod"`, `{env="prod"}`},
		"false, other values": {`include := x if { x := input.series.env == "prod" }`, `{env="prod"}`},

		"not equal":                    {`include if input.series.env != "prod"`, `{env!="",env!="prod"}`},
		"not something equal":          {`include if not input.series.env == "dev"`, `{env!="dev"}`},
		"not something not equal":      {`include if not input.series.env != "dev"`, `{env="dev"}`},
		"there":                        {`include if input.series.env`, `{env!=""}`},
		"not there":                    {`include if not input.series.env`, `{env=""}`},
		"equal to nothing":             {`include if input.series.env == ""`, ``},
		"not equal to nothing":         {`include if input.series.env != ""`, `{env!=""}`},
		"one of a list with nothing":   {`include if input.series.env in ["", "prod"]`, `{env="prod"}`},
		"the values of an object":      {`include if input.series.owner in data.owners`, `{owner=~"alice|bob"}`},
		"the keys of an object":        {`include if data.owners[input.series.team]`, `{team=~"api|web"}`},
		"the keys with a value":        {`include if data.owners[input.series.team] == "bob"`, `{team="api"}`},
		"some of them":                 {`include if { some x in data.teams; input.series.team == x }`, `{team=~"api|web"}`},
		"some of them, none":           {`include if { some x in data.blocked; input.series.team == x }`, ``},
		"not one of them":              {`include if not input.series.team in data.teams`, `{team!="",team!~"api|web"}`},
		"not one of them, by a rule":   {"include if not mine\nmine if input.series.team in data.teams", `{team!~"api|web"}`},
		"labels by variable":           {`include if { some l in ["env", "stage"]; input.series[l] == "prod" }`, `{env="prod"} {stage="prod"}`},
		"a default, other":             {`include if object.get(input.series, "env", "dev") == "prod"`, `{env="prod"}`},
		"a default":                    {`include if object.get(input.series, "env", "dev") == "dev"`, `{env=~"|dev"}`},
		"a default, null":              {`include if object.get(input.series, "env", null) == null`, `{env=""}`},
		"a default, another label":     {`include if object.get(input.series, "env", input.series.stage) == "dev"`, `{env="",stage="dev"} {env="dev",stage!=""}`},
		"a default, a function of it":  {`include if startswith(object.get(input.series, "env", "dev"), "d")`, `{env=""} {env=~"d.*"}`},
		"a default, not":               {`include if { x := object.get(input.series, "env", "dev"); not x in ["dev", "test"] }`, `{env!="",env!~"dev|test"}`},
		"starts with":                  {`include if startswith(input.series.env, "prod")`, `{env=~"prod.*"}`},
		"starts with signs":            {`include if startswith(input.series.env, "a.b|")`, `{env=~"a\\.b\\|.*"}`},
		"starts with nothing":          {`include if startswith(input.series.env, "")`, `{env!="",env=~".*"}`},
		"doesn't start with":           {`include if not startswith(input.series.env, data.prefix)`, `{env!="",env!~"prod-.*"}`},
		"doesn't start with, the rule": {"include if not h\nh if startswith(input.series.env, data.prefix)", `{env!~"prod-.*"}`},
		"starts with, false":           {`include if startswith(input.series.env, "x") == false`, `{env!="",env!~"x.*"}`},
		"ends with":                    {`include if endswith(input.series.env, "-eu")`, `{env=~".*-eu"}`},
		"contains":                     {`include if contains(input.series.env, "-eu-")`, `{env=~".*-eu-.*"}`},

		"searched":                {`include if regex.match("eu[0-9]", input.series.zone)`, `{zone=~"(?s:.*eu[0-9].*)"}`},
		"searched, a dot":         {`include if regex.match("^eu.+", input.series.zone)`, `{zone=~"(?-s:eu.+(?s:.*))"}`},
		"searched, all of it":     {`include if regex.match("^eu.$", input.series.zone)`, `{zone=~"(?-s:eu.)"}`},
		"searched, words":         {`include if regex.match("^(eu|us)$", input.series.zone)`, `{zone=~"eu|us"}`},
		"searched, half anchored": {`include if regex.match("^eu|us$", input.series.zone)`, `{zone=~"(?s-m:.*(?:\\Aeu|us$).*)"}`},
		"searched, any case":      {`include if regex.match("(?i)^k$", input.series.zone)`, "{zone=~\"K|k|\u212a\"}"},
		"searched, nothing":       {`include if regex.match("^$", input.series.zone)`, ``},
		"searched, anything":      {`include if regex.match("x*", input.series.zone)`, `{zone!="",zone=~"(?s:.*x*.*)"}`},
		"searched, not":           {"include if not h\nh if regex.match(\"x\", input.series.zone)", `{zone!~"(?s:.*x.*)"}`},
		"a glob":                  {`include if glob.match("api.*", [], input.series.zone)`, `{zone=~"api\\.[^\\x{2e}]*"}`},
		"a glob, no delimiters":   {`include if glob.match("*-eu", null, input.series.zone)`, `{zone=~".*-eu"}`},

		"several rules": {
			"include if input.series.env == \"prod\"\ninclude if { input.series.env == \"dev\"; input.series.team == \"web\" }",
			`{env="dev",team="web"} {env="prod"}`,
		},
		"rules of one label":    {"include if input.series.env == \"prod\"\ninclude if input.series.env == \"dev\"", `{env=~"dev|prod"}`},
		"a rule too many":       {"include if input.series.env == \"prod\"\ninclude if { input.series.env == \"prod\"; input.series.team == \"web\" }", `{env="prod"}`},
		"a contradiction":       {`include if { input.series.env == "prod"; input.series.env == "dev" }`, ``},
		"an empty difference":   {`include if { input.series.env in ["a", "b"]; not input.series.env in ["b", "a"] }`, ``},
		"a difference":          {`include if { input.series.env in ["a", "b"]; not startswith(input.series.env, "b") }`, `{env="a"}`},
		"a function":            {"include if of(input.series, \"prod\")\nof(series, env) if series.env == env", `{env="prod"}`},
		"not of a series":       {"include if f(input.series)\nf(s) if { x := s.env; not x in [\"a\", \"b\"] }", `{env!="",env!~"a|b"}`},
		"a series in an object": {"include if { o := {\"s\": input.series}; s := o.s; not s.env == \"dev\" }", `{env!="dev"}`},
		"a series by its name":  {"include if { s := input.series; not startswith(s.env, \"dev\") }", `{env!="",env!~"dev.*"}`},
		"a function of labels":  {"include if f(input.series.env)\nf(x) if x == \"a\"\nf(x) if startswith(x, \"b\")", `{env="a"} {env=~"b.*"}`},
		"a function's values":   {"include if f(input.series.env) == 1\nf(\"a\") := 1\nf(\"b\") := 2\nf(\"c\") := 1", `{env=~"a|c"}`},
		"not a function":        {"include if not f(input.series.env)\nf(x) if x == \"a\"", `{env!="",env!="a"}`},
		"not a function, some":  {"include if { x := input.series.env; not f(x) }\nf(x) if { some y in data.teams; x == y }", `{env!="",env!~"api|web"}`},
		"a rule's value":        {"include if tier == \"gold\"\ntier := \"gold\" if input.series.a == \"1\"", `{a="1"}`},
		"a rule's default":      {"include if tier == \"none\"\ndefault tier := \"none\"\ntier := \"gold\" if input.series.a == \"1\"", `{a!="1"}`},
		"a default of true":     {"default include := true\ninclude := false if input.series.env == \"dev\"", `{env!="dev"}`},
		"a default of false":    {"default include := false\ninclude if input.series.env == \"dev\"", `{env="dev"}`},
		"not both":              {"include if not h\nh if { input.series.a == \"1\"; input.series.b == \"2\" }", `{a!="1"} {b!="2"}`},
		"not either":            {"include if not h\nh if input.series.a == \"1\"\nh if input.series.b == \"2\"", `{a!="1",b!="2"}`},
		"not many": {
			"include if not h\nh if { some x in [\"1\", \"2\", \"3\"]; input.series.a == \"1\"; input.series.b == \"1\"; input.series.c == x }",
			`{a!="1"} {b!="1"} {c!~"1|2|3"}`,
		},
		"not not":                    {"include if not h\nh if not input.series.x == \"a\"", `{x="a"}`},
		"else, known":                {"include if input.series.env == env\nenv := \"x\" if input.principal.purpose == \"audit\" else := \"y\"", `{env="y"}`},
		"values, known":              {"include if input.series.env == env\nenv := \"x\" if input.principal.purpose == \"audit\"\nenv := \"y\" if input.principal.org == \"globex\"", `{env="y"}`},
		"every, known":               {`include if { every x in data.teams { x != "" }; input.series.env == "prod" }`, `{env="prod"}`},
		"an iteration that is none":  {`include if { some k, v in input.series; k == "env"; v == "prod" }`, `{env="prod"}`},
		"of whom is asked and asks":  {`include if input.series[input.principal.org] == input.owner`, `{globex="acme"}`},
		"text made of what is known": {`include if input.series.env == sprintf("%s-%s", [lower("PROD"), input.principal.purpose])`, `{env="prod-slo-review"}`},
		"the same label twice":       {`include if input.series.env == input.series.env`, `{env!=""}`},
		"a library function":         {"import data.parley.lib\ninclude if { lib.asks_only([\"up\"]); input.series.env == \"prod\" }", `{env="prod"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := include(t, test.rule)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, asText(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func asText(list []policy.Selector) string {
	texts := make([]string, len(list))
	for i, s := range list {
		matchers := make([]string, len(s))
		for j, m := range s {
			matchers[j] = fmt.Sprintf("%s%s%q", m.Name, m.Type, m.Value)
		}
		texts[i] = "{" + strings.Join(matchers, ",") + "}"
	}
	return strings.Join(texts, " ")
}

// What has no equal in selectors is refused, with where it is and why.
func TestWhatAnIncludeRuleCannotSay(t *testing.T) {
	for name, test := range map[string]struct{ rule, want string }{
		"two labels":            {`include if input.series.env == input.series.stage`, "p.rego:4: include rule include can't be translated to selectors: `input.series.env == input.series.stage`: a label (env) can be compared with what is known without the series, not with another label (stage); of a label can be asked: !=, ==, contains, endswith, glob.match, in, not, regex.match, startswith"},
		"order":                 {`include if input.series.env > "a"`, "p.rego:4: include rule include can't be translated to selectors: `input.series.env > \"a\"`: > of a label can't"},
		"lower":                 {"include if {\n\tinput.series.a == \"x\"\n\tlower(input.series.env) == \"prod\"\n}", "p.rego:6: include rule include can't be translated to selectors: `lower(input.series.env) == \"prod\"`: lower of a label"},
		"a number":              {`include if input.series.team == data.number`, "never equal to 5"},
		"a number among text":   {`include if input.series.team in data.mixed`, "p.rego:4: include rule include can't be translated to selectors: `input.series.team in [\"a\", 5]`: labels and attributes are text and never equal to 5; a number is written in quotes"},
		"a number as prefix":    {`include if not startswith(input.series.team, data.number)`, "p.rego:4: include rule include: of a series such as {\"team\": \"any\"}: p.rego:4: eval_type_error"},
		"iteration":             {`include if { some x; input.series[x] == "prod" }`, "p.rego:4: include rule include can't be translated to selectors: `input.series[x] == \"prod\"`: which label it is"},
		"a label as a name":     {`include if input.series[input.series.which] == "prod"`, "which label it is"},
		"the series":            {`include if count(input.series) > 3`, "p.rego:4: include rule include can't be translated to selectors: `count(input.series) > 3`: only single labels"},
		"the series, equal":     {`include if input.series == {"env": "prod"}`, "not input.series as a whole"},
		"its keys":              {`include if "env" in object.keys(input.series)`, "not input.series as a whole"},
		"a label in a prefix":   {`include if startswith("prod-eu", input.series.env)`, "startswith with a label (env) in this place"},
		"a label as expression": {`include if regex.match(input.series.env, "prod")`, "regex.match with a label (env) in this place"},
		"a glob":                {`include if glob.match("a*b", [], input.series.env)`, "p.rego:4: include rule include can't be translated to selectors: `glob.match(\"a*b\", [], input.series.env)`: of globs only text with * or ** before and after it"},
		"every":                 {`include if { every x in data.teams { input.series.team != x } }`, "every over what depends on a series can't be translated; write a rule for the opposite"},
		"a comprehension":       {`include if count([1 | input.series.team == "a"]) == 0`, "p.rego:4: include rule include can't be translated"},
		"a part":                {`include if split(input.series.team, "-")[0] == "a"`, "p.rego:4: include rule include can't be translated to selectors: `split("},
		"a set":                 {`include if not {input.series.team}["a"]`, "p.rego:4: include rule include: {"},
		"an object's keys":      {`include if {input.series.team: 1}["a"] == 1`, "p.rego:4: include rule include: {"},
		"a set by rules":        {"include if \"a\" in allowed\nallowed contains \"a\" if input.series.x == \"1\"", "p.rego:5: include rule include: a set or an object that depends on a series"},
		"an object by rules":    {"include if m.a == 1\nm[x] := 1 if { some x in [\"a\"]; input.series.x == x }", "p.rego:5: include rule include: a set or an object that depends on a series"},
		"all of the input":      {"include if f(input)\nf(x) if x.series.env == \"prod\"", "p.rego:4: include rule include: input as a whole"},
		"input by a variable":   {`include if { some k; input[k].env == "prod" }`, "p.rego:4: include rule include: input as a whole"},
		"with":                  {"include if h with input.series as {\"env\": \"prod\"}\nh if input.series.env == \"prod\"", "p.rego:4: include rule include: with can't be translated"},
		"else":                  {"include if t == \"a\"\nt := \"a\" if input.series.x == \"1\"\nelse := \"b\"", "p.rego:6: include rule include: else can't be translated"},
		"else, itself":          {"include if input.series.x == \"1\"\nelse := false", "p.rego:5: include rule include: else can't be translated"},
		"a conflict":            {"include if t == \"a\"\nt := \"a\" if input.series.x == \"1\"\nt := \"b\" if input.series.y == \"1\"", "p.rego:6: include rule include: data.p.t has several values"},
		"a conflict, itself":    {"include if input.series.x == \"1\"\ninclude := false if input.series.y == \"1\"", "p.rego:5: include rule include: data.p.include has several values"},
		"a known conflict":      {"include if not h\nh if { t == \"a\"; input.series.x == \"1\" }\nt := \"a\" if input.kind\nt := \"b\" if input.query", "p.rego:4: include rule include: p.rego:6: eval_conflict_error"},
		"an object of it":       {"include if { m := {l: 1 | some l in data.teams}; m[input.series.team] }", "an object comprehension here can't be translated"},
		"no such rule":          {`x if true`, "p.rego:3: include \"include\": package p has no rule of this name that gives true or false and nothing else; those it has: x"},
		"a text":                {`include := "yes"`, "those it has: none"},
		"a function":            {`include(x) if x`, "those it has: none"},
		"a set itself":          {`include contains input.series.x`, "those it has: none"},
		"a wrong label":         {`include if input.series[""] == "x"`, "no label is called by the empty string"},
		"too many selectors":    {"include if not h\nh if { some x in numbers.range(1, 20); input.series.a == sprintf(\"%d\", [x]); input.series.b == sprintf(\"%d\", [x]) }", "p.rego:4: include rule include: it is larger than 1000 selectors"},
		"too much text":         {"include if { some x in numbers.range(1, 1500); input.series.a == sprintf(\"%01000d\", [x]) }", "p.rego:4: include rule include: it is larger than 1000 selectors of 10000 matchers and 1024 KiB"},
		"part of a label":       {`include if input.series.env.name == "x"`, "only single labels can be translated"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := include(t, test.rule)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			var failed *includeError
			if _, ok := errors.AsType[*LoadError](err); !ok && !errors.As(err, &failed) {
				t.Errorf("a %T", err)
			}
		})
	}
}

// globexIncludes is acme's policy for globex with an include rule.
func globexIncludes(t testing.TB, rules string) (*world, error) {
	w := &world{now: noon, dir: t.TempDir(), log: &bytes.Buffer{}, agreements: agreements[:1]}
	w.write(t, "globex.rego", `package parley.partners.globex

decision := {"allow": true, "datasets": [
	{"name": "ours", "include": "include", "release": "row"},
	{"name": "secrets", "series": ["{__name__=~\".*_secret\"}"], "release": "deny"},
]}

`+rules)
	w.write(t, "agreement/data.yaml", "teams: [web, api]")
	var err error
	w.Policies, err = New(t.Context(), w.config())
	return w, err
}

// series of the first dataset, as text.
func (w *world) includes(t testing.TB, r policy.Request) string {
	t.Helper()
	d := w.decide(t, r)
	if !d.Allow {
		t.Fatalf("%+v", d)
	}
	return asText(d.Obligations.Datasets[0].Series)
}

func TestADatasetIncludesWhatARuleSays(t *testing.T) {
	w, err := globexIncludes(t, `include if {
	input.series.env == "prod"
	input.series.team in data.agreement.teams
	input.principal.purpose != "audit"
}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.includes(t, globexAsks("slo-review")), `{env="prod",team=~"api|web"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := w.includes(t, globexAsks("audit")); got != "" {
		t.Errorf("of an audit nothing is included, not %s", got)
	}
	if d := w.decide(t, globexAsks("audit")); asText(d.Obligations.Datasets[1].Series) != `{__name__=~".*_secret"}` {
		t.Errorf("%+v", d.Obligations.Datasets[1])
	}
}

// A rule is evaluated once for all questions that are the same to it.
func TestAnIncludeRuleIsEvaluatedOncePerPrincipalAndPurpose(t *testing.T) {
	w, err := globexIncludes(t, `include if { input.series.org == input.principal.org; input.principal.purpose == "slo-review" }`)
	if err != nil {
		t.Fatal(err)
	}
	rev := w.current.Load()
	rev.included.entries.Purge() // of what was tried when it was loaded
	for _, query := range []string{"up", "up + 1", "up + 2"} {
		r := globexAsks("slo-review")
		r.Query, r.Principal.Case = query, tenants.CaseID(query)
		if got := w.includes(t, r); got != `{org="globex"}` {
			t.Errorf("%s: %s", query, got)
		}
	}
	if got := rev.included.entries.Len(); got != 1 {
		t.Errorf("it was evaluated %d times for three questions", got)
	}
	w.includes(t, globexAsks("audit"))
	r := globexAsks("slo-review")
	r.Principal.Org = "initech"
	if got := w.includes(t, r); got != `{org="initech"}` {
		t.Errorf("of another partner: %s", got)
	}
	if got := rev.included.entries.Len(); got != 3 {
		t.Errorf("%d are kept of three purposes and partners", got)
	}
}

// What an include rule reads bounds for how long its decision is kept.
func TestAnIncludeRuleAtATimeOfDay(t *testing.T) {
	w, err := globexIncludes(t, `include if { input.series.env == "prod"; late }
include if input.series.env == "dev"
late if time.clock(time.parse_rfc3339_ns(input.now.time))[0] >= 18`)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.includes(t, globexAsks("slo-review")); got != `{env="dev"}` {
		t.Errorf("at noon: %s", got)
	}
	w.now = noon.Add(7 * time.Hour)
	if got := w.includes(t, globexAsks("slo-review")); got != `{env=~"dev|prod"}` {
		t.Errorf("at seven: %s", got)
	}
	if rev := w.current.Load(); rev.cache.entries.Len()+rev.included.entries.Len() != 0 {
		t.Errorf("a decision about the time of day was kept")
	}
}

// Many questions are decided at once, each by a rule that is evaluated for it.
func TestIncludeRulesAtOnce(t *testing.T) {
	w, err := globexIncludes(t, `include if { input.series.org == input.principal.case; not hidden }
hidden if { some x in data.agreement.teams; input.series.team == x; startswith(input.series.env, input.principal.case) }`)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for i := range 4 {
		go func() {
			for j := range 20 {
				name := fmt.Sprintf("c%d", (i+j)%25)
				r := globexAsks("slo-review")
				r.Principal.Case = tenants.CaseID(name)
				d, err := w.Decide(t.Context(), r)
				want := fmt.Sprintf(`{env!~"%[1]s.*",org="%[1]s"} {org="%[1]s",team!~"api|web"}`, name)
				if err != nil || !d.Allow || asText(d.Obligations.Datasets[0].Series) != want {
					done <- fmt.Errorf("%s: %+v %w", name, d, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The same policy gives the same bytes.
func TestSelectorsAreTheSameEachTime(t *testing.T) {
	first := ""
	for range 10 {
		w, err := globexIncludes(t, `include if not blocked
include if { some x in ["c", "a", "b"]; input.series.team == x; startswith(input.series.env, x) }
blocked if { some x in ["1", "2", "3"]; input.series.a == x; input.series.b == x; contains(input.series.c, x) }
blocked if { input.series.d == "1"; input.series.e == "2" }`)
		if err != nil {
			t.Fatal(err)
		}
		got := w.includes(t, globexAsks("slo-review"))
		if first == "" {
			first = got
		}
		if got != first || len(got) < 100 {
			t.Fatalf("got  %s\nwant %s", got, first)
		}
	}
}

// What is wrong with an include rule keeps the policy from loading.
func TestAnIncludeRuleIsTriedWhenItIsLoaded(t *testing.T) {
	for name, test := range map[string]struct{ rules, want string }{
		"no equal in selectors": {"include if {\n\tinput.series.env == \"prod\"\n\tlower(input.series.team) == \"web\"\n}", "DIR/globex.rego:10: package parley.partners.globex, tried with a question (answer, metrics, query, purpose slo-review, of globex to acme): include rule include can't be translated to selectors: `lower(input.series.team) == \"web\"`: lower of a label can't be translated; of a label can be asked: "},
		"for one purpose":       {"include if {\n\tinput.principal.purpose == \"audit\"\n\tinput.series.env > \"prod\"\n}", "DIR/globex.rego:10: package parley.partners.globex, tried with a question (answer, metrics, query, purpose audit"},
		"no such rule":          {"includes := true", "DIR/globex.rego:4: package parley.partners.globex, tried with a question (answer, metrics, query, purpose slo-review, of globex to acme): include \"include\": package parley.partners.globex has no rule of this name that gives true or false and nothing else; those it has: includes"},
		"else":                  {"include if input.series.env == \"prod\"\nelse := false", "DIR/globex.rego:9: package parley.partners.globex, tried with a question (answer, metrics, query, purpose slo-review, of globex to acme): include rule include: else can't be translated"},
		"too much of it":        {"include if not h\nh if { some x in numbers.range(1, 20); input.series.a == sprintf(\"%d\", [x]); input.series.b == sprintf(\"%d\", [x]) }", "DIR/globex.rego:8: package parley.partners.globex, tried with a question (answer, metrics, query, purpose slo-review, of globex to acme): include rule include: it is larger than 1000 selectors of 10000 matchers and 1024 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := globexIncludes(t, test.rules)
			var failed *LoadError
			if want := strings.ReplaceAll(test.want, "DIR", w.dir); !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
			if len(failed.Problems) != 1 {
				t.Errorf("it is reported %d times:\n%v", len(failed.Problems), err)
			}
		})
	}
}

// A decision that includes by a name it makes up is tried as well, and what
// can't be tried when it is loaded denies.
func TestAnIncludeRuleThatIsNamedAtTheTimeOfTheQuestion(t *testing.T) {
	w := mustOpen(t, "")
	w.write(t, "globex.rego", `package parley.partners.globex
decision := {"allow": true, "datasets": [{"name": "d", "include": replace(input.principal.case, "-", "_"), "release": "row"}]}
a_1 if input.series.env == "prod"
a_2 if input.series.env > "prod"
a_4 := "yes"
a_5 if numbers.range(1, 1000000)[_] < 0
`)
	rev, err := compile(t.Context(), mustRead(t, w.dir), Config{CacheEntries: 8, Timeout: proofTimeout})
	if err != nil {
		t.Fatal(err)
	}
	for name, because := range map[tenants.CaseID]string{
		"a-2": "can't be translated", "a-3": "has no rule", "a-4": "has no rule", "": "dataset d: include is empty", "decision": "has no rule",
	} {
		r := globexAsks("slo-review")
		r.Principal.Case = name
		v, err := rev.verdict(t.Context(), r, noon)
		if err != nil {
			t.Fatal(err)
		}
		denies(t, v.at(noon), because)
	}
	r := globexAsks("slo-review")
	r.Principal.Case = "a-5"
	rev.within.time = time.Millisecond
	v, err := rev.verdict(t.Context(), r, noon)
	if err != nil {
		t.Fatal(err)
	}
	denies(t, v.at(noon), "it took longer than 1ms")
	if rev.cache.entries.Len() != 0 {
		t.Error("a mistake was kept")
	}
	rev.within.time = proofTimeout
	r.Principal.Case = "a-1"
	if v, err := rev.verdict(t.Context(), r, noon); err != nil || asText(v.decision.Obligations.Datasets[0].Series) != `{env="prod"}` {
		t.Errorf("%+v %v", v, err)
	}
}

func mustRead(t testing.TB, dir string) *sources {
	t.Helper()
	src, err := readSources(dir, "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// A sample's input may say anything.
func TestASampleWithASeriesOfItsOwn(t *testing.T) {
	for input, allow := range map[string]bool{
		`{"side": "answer", "series": {"env": "dev"}, "principal": {"purpose": "x"}}`: true,
		`null`: true,
	} {
		w, err := globexIncludes(t, `include if input.series.env == "prod"`)
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, "samples/a.json", fmt.Sprintf(`{"package": "parley.partners.globex", "input": %s, "allow": %t}`, input, allow))
		if err := w.Reload(t.Context()); err != nil {
			t.Errorf("%s: %v", input, err)
		}
	}
}

// Only include rules see a series.
func TestADecisionThatReadsASeriesDoesNotLoad(t *testing.T) {
	for name, rules := range map[string]string{
		"itself":          "decision := {\"allow\": true} if {\n\tinput.query\n\tinput.series.env == \"prod\"\n}",
		"through a rule":  "decision := {\"allow\": prod}\n\ndefault prod := false\nprod if input.series.env == \"prod\"",
		"as a whole":      "decision := {\"allow\": x}\n\n\nx := count(input.series) > 1",
		"by its own rule": "decision := {\"allow\": true, \"datasets\": [{\"name\": \"d\", \"include\": \"i\", \"release\": \"row\"}]} if i\n\n\ni if input.series.env",
	} {
		t.Run(name, func(t *testing.T) {
			src := &sources{files: []file{{name: "p.rego", path: "p.rego", text: []byte("package p\n" + rules)}}}
			_, err := compile(t.Context(), src, Config{CacheEntries: 1})
			if want := ": package p: its decision depends on input.series, which only the rules see that a dataset names as its include"; err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "p.rego:") {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// ofSeries takes every rule for one of series.
func ofSeries(string, policy.Release) (*element, error) { return elements[0], nil }
