// Package metricstest makes metrics stores for tests: small ones with
// everything in them that makes PromQL hard, the same for the same seed.
package metricstest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/parley-gateway/parley/federation/metrics"
)

// Start is when the samples of a store begin.
var Start = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// A store has Samples samples of each series, Interval apart.
const (
	Interval = 15 * time.Second
	Samples  = 120
)

// End is the time of the last sample.
func End() time.Time { return Start.Add((Samples - 1) * Interval) }

// Series is a raw series: its labels and one value for each of Samples steps.
type Series struct {
	Labels labels.Labels
	// Values are the samples; a NaN with value.StaleNaN's bits is a stale
	// marker, any other NaN is a gap.
	Values []float64
	// Histograms, when set, are there instead of Values; nil is a gap.
	Histograms []*histogram.FloatHistogram
	Exemplars  []exemplar.Exemplar
}

// Open returns an empty store that is closed with the test.
func Open(t testing.TB) *metrics.TSDB {
	t.Helper()
	db, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Store returns a store with the series.
func Store(t testing.TB, series []Series) *metrics.TSDB {
	t.Helper()
	db := Open(t)
	Append(t, db, series)
	return db
}

// Reference returns the series as Prometheus's own storage holds them, for an
// engine that knows nothing of views.
func Reference(t testing.TB, series []Series) storage.Queryable {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	Append(t, db, series)
	return db
}

// Append writes the series.
func Append(t testing.TB, to storage.Appendable, series []Series) {
	t.Helper()
	ctx := context.Background()
	for i := range Samples {
		app := to.Appender(ctx)
		ts := Start.Add(time.Duration(i) * Interval).UnixMilli()
		for _, s := range series {
			var err error
			switch {
			case s.Histograms != nil:
				if h := s.Histograms[i]; h != nil {
					_, err = app.AppendHistogram(0, s.Labels, ts, nil, h)
				}
			case !math.IsNaN(s.Values[i]) || value.IsStaleNaN(s.Values[i]):
				_, err = app.Append(0, s.Labels, ts, s.Values[i])
			}
			if err != nil {
				t.Fatalf("%s: %v", s.Labels, err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	app := to.Appender(ctx)
	for _, s := range series {
		for _, e := range s.Exemplars {
			if _, err := app.AppendExemplar(0, s.Labels, e); err != nil {
				t.Fatalf("%s: %v", s.Labels, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// Random returns series of five metrics by region, status, user and pod:
// counters with resets, gauges, stale series and gaps, classic and native
// histograms, some with an org label of their own.
func Random(r *rand.Rand) []Series {
	var out []Series
	regions := []string{"eu", "us", ""}
	users := []string{"alice", "bob", "carol", "dave"}
	for i := range 6 + r.IntN(6) {
		ls := labels.NewBuilder(labels.FromStrings(
			"region", regions[r.IntN(len(regions))],
			"user", users[r.IntN(len(users))],
			"pod", fmt.Sprintf("pod-%d", i),
			"status", []string{"200", "404", "500"}[r.IntN(3)]))
		if r.IntN(5) == 0 {
			ls.Set("org", "someone")
		}
		of := func(name string) labels.Labels { return ls.Set(labels.MetricName, name).Labels() }
		out = append(out,
			Series{Labels: of("requests_total"), Values: counter(r), Exemplars: exemplars(r)},
			Series{Labels: of("errors_total"), Values: counter(r)},
			Series{Labels: of("queue_length"), Values: gauge(r)},
			Series{Labels: of("memory_bytes"), Values: gauge(r)},
			Series{Labels: of("latency_native"), Histograms: native(r)})
		if i%2 == 0 {
			le := labels.NewBuilder(of("latency_bucket"))
			total := make([]float64, Samples)
			for _, bound := range []string{"0.1", "1", "+Inf"} {
				inc := steady(r)
				for j := range total {
					total[j] += inc[j]
				}
				out = append(out, Series{Labels: le.Set("le", bound).Labels(), Values: append([]float64(nil), total...)})
			}
		}
	}
	seen := map[string]bool{}
	unique := out[:0]
	for _, s := range out {
		if key := s.Labels.String(); !seen[key] {
			seen[key] = true
			unique = append(unique, s)
		}
	}
	return unique
}

func counter(r *rand.Rand) []float64 {
	out := make([]float64, Samples)
	v := float64(r.IntN(100))
	for i := range out {
		v += float64(r.IntN(20)) / 4
		if r.IntN(60) == 0 {
			v = 0
		}
		out[i] = v
	}
	return interrupt(r, out)
}

func steady(r *rand.Rand) []float64 {
	out := make([]float64, Samples)
	v := 0.0
	for i := range out {
		v += float64(r.IntN(5))
		out[i] = v
	}
	return out
}

func gauge(r *rand.Rand) []float64 {
	out := make([]float64, Samples)
	for i := range out {
		out[i] = float64(r.IntN(2000)-500) / 8
	}
	return interrupt(r, out)
}

// interrupt puts gaps and stale markers into a series.
func interrupt(r *rand.Rand, values []float64) []float64 {
	switch r.IntN(4) {
	case 0:
		at := r.IntN(Samples - 30)
		values[at] = math.Float64frombits(value.StaleNaN)
		for i := at + 1; i < at+25; i++ {
			values[i] = math.NaN()
		}
	case 1:
		for i := range values {
			if r.IntN(10) == 0 {
				values[i] = math.NaN()
			}
		}
	case 2:
		values[Samples-1-r.IntN(20)] = math.Float64frombits(value.StaleNaN)
	}
	return values
}

func native(r *rand.Rand) []*histogram.FloatHistogram {
	out := make([]*histogram.FloatHistogram, Samples)
	buckets := []float64{1, 2, 1, 1}
	for i := range out {
		if r.IntN(70) == 0 {
			buckets = []float64{0, 1, 0, 0}
		}
		count := 0.0
		for j := range buckets {
			buckets[j] += float64(r.IntN(3))
			count += buckets[j]
		}
		out[i] = &histogram.FloatHistogram{
			Schema: 1, ZeroThreshold: 0.001, Count: count, Sum: count * 1.5,
			PositiveSpans:   []histogram.Span{{Offset: int32(0), Length: 2}, {Offset: 1, Length: 2}},
			PositiveBuckets: append([]float64(nil), buckets...),
		}
	}
	return out
}

func exemplars(r *rand.Rand) []exemplar.Exemplar {
	var out []exemplar.Exemplar
	for i := range 3 {
		out = append(out, exemplar.Exemplar{
			Labels: labels.FromStrings("trace_id", fmt.Sprintf("%016x", r.Uint64()), "user", "alice"),
			Value:  float64(r.IntN(100)), Ts: Start.Add(time.Duration(i*20) * Interval).UnixMilli(), HasTs: true,
		})
	}
	return out
}
