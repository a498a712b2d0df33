package transfer

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/tenants"
)

// acme has agreements with globex and initech.
func acme(t testing.TB) (*Meter, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m, err := New(reg, Config{Org: "acme", Known: func(o tenants.OrgID) bool { return o == "globex" || o == "initech" }})
	if err != nil {
		t.Fatal(err)
	}
	return m, reg
}

func answeredGlobex() gateway.Exchange {
	return gateway.Exchange{
		ID: "1", Door: gateway.PeerDoor, Org: "acme",
		Principal: tenants.Principal{Org: "globex"}, Signal: tenants.Metrics, Outcome: gateway.Answered,
		Series: 3, Samples: 300, Bytes: 2000, Latency: 20 * time.Millisecond,
		Completeness: federation.Completeness{{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 3, Samples: 300, Bytes: 2000}}},
	}
}

func askedAll() gateway.Exchange {
	return gateway.Exchange{
		ID: "2", Door: gateway.FrontDoor, Org: "acme",
		Principal: tenants.Principal{Org: "acme"}, Signal: tenants.Metrics, Outcome: gateway.Partially,
		Series: 7, Samples: 700, Bytes: 9000, Latency: 400 * time.Millisecond,
		Completeness: federation.Completeness{
			{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 2, Samples: 200, Bytes: 1000, Latency: time.Millisecond}},
			{Org: "globex", Status: federation.Complete, Cost: federation.Cost{Series: 5, Samples: 500, Bytes: 4000, Latency: 300 * time.Millisecond}},
			{Org: "hooli", Status: federation.NotAsked},
			{Org: "initech", Status: federation.Unreachable},
		},
	}
}

func compare(t *testing.T, reg prometheus.Gatherer, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestBothDirections(t *testing.T) {
	m, reg := acme(t)
	m.Observe(answeredGlobex())
	m.Observe(askedAll())
	compare(t, reg, `
# HELP parley_questions_total Questions by how they ended. Direction answered: the partner (or, under our own name, our user) asked us; asked: we asked the partner.
# TYPE parley_questions_total counter
parley_questions_total{direction="answered",outcome="answered",partner="globex",signal="metrics"} 1
parley_questions_total{direction="answered",outcome="partial",partner="acme",signal="metrics"} 1
parley_questions_total{direction="asked",outcome="answered",partner="globex",signal="metrics"} 1
parley_questions_total{direction="asked",outcome="failed",partner="initech",signal="metrics"} 1
# HELP parley_disclosed_series_total Series in answers, after redaction.
# TYPE parley_disclosed_series_total counter
parley_disclosed_series_total{direction="answered",partner="acme",signal="metrics"} 7
parley_disclosed_series_total{direction="answered",partner="globex",signal="metrics"} 3
parley_disclosed_series_total{direction="asked",partner="globex",signal="metrics"} 5
parley_disclosed_series_total{direction="asked",partner="initech",signal="metrics"} 0
# HELP parley_disclosed_samples_total Samples in answers, after redaction; a native histogram counts as one.
# TYPE parley_disclosed_samples_total counter
parley_disclosed_samples_total{direction="answered",partner="acme",signal="metrics"} 700
parley_disclosed_samples_total{direction="answered",partner="globex",signal="metrics"} 300
parley_disclosed_samples_total{direction="asked",partner="globex",signal="metrics"} 500
parley_disclosed_samples_total{direction="asked",partner="initech",signal="metrics"} 0
# HELP parley_disclosed_bytes_total Message bytes of answers before compression.
# TYPE parley_disclosed_bytes_total counter
parley_disclosed_bytes_total{direction="answered",partner="acme",signal="metrics"} 9000
parley_disclosed_bytes_total{direction="answered",partner="globex",signal="metrics"} 2000
parley_disclosed_bytes_total{direction="asked",partner="globex",signal="metrics"} 4000
parley_disclosed_bytes_total{direction="asked",partner="initech",signal="metrics"} 0
`, "parley_questions_total", "parley_disclosed_series_total", "parley_disclosed_samples_total", "parley_disclosed_bytes_total")

	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestDurationIsAClassicAndANativeHistogram(t *testing.T) {
	m, _ := acme(t)
	m.Observe(answeredGlobex())
	m.Observe(askedAll())
	if got := testutil.CollectAndCount(m.duration); got != 3 {
		t.Errorf("%d series: the partner that never answered has no latency, want 3", got)
	}
	var h dto.Metric
	asked, ok := m.duration.WithLabelValues("globex", "metrics", "asked").(prometheus.Metric)
	if !ok {
		t.Fatal("no histogram")
	}
	if err := asked.Write(&h); err != nil {
		t.Fatal(err)
	}
	if got := h.GetHistogram(); got.GetSampleCount() != 1 || got.GetSampleSum() != 0.3 || len(got.GetBucket()) == 0 || len(got.GetPositiveSpan()) == 0 {
		t.Errorf("histogram is %v", got)
	}
}

func TestStrangersCannotMakeSeries(t *testing.T) {
	m, _ := acme(t)
	for i := range 1000 {
		stranger := tenants.OrgID(fmt.Sprintf("stranger-%d", i))
		x := answeredGlobex()
		x.Principal.Org = stranger
		x.Signal = tenants.Signal(stranger)
		x.Outcome = gateway.Outcome(stranger)
		m.Observe(x)
		front := askedAll()
		front.Principal.Org = stranger
		front.Completeness = federation.Completeness{{Org: stranger, Status: federation.Status(stranger), Cost: federation.Cost{Latency: 1}}}
		m.Observe(front)
		m.Wire(stranger, Answered, wire.Sent, 10)
	}
	x := answeredGlobex()
	x.Principal = tenants.Principal{} // an unknown trust domain has no name at all
	m.Observe(x)
	for name, c := range map[string]struct {
		collector prometheus.Collector
		want      int
	}{"questions": {m.questions, 4}, "series": {m.series, 4}, "duration": {m.duration, 4}, "wire": {m.wire, 1}} {
		if got := testutil.CollectAndCount(c.collector); got != c.want {
			t.Errorf("%s: %d series, want %d", name, got, c.want)
		}
	}
	if got := testutil.ToFloat64(m.wire.WithLabelValues("unknown", "answered", "sent")); got != 10_000 {
		t.Errorf("%v bytes from strangers", got)
	}
}

// A partner states what its part cost. Whatever it states must not bring us down.
func TestAbsurdCostsOfAPartner(t *testing.T) {
	m, _ := acme(t)
	x := askedAll()
	x.Completeness = federation.Completeness{{Org: "globex", Status: federation.Complete, Cost: federation.Cost{
		Series: -1, Samples: math.MinInt, Bytes: math.MaxInt, Latency: math.MinInt64,
	}}}
	m.Observe(x)
	m.Wire("globex", Asked, wire.Received, -5)
	if got := testutil.ToFloat64(m.samples.WithLabelValues("globex", "metrics", "asked")); got != 0 {
		t.Errorf("samples: %v", got)
	}
}

func TestWire(t *testing.T) {
	m, reg := acme(t)
	m.Wire("globex", Answered, wire.Sent, 100)
	m.Wire("globex", Answered, wire.Sent, 20)
	m.Wire("globex", Answered, wire.Received, 3)
	m.Wire("initech", Asked, wire.Received, 7)
	compare(t, reg, `
# HELP parley_wire_bytes_total Bytes on the wire with a partner, after compression. Direction answered: on connections it made to us; asked: on ours to it. Flow sent: from us to it; received: from it to us.
# TYPE parley_wire_bytes_total counter
parley_wire_bytes_total{direction="answered",flow="received",partner="globex"} 3
parley_wire_bytes_total{direction="answered",flow="sent",partner="globex"} 120
parley_wire_bytes_total{direction="asked",flow="received",partner="initech"} 7
`, "parley_wire_bytes_total")
}

func TestMetricsOfOneRegistryAreThereOnce(t *testing.T) {
	_, reg := acme(t)
	if _, err := New(reg, Config{Org: "acme"}); err == nil || !strings.Contains(err.Error(), "transfer:") {
		t.Errorf("registered twice: %v", err)
	}
}

// TestAuditAndTransferAgree adds up the audit log and reads the meter.
func TestAuditAndTransferAgree(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := acme(t)
	refused := answeredGlobex()
	refused.Outcome, refused.Series, refused.Samples, refused.Bytes = gateway.Refused, 0, 0, 0
	spans := answeredGlobex()
	spans.Signal, spans.Series, spans.Samples, spans.Bytes, spans.Spans = tenants.Traces, 0, 0, 0, 12
	asked := askedAll()
	asked.Signal, asked.Completeness[1].Cost = tenants.Traces, federation.Cost{Spans: 7}
	for range 3 {
		for _, x := range []gateway.Exchange{answeredGlobex(), refused, askedAll(), spans, asked} {
			if err := log.Record(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			m.Observe(x)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	type totals struct{ Answered, Refused, Series, Samples, Bytes, AskedSeries, AskedBytes, Spans, AskedSpans float64 }
	var audited totals
	for r, err := range audit.Read(os.DirFS(dir)) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Completeness {
			if r.Door == gateway.FrontDoor && p.Org == "globex" {
				audited.AskedSeries += float64(p.Series)
				audited.AskedBytes += float64(p.Bytes)
				audited.AskedSpans += float64(p.Spans)
			}
		}
		if r.Principal.Org != "globex" {
			continue
		}
		audited.Spans += float64(r.Spans)
		if r.Signal != tenants.Metrics {
			continue
		}
		switch r.Outcome {
		case gateway.Answered:
			audited.Answered++
		case gateway.Refused:
			audited.Refused++
		default:
			t.Errorf("outcome %s", r.Outcome)
		}
		audited.Series += float64(r.Series)
		audited.Samples += float64(r.Samples)
		audited.Bytes += float64(r.Bytes)
	}
	given, got := []string{"globex", "metrics", "answered"}, []string{"globex", "metrics", "asked"}
	measured := totals{
		Answered:    testutil.ToFloat64(m.questions.WithLabelValues("globex", "metrics", "answered", "answered")),
		Refused:     testutil.ToFloat64(m.questions.WithLabelValues("globex", "metrics", "answered", "refused")),
		Series:      testutil.ToFloat64(m.series.WithLabelValues(given...)),
		Samples:     testutil.ToFloat64(m.samples.WithLabelValues(given...)),
		Bytes:       testutil.ToFloat64(m.bytes.WithLabelValues(given...)),
		AskedSeries: testutil.ToFloat64(m.series.WithLabelValues(got...)),
		AskedBytes:  testutil.ToFloat64(m.bytes.WithLabelValues(got...)),
		Spans:       testutil.ToFloat64(m.spans.WithLabelValues("globex", "traces", "answered")),
		AskedSpans:  testutil.ToFloat64(m.spans.WithLabelValues("globex", "traces", "asked")),
	}
	if diff := cmp.Diff(audited, measured); diff != "" {
		t.Error(diff)
	}
	if audited.Answered != 3 || audited.AskedSeries != 15 || audited.Spans != 36 || audited.AskedSpans != 21 {
		t.Errorf("the story was not told: %+v", audited)
	}
}
