package traceql

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// checkout is a trace of two services:
//
//	POST /checkout        shop, server, 500ms, error
//	  charge              shop, client, 300ms, error
//	    POST /charge      pay, server, 200ms, error
//	      SELECT          pay, internal, 50ms, ok
//	  render              shop, internal, 10ms
//	sweep                 pay, a root that began later
//	  lost                pay, a child of a span that isn't there
func checkout() ptrace.Traces {
	td := ptrace.NewTraces()
	shop := newService(td, "shop", "otelhttp", "1.2.0")
	pay := newService(td, "pay", "grpc", "")
	pay.resource.Resource().Attributes().PutStr("region", "north")

	root := shop.span(1, 0, "POST /checkout", ptrace.SpanKindServer, 0, 500)
	root.Status().SetCode(ptrace.StatusCodeError)
	root.Status().SetMessage("card declined")
	root.Attributes().PutInt("http.status_code", 502)
	root.Attributes().PutStr("region", "south")
	root.Attributes().PutBool("retried", true)
	event := root.Events().AppendEmpty()
	event.SetName("exception")
	event.SetTimestamp(root.StartTimestamp() + pcommon.Timestamp(20*time.Millisecond))
	event.Attributes().PutStr("exception.type", "Declined")
	root.Events().AppendEmpty().SetName("log")

	charge := shop.span(2, 1, "charge", ptrace.SpanKindClient, 100, 300)
	charge.Status().SetCode(ptrace.StatusCodeError)
	charge.Attributes().PutDouble("amount", 7.5)
	charge.Attributes().PutStr("http.status_code", "502")
	tags := charge.Attributes().PutEmptySlice("tags")
	tags.AppendEmpty().SetStr("red")
	tags.AppendEmpty().SetStr("blue")

	served := pay.span(3, 2, "POST /charge", ptrace.SpanKindServer, 150, 200)
	served.Status().SetCode(ptrace.StatusCodeError)
	served.Attributes().PutInt("timeout", int64(3*time.Second))
	served.Attributes().PutEmptyMap("card").PutStr("kind", "debit")
	link := served.Links().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{15: 0xff})
	link.SetSpanID(pcommon.SpanID{7: 0xee})
	link.Attributes().PutStr("why", "retry")

	query := pay.span(4, 3, "SELECT", ptrace.SpanKindInternal, 160, 50)
	query.Status().SetCode(ptrace.StatusCodeOk)
	query.Attributes().PutStr("db system", "postgres")
	query.Attributes().PutEmpty("nothing")

	shop.span(5, 1, "render", ptrace.SpanKindInternal, 450, 10)
	pay.span(6, 0, "sweep", ptrace.SpanKindUnspecified, 700, 100)
	pay.span(7, 99, "lost", ptrace.SpanKindConsumer, 710, 1)
	return td
}

// service makes spans.
type service struct {
	resource ptrace.ResourceSpans
	scope    ptrace.ScopeSpans
}

func newService(td ptrace.Traces, name, library, version string) service {
	resource := td.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", name)
	scope := resource.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(library)
	scope.Scope().SetVersion(version)
	scope.Scope().Attributes().PutStr("language", "go")
	return service{resource, scope}
}

func (s service) span(id, parent byte, name string, kind ptrace.SpanKind, start, lasts int) ptrace.Span {
	span := s.scope.Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{0: 0x4b, 15: 1})
	span.SetSpanID(pcommon.SpanID{7: id})
	span.SetParentSpanID(pcommon.SpanID{7: parent})
	span.SetName(name)
	span.SetKind(kind)
	begin := time.Unix(1_700_000_000, 0).Add(time.Duration(start) * time.Millisecond)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(begin))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(begin.Add(time.Duration(lasts) * time.Millisecond)))
	return span
}

// names are those of the selected spans, sorted, in one text.
func names(t *Trace, selected []int) string {
	var out []string
	for _, i := range selected {
		out = append(out, strings.TrimPrefix(t.Span(i).Span.Name(), "POST "))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const everySpan = "/charge /checkout SELECT charge lost render sweep"

func TestSelect(t *testing.T) {
	trace := NewTrace(checkout())
	for _, c := range []struct{ query, want string }{
		{`{}`, everySpan},
		{`{ true }`, everySpan},
		{`{ false }`, ``},

		// Strings.
		{`{ name = "charge" }`, `charge`},
		{`{ span:name != "charge" && kind != internal }`, `/charge /checkout lost sweep`},
		{`{ name > "charge" && name < "s" }`, `lost render`},
		{"{ name = `SELECT` }", `SELECT`},
		{`{ name =~ "POST" }`, ``},
		{`{ name =~ "POST.*" }`, `/charge /checkout`},
		{`{ name !~ "POST.*|s.*|SELECT" }`, `charge lost render`},
		{`{ name =~ "(?i)select" }`, `SELECT`},
		{`{ statusMessage = "card declined" }`, `/checkout`},

		// Numbers compare by value.
		{`{ span.http.status_code >= 500 }`, `/checkout`},
		{`{ span.http.status_code = 502.0 }`, `/checkout`},
		{`{ span.http.status_code = "502" }`, `charge`},
		{`{ span.http.status_code =~ "5.*" }`, `charge`},
		{`{ span.amount > 7 && span.amount < 8 }`, `charge`},
		{`{ span.timeout = 3s }`, `/charge`},
		{`{ duration > 250ms }`, `/checkout charge`},
		{`{ duration = 10000000 }`, `render`},
		{`{ 100ms <= span:duration && duration < 0.3s }`, `/charge sweep`},

		// What isn't there, or is of another type, isn't unequal either.
		{`{ span.http.status_code != 200 }`, `/checkout`},
		{`{ span.http.status_code != 502 }`, ``},
		{`{ !(span.http.status_code = 502) && span.http.status_code != nil }`, `charge`},
		{`{ span.nope != "x" }`, ``},
		{`{ span.nope !~ "x" }`, ``},
		{`{ span.http.status_code = nil && kind = server }`, `/charge`},
		{`{ span.http.status_code != nil }`, `/checkout charge`},
		{`{ span.nothing != nil }`, ``},
		{`{ span.card != nil }`, `/charge`},
		{`{ span.card != "x" || span.card = "x" }`, ``},

		// Booleans, statuses, kinds.
		{`{ span.retried }`, `/checkout`},
		{`{ span.retried = false || span.retried != true }`, ``},
		{`{ !span.retried && status = error }`, `/charge charge`},
		{`{ status = error }`, `/charge /checkout charge`},
		{`{ status != error }`, `SELECT lost render sweep`},
		{`{ status = unset && kind = unspecified || status = ok }`, `SELECT sweep`},

		// Scopes.
		{`{ resource.service.name = "pay" }`, `/charge SELECT lost sweep`},
		{`{ .service.name = "pay" && kind = server }`, `/charge`},
		{`{ span.service.name != nil }`, ``},
		{`{ .region = "south" }`, `/checkout`},
		{`{ .region = "north" }`, `/charge SELECT lost sweep`},
		{`{ resource.region = span.region }`, ``},
		{`{ span."db system" = "postgres" }`, `SELECT`},
		{`{ instrumentation.language = "go" && instrumentation:name = "grpc" && instrumentation:version = "" }`, `/charge SELECT lost sweep`},
		{`{ instrumentation:version =~ "1\\..*" }`, `/checkout charge render`},
		{`{ parent.region = "north" }`, `SELECT`},
		{`{ parent.resource.service.name != resource.service.name }`, `/charge`},
		{`{ parent.span.region = "south" }`, `charge render`},
		{`{ parent.service.name = nil }`, `/checkout lost sweep`},

		// Of several values one has to be equal, and none for unequal.
		{`{ span.tags = "red" && span.tags = "blue" }`, `charge`},
		{`{ span.tags != "red" }`, ``},
		{`{ span.tags != "green" }`, `charge`},
		{`{ span.tags =~ "b.*" }`, `charge`},
		{`{ event:name = "log" && event:name = "exception" }`, `/checkout`},
		{`{ event:name != "log" }`, ``},
		{`{ event.exception.type = "Declined" }`, `/checkout`},
		{`{ event:timeSinceStart = 20ms }`, `/checkout`},
		{`{ event:name = nil && kind = client }`, `charge`},
		{`{ link:traceID = "FF" && link:spanID = "ee" && link.why = "retry" }`, `/charge`},

		// Ids, and what the trace decides.
		{`{ span:id = "3" }`, `/charge`},
		{`{ span:parentID = "0000000000000001" }`, `charge render`},
		{`{ span:parentID = "" }`, `/checkout sweep`},
		{`{ trace:id = "4B000000000000000000000000000001" } | count() = 7`, everySpan},
		{`{ rootName = "POST /checkout" && trace:rootService = "shop" && kind = consumer }`, `lost`},
		{`{ traceDuration = 800ms && kind = client }`, `charge`},
		{`{ span:childCount = 2 }`, `/checkout`},

		// Logic, from left to right.
		{`{ kind = client || kind = server && status = unset }`, ``},
		{`{ kind = client || (kind = server && status = unset) }`, `charge`},
		{`{ !(kind = server || kind = internal) && status = unset }`, `lost sweep`},

		// Spansets.
		{`{ kind = client } && { status = ok }`, `SELECT charge`},
		{`{ kind = client } && { name = "nope" }`, ``},
		{`{ kind = client } || { name = "nope" }`, `charge`},
		{`{ kind = client } && { name = "nope" } || { name = "lost" }`, `lost`},
		{`{ kind = server } > { }`, `SELECT charge render`},
		{`{ kind = server } >> { status = error }`, `/charge charge`},
		{`{ name = "POST /checkout" } >> { name = "SELECT" }`, `SELECT`},
		{`{ name = "POST /checkout" } > { name = "SELECT" }`, ``},
		{`{ name = "SELECT" } < { }`, `/charge`},
		{`{ name = "SELECT" } << { }`, `/charge /checkout charge`},
		{`{ name = "render" } ~ { }`, `charge`},
		{`{ } ~ { }`, `charge render`},
		{`{ } !< { }`, `SELECT lost render sweep`},
		{`{ } !> { }`, `/checkout lost sweep`},
		{`{ name = "charge" } !>> { }`, `/checkout charge lost render sweep`},
		{`{ name = "SELECT" } !<< { }`, `SELECT lost render sweep`},
		{`{ name = "render" } !~ { kind = client }`, ``},
		{`{ kind = server } &> { kind = client }`, `/checkout charge`},
		{`{ kind = server } &>> { status = ok }`, `/charge /checkout SELECT`},
		{`{ status = ok } &< { }`, `/charge SELECT`},
		{`{ status = ok } &<< { kind = server }`, `/charge /checkout SELECT`},
		{`{ name = "render" } &~ { kind = client }`, `charge render`},
		{`{ name = "nope" } > { }`, ``},
		{`{ kind = server } > { kind = client } > { }`, `/charge`},
		{`{ kind = server } > ({ kind = client } > { })`, ``},

		// Pipelines.
		{`{ status = error } | count() > 2`, `/charge /checkout charge`},
		{`{ status = error } | count() > 3`, ``},
		{`{ status = error } | count() != 3`, ``},
		{`{ status = nil } | count() = 0`, ``},
		{`{ status = ok } | select(span.x, resource.service.name)`, `SELECT`},
	} {
		expr, err := Parse(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if got := names(trace, expr.Select(trace)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.query, got, c.want)
		}
	}
}

// Nothing goes round for ever, and a circle is entered at its earliest span.
func TestCirclesAreOpened(t *testing.T) {
	td := ptrace.NewTraces()
	s := newService(td, "a", "", "")
	s.span(1, 3, "c", ptrace.SpanKindServer, 30, 1)
	s.span(2, 1, "a", ptrace.SpanKindServer, 10, 1)
	s.span(3, 2, "b", ptrace.SpanKindServer, 20, 1)
	s.span(4, 4, "own", ptrace.SpanKindServer, 5, 1)
	s.span(5, 3, "below", ptrace.SpanKindServer, 40, 1)
	trace := NewTrace(td)
	for query, want := range map[string]string{
		`{ name = "a" } >> { }`: "b below c",
		`{ name = "b" } >> { }`: "below c",
		`{ name = "c" } << { }`: "a b",
		`{ rootName = "own" }`:  "a b below c own",
	} {
		expr, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(trace, expr.Select(trace)); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestNoSpans(t *testing.T) {
	trace := NewTrace(ptrace.NewTraces())
	for _, query := range []string{`{}`, `{ rootName = nil } >> {}`, `{} | count() = 0`} {
		expr, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := expr.Select(trace); got != nil {
			t.Errorf("%s selects %v of nothing", query, got)
		}
	}
}

func TestWhatAQueryLooksAt(t *testing.T) {
	for _, c := range []struct {
		query, attributes string
		one, onTrace      bool
	}{
		{`{}`, ``, true, false},
		{`{ .a = 1 && name = "x" || !(span.b = .a) } | select(name, link.c)`, `.a name span.b link.c`, true, false},
		{`{ .a = 1 } || ({ .b = 1 } || { .c = 1 })`, `.a .b .c`, true, false},
		{`{ .a = 1 } && { .b = 1 }`, `.a .b`, false, false},
		{`{ .a = 1 } > { .b = 1 }`, `.a .b`, false, false},
		{`{ .a = 1 } || { .b = 1 } && { .c = 1 }`, `.a .b .c`, false, false},
		{`{ .a = 1 } || ({ .b = 1 } > { .c = 1 })`, `.a .b .c`, false, false},
		{`{ .a = 1 } && { .b = 1 } || { .c = 1 }`, `.a .b .c`, false, false},
		{`{ .a = 1 } | count() > 1`, `.a`, false, false},
		{`{ trace:id = "1" && span:parentID = "" }`, `trace:id span:parentID`, true, false},
		{`{ .b = 1 || !(.a = 1 && rootName = "x") }`, `.b .a rootName`, false, true},
		{`{ trace:rootService = "x" }`, `rootServiceName`, false, true},
		{`{ traceDuration > 1s }`, `traceDuration`, false, true},
		{`{ span:childCount > 1 }`, `span:childCount`, false, true},
		{`{ .a = parent.b }`, `.a parent.b`, false, true},
	} {
		expr, err := Parse(c.query)
		if err != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		var attributes []string
		for _, a := range Attributes(expr) {
			attributes = append(attributes, a.String())
		}
		onTrace := slices.ContainsFunc(expr.Filters(), (*Filter).OnTrace)
		if got := strings.Join(attributes, " "); got != c.attributes || expr.OneFilter() != c.one || onTrace != c.onTrace {
			t.Errorf("%s: looks at %s, one filter %t, on trace %t", c.query, got, expr.OneFilter(), onTrace)
		}
	}
}

func TestEqual(t *testing.T) {
	service := Attribute{Scope: ScopeResource, Name: "service.name"}
	for _, c := range []struct{ query, want string }{
		{`{}`, `? false`},
		{`{ resource.service.name = "a" }`, `[a] true`},
		{`{ "a" = resource.service.name && kind = server }`, `[a] true`},
		{`{ kind = server && (resource.service.name = "b" || resource.service.name = "a") }`, `[a b] true`},
		{`{ resource.service.name =~ "b|a" }`, `[a b] true`},
		{`{ resource.service.name =~ "a.*" }`, `? false`},
		{`{ (resource.service.name = "a" || resource.service.name = "b") && resource.service.name = "c" }`, `[c] true`},
		{`{ resource.service.name = "a" || kind = server }`, `? false`},
		{`{ resource.service.name = "a" || false }`, `[a] true`},
		{`{ false }`, `[] true`},
		{`{ !(resource.service.name = "a") }`, `? false`},
		{`{ resource.service.name != "a" }`, `? false`},
		{`{ .service.name = "a" }`, `? false`},
		{`{ span.service.name = "a" }`, `? false`},
		{`{ resource.service.name = 5 }`, `? false`},
		{`{ resource.service.name = nil }`, `? false`},
		{`{ resource.service.name = .a }`, `? false`},
	} {
		expr, err := Parse(c.query)
		if err != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		values, ok := expr.Filters()[0].Equal(service)
		got := fmt.Sprint(values, ok)
		if !ok {
			got = "? false"
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.query, got, c.want)
		}
	}
}

func TestListings(t *testing.T) {
	trace := NewTrace(checkout())
	var attributes []string
	for _, a := range trace.Attributes(0) {
		attributes = append(attributes, a.String())
	}
	want := "resource.service.name instrumentation.language span.http.status_code span.region span.retried event.exception.type"
	if got := strings.Join(attributes, " "); got != want {
		t.Errorf("attributes: got %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"name": "[POST /checkout]", "status": "[error]", "kind": "[server]", "duration": "[500ms]", "span.http.status_code": "[502]",
		"span.retried": "[true]", "event:name": "[exception log]", "span.nope": "[]", ".service.name": "[shop]",
		"trace:id": "[" + hex.EncodeToString([]byte{0x4b, 15: 1}) + "]",
	} {
		a, err := ParseAttribute(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(trace.Values(0, a)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
