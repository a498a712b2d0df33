package front_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
)

// memory is a store small enough to read: the union that a gateway answers
// from in these tests, and what a real Prometheus API is given to compare with.
type memory []promql.Series

func (m memory) Querier(mint, maxt int64) (storage.Querier, error) {
	return memoryQuerier{m, mint, maxt}, nil
}

func (m memory) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, fmt.Errorf("no chunks here")
}

type memoryQuerier struct {
	memory
	mint, maxt int64
}

func (q memoryQuerier) Close() error { return nil }

func (q memoryQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, s := range q.matching(matchers) {
		found = append(found, promql.NewStorageSeries(s))
	}
	return &listSet{found: found}
}

func (q memoryQuerier) matching(matchers []*labels.Matcher) []promql.Series {
	var out []promql.Series
	for _, s := range q.memory {
		ok := !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) })
		if !ok {
			continue
		}
		in := promql.Series{Metric: s.Metric}
		for _, p := range s.Floats {
			if p.T >= q.mint && p.T <= q.maxt {
				in.Floats = append(in.Floats, p)
			}
		}
		for _, p := range s.Histograms {
			if p.T >= q.mint && p.T <= q.maxt {
				in.Histograms = append(in.Histograms, p)
			}
		}
		if len(in.Floats)+len(in.Histograms) > 0 {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return out
}

func (q memoryQuerier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	seen := map[string]bool{}
	for _, s := range q.matching(matchers) {
		s.Metric.Range(func(l labels.Label) { seen[l.Name] = true })
	}
	return slices.Sorted(maps.Keys(seen)), nil, nil
}

func (q memoryQuerier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	seen := map[string]bool{}
	for _, s := range q.matching(matchers) {
		if v := s.Metric.Get(name); v != "" {
			seen[v] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil, nil
}

type listSet struct {
	found []storage.Series
	next  int
}

func (s *listSet) Next() bool                        { s.next++; return s.next <= len(s.found) }
func (s *listSet) At() storage.Series                { return s.found[s.next-1] }
func (s *listSet) Err() error                        { return nil }
func (s *listSet) Warnings() annotations.Annotations { return nil }

// pipeline stands in for the gateway: it answers from memory, and keeps what
// it was asked.
type pipeline struct {
	store        memory
	metadata     map[string][]metadata.Metadata
	exemplars    []exemplar.QueryResult
	completeness federation.Completeness
	// err answers every question when set; fail is called first when set.
	err  error
	fail func(q gateway.Question) error

	mu    sync.Mutex
	asked []gateway.Question
}

func (p *pipeline) questions() []gateway.Question {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *pipeline) Ask(ctx context.Context, q gateway.Question) (front.Result, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q)
	p.mu.Unlock()
	if p.err != nil {
		return front.Result{}, p.err
	}
	if p.fail != nil {
		if err := p.fail(q); err != nil {
			return front.Result{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return front.Result{}, err
	}
	released, err := p.release(ctx, q.Asked.(metrics.Question))
	return front.Result{Released: released, Completeness: p.completeness}, err
}

func (p *pipeline) release(ctx context.Context, q metrics.Question) (*metrics.Released, error) {
	querier := memoryQuerier{p.store, timestamp.FromTime(q.Start), timestamp.FromTime(q.End)}
	switch q.Kind {
	case policy.Instant, policy.Range:
		return p.evaluate(ctx, q)
	case policy.Series:
		found := map[string]promql.Series{}
		for _, sel := range q.Selectors {
			for _, s := range querier.matching(sel) {
				found[s.Metric.String()] = s
			}
		}
		return encode(slices.Collect(maps.Values(found)), q.LabelsOnly), nil
	case policy.LabelNames, policy.LabelValues:
		var sel policy.Selector
		if len(q.Selectors) > 0 {
			sel = q.Selectors[0]
		}
		names, _, err := querier.LabelNames(ctx, nil, sel...)
		if q.Kind == policy.LabelValues {
			names, _, err = querier.LabelValues(ctx, q.Label, nil, sel...)
		}
		if q.Limit > 0 && len(names) > q.Limit {
			names = names[:q.Limit]
		}
		return metrics.Received(nil, names, nil, nil), err
	case policy.Metadata:
		if q.Label == "" {
			return metrics.Received(nil, nil, p.metadata, nil), nil
		}
		return metrics.Received(nil, nil, map[string][]metadata.Metadata{q.Label: p.metadata[q.Label]}, nil), nil
	case policy.Exemplars:
		return metrics.Received(nil, nil, nil, p.exemplars), nil
	}
	return nil, fmt.Errorf("kind %q", q.Kind)
}

func (p *pipeline) evaluate(ctx context.Context, q metrics.Question) (*metrics.Released, error) {
	opts := promql.NewPrometheusQueryOpts(false, q.Lookback)
	engine := newEngine()
	var query promql.Query
	var err error
	if q.Kind == policy.Instant {
		query, err = engine.NewInstantQuery(ctx, p.store, opts, q.Expression, q.Start)
	} else {
		query, err = engine.NewRangeQuery(ctx, p.store, opts, q.Expression, q.Start, q.End, q.Step)
	}
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	defer query.Close()
	res := query.Exec(ctx)
	if res.Err != nil {
		return nil, federation.Errorf(federation.Unavailable, "%v", res.Err)
	}
	switch v := res.Value.(type) {
	case promql.Matrix:
		return encode(v, false), nil
	case promql.Vector:
		var m promql.Matrix
		for _, s := range v {
			one := promql.Series{Metric: s.Metric, Floats: []promql.FPoint{{T: s.T, F: s.F}}}
			if s.H != nil {
				one = promql.Series{Metric: s.Metric, Histograms: []promql.HPoint{{T: s.T, H: s.H}}}
			}
			m = append(m, one)
		}
		return encode(m, false), nil
	}
	return nil, fmt.Errorf("a gateway answers with series, not with a %s", parser.DocumentedType(res.Value.Type()))
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: 1e10, EnableAtModifier: true, EnableNegativeOffset: true,
	})
}

// encode releases series, sorted by labels as a gateway does.
func encode(m []promql.Series, labelsOnly bool) *metrics.Released {
	out := make([]metrics.ReleasedSeries, 0, len(m))
	for _, s := range m {
		r := metrics.ReleasedSeries{Labels: s.Metric}
		for it := storage.NewSeriesToChunkEncoder(promql.NewStorageSeries(s)).Iterator(nil); !labelsOnly && it.Next(); {
			r.Chunks = append(r.Chunks, it.At())
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b metrics.ReleasedSeries) int {
		return cmp.Or(labels.Compare(a.Labels, b.Labels), cmp.Compare(len(a.Chunks), len(b.Chunks)))
	})
	return metrics.Received(out, nil, nil, nil)
}

// store is three organizations' series, ten minutes of them from the time 0.
func store() memory {
	var out memory
	for i, org := range []string{"acme", "globex", "initech"} {
		for j, region := range []string{"eu", "us"} {
			up := promql.Series{Metric: labels.FromStrings("__name__", "up", "org", org, "region", region)}
			requests := promql.Series{Metric: labels.FromStrings("__name__", "requests_total", "org", org, "region", region)}
			for t := int64(0); t <= 600_000; t += 15_000 {
				up.Floats = append(up.Floats, promql.FPoint{T: t, F: float64((i + j) % 2)})
				requests.Floats = append(requests.Floats, promql.FPoint{T: t, F: float64(t) * float64(1+i*2+j) / 1000})
			}
			out = append(out, up, requests)
		}
	}
	latency := promql.Series{Metric: labels.FromStrings("__name__", "latency_seconds", "org", "acme")}
	for t := int64(0); t <= 600_000; t += 60_000 {
		latency.Histograms = append(latency.Histograms, promql.HPoint{T: t, H: histogramAt(t)})
	}
	return append(out, latency)
}

func histogramAt(t int64) *histogram.FloatHistogram {
	return tsdbutil.GenerateTestFloatHistogram(t / 60_000)
}
