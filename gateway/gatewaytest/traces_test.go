package gatewaytest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

const checkoutTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// spanOf is a span of the checkout trace, in milliseconds of it.
func spanOf(t *testing.T, service string, id, parent byte, kind ptrace.SpanKind, start, end int) ptrace.Traces {
	t.Helper()
	trace, err := traces.ParseTraceID(checkoutTrace)
	if err != nil {
		t.Fatal(err)
	}
	out := ptrace.NewTraces()
	rs := out.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(trace)
	span.SetSpanID(pcommon.SpanID{id})
	if parent != 0 {
		span.SetParentSpanID(pcommon.SpanID{parent})
	}
	span.SetName("work of " + service)
	span.SetKind(kind)
	span.Attributes().PutStr("user.id", "alice")
	at := func(ms int) pcommon.Timestamp {
		return pcommon.NewTimestampFromTime(metricstest.End().Add(time.Duration(ms-60_000) * time.Millisecond))
	}
	span.SetStartTimestamp(at(start))
	span.SetEndTimestamp(at(end))
	return out
}

// threeWithTraces have a trace that goes from acme by globex to initech, whose
// clock is ten seconds ahead.
func threeWithTraces(t *testing.T) *gatewaytest.World {
	t.Helper()
	world := gatewaytest.New(t, "acme", "globex", "initech")
	world.Org("acme").Records(
		spanOf(t, "shop", 1, 0, ptrace.SpanKindServer, 0, 1000), spanOf(t, "shop", 2, 1, ptrace.SpanKindClient, 100, 900),
	)
	world.Org("globex").Records(
		spanOf(t, "payments", 3, 2, ptrace.SpanKindServer, 120, 880), spanOf(t, "ledger", 4, 3, ptrace.SpanKindInternal, 200, 250),
		spanOf(t, "ledger", 5, 4, ptrace.SpanKindClient, 300, 800),
	)
	world.Org("initech").Records(spanOf(t, "bank", 6, 5, ptrace.SpanKindServer, 10_310, 10_790))
	for owner, decision := range map[tenants.OrgID]string{
		"acme":    showingTraces,
		"globex":  `{"allow": true, "datasets": [{"name": "all", "spans": ["{}"], "release": "row", "span": "boundary", "labels": {"name": "keep"}}]}`,
		"initech": `{"allow": true, "datasets": [{"name": "all", "spans": ["{}"], "release": "row", "span": "attributes", "labels": {"resource.service.name": "keep", "name": "keep"}}]}`,
	} {
		for _, asker := range []tenants.OrgID{"acme", "globex", "initech"} {
			if owner != asker {
				world.Org(owner).Releases(asker, decision)
			}
		}
	}
	return world
}

// stitched is what an organization sees of the trace.
func stitched(t *testing.T, o *gatewaytest.Org) (front.StitchedTrace, map[string]ptrace.Span) {
	t.Helper()
	reply := o.Get("/api/parley/v1/traces/"+checkoutTrace, nil)
	var answer front.TracesAnswer
	if err := json.Unmarshal(reply.Body, &answer); err != nil || reply.Code != http.StatusOK || len(answer.Traces) != 1 {
		t.Fatalf("%d %s %v", reply.Code, reply.Body, err)
	}
	var unmarshaler ptrace.JSONUnmarshaler
	spans, err := unmarshaler.UnmarshalTraces(answer.Traces[0].Trace)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]ptrace.Span{}
	for _, rs := range spans.ResourceSpans().All() {
		org, _ := rs.Resource().Attributes().Get(traces.OrgAttribute)
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				out[org.Str()+" "+span.Name()+" "+span.Kind().String()] = span
			}
		}
	}
	return answer.Traces[0], out
}

func TestATraceAcrossThreeOrganizations(t *testing.T) {
	t.Parallel()
	world := threeWithTraces(t)
	world.Start()
	trace, spans := stitched(t, world.Org("acme"))
	if len(spans) != 6 {
		t.Fatalf("got %d spans: %s", len(spans), trace.Trace)
	}
	withheld, ok := spans["globex withheld Internal"]
	if !ok || withheld.ParentSpanID() != (pcommon.SpanID{3}) || spans["globex work of ledger Client"].ParentSpanID() != withheld.SpanID() {
		t.Errorf("the inside of globex is not one withheld span: %s", trace.Trace)
	}
	if _, there := spans["globex work of payments Server"].Attributes().Get("user.id"); there {
		t.Error("globex tells its users")
	}
	if _, there := spans["acme work of shop Server"].Attributes().Get("user.id"); !there {
		t.Error("acme doesn't see its own users")
	}
	called, caller := spans["initech work of bank Server"], spans["globex work of ledger Client"]
	if called.StartTimestamp() < caller.StartTimestamp() || called.EndTimestamp() > caller.EndTimestamp() {
		t.Errorf("initech's span is at %s, and its caller's at %s", called.StartTimestamp().AsTime(), caller.StartTimestamp().AsTime())
	}
	if trace.Report.DurationNs != time.Second.Nanoseconds() || len(trace.Report.Missing) != 0 {
		t.Errorf("report: %+v", trace.Report)
	}
	orgs := map[tenants.OrgID]bool{}
	for _, share := range trace.Report.Shares {
		orgs[share.Org] = true
	}
	if !orgs["acme"] || !orgs["globex"] || !orgs["initech"] {
		t.Errorf("shares: %+v", trace.Report.Shares)
	}
	// A partner sees the same journey, as the others' policies let it.
	_, seen := stitched(t, world.Org("initech"))
	if _, ok := seen["initech work of bank Server"].Attributes().Get("user.id"); !ok || len(seen) != 6 {
		t.Errorf("initech sees %d spans", len(seen))
	}
}

// What a partner doesn't show has a placeholder in its place.
func TestATraceWithoutAPartner(t *testing.T) {
	t.Parallel()
	world := threeWithTraces(t)
	world.Org("globex").Releases("acme", `{"allow": false}`)
	world.Start()
	trace, _ := stitched(t, world.Org("acme"))
	if len(trace.Report.Missing) != 1 || trace.Report.Missing[0].Reason != traces.MissingDenied || !slices.Equal(trace.Report.Missing[0].Orgs, []tenants.OrgID{"globex"}) {
		t.Errorf("missing: %+v", trace.Report.Missing)
	}
}

// Who shows something of a trace keeps it when acme asks for that.
func TestPartnersKeepATrace(t *testing.T) {
	t.Parallel()
	world := threeWithTraces(t)
	world.Org("initech").Releases("acme", `{"allow": false}`)
	world.Start()
	acme := world.Org("acme")
	reply := acme.Post("/api/parley/v1/kept-traces/"+checkoutTrace, nil)
	var kept front.KeptTrace
	if err := json.Unmarshal(reply.Body, &kept); err != nil || !slices.Equal(kept.By, []tenants.OrgID{"acme", "globex"}) {
		t.Errorf("%d %s %v", reply.Code, reply.Body, err)
	}
	if reply := acme.Get("/api/parley/v1/kept-traces/"+checkoutTrace, nil); reply.Code != http.StatusMethodNotAllowed {
		t.Errorf("a GET keeps a trace: %d %s", reply.Code, reply.Body)
	}
	if reply := acme.Post("/api/parley/v1/kept-traces/0123", nil); reply.Code != http.StatusOK {
		t.Errorf("a trace that isn't there: %d %s", reply.Code, reply.Body)
	}
}
