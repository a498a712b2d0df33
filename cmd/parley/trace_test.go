package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
)

// tracing runs parley trace with arguments against the stub.
func tracing(t *testing.T, g *gatewayStub, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	defer goleak.VerifyNone(t)
	server := httptest.NewServer(g)
	defer server.Close()
	var c traceCommand
	parser, err := kong.New(&c, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(append(args, "--gateway", server.URL))
	if err != nil {
		return "", "", err
	}
	var out, notes bytes.Buffer
	now := time.Unix(1_700_003_600, 0)
	switch command, _, _ := strings.Cut(k.Command(), " "); command {
	case "search":
		err = c.Search.ask(t.Context(), now, &out, &notes)
	case "blame":
		err = c.Blame.ask(t.Context(), now, &out, &notes)
	case "keep":
		err = c.Keep.ask(t.Context(), &out, &notes)
	default:
		err = c.Show.ask(t.Context(), &out, &notes)
	}
	return out.String(), strings.ReplaceAll(notes.String(), server.URL, "GATEWAY"), err
}

// aJourney is a checkout of acme's, which globex charges for and initech can't
// tell about.
func aJourney(t *testing.T) string {
	t.Helper()
	spans := ptrace.NewTraces()
	var into ptrace.SpanSlice
	of := func(org, service string) {
		rs := spans.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr(traces.OrgAttribute, org)
		if service != "" {
			rs.Resource().Attributes().PutStr("service.name", service)
		}
		into = rs.ScopeSpans().AppendEmpty().Spans()
	}
	add := func(id, parent byte, name string, from, to time.Duration) ptrace.Span {
		const begun = 1_700_000_000
		s := into.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{15: 1})
		s.SetSpanID(pcommon.SpanID{7: id})
		if parent != 0 {
			s.SetParentSpanID(pcommon.SpanID{7: parent})
		}
		s.SetName(name)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Unix(begun, 0).Add(from)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Unix(begun, 0).Add(to)))
		return s
	}
	const ms = time.Millisecond
	of("acme", "shop")
	add(1, 0, "POST /order with a name that is much too long", 0, 1000*ms).Status().SetCode(ptrace.StatusCodeError)
	add(2, 1, "POST /pay", 100*ms, 900*ms)
	add(6, 1, "audit\x1b[2J", 10*ms, 60*ms)
	of("globex", "")
	add(3, 2, "withheld", 150*ms, 850*ms).Attributes().PutStr(traces.RedactionAttribute, string(traces.Withheld))
	add(5, 4, "charge", 300*ms, 500*ms)
	of("", "")
	missing := add(4, 1, "missing", 300*ms, 500*ms)
	missing.Attributes().PutStr(traces.RedactionAttribute, string(traces.Placeholder))
	missing.Attributes().PutStr(traces.PlaceholderAttribute, string(traces.MissingUnreachable))
	missing.Attributes().PutStr(traces.HoldersAttribute, "initech")
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(spans)
	if err != nil {
		t.Fatal(err)
	}
	name := func(id string) front.SpanName {
		return front.SpanName{TraceID: "00000000000000000000000000000001", SpanID: "000000000000000" + id}
	}
	least, most := int64(80*ms), int64(120*ms)
	origin := name("1")
	body, err := json.Marshal(front.TracesAnswer{Traces: []front.StitchedTrace{{
		TraceID: "00000000000000000000000000000001", Trace: text, Report: front.TraceReport{
			DurationNs: int64(1000 * ms),
			Shares: []front.TraceShare{
				{Org: "acme", MinNs: int64(200 * ms), MaxNs: int64(200 * ms)},
				{Org: "acme", To: "globex", MinNs: int64(100 * ms), MaxNs: int64(100 * ms)},
				{Org: "globex", MinNs: int64(500 * ms), MaxNs: int64(700 * ms)},
				{MinNs: 0, MaxNs: int64(200 * ms)},
			},
			Critical:    []front.SpanName{name("1"), name("2"), name("3")},
			ErrorOrigin: &origin,
			Clocks:      []front.TraceClock{{Org: "acme"}, {Org: "globex", ShiftNs: least, MinNs: &least, MaxNs: &most}, {Org: "initech", Contradicts: true}},
			Joins:       []front.TraceJoin{{TraceID: "7", By: traces.ByLink}, {TraceID: "8", By: traces.ByBoundary, Attribute: "order.id"}},
			Conflicts:   []front.SpanConflict{{Kept: front.SpanName{Org: "acme"}, Dropped: front.SpanName{Org: "globex", SpanID: "02"}, Differs: []string{"name", "times"}}},
			Broken:      []front.BrokenSpan{{Span: front.SpanName{Org: "globex", SpanID: "09"}, What: traces.BrokenCycle}},
			Unfollowed:  []string{"9"},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTraceIsDrawn(t *testing.T) {
	g := &gatewayStub{completeness: twoParts, body: aJourney(t)}
	stdout, stderr, err := tracing(t, g, "--purpose", "capacity", "1")
	if err != nil {
		t.Fatal(err)
	}
	const want = `trace 00000000000000000000000000000001, 1s, 6 spans

acme    shop: POST /order with a name that is mu… ━━━━━━━━━━━━━━━━━━━━ 1s * !
acme      shop: audit\x1b[2J                      ─                    50ms
acme      shop: POST /pay                           ━━━━━━━━━━━━━━━━   800ms *
globex      withheld                                 ░░░░░░░░░░░░░░    700ms *
          missing: no answer from initech               ····           200ms
globex      charge                                      ────           200ms

who spent the time: acme 200ms (20%); the network from acme to globex 100ms (10%); globex 500ms to 700ms (50% to 70%); nobody that is known 0s to 200ms (0% to 20%)
the error began in acme shop: POST /order with a name that is much too long
the clock of globex is taken to be wrong, its spans are moved by +80ms (+80ms to +120ms is possible)
the clock of initech contradicts who called whom: its spans are shown where it says
trace 7 is part of it: recognized by a link
trace 8 is part of it: recognized by order.id, which both sides carry
a span of globex was left out: its id 02 is that of another of acme, and they differ in name, times
span 09 of globex can't be taken as it is: its own ancestor
it seems to go on as trace 9, which was not followed: there are too many
`
	if stdout != want {
		t.Errorf("got\n%s\nnot\n%s", stdout, want)
	}
	if !strings.Contains(stderr, "globex  denied") || g.path != "/api/parley/v1/traces/00000000000000000000000000000001" || g.header.Get(front.PurposeHeader) != "capacity" {
		t.Errorf("asked %s %v, and said %s", g.path, g.header, stderr)
	}
}

// On terminals each organization has its colour, and what is said is folded.
func TestTraceOnATerminal(t *testing.T) {
	var answer front.TracesAnswer
	if err := json.Unmarshal([]byte(aJourney(t)), &answer); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := drawTrace(&out, answer.Traces[0], style{folded: true, coloured: true}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "\x1b["+colourOf("globex")+"mglobex\x1b[0m") || strings.Contains(got, "\x1b[2J") || !strings.Contains(got, "to globex 100ms\n") {
		t.Error(got)
	}
}

// What is drawn fits into the terminal, and on a wide one names are whole.
func TestTraceFitsTheTerminal(t *testing.T) {
	var answer front.TracesAnswer
	if err := json.Unmarshal([]byte(aJourney(t)), &answer); err != nil {
		t.Fatal(err)
	}
	for _, wide := range []int{60, 80, 100, 200} {
		var out bytes.Buffer
		if err := drawTrace(&out, answer.Traces[0], style{folded: true, wide: wide}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > wide {
				t.Errorf("%d columns in a terminal of %d: %s", n, wide, line)
			}
		}
		if whole := strings.Contains(out.String(), "acme    shop: POST /order with a name that is much too long "); whole != (wide >= 100) {
			t.Errorf("in a terminal of %d:\n%s", wide, out.String())
		}
	}
}

func TestTraceInOtherForms(t *testing.T) {
	body := aJourney(t)
	for form, want := range map[string]string{"json": body, "otlp": `{"resourceSpans":[{"resource":`, "jaeger": body} {
		g := &gatewayStub{completeness: twoParts, body: body}
		stdout, _, err := tracing(t, g, "-o", form, "00000000000000000000000000000001")
		if err != nil || !strings.HasPrefix(stdout, want) || strings.HasPrefix(g.path, "/jaeger/") != (form == "jaeger") {
			t.Errorf("%s: asked %s, got %.100s, %v", form, g.path, stdout, err)
		}
	}
}

func TestTraceThatIsNotThere(t *testing.T) {
	for _, test := range []struct {
		g    gatewayStub
		args []string
		want string
	}{
		{gatewayStub{body: `{"traces":[]}`, completeness: twoParts}, []string{"abc"}, "nobody shows a trace of the id 00000000000000000000000000000abc"},
		{gatewayStub{body: `{"traces":[]}`}, []string{"00f067aa0ba902b7"}, `parley trace search '{ span:id = "00f067aa0ba902b7" }'`},
		{gatewayStub{}, []string{"xyz"}, `trace id "xyz": want up to 32 hexadecimal digits`},
		{gatewayStub{body: `{"status":"error","error":"no policy\u001b[2J"}`, status: 422}, []string{"1"}, `no policy\x1b[2J`},
		{gatewayStub{body: `<html>`, status: 404}, []string{"1"}, "is it a parley gateway?"},
		{gatewayStub{body: `{}`}, []string{"1"}, "is it a parley gateway?"},
		{gatewayStub{body: `trace not found`, status: 404}, []string{"-o", "jaeger", "1"}, "status 404: trace not found"},
		{gatewayStub{body: `{"traces":[{"trace":{}}]}`}, []string{"1"}, "a trace without spans"},
		{gatewayStub{}, []string{"search", "{"}, "not TraceQL"},
		{gatewayStub{}, []string{"search", "--since", "0s", "{}"}, "--since 0s is no time at all"},
		{gatewayStub{}, []string{"search", "--limit", "0", "{}"}, "--limit must be above 0"},
		{gatewayStub{}, []string{"search", "--time", "noon", "{}"}, "neither RFC 3339"},
	} {
		if _, _, err := tracing(t, &test.g, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, not %s", test.args, err, test.want)
		}
	}
}

func TestTraceSearch(t *testing.T) {
	g := &gatewayStub{completeness: twoParts, body: aJourney(t)}
	stdout, stderr, err := tracing(t, g, "search", "--since", "30m", "--limit", "7", `{ resource.parley.org = "umbrella" }`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `BEGAN                     TRACE                             TOOK  SPANS             ROOT
2023-11-14T22:13:20.000Z  00000000000000000000000000000001  1s    acme 3, globex 2  shop: POST /order with a name that is much too long !
`
	if stdout != want {
		t.Errorf("got\n%s\nnot\n%s", stdout, want)
	}
	if !strings.Contains(stderr, `parley.org="umbrella"`) && !strings.Contains(stderr, `"parley.org"="umbrella"`) {
		t.Error(stderr)
	}
	for name, want := range map[string]string{"start": "1700001800", "end": "1700003600", "limit": "7", "q": `{ resource.parley.org = "umbrella" }`} {
		if got := g.form[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %v, not %s", name, got, want)
		}
	}
	g.body = `{"traces":[]}`
	if stdout, _, err = tracing(t, g, "search", "{}"); err != nil || stdout != "no traces\n" {
		t.Errorf("%q, %v", stdout, err)
	}
}

// Lines are in order of what stands first in them, whatever a search goes by.
func TestTracesFoundAreInOrder(t *testing.T) {
	found := func(id byte, began int) front.StitchedTrace {
		return front.StitchedTrace{TraceID: strings.Repeat("0", 30) + fmt.Sprintf("%02x", id), Trace: json.RawMessage(fmt.Sprintf(
			`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"n","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, id, id, began, began+1))}
	}
	var out bytes.Buffer
	if err := listTraces(&out, []front.StitchedTrace{found(0xa, 2), found(0xb, 3_000_000), found(0xc, 1_000_000)}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, row := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		ids = append(ids, strings.Fields(row)[1][30:])
	}
	if want := []string{"0b", "0c", "0a"}; !slices.Equal(ids, want) {
		t.Errorf("%v, not %v, in\n%s", ids, want, out.String())
	}
}

func TestTraceBlame(t *testing.T) {
	ms := func(n int64) int64 { return n * 1_000_000 }
	took := func(n int64) front.Durations {
		return front.Durations{P50: ms(n), P95: ms(2 * n), P99: ms(3 * n), SlowestTrace: "0f"}
	}
	known := func(n int64) front.Between { return front.Between{Min: ms(n), Max: ms(n)} }
	text, err := json.Marshal(front.WorkflowsAnswer{Workflows: []front.WorkflowSummary{
		{
			Workflow: "order\x1b[2J", Traces: 2, Durations: took(100),
			Shares: []front.WorkflowShare{
				{Org: "globex", P50: known(60), P95: front.Between{Min: ms(100), Max: ms(120)}, P99: known(180)},
				{Org: "acme", To: "globex", P50: known(10), P95: known(20), P99: known(30)},
				{P50: known(1), P95: known(1), P99: known(1)},
			},
			Slowest: []front.SlowHop{{From: "acme", Caller: "shop", To: "globex", Service: "bank", Operation: "pay", Calls: 1, Durations: took(70)}},
			Errors:  []front.ErrorSource{{Org: "globex", Service: "bank", Operation: "pay", Traces: 1, Trace: "0f"}},
		},
		{Workflow: "refund", Traces: 1, Durations: took(7)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	g := &gatewayStub{completeness: twoParts, body: string(text)}
	stdout, stderr, err := tracing(t, g, "blame", "--since", "30m", "{ kind = server }")
	if err != nil {
		t.Fatal(err)
	}
	const want = `order\x1b[2J, 2 traces
                                   P50    P95             P99
  end to end                       100ms  200ms           300ms  slowest 0f
  globex                           60ms   100ms to 120ms  180ms
  the network from acme to globex  10ms   20ms            30ms
  nobody that is known             1ms    1ms             1ms
  acme → globex: bank: pay         70ms   140ms           210ms  1 call, slowest 0f
  errors began in globex bank: pay in 1 trace, such as 0f

refund, 1 trace
              P50  P95   P99
  end to end  7ms  14ms  21ms  slowest 0f
`
	if stdout != want {
		t.Errorf("got\n%s\nnot\n%s", stdout, want)
	}
	if !strings.Contains(stderr, "globex") || url.Values(g.form).Get("q") != "{ kind = server }" || url.Values(g.form).Get("limit") != "100" || url.Values(g.form).Get("start") != "1700001800" {
		t.Errorf("%s, asked %v", stderr, g.form)
	}
	for _, c := range []struct {
		body, want string
		args       []string
	}{
		{`{"workflows":[]}`, "", nil},
		{`{"status":"error","error":"no such thing"}`, "no such thing", nil},
		{`<html>`, "isn't workflows", nil},
		{"", "not TraceQL", []string{"{"}},
		{"", "--limit", []string{"--limit", "0"}},
		{"", "--since", []string{"--since", "0s"}},
	} {
		g.body = c.body
		stdout, _, err := tracing(t, g, append([]string{"blame"}, c.args...)...)
		if c.want == "" && (err != nil || stdout != "no traces\n") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %v: %q, %v", c.body, c.args, stdout, err)
		}
	}
}

// On a terminal that is too narrow for a line, its note is below it.
func TestNotesFitTheTerminal(t *testing.T) {
	rows := func() [][]string {
		return [][]string{{"  ", "P50", ""}, {"  acme → globex", "70ms", "1 call, slowest 0f"}, {"  acme", "1ms", ""}}
	}
	const beside = "                 P50\n  acme → globex  70ms  1 call, slowest 0f\n  acme           1ms\n"
	for how, want := range map[style]string{
		{}: beside, {folded: true, wide: 80}: beside,
		{folded: true, wide: 30}: "                 P50\n  acme → globex  70ms\n    1 call, slowest 0f\n  acme           1ms\n",
	} {
		if got := noted(rows(), how); got != want {
			t.Errorf("%+v:\n%s\nnot\n%s", how, got, want)
		}
	}
}

func TestTraceIsKept(t *testing.T) {
	g := &gatewayStub{completeness: twoParts, body: `{"traceID":"0000000000000000000000000000000f","by":["acme","globex"]}`}
	if stdout, _, err := tracing(t, g, "keep", "f"); err != nil || stdout != "kept by acme, globex\n" {
		t.Errorf("%q, %v", stdout, err)
	}
	for body, want := range map[string]string{
		`{"traceID":"0000000000000000000000000000000f","by":[]}`: "nobody shows a trace", `{"status":"error","error":"no more traces are kept"}`: "no more traces are kept",
		`{}`: "is it a parley gateway?",
	} {
		g.body = body
		if _, _, err := tracing(t, g, "keep", "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, _, err := tracing(t, g, "keep", "xyz"); err == nil {
		t.Error("no id was taken for one")
	}
}
