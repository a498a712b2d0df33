package gatewaytest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

// journal is what an organization records of a trace.
type journal struct {
	traces ptrace.Traces
	id     pcommon.TraceID
	skew   time.Duration
}

func newJournal(service string, id byte, skew time.Duration) *journal {
	j := &journal{traces: ptrace.NewTraces(), id: pcommon.TraceID{15: id}, skew: skew}
	rs := j.traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	rs.ScopeSpans().AppendEmpty()
	return j
}

func (j *journal) span(id, parent byte, kind ptrace.SpanKind, from, to time.Duration) ptrace.Span {
	s := j.traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty()
	s.SetTraceID(j.id)
	s.SetSpanID(pcommon.SpanID{7: id})
	if parent != 0 {
		s.SetParentSpanID(pcommon.SpanID{7: parent})
	}
	s.SetName("span " + strconv.Itoa(int(id)))
	s.SetKind(kind)
	begun := metricstest.End().Add(-10 * time.Minute).Add(j.skew)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(begun.Add(from)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(begun.Add(to)))
	return s
}

const (
	releaseBoundary = `{"allow": true, "datasets": [{"name": "all", "spans": ["{\"resource.service.name\"=~\".+\"}"], "release": "row", "span": "boundary", "labels": {"resource.service.name": "keep"}}]}`
	releaseFull     = `{"allow": true, "datasets": [{"name": "all", "spans": ["{\"resource.service.name\"=~\".+\"}"], "release": "row", "span": "full"}]}`
)

// threeOnAJourney are acme, whose shop calls globex's bank, which shows how the
// request enters and leaves it alone and whose clock is five seconds slow, and
// initech, whose scoring is called by that and begins another trace with a link.
func threeOnAJourney(t *testing.T) *gatewaytest.World {
	t.Helper()
	const ms = time.Millisecond
	world := gatewaytest.New(t, "acme", "globex", "initech")
	shop := newJournal("shop", 1, 0)
	shop.span(1, 0, ptrace.SpanKindServer, 0, 100*ms)
	shop.span(2, 1, ptrace.SpanKindClient, 10*ms, 90*ms)
	world.Org("acme").Records(shop.traces)
	bank := newJournal("bank", 1, -5*time.Second)
	bank.span(3, 2, ptrace.SpanKindServer, 15*ms, 85*ms)
	bank.span(4, 3, ptrace.SpanKindInternal, 20*ms, 80*ms).SetName("check the account of gus0")
	bank.span(5, 4, ptrace.SpanKindClient, 30*ms, 70*ms)
	world.Org("globex").Records(bank.traces)
	scoring := newJournal("scoring", 2, 0)
	link := scoring.span(6, 0, ptrace.SpanKindServer, 40*ms, 60*ms).Links().AppendEmpty()
	link.SetTraceID(bank.id)
	link.SetSpanID(pcommon.SpanID{7: 5})
	world.Org("initech").Records(scoring.traces)
	for _, owner := range []tenants.OrgID{"globex", "initech"} {
		release := releaseFull
		if owner == "globex" {
			release = releaseBoundary
		}
		world.Org(owner).Releases("acme", release)
	}
	world.Start()
	return world
}

// stitchedTraces are the traces of an answer.
func stitchedTraces(t *testing.T, r gatewaytest.Reply) front.TracesAnswer {
	t.Helper()
	var out front.TracesAnswer
	if err := json.Unmarshal(r.Body, &out); err != nil || r.Code != http.StatusOK {
		t.Fatalf("status %d, %s", r.Code, r.Body)
	}
	return out
}

func TestATraceThroughThreeOrganizations(t *testing.T) {
	t.Parallel()
	world := threeOnAJourney(t)
	acme := world.Org("acme")
	for _, id := range []string{"1", "2"} { // both ids find it
		reply := acme.Get("/api/parley/v1/traces/"+id, nil)
		got := stitchedTraces(t, reply)
		if len(got.Traces) != 1 {
			t.Fatalf("%d traces of id %s", len(got.Traces), id)
		}
		for org, part := range reply.Completeness(t) {
			if part.Status != federation.Complete {
				t.Errorf("%s: %+v", org, part)
			}
		}
		trace := got.Traces[0]
		spans, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(trace.Trace)
		if err != nil || spans.SpanCount() != 6 || strings.Contains(string(reply.Body), "gus0") {
			t.Errorf("%d spans, %v, %s", spans.SpanCount(), err, trace.Trace)
		}
		if len(trace.Report.Joins) != 1 || trace.Report.Joins[0].By != traces.ByLink {
			t.Errorf("joins are %+v", trace.Report.Joins)
		}
		if len(trace.Report.Missing) != 0 || trace.Report.DurationNs != int64(100*time.Millisecond) {
			t.Errorf("report is %+v", trace.Report)
		}
		for _, c := range trace.Report.Clocks {
			if c.Org == "globex" && (c.ShiftNs < int64(5*time.Second-5*time.Millisecond) || c.ShiftNs > int64(5*time.Second+5*time.Millisecond)) {
				t.Errorf("globex's clock is moved by %d", c.ShiftNs)
			}
		}
		for _, s := range trace.Report.Shares {
			if s.Org == "acme" && s.To == "" && (s.MinNs != int64(20*time.Millisecond) || s.MaxNs != s.MinNs) {
				t.Errorf("acme's share is %+v", s)
			}
		}
	}
}

// What matches may lie in different organizations, and in traces of two ids.
func TestSearchAcrossOrganizations(t *testing.T) {
	t.Parallel()
	world := threeOnAJourney(t)
	end := metricstest.End().Unix()
	for expression, found := range map[string]bool{
		`{ resource.service.name = "shop" } >> { resource.service.name = "scoring" }`:               true,
		`{ resource.parley.org = "globex" && kind = client } > { resource.parley.org = "initech" }`: true,
		`{ resource.service.name = "scoring" } >> { resource.service.name = "shop" }`:               false,
		`{ resource.service.name = "bank" } && { rootServiceName = "shop" }`:                        true,
		`{ name =~ ".*gus0.*" }`:                           false,
		`{ resource.service.name = "shop" } | count() > 1`: true,
	} {
		reply := world.Org("acme").Get("/api/parley/v1/traces", url.Values{
			"q": {expression}, "start": {strconv.FormatInt(end-3600, 10)}, "end": {strconv.FormatInt(end, 10)},
		})
		if got := stitchedTraces(t, reply); len(got.Traces) > 0 != found {
			t.Errorf("%s: %d traces, %s", expression, len(got.Traces), reply.Body)
		}
	}
}

// While globex is away, its span has a placeholder, which says so.
func TestATraceWithSomebodyAway(t *testing.T) {
	t.Parallel()
	world := threeOnAJourney(t)
	world.Org("globex").Stop()
	reply := world.Org("acme").Get("/api/parley/v1/traces/2", nil)
	got := stitchedTraces(t, reply)
	if status := reply.Completeness(t)["globex"].Status; len(got.Traces) != 1 || status != federation.Unreachable {
		t.Fatalf("%d traces, globex is %s", len(got.Traces), status)
	}
	m := got.Traces[0].Report.Missing
	if len(m) != 1 || m[0].Reason != traces.MissingUnreachable || !slices.Equal(m[0].Orgs, []tenants.OrgID{"globex"}) {
		t.Errorf("missing is %+v", m)
	}
}

// Who shows something of a trace keeps it when acme asks for that.
func TestPartnersKeepATrace(t *testing.T) {
	t.Parallel()
	world := threeOnAJourney(t)
	acme := world.Org("acme")
	by := func(reply gatewaytest.Reply) []tenants.OrgID {
		var kept front.KeptTrace
		if err := json.Unmarshal(reply.Body, &kept); err != nil || reply.Code != http.StatusOK {
			t.Fatalf("status %d, %s", reply.Code, reply.Body)
		}
		return kept.By
	}
	for id, want := range map[string][]tenants.OrgID{"1": {"acme", "globex"}, "2": {"initech"}, "3": {}} {
		if got := by(acme.Post("/api/parley/v1/kept-traces/"+id, nil)); !slices.Equal(got, want) {
			t.Errorf("%s is kept by %v, want %v", id, got, want)
		}
	}
	if reply := acme.Get("/api/parley/v1/kept-traces/1", nil); reply.Code != http.StatusMethodNotAllowed {
		t.Errorf("a GET keeps a trace: %d %s", reply.Code, reply.Body)
	}
}
