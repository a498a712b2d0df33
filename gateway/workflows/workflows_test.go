package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sampled answers with traces, and remembers what it was asked.
type sampled struct {
	asked  []traces.Question
	by     []tenants.Principal
	traces []traces.Trace
	err    error
}

func (s *sampled) Ask(_ context.Context, q gateway.Question) (front.Result, error) {
	s.asked, s.by = append(s.asked, q.Asked.(traces.Question)), append(s.by, q.Principal)
	return front.Result{Released: traces.Received(traces.Answer{Traces: s.traces})}, s.err
}

// journey is a stitched trace: acme's second, of which globex spent 600 to 700 ms.
func journey(id byte, workflow string) traces.Trace {
	spans := ptrace.NewTraces()
	rs := spans.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(traces.OrgAttribute, "acme")
	rs.Resource().Attributes().PutStr("service.name", "shop")
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{id})
	span.SetSpanID(pcommon.SpanID{1})
	span.SetName("checkout")
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(began))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(began.Add(time.Second)))
	if workflow != "" {
		span.Attributes().PutStr(traces.WorkflowAttribute, workflow)
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return traces.Trace{ID: pcommon.TraceID{id}, Spans: spans, Report: &traces.Report{Blame: traces.Blame{
		Duration: time.Second,
		Shares: []traces.Share{
			{Org: "acme", Time: traces.Interval{Min: ms(200), Max: ms(300)}},
			{Org: "acme", To: "globex", Time: traces.Interval{Max: ms(100)}},
			{Org: "globex", Time: traces.Interval{Min: ms(600), Max: ms(700)}},
		},
	}}}
}

func watch(t *testing.T, s *sampled, now *time.Time) (*Watch, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	w, err := New(Config{
		Answerer: s, Principal: tenants.Principal{Org: "acme", Purpose: "slo-review"}, Search: "{}", Interval: time.Minute, Sample: 10,
		Registerer: registry, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return *now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, registry
}

// gathered are the histograms of a metric, by their labels.
func gathered(t *testing.T, registry *prometheus.Registry, name string) map[string]*dto.Histogram {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.Histogram{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + " "
			}
			out[key] = m.GetHistogram()
		}
	}
	return out
}

// What is asked is what began since the last time, for the purpose configured; what
// was found becomes metrics, each trace once, with itself as exemplar.
func TestWorkflowsAreMeasured(t *testing.T) {
	now := began
	s := &sampled{traces: []traces.Trace{journey(1, ""), journey(2, "order-fulfilment")}}
	w, registry := watch(t, s, &now)
	for range 2 {
		now = now.Add(time.Minute)
		w.measure(t.Context())
	}
	if len(s.asked) != 2 || !s.asked[0].Start.Equal(began.Add(-time.Minute)) || !s.asked[0].End.Equal(began) || !s.asked[1].Start.Equal(began) {
		t.Fatalf("asked %+v", s.asked)
	}
	if q := s.asked[0]; q.Kind != policy.Search || q.Expression != "{}" || q.Limit != 10 || s.by[0].Purpose != "slo-review" {
		t.Errorf("asked %+v as %+v", q, s.by[0])
	}
	durations := gathered(t, registry, "parley_workflow_duration_seconds")
	for _, workflow := range []string{"workflow=shop: checkout ", "workflow=order-fulfilment "} {
		h := durations[workflow]
		if h.GetSampleCount() != 1 || h.GetSampleSum() != 1 {
			t.Errorf("%s: %v of %v", workflow, h, durations)
		}
		with := slices.ContainsFunc(h.GetBucket(), func(b *dto.Bucket) bool { return b.GetExemplar() != nil })
		if !with {
			t.Errorf("%s has no exemplar: %v", workflow, h)
		}
	}
	spent := gathered(t, registry, "parley_workflow_org_seconds")
	for labels, want := range map[string]float64{
		"bound=min org=globex to= workflow=order-fulfilment ": 0.6, "bound=max org=globex to= workflow=order-fulfilment ": 0.7,
		"bound=max org=acme to=globex workflow=order-fulfilment ": 0.1, "bound=min org=acme to= workflow=shop: checkout ": 0.2,
	} {
		if got := spent[labels]; got.GetSampleCount() != 1 || got.GetSampleSum() != want {
			t.Errorf("%s: %v, want %v", labels, got, want)
		}
	}
}

// What couldn't be had is asked for again, but not from the beginning of time.
func TestWhatCouldNotBeHadIsAskedForAgain(t *testing.T) {
	now := began
	s := &sampled{err: errors.New("nobody answers")}
	w, registry := watch(t, s, &now)
	for range 30 {
		now = now.Add(time.Minute)
		w.measure(t.Context())
	}
	last := s.asked[len(s.asked)-1]
	if got := last.End.Sub(last.Start); got != longestWindow*time.Minute {
		t.Errorf("asked for %s", got)
	}
	s.err = nil
	now = now.Add(time.Minute)
	w.measure(t.Context())
	now = now.Add(time.Minute)
	w.measure(t.Context())
	if last := s.asked[len(s.asked)-1]; last.End.Sub(last.Start) != time.Minute {
		t.Errorf("after an answer %s is asked for", last.End.Sub(last.Start))
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "parley_workflow_sample_failures_total" && f.GetMetric()[0].GetCounter().GetValue() != 30 {
			t.Errorf("%v failures, want 30", f.GetMetric()[0])
		}
	}
}

// Names are whatever spans say: there are only so many.
func TestWorkflowsAreBounded(t *testing.T) {
	now := began
	s := &sampled{}
	for i := range 120 {
		s.traces = append(s.traces, journey(byte(i+1), fmt.Sprintf("workflow %d", i)))
	}
	w, registry := watch(t, s, &now)
	now = now.Add(time.Minute)
	w.measure(t.Context())
	durations := gathered(t, registry, "parley_workflow_duration_seconds")
	if len(durations) != maxWorkflows+1 || durations["workflow=other "].GetSampleCount() != 20 {
		t.Errorf("%d workflows, %v others", len(durations), durations["workflow=other "])
	}
}

func TestWhatCanNotBeMeasured(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"nobody to ask": func(c *Config) { c.Answerer = nil },
		"no interval":   func(c *Config) { c.Interval = 0 },
		"no sample":     func(c *Config) { c.Sample = 0 },
		"no TraceQL":    func(c *Config) { c.Search = "{" },
	} {
		c := Config{Answerer: &sampled{}, Search: "{}", Interval: time.Minute, Sample: 1, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var e *federation.Error
	s := &sampled{err: &federation.Error{Kind: federation.Refused}}
	now := began.Add(time.Minute)
	w, _ := watch(t, s, &now)
	if _, err := w.ask(t.Context(), traces.Question{}); !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}
