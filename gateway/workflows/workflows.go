// Package workflows measures how long workflows take that cross organizations, and
// who spends the time: a sample of traces is asked for again and again, as one of
// our own users would ask for it, and becomes metrics:
//
//	w, err := workflows.New(workflows.Config{Answerer: front.Answers(pipeline), Principal: us, Search: `{resource.service.name="checkout"}`, ...})
//	w.Run(ctx)
//
// What partners release decides what there is to measure, and every question is on
// record as any other is.
package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Config says what is measured.
type Config struct {
	Answerer front.Answerer
	// Principal is who asks, and for which purpose.
	Principal tenants.Principal
	// Search is TraceQL of the traces.
	Search string
	// Interval is how often they are asked for, those that began since the last time.
	// Of each interval the latest Sample are taken. Both are required.
	Interval time.Duration
	Sample   int
	// Delay is how long after its spans began a trace is taken to be over; default a
	// minute.
	Delay      time.Duration
	Registerer prometheus.Registerer
	Log        *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

const (
	defaultDelay = time.Minute
	// longestWindow is how many intervals are made up for, after nobody answered.
	longestWindow = 10
	// maxMeasured is how many traces are remembered as measured: one that goes on is
	// found again.
	maxMeasured = 100_000
	// maxWorkflows bounds the metrics: names are of spans, and those may be anything.
	maxWorkflows  = 100
	otherWorkflow = "other"
)

// Watch measures workflows.
type Watch struct {
	config   Config
	measured *simplelru.LRU[pcommon.TraceID, struct{}]
	known    map[string]bool // workflows that have metrics
	// since is up to when all was measured.
	since time.Time

	duration *prometheus.HistogramVec // by workflow
	spent    *prometheus.HistogramVec // by workflow, org, to and bound
	failures prometheus.Counter
}

// New returns a Watch, whose metrics are registered. The error says what is wrong
// with the config.
func New(c Config) (*Watch, error) {
	if c.Answerer == nil || c.Registerer == nil || c.Log == nil || c.Interval <= 0 || c.Sample <= 0 {
		return nil, errors.New("workflows: Answerer, Registerer, Log, Interval and Sample are required")
	}
	if _, err := traceql.Parse(c.Search); err != nil {
		return nil, fmt.Errorf("the workflows to measure: %w", err)
	}
	if c.Delay == 0 {
		c.Delay = defaultDelay
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	measured, err := simplelru.NewLRU[pcommon.TraceID, struct{}](maxMeasured, nil)
	if err != nil {
		return nil, err
	}
	buckets := prometheus.ExponentialBuckets(0.005, 2, 16) // 5 ms to 2m44s
	w := &Watch{
		config: c, measured: measured, known: map[string]bool{},
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "parley_workflow_duration_seconds",
			Help:    "How long sampled traces of a workflow took from end to end.",
			Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"workflow"}),
		spent: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "parley_workflow_org_seconds",
			Help: "How much of the time of sampled traces of a workflow an organization spent, or the network from it to another: " +
				"at least (bound=\"min\") and at most (bound=\"max\"), where something is withheld or clocks differ.",
			Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"workflow", "org", "to", "bound"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "parley_workflow_sample_failures_total",
			Help: "How often the sample of traces from which workflows are measured could not be had.",
		}),
	}
	for _, collector := range []prometheus.Collector{w.duration, w.spent, w.failures} {
		if err := c.Registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("workflows: %w", err)
		}
	}
	w.since = c.Now().Add(-c.Delay)
	return w, nil
}

// Run measures until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(w.config.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.measure(ctx)
		}
	}
}

// measure takes the sample of what began since the last one.
func (w *Watch) measure(ctx context.Context) {
	end := w.config.Now().Add(-w.config.Delay)
	start := w.since
	if earliest := end.Add(-longestWindow * w.config.Interval); start.Before(earliest) {
		start = earliest
	}
	if !start.Before(end) {
		return
	}
	released, err := w.ask(ctx, traces.Question{Kind: policy.Search, Expression: w.config.Search, Limit: w.config.Sample, Start: start, End: end})
	if err != nil {
		if ctx.Err() == nil {
			w.failures.Inc()
			e := federation.AsError(err)
			w.config.Log.WarnContext(ctx, "workflows can't be measured", "kind", e.Kind, "reason", e.Message)
		}
		return
	}
	w.since = end
	for _, trace := range released.Traces() {
		w.observe(trace)
	}
}

// ask asks as one of our own users.
func (w *Watch) ask(ctx context.Context, q traces.Question) (*traces.Released, error) {
	result, err := w.config.Answerer.Ask(ctx, gateway.Question{Door: gateway.FrontDoor, Principal: w.config.Principal, Asked: q})
	if err != nil {
		return nil, err
	}
	released, ok := result.Released.(*traces.Released)
	if !ok {
		return nil, fmt.Errorf("an answer of type %T to a question about traces", result.Released)
	}
	return released, nil
}

// observe counts a trace, once.
func (w *Watch) observe(trace traces.Trace) {
	if w.measured.Contains(trace.ID) || trace.Report == nil {
		return
	}
	w.measured.Add(trace.ID, struct{}{})
	exemplar := prometheus.Labels{"trace_id": trace.ID.String()}
	for _, summary := range traces.Summarize([]traces.Trace{trace}) {
		workflow := w.name(summary.String())
		observe(w.duration.WithLabelValues(workflow), trace.Report.Blame.Duration, exemplar)
		for _, share := range trace.Report.Blame.Shares {
			org, to := string(share.Org), string(share.To)
			observe(w.spent.WithLabelValues(workflow, org, to, "min"), share.Time.Min, exemplar)
			observe(w.spent.WithLabelValues(workflow, org, to, "max"), share.Time.Max, exemplar)
		}
	}
}

// name is what a workflow is called in metrics.
func (w *Watch) name(workflow string) string {
	if !w.known[workflow] && len(w.known) >= maxWorkflows {
		return otherWorkflow
	}
	w.known[workflow] = true
	return workflow
}

func observe(o prometheus.Observer, d time.Duration, exemplar prometheus.Labels) {
	if with, ok := o.(prometheus.ExemplarObserver); ok {
		with.ObserveWithExemplar(d.Seconds(), exemplar)
		return
	}
	o.Observe(d.Seconds())
}
