package traces_test

import (
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
)

// BenchmarkTracesView measures what the view makes of spans, in spans per second of
// one core, reading them from an embedded store among it.
func BenchmarkTracesView(b *testing.B) {
	store := traces.NewStore(traces.StoreConfig{Now: tracestest.Start.Add(2 * tracestest.Length).UTC})
	var ids []pcommon.TraceID
	spans := 0
	for seed := range uint64(200) {
		w := tracestest.NewWorld(seed, seed)
		for _, trace := range w.Traces() {
			spans += trace.SpanCount()
			if err := store.Append(trace); err != nil {
				b.Fatal(err)
			}
		}
		ids = append(ids, w.IDs()...)
	}
	o := tracestest.Policy()
	o.Limits.Spans = spans
	q := traces.Question{Kind: policy.Trace, IDs: ids}
	for b.Loop() {
		answerOf(b, store, o, q)
	}
	b.ReportMetric(float64(spans)*float64(b.N)/b.Elapsed().Seconds(), "spans/s")
}
