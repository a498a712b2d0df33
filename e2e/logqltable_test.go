package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var writeDocs = flag.Bool("write-docs", false, "write the generated tables of the documentation")

const logqlDocs = "../LOGQL.md"

// construct is a part of LogQL with an example of it.
type construct struct{ name, example string }

// constructs are LogQL's, after the reference of Loki 3, a list of them under
// each heading.
var constructs = []struct {
	heading string
	of      []construct
}{
	{"Stream selectors", []construct{
		{"`=`, `!=`", `{app="shop", env!="dev"}`},
		{"`=~`, `!~`", `{app=~"shop|pay", env!~"d.*"}`},
		{"`org`", `{app="shop", org=~"acme|globex"}`},
		{"comments", "{app=\"shop\"} # all of it"},
	}},
	{"Line filters", []construct{
		{"`|=`, `!=`", `{app="shop"} |= "GET" != "500"`},
		{"`|~`, `!~`", "{app=\"shop\"} |~ \"(?i)get\" !~ `5\\d\\d`"},
		{"`|>`, `!>`", `{app="shop"} |> "<_> GET <_>" !> "<_>health<_>"`},
		{"chained `or`", `{app="shop"} |= "GET" or "POST"`},
		{"`ip()`", `{app="shop"} |= ip("10.0.0.0/8")`},
		{"`ip()` among alternatives of `|=`", `{app="shop"} |= "GET" or ip("10.0.0.0/8")`},
	}},
	{"Parsers", []construct{
		{"`json`", `{format="json"} | json`},
		{"`json` with parameters", `{format="json"} | json id="user.id", first="items[0].name"`},
		{"`logfmt`", `{format="logfmt"} | logfmt`},
		{"`logfmt` with flags and parameters", `{format="logfmt"} | logfmt --strict --keep-empty who="user"`},
		{"`pattern`", `{format="plain"} | pattern "<level> <method> <path> <_>"`},
		{"`regexp`", "{format=\"plain\"} | regexp `(?P<method>GET|POST) (?P<path>\\S+)`"},
		{"`unpack`", `{format="odd"} | unpack`},
		{"`__error__`", `{format="odd"} | json | __error__!=""`},
	}},
	{"Label filters", []construct{
		{"text", `{format="json"} | json | level="error" | method!="GET"`},
		{"regular expressions", `{format="json"} | json | level=~"err.*"`},
		{"numbers", `{format="json"} | json | duration_ms > 500 | status == 200`},
		{"durations", `{format="json"} | json | latency > 100ms | __error__=""`},
		{"bytes", `{format="logfmt"} | logfmt | size >= 20KB | __error__=""`},
		{"`ip()`", `{format="json"} | json | addr=ip("10.0.0.0/8")`},
		{"`and`, `or`, commas, parentheses", `{format="json"} | json | level="error" and status >= 500 or (method="GET", status < 300)`},
		{"structured metadata", `{app="shop"} | pod="a-1"`},
	}},
	{"Formats", []construct{
		{"`line_format`", `{format="json"} | json | line_format "{{.level}} {{.msg}}"`},
		{"`label_format`", `{format="json"} | json | label_format severity=level, text="{{.msg | upper}}"`},
		{"`label_format` of `org`", `{format="json"} | label_format org="x"`},
		{"`decolorize`", `{format="odd"} | decolorize`},
		{"`keep`", `{format="json"} | json | keep level, org, method="GET"`},
		{"`drop`", `{format="json"} | json | drop level, method="GET"`},
	}},
	{"Functions of templates", templateCalls(
		"upper .level", "lower .msg", "title .level", "ToUpper .level", "ToLower .level", "Title .level", "TrimSpace .msg", "trim .msg", "trunc 3 .msg", "substr 1 4 .msg", "repeat 2 .level", "indent 2 .msg", "nindent 2 .msg",
		"alignLeft 8 .level", "alignRight 8 .level", "Trim .msg `d`", "TrimLeft .msg `t`", "TrimRight .msg `e`", "TrimPrefix .msg `time`", "TrimSuffix .msg `out`", "trimAll `t` .msg", "trimPrefix `t` .msg", "trimSuffix `t` .msg",
		"Replace .msg `t` `T` -1", "replace `t` `T` .msg", "regexReplaceAll `(t)(.)` .msg `$2$1`", "regexReplaceAllLiteral `(t)` .msg `$1`", "count `t` .msg", "contains `time` .msg", "hasPrefix `t` .msg", "hasSuffix `t` .msg", "eq .level `info`",
		"add 1 2", "sub 3 2", "mul 2 3", "div 6 4", "mod 7 4", "addf 1.5 2", "subf 3.5 2", "mulf 2.5 3", "divf 6 4", "max 1 2", "min 1 2", "maxf 1.5 2", "minf 1.5 2", "ceil 1.2", "floor 1.7", "round 1.26 1", "int .duration_ms", "float64 .duration_ms",
		"bytes `2KB`", "duration `1m`", "duration_seconds `1m`", "unixEpoch (toDate `2006-01-02` `2026-01-02`)", "unixEpochMillis (unixToTime `1767323000`)", "unixEpochNanos (unixToTime `1767323000`)", "date `2006-01-02` (unixToTime `1767323000`)",
		"toDateInZone `2006-01-02` `UTC` `2026-01-02`", "unixToTime `1767323000`", "__line__", "__timestamp__ | unixEpoch", "urlencode .msg", "urldecode `a%20b`", "b64enc .msg", "b64dec `YQ==`", "default `none` .nothing", "printf `%-8s|` .level", "len .msg", "index (fromJson `[1,2]`) 1",
		"now | date `x`",
		"env `HOME`", "sha256sum .msg", "htpasswd `a` `b`", "expandenv `$HOME`", "getHostByName `localhost`", "uuidv4", "randAlpha 5",
	)},
	{"Range aggregations over lines", []construct{
		{"`rate`", `rate({app="shop"}[1m])`},
		{"`count_over_time`", `count_over_time({app="shop"}[1m])`},
		{"`bytes_rate`", `bytes_rate({app="shop"}[1m])`},
		{"`bytes_over_time`", `bytes_over_time({app="shop"}[1m])`},
		{"`absent_over_time`", `absent_over_time({app="nothing"}[1m])`},
		{"`offset`", `rate({app="shop"}[1m] offset 1m)`},
		{"with the pipeline after the range", `rate({app="shop"}[1m] |= "GET")`},
		{"without `org`", `count_over_time({app="shop"} | keep app [1m])`},
	}},
	{"Range aggregations over values", unwrapped(
		"rate", "rate_counter", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "first_over_time", "last_over_time", "stddev_over_time", "stdvar_over_time", "quantile_over_time(0.9, ",
	)},
	{"Unwrapping", []construct{
		{"numbers", `sum_over_time({format="json"} | json | unwrap duration_ms | __error__="" [1m])`},
		{"`duration`, `duration_seconds`", `sum_over_time({format="json"} | json | unwrap duration(latency) | __error__="" [1m])`},
		{"`bytes`", `sum_over_time({format="logfmt"} | logfmt | unwrap bytes(size) | __error__="" [1m])`},
		{"grouping", `max_over_time({format="json"} | json | unwrap duration_ms | __error__="" [1m]) by (level, org)`},
		{"grouping without `org`", `avg_over_time({format="json"} | json | unwrap duration_ms | __error__="" [1m]) by (level)`},
	}},
	{"Vector aggregations", aggregations("sum", "avg", "min", "max", "count", "stddev", "stdvar", "topk(2, ", "bottomk(2, ", "sort", "sort_desc", "approx_topk(2, ")},
	{"Operations", []construct{
		{"`+ - * / % ^`", `sum by (app) (rate({app="shop"}[1m])) * 60 / 2 - 1 + 3 % 2 ^ 2`},
		{"division by 0", `sum by (app) (rate({app="shop"}[1m])) / 0`},
		{"comparisons", `sum by (app) (rate({app=~".+"}[1m])) > 0.1`},
		{"`bool`", `sum by (app) (rate({app=~".+"}[1m])) > bool 0.1`},
		{"`and`, `or`, `unless`", `sum by (app) (rate({app=~".+"}[1m])) and sum by (app) (rate({app="shop"}[1m])) or sum by (app) (rate({app="pay"}[1m])) unless sum by (app) (rate({app="auth"}[1m]))`},
		{"`on`, `ignoring`", `sum by (app, env) (rate({app=~".+"}[1m])) / ignoring (env) group_left () sum by (app) (rate({app=~".+", env="prod"}[1m]))`},
		{"`group_left`, `group_right`", `sum by (app, env) (rate({app=~".+"}[1m])) / on (app) group_left () sum by (app) (rate({app=~".+"}[1m]))`},
		{"`vector`", `vector(1) + vector(1)`},
		{"`label_replace`", `label_replace(sum by (app) (rate({app="shop"}[1m])), "service", "$1", "app", "(.*)")`},
		{"`label_replace` that makes two series one", `label_replace(sum by (app) (rate({app=~".+"}[1m])), "app", "all", "app", ".*")`},
		{"`variants`", `variants(count_over_time({app="shop"}[1m])) of ({app="shop"}[1m])`},
	}},
}

func templateCalls(calls ...string) []construct {
	out := make([]construct, len(calls))
	for i, call := range calls {
		name, _, _ := strings.Cut(call, " ")
		out[i] = construct{"`" + name + "`", `{format="json"} | json | line_format "{{ ` + call + ` }}"`}
	}
	return out
}

func unwrapped(calls ...string) []construct {
	out := make([]construct, len(calls))
	for i, call := range calls {
		name, _, parameter := strings.Cut(call, "(")
		if !parameter {
			call += "("
		}
		out[i] = construct{"`" + name + "`", call + `{format="json"} | json | unwrap duration_ms | __error__="" [1m])`}
	}
	return out
}

func aggregations(calls ...string) []construct {
	out := make([]construct, len(calls))
	for i, call := range calls {
		name, _, parameter := strings.Cut(call, "(")
		if !parameter {
			call += "("
		}
		out[i] = construct{"`" + name + "`", call + `sum by (app, org) (count_over_time({app=~".+"}[1m])))`}
	}
	return out
}

// TestLogQLTable asks an example of each construct of a real Loki and of three
// gateways, and holds the table in the documentation to what becomes of it.
func TestLogQLTable(t *testing.T) {
	u := newUnion(t, rand.New(rand.NewPCG(1, 8)))
	var table strings.Builder
	for _, under := range constructs {
		fmt.Fprintf(&table, "\n### %s\n\n| construct | example | |\n|---|---|---|\n", under.heading)
		for _, c := range under.of {
			fmt.Fprintf(&table, "| %s | %s | %s |\n", c.name, code(c.example), u.outcome(t, c))
		}
	}
	checkGenerated(t, logqlDocs, "<!-- constructs: written by go test ./e2e -run TestLogQLTable -write-docs -->\n", "<!-- end of constructs -->", table.String())
}

// outcome is what becomes of an example.
func (u *union) outcome(t *testing.T, c construct) string {
	t.Helper()
	parameters := url.Values{
		"query": {c.example}, "direction": {"forward"}, "limit": {"5000"}, "step": {"20s"},
		"start": {strconv.FormatInt(u.start.Add(time.Minute).UnixNano(), 10)}, "end": {strconv.FormatInt(u.start.Add(9*time.Minute).UnixNano(), 10)},
	}
	if strings.HasPrefix(c.example, "approx_topk") {
		// A Loki has to be set up for it, and leaves a question waiting otherwise.
		_, err := askLoki(t, u.client, u.world.Org("acme").URL(), "", parameters)
		if err == nil {
			t.Errorf("%s: an answer", c.example)
			return ""
		}
		return "refused: " + said(err)
	}
	want, wantErr, got, gotErr := u.ask(t, parameters)
	switch {
	case gotErr != nil && wantErr != nil:
		return "refused, as by Loki"
	case gotErr != nil && len(want) == 0:
		return "refused, where a Loki finds nothing: " + said(gotErr)
	case gotErr != nil:
		return "refused: " + said(gotErr)
	case wantErr != nil:
		t.Errorf("%s: Loki refuses, and we answer: %v", c.example, wantErr)
		return ""
	case len(want) == 0:
		t.Errorf("%s: an example that finds nothing shows nothing", c.example)
	}
	if diff := differenceOf(got, nil, want, nil); diff != "" {
		t.Errorf("%s:\n%s", c.example, diff)
	}
	return "as Loki"
}

// said is the sentence of an error of Loki's API, without whose it is.
func said(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"error":"`)
	text, _, _ := strings.Cut(rest, `","errorType"`)
	text = position.ReplaceAllString(strings.ReplaceAll(text, `\"`, ""), "")
	return strings.ReplaceAll(strings.TrimPrefix(text, "acme: "), "|", `\|`)
}

var position = regexp.MustCompile(`line \d+, column \d+: `)

func code(text string) string {
	text = strings.ReplaceAll(text, "|", `\|`)
	if strings.Contains(text, "`") {
		return "`` " + text + " ``"
	}
	return "`" + text + "`"
}

// checkGenerated holds a part of a document to what it should be, or writes it.
func checkGenerated(t *testing.T, path, begin, end, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, also := strings.Cut(rest, end)
	if !found || !also {
		t.Fatalf("%s has no generated part %q", path, begin)
	}
	if got == want+"\n" || t.Failed() {
		return
	}
	if !*writeDocs {
		t.Fatalf("the table in %s is not what the test finds; write it with -write-docs", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+"\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
