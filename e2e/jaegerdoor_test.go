package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/e2e/servers"
)

// jaegerTrace is a trace as Jaeger's HTTP API has it.
type jaegerTrace struct {
	TraceID   string
	Spans     []jaegerSpan
	Processes map[string]jaegerProcess
}

type jaegerSpan struct {
	TraceID, SpanID, OperationName string
	References                     []map[string]string
	StartTime, Duration            uint64
	Tags                           []jaegerTag
	Logs                           []struct {
		Timestamp uint64
		Fields    []jaegerTag
	}
	ProcessID string
	Warnings  []string
}

type jaegerProcess struct {
	ServiceName string
	Tags        []jaegerTag
}

type jaegerTag struct {
	Key, Type string
	Value     any
}

// comparable puts what has no order in one, and takes away what gateways say.
func (tr *jaegerTrace) comparable() {
	name := map[string]string{}
	processes := map[string]jaegerProcess{}
	ours := func(tag jaegerTag) bool { return strings.HasPrefix(tag.Key, "parley.") }
	for id, p := range tr.Processes {
		p.Tags = slices.DeleteFunc(p.Tags, ours)
		name[id] = fmt.Sprint(p)
		processes[name[id]] = p
	}
	tr.Processes = processes
	for i := range tr.Spans {
		tr.Spans[i].ProcessID = name[tr.Spans[i].ProcessID]
		tr.Spans[i].Tags = slices.DeleteFunc(tr.Spans[i].Tags, ours)
	}
	slices.SortFunc(tr.Spans, func(a, b jaegerSpan) int { return cmp.Compare(a.SpanID, b.SpanID) })
}

// jaegerShop are traces of three services, with all that Jaeger writes in ways of
// its own.
func jaegerShop(start time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	service := func(name string) ptrace.ScopeSpans {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", name)
		rs.Resource().Attributes().PutStr("host.name", name+"-0")
		rs.Resource().Attributes().PutInt("process.pid", 17)
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("sdk")
		ss.Scope().SetVersion("1.2")
		return ss
	}
	web, pay, mail := service("web"), service("pay"), service("mail")
	add := func(ss ptrace.ScopeSpans, trace, id, parent byte, name string, kind ptrace.SpanKind, from, took int) ptrace.Span {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{0: 0xab, 14: trace, 15: 1})
		s.SetSpanID(pcommon.SpanID{0: trace, 7: id})
		if parent != 0 {
			s.SetParentSpanID(pcommon.SpanID{0: trace, 7: parent})
		}
		s.SetName(name)
		s.SetKind(kind)
		at := start.Add(time.Duration(trace)*time.Second + time.Duration(from)*time.Millisecond)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Duration(took) * time.Millisecond)))
		return s
	}
	for trace := range byte(10) {
		trace++
		root := add(web, trace, 1, 0, "GET /checkout", ptrace.SpanKindServer, 0, 10*int(trace))
		root.Attributes().PutInt("http.response.status_code", 200+int64(trace%3)*100)
		root.Attributes().PutInt("huge", 1<<60)
		root.Attributes().PutBool("retried", trace%2 == 0)
		root.Attributes().PutDouble("share", 0.25*float64(trace))
		root.Attributes().PutEmptyBytes("raw").FromRaw([]byte{1, 2, trace})
		root.Attributes().PutEmptySlice("tags").AppendEmpty().SetStr("red")
		root.Attributes().PutEmptyMap("cart").PutInt("items", int64(trace))
		root.Attributes().PutStr("odd \"key\"", "x\\y")
		root.TraceState().FromRaw("a=b")
		if trace%3 == 0 {
			root.Status().SetCode(ptrace.StatusCodeError)
			root.Status().SetMessage("upstream")
		}
		event := root.Events().AppendEmpty()
		event.SetName("exception")
		event.SetTimestamp(root.StartTimestamp() + 1_000_000)
		event.Attributes().PutStr("exception.type", "Upstream")
		event.Attributes().PutInt("attempt", int64(trace))
		add(web, trace, 2, 1, "POST", ptrace.SpanKindClient, 1, 8*int(trace)).Status().SetCode(ptrace.StatusCodeOk)
		add(pay, trace, 3, 2, "POST /charge", ptrace.SpanKindServer, 2, 6*int(trace))
		add(pay, trace, 4, 3, "check", ptrace.SpanKindInternal, 3, 2)
		sent := add(mail, trace, 5, 1, "send", ptrace.SpanKindConsumer, 4, 3)
		link := sent.Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{0: 0xab, 14: trace, 15: 1})
		link.SetSpanID(pcommon.SpanID{0: trace, 7: 4})
	}
	return td
}

// keptInTags is what Jaeger's version 1 keeps in tags, and OTLP beside attributes.
var keptInTags = []string{`"error"`, `"span.kind"`, `"event"`, `"otel.`}

// TestJaegerDoor asks a Jaeger, and a gateway that hides nothing of it, the same.
func TestJaegerDoor(t *testing.T) {
	for name, v2 := range map[string]bool{"version 1": false, "version 2": true} {
		t.Run(name, func(t *testing.T) { testJaegerDoor(t, v2) })
	}
}

// startJaegerDoor starts a Jaeger with jaegerShop's traces from start on, and a
// gateway that hides nothing of it.
func startJaegerDoor(t *testing.T, v2 bool) (jaeger servers.Jaeger, o *org, start time.Time) {
	t.Helper()
	jaeger = servers.StartJaeger(t, servers.JaegerConfig{V2: v2})
	start = time.Now().Add(-time.Minute).Truncate(time.Second)
	var marshaler ptrace.JSONMarshaler
	body, err := marshaler.MarshalTraces(jaegerShop(start))
	if err != nil {
		t.Fatal(err)
	}
	sendOTLP(t, jaeger.OTLPHTTP, string(body))
	o = &org{name: "acme", dir: t.TempDir(), front: freeAddress(t)}
	o.write(t, "pseudonyms.key", strings.Repeat("k", 32))
	if err := os.Mkdir(filepath.Join(o.dir, "agreements"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.write(t, "gateway.yml", fmt.Sprintf(acmeTraces, o.front, fmt.Sprintf(`{jaeger: {grpc: "%s", insecure: true}}`, jaeger.QueryGRPC)))
	o.starts(t)
	eventually(t, func() string {
		text := asks(t, jaeger.URL, "/api/traces", url.Values{"service": {"mail"}, "limit": {"20"}}).body
		if n := strings.Count(text, `"operationName":"send"`); n < 10 {
			return fmt.Sprintf("Jaeger has %d traces", n)
		}
		return ""
	})
	return jaeger, o, start
}

func testJaegerDoor(t *testing.T, v2 bool) {
	t.Helper()
	jaeger, o, start := startJaegerDoor(t, v2)
	both := func(path string, parameters ...string) (theirs, ours json.RawMessage) {
		t.Helper()
		v := url.Values{}
		for pair := range slices.Chunk(parameters, 2) {
			v.Add(pair[0], pair[1])
		}
		for base, into := range map[string]*json.RawMessage{jaeger.URL: &theirs, o.url() + "/jaeger": &ours} {
			r := asks(t, base, path, v)
			var answer struct{ Data json.RawMessage }
			if err := json.Unmarshal([]byte(r.body), &answer); r.status != http.StatusOK || err != nil {
				t.Fatalf("%s%s %v: %d %s", base, path, v, r.status, r.body)
			}
			*into = answer.Data
		}
		return theirs, ours
	}
	read := func(text json.RawMessage, into any) {
		t.Helper()
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	same := func(what string, theirs, ours any) {
		t.Helper()
		if diff := gocmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-jaeger +gateway):\n%s", what, diff)
		}
	}

	// One trace, to the letter.
	theirs, ours := both("/api/traces/ab000000000000000000000000000301")
	var a, b []jaegerTrace
	read(theirs, &a)
	read(ours, &b)
	if len(a) != 1 || len(b) != 1 || len(a[0].Spans) != 5 {
		t.Fatalf("%s\n%s", theirs, ours)
	}
	a[0].comparable()
	b[0].comparable()
	same("a trace", a, b)

	// Listings.
	var services, ourServices []string
	theirs, ours = both("/api/services")
	read(theirs, &services)
	read(ours, &ourServices)
	slices.Sort(services)
	same("services", services, ourServices)
	for _, service := range append(services, "none") {
		var names, ourNames []string
		theirs, ours = both("/api/services/" + service + "/operations")
		read(theirs, &names)
		read(ours, &ourNames)
		slices.Sort(names)
		same("names of operations of "+service, names, ourNames)
		for _, kind := range []string{"", "server", "internal"} {
			type operation struct{ Name, SpanKind string }
			var operations, ourOperations []operation
			theirs, ours = both("/api/operations", "service", service, "spanKind", kind)
			read(theirs, &operations)
			read(ours, &ourOperations)
			slices.SortFunc(operations, func(a, b operation) int { return cmp.Compare(a.Name+"\xff"+a.SpanKind, b.Name+"\xff"+b.SpanKind) })
			same("operations of "+service+" "+kind, operations, ourOperations)
		}
	}
	type dependency struct {
		Parent, Child string
		CallCount     int
	}
	var graph, ourGraph []dependency
	theirs, ours = both("/api/dependencies", "endTs", strconv.FormatInt(time.Now().UnixMilli(), 10), "lookback", "3600000")
	read(theirs, &graph)
	read(ours, &ourGraph)
	// Version 2 has those of a service with itself, too.
	graph = slices.DeleteFunc(graph, func(d dependency) bool { return d.Parent == d.Child })
	slices.SortFunc(graph, func(a, b dependency) int { return cmp.Compare(a.Parent+"\xff"+a.Child, b.Parent+"\xff"+b.Child) })
	same("dependencies", graph, ourGraph)
	if len(graph) < 2 || len(services) < 3 {
		t.Errorf("Jaeger has the services %v and dependencies %v: nothing was compared", services, graph)
	}

	// Searches.
	span := []string{"start", strconv.FormatInt(start.UnixMicro(), 10), "end", strconv.FormatInt(start.Add(time.Minute).UnixMicro(), 10), "limit", "20"}
	some := 0
	for _, search := range [][]string{
		{"service", "web"},
		{"service", "none"},
		{"service", "web", "operation", "POST"},
		{"service", "pay", "operation", "POST"},
		{"service", "web", "tags", `{"http.response.status_code":"300"}`},
		{"service", "web", "tags", `{"retried":"true","error":"true"}`},
		{"service", "web", "tags", `{"share":"0.75"}`},
		{"service", "web", "tags", `{"huge":"1152921504606846976"}`},
		{"service", "web", "tags", `{"odd \"key\"":"x\\y"}`},
		{"service", "web", "tags", `{"host.name":"web-0","span.kind":"client"}`},
		{"service", "web", "tags", `{"host.name":"pay-0"}`},
		{"service", "web", "tags", `{"exception.type":"Upstream"}`},
		{"service", "web", "tags", `{"event":"exception"}`},
		{"service", "web", "tags", `{"otel.status_code":"ERROR"}`},
		{"service", "web", "tags", `{"otel.status_description":"upstream"}`},
		{"service", "web", "tags", `{"otel.scope.name":"sdk"}`},
		{"service", "web", "tags", `{"nothing":"at all"}`},
		{"service", "web", "tag", "http.response.status_code:200", "tag", "retried:false"},
		{"service", "web", "minDuration", "50ms"},
		{"service", "web", "operation", "GET /checkout", "minDuration", "30ms", "maxDuration", "70ms"},
	} {
		var found, ourFound []jaegerTrace
		theirs, ours = both("/api/traces", slices.Concat(search, span)...)
		read(theirs, &found)
		read(ours, &ourFound)
		ids := func(list []jaegerTrace) (out []string) {
			for _, tr := range list {
				out = append(out, tr.TraceID)
			}
			slices.Sort(out)
			return out
		}
		if v2 && slices.ContainsFunc(keptInTags, func(tag string) bool { return strings.Contains(search[len(search)-1], tag) }) {
			found = nil // version 2 in memory doesn't find by what isn't an attribute
		} else {
			same(fmt.Sprint(search), ids(found), ids(ourFound))
		}
		if n := len(ids(found)); n > 0 && n < 20 {
			some++
		}
	}
	if some < 10 {
		t.Errorf("only %d of the searches find anything", some)
	}
}
