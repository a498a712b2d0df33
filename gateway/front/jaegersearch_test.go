package front

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
)

func TestSearchesInTraceQL(t *testing.T) {
	for _, c := range []struct {
		search jaegerSearch
		want   string
	}{
		{jaegerSearch{}, `{ }`},
		{jaegerSearch{service: "web"}, `{ resource.service.name = "web" }`},
		{
			jaegerSearch{service: "web", operation: `GET "/"`, shortest: 10 * time.Millisecond, longest: 1500 * time.Microsecond * 1000},
			`{ resource.service.name = "web" && name = "GET \"/\"" && duration >= 10000000ns && duration <= 1500000000ns }`,
		},
		{
			jaegerSearch{tags: []jaegerTag{{"http.route", "/pay"}, {"a", "b"}, {"a", "b"}}},
			`{ (span.a = "b" || resource.a = "b" || event.a = "b") && (span.http.route = "/pay" || resource.http.route = "/pay" || event.http.route = "/pay") }`,
		},
		{jaegerSearch{tags: []jaegerTag{{"error", "true"}}}, `{ (status = error || span.error = "true" || span.error = true || resource.error = "true" || resource.error = true || event.error = "true" || event.error = true) }`},
		{jaegerSearch{tags: []jaegerTag{{"code", "502"}}}, `{ (span.code = "502" || span.code = 502 || resource.code = "502" || resource.code = 502 || event.code = "502" || event.code = 502) }`},
		{jaegerSearch{tags: []jaegerTag{{"share", "0.5"}}}, `{ (span.share = "0.5" || span.share = 0.5 || resource.share = "0.5" || resource.share = 0.5 || event.share = "0.5" || event.share = 0.5) }`},
		{jaegerSearch{tags: []jaegerTag{{"x", "NaN"}}}, `{ (span.x = "NaN" || resource.x = "NaN" || event.x = "NaN") }`},
	} {
		got, err := c.search.expression()
		if err != nil || got != c.want {
			t.Errorf("%+v:\n%s, %v, want\n%s", c.search, got, err, c.want)
		}
		if _, err := traceql.Parse(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
	if _, err := (&jaegerSearch{tags: []jaegerTag{{"", "x"}}}).expression(); err == nil {
		t.Error("a tag without a name is searched for")
	}
}

// Jaeger knows of no organizations: what services and operations of one name do is one.
func TestJaegerKnowsNoOrganizations(t *testing.T) {
	released := traces.Received(traces.Answer{
		Operations: []traces.Operation{
			{Service: "web", Name: "GET", Kind: ptrace.SpanKindServer, Org: "acme"},
			{Service: "web", Name: "GET", Kind: ptrace.SpanKindServer, Org: "globex"},
			{Service: "web", Name: "GET", Kind: ptrace.SpanKindClient, Org: "acme"},
		},
		Dependencies: []traces.Dependency{
			{Parent: "web", Child: "pay", ParentOrg: "acme", ChildOrg: "acme", Calls: 2},
			{Parent: "web", Child: "pay", ParentOrg: "acme", ChildOrg: "globex", Calls: 3},
			{Parent: "web", Child: "stock", ParentOrg: "acme", ChildOrg: "acme", Calls: 1},
		},
	})
	if got, want := operationsOf(released, ""), []jaegerOperation{{"GET", "server"}, {"GET", "client"}}; !slices.Equal(got, want) {
		t.Errorf("operations %v, want %v", got, want)
	}
	if got, want := dependenciesOf(released, "pay"), []jaegerDependency{{"web", "pay", 5}}; !slices.Equal(got, want) {
		t.Errorf("dependencies %v, want %v", got, want)
	}
}

// Tags find what Jaeger keeps in them.
func TestTagsFindWhatJaegerKeepsInThem(t *testing.T) {
	td := ptrace.NewTraces()
	resource := td.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "web")
	resource.Resource().Attributes().PutStr("host", "web-0")
	scope := resource.ScopeSpans().AppendEmpty()
	scope.Scope().SetName("sdk")
	span := scope.Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{1})
	span.SetSpanID(pcommon.SpanID{1})
	span.SetKind(ptrace.SpanKindServer)
	span.SetEndTimestamp(1000)
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage("upstream")
	span.Attributes().PutInt("code", 502)
	span.Attributes().PutBool("retried", true)
	span.Attributes().PutDouble("share", 0.5)
	span.Attributes().PutStr(`odd "key"`, "x\\y")
	event := span.Events().AppendEmpty()
	event.SetName("exception")
	event.Attributes().PutStr("exception.type", "Upstream")
	for tag, found := range map[jaegerTag]bool{
		{"host", "web-0"}: true, {"host", "web-1"}: false, {"code", "502"}: true, {"code", "503"}: false, {"retried", "true"}: true, {"retried", "false"}: false,
		{"share", "0.5"}: true, {`odd "key"`, "x\\y"}: true, {"exception.type", "Upstream"}: true, {"event", "exception"}: true,
		{"error", "true"}: true, {"error", "false"}: false, {"span.kind", "server"}: true, {"span.kind", "client"}: false, {"span.kind", "x\" || true"}: false,
		{"otel.status_code", "ERROR"}: true, {"otel.status_code", "OK"}: false, {"otel.status_description", "upstream"}: true, {"otel.scope.name", "sdk"}: true,
	} {
		text, err := (&jaegerSearch{service: "web", tags: []jaegerTag{tag}}).expression()
		if err != nil {
			t.Fatal(err)
		}
		expr, err := traceql.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := expr.Filters()[0].Matches(traceql.NewTrace(td), 0); got != found {
			t.Errorf("%s:%s: found %t, by %s", tag.key, tag.value, got, text)
		}
	}
}

// Whatever is searched for, it is one filter, and finds the span that has it.
func FuzzJaegerSearch(f *testing.F) {
	f.Add("web", "GET /", "http.route", "/pay", int64(10))
	f.Add(`a" || true }`, "}\n{", `"`, "`", int64(0))
	f.Add("\\", "// x", "a b.c\\\"", "-0", int64(-1))
	f.Add("ü\u2028", "", "1", "9223372036854775808", int64(1<<62))
	f.Add("a", "b", "error", "true", int64(1))
	f.Add("a", "b", "span.kind", "1e5", int64(1))
	f.Fuzz(func(t *testing.T, service, operation, key, value string, took int64) {
		if key == "" || len(service)+len(operation)+len(key)+len(value) > 1000 {
			return
		}
		for _, text := range []*string{&service, &operation, &key, &value} {
			*text = strings.ToValidUTF8(*text, "?") // others are refused before
		}
		took = max(took, 0)
		td := ptrace.NewTraces()
		resource := td.ResourceSpans().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", service)
		span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		span.SetName(operation)
		span.SetSpanID(pcommon.SpanID{1})
		span.SetEndTimestamp(pcommon.Timestamp(took))
		span.Attributes().PutStr(key, value)
		s := jaegerSearch{service: service, operation: operation, tags: []jaegerTag{{key, value}}, shortest: time.Duration(took), longest: time.Duration(took)}
		text, err := s.expression()
		if err != nil {
			t.Fatal(err)
		}
		expr, err := traceql.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		filters := expr.Filters()
		if len(filters) != 1 {
			t.Fatalf("%s has %d filters", text, len(filters))
		}
		if !filters[0].Matches(traceql.NewTrace(td), 0) {
			t.Errorf("%s doesn't find its span", text)
		}
		span.SetName(operation + "x")
		if operation != "" && filters[0].Matches(traceql.NewTrace(td), 0) {
			t.Errorf("%s finds another span", text)
		}
	})
}
