package traceql

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var writeDocs = flag.Bool("write-docs", false, "write the table of TRACEQL.md instead of comparing it")

// construct is a row of the table: what it is, and an example.
type construct struct{ name, example string }

var supported = []struct {
	heading string
	of      []construct
}{
	{"Filters", []construct{
		{"all spans", `{ }`},
		{"`=`, `!=`", `{ name = "charge" && kind != server }`},
		{"`<`, `<=`, `>`, `>=`", `{ span.http.status_code >= 500 && span.http.status_code < 600 }`},
		{"`=~`, `!~`", "{ name =~ `POST /.*` && resource.service.name !~ \"shop|cart\" }"},
		{"`&&`, `||`, `!`, parentheses", `{ !(status = ok) && (kind = client || kind = server) }`},
		{"existence", `{ span.http.status_code != nil && span.amount = nil }`},
		{"an attribute that is true", `{ span.retried }`},
		{"two attributes", `{ parent.resource.service.name != resource.service.name }`},
		{"durations", `{ duration > 250ms && span.timeout = nil }`},
		{"statuses", `{ status = error || status = ok || status = unset }`},
		{"kinds", `{ kind != server && kind != client && kind != internal }`},
		{"arrays", `{ span.tags = "red" }`},
	}},
	{"Attributes", []construct{
		{"of the span", `{ span.http.status_code = 502 }`},
		{"of the resource", `{ resource.service.name = "pay" }`},
		{"of the span, or else of the resource", `{ .region = "north" }`},
		{"of events", `{ event.exception.type = "Declined" }`},
		{"of links", `{ link.why = "retry" }`},
		{"of the instrumentation scope", `{ instrumentation.language = "go" }`},
		{"of the parent", `{ parent.region = "south" && parent.span.region = "south" }`},
		{"quoted", `{ span."db system" = "postgres" }`},
	}},
	{"Operators between filters", []construct{
		{"`&&`: both find spans", `{ kind = client } && { status = ok }`},
		{"`||`: one of them does", `{ kind = client } || { status = ok }`},
		{"`>`: children of the left", `{ kind = server } > { kind = client }`},
		{"`>>`: below the left", `{ kind = server } >> { status = ok }`},
		{"`<`: parents of the left", `{ kind = client } < { kind = server }`},
		{"`<<`: above the left", `{ status = ok } << { kind = server }`},
		{"`~`: beside the left", `{ kind = client } ~ { }`},
		{"`!>`, `!>>`, `!<`, `!<<`, `!~`: the others of the right", `{ } !< { }`},
		{"`&>`, `&>>`, `&<`, `&<<`, `&~`: those of both sides", `{ kind = server } &> { kind = client }`},
	}},
	{"Pipelines", []construct{
		{"`count()`", `{ status = error } | count() > 2`},
		{"`select()`", `{ status = error } | select(span.http.status_code, resource.service.name)`},
	}},
}

// meanings are of intrinsics, by the spelling that is printed.
var meanings = map[string]construct{
	Name:                {"the span's name", `= "charge"`},
	Duration:            {"from the span's start to its end", `> 100ms`},
	Status:              {"error, ok or unset", `= error`},
	StatusMessage:       {"the text beside the status", `= "card declined"`},
	Kind:                {"server, client, internal, producer, consumer or unspecified", `= server`},
	SpanID:              {"the span's id, in hex", `= "0000000000000003"`},
	ParentID:            {"that of its parent; empty if it has none", `= ""`},
	ChildCount:          {"how many spans of the trace are its children", `> 1`},
	RootName:            {"the name of the trace's root", `= "POST /checkout"`},
	RootService:         {"the service of the trace's root", `= "shop"`},
	TraceDuration:       {"from the first start to the last end in the trace", `> 500ms`},
	TraceID:             {"the trace's id, in hex", `= "4b000000000000000000000000000001"`},
	EventName:           {"the names of the span's events", `= "exception"`},
	EventTimeSinceStart: {"how long after the span's start they are", `>= 20ms`},
	LinkTraceID:         {"the trace ids of the span's links", `= "ff"`},
	LinkSpanID:          {"their span ids", `= "ee"`},
	ScopeName:           {"the name of the instrumentation scope", `= "grpc"`},
	ScopeVersion:        {"its version", `= "1.2.0"`},
}

var refused = []construct{
	{"arithmetic", `{ span.amount * 2 > 10 }`},
	{"`nestedSetParent`, `nestedSetLeft`, `nestedSetRight`", `{ nestedSetParent < 0 }`},
	{"`parent`", `{ parent = nil }`},
	{"`rate()`", `{ } | rate()`},
	{"`count_over_time()`", `{ } | count_over_time()`},
	{"`min_over_time()`", `{ } | min_over_time(duration)`},
	{"`max_over_time()`", `{ } | max_over_time(duration)`},
	{"`avg_over_time()`", `{ } | avg_over_time(duration)`},
	{"`sum_over_time()`", `{ } | sum_over_time(duration)`},
	{"`quantile_over_time()`", `{ } | quantile_over_time(duration, .99)`},
	{"`histogram_over_time()`", `{ } | histogram_over_time(duration)`},
	{"`compare()`", `{ } | compare({ status = error })`},
	{"`topk()`", `{ } | topk(10)`},
	{"`bottomk()`", `{ } | bottomk(10)`},
	{"`by()`", `{ } | by(resource.service.name)`},
	{"`coalesce()`", `{ } | coalesce()`},
	{"`avg()`", `{ } | avg(duration) > 1s`},
	{"`max()`", `{ } | max(duration) > 1s`},
	{"`min()`", `{ } | min(duration) > 1s`},
	{"`sum()`", `{ } | sum(span.amount) > 1`},
	{"a filter in a pipeline", `{ status = error } | { kind = server }`},
	{"a pipeline in parentheses", `({ } | count() > 2) && { status = error }`},
	{"hints", `{ } with (most_recent=true)`},
	{"two literals", `{ 1 = 1 }`},
	{"a comparison of what is of another type", `{ status = "error" }`},
	{"a status or kind as an attribute's value", `{ span.outcome = error }`},
}

// TestTraceQLTable tries an example of each construct, and holds the table in the
// documentation to what becomes of it.
func TestTraceQLTable(t *testing.T) {
	trace := NewTrace(checkout())
	var table strings.Builder
	for _, under := range supported {
		fmt.Fprintf(&table, "\n### %s\n\n| construct | example |\n|---|---|\n", under.heading)
		for _, c := range under.of {
			fmt.Fprintf(&table, "| %s | %s |\n", escaped(c.name), code(c.example))
			checkFinds(t, trace, c.example)
		}
	}
	table.WriteString("\n### Intrinsics\n\n| name | type | what it is | example |\n|---|---|---|---|\n")
	for name, spellings := range spellings() {
		m, ok := meanings[name]
		if !ok {
			t.Errorf("nothing says what %s is", name)
		}
		valueType, _ := Attribute{Scope: ScopeIntrinsic, Name: name}.valueType()
		for _, spelling := range spellings {
			checkFinds(t, trace, "{ "+spelling+" "+m.example+" }")
		}
		example := "{ " + spellings[len(spellings)-1] + " " + m.example + " }"
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", strings.Join(spellings, "`, `"), valueType, m.name, code(example))
	}
	table.WriteString("\n### Refused\n\n| construct | example | what is said |\n|---|---|---|\n")
	for _, c := range refused {
		_, err := Parse(c.example)
		if err == nil {
			t.Errorf("%s is not refused", c.example)
			continue
		}
		said := regexp.MustCompile(`^line \d+, column \d+: `).ReplaceAllString(err.Error(), "")
		fmt.Fprintf(&table, "| %s | %s | %s |\n", c.name, code(c.example), escaped(said))
	}
	checkTable(t, table.String())
}

// Every function that is refused has its row.
func TestAllRefusalsAreInTheTable(t *testing.T) {
	for name := range refusedStages {
		if !slices.ContainsFunc(refused, func(c construct) bool { return c.name == "`"+name+"()`" }) {
			t.Errorf("%s() is refused and isn't in the table", name)
		}
	}
}

// spellings yields the intrinsics with theirs, in order of their names.
func spellings() func(yield func(string, []string) bool) {
	all := map[string][]string{}
	for _, spelling := range Intrinsics() {
		name := intrinsics[spelling]
		all[name] = append(all[name], spelling)
	}
	return func(yield func(string, []string) bool) {
		for _, spelling := range Intrinsics() {
			if intrinsics[spelling] == spelling && !yield(spelling, all[spelling]) {
				return
			}
		}
	}
}

// checkFinds: an example that finds all or nothing shows nothing.
func checkFinds(t *testing.T, trace *Trace, example string) {
	t.Helper()
	expr, err := Parse(example)
	if err != nil {
		t.Errorf("%s: %v", example, err)
		return
	}
	if found := len(expr.Select(trace)); found == 0 {
		t.Errorf("%s finds nothing", example)
	}
}

func escaped(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func code(text string) string {
	if strings.Contains(text, "`") {
		return "`` " + escaped(text) + " ``"
	}
	return "`" + escaped(text) + "`"
}

func checkTable(t *testing.T, want string) {
	t.Helper()
	const path = "../../../TRACEQL.md"
	const begin, end = "<!-- constructs: written by go test ./federation/traces/traceql -run TestTraceQLTable -write-docs -->\n", "\n<!-- end of constructs -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, also := strings.Cut(rest, end)
	switch {
	case !ok || !also:
		t.Fatalf("%s has no place for the table", path)
	case got == want:
	case *writeDocs:
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s has another table than this code; run go test ./federation/traces/traceql -run TestTraceQLTable -write-docs", path)
	}
}
