package metrics_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Everything that leaves counts: names, values and metadata as series do,
// exemplars as samples. What is hidden doesn't, however much it is.
func TestListsAreWithinLimits(t *testing.T) {
	var series []metricstest.Series
	add := func(metric, pod string) {
		s := metricstest.Series{Labels: labels.FromStrings("__name__", metric, "pod", pod), Values: values(func(int) float64 { return 1 })}
		for i := range 2 {
			s.Exemplars = append(s.Exemplars, exemplar.Exemplar{
				Labels: labels.FromStrings("trace_id", fmt.Sprint(metric, pod, i)), Value: 1, Ts: metricstest.End().Add(time.Duration(i-9) * time.Minute).UnixMilli(), HasTs: true,
			})
		}
		series = append(series, s)
	}
	for i := range 3 {
		add("seen", fmt.Sprint("pod-", i))
		add(fmt.Sprint("seen_", i), "pod-0")
	}
	for i := range 50 {
		add("hidden", fmt.Sprint("hidden-", i))
		add(fmt.Sprint("hidden_", i), "pod-0")
	}
	store := metricstest.Store(t, series)
	for _, name := range []string{"seen", "seen_0", "seen_1", "seen_2", "hidden", "hidden_1"} {
		store.Describe(name, metadata.Metadata{Type: model.MetricTypeGauge})
	}
	local := newLocalAt(t, store)
	seen := labels.MustNewMatcher(labels.MatchRegexp, "__name__", "seen.*")
	o := policy.Obligations{Datasets: []policy.Dataset{{
		Name: "seen", Release: policy.Row, Series: []policy.Selector{{seen}}, Others: policy.LabelRule{Mode: policy.Keep},
	}}}
	start, end := metricstest.Start, metricstest.End()
	every := []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}}
	for _, c := range []struct {
		name            string
		question        metrics.Question
		series, samples int // what has to be agreed for it
		told            string
	}{
		{"values", metrics.Question{Kind: policy.LabelValues, Label: "__name__"}, 4, 1, "the list has more than 3 entries; give a selector, or a limit"},
		{"names", metrics.Question{Kind: policy.LabelNames}, 3, 1, "the list has more than 2 entries; give a selector, or a limit"},
		{"few values", metrics.Question{Kind: policy.LabelValues, Label: "__name__", Limit: 2}, 2, 1, "the list has more than 1 entries; give a selector, or a limit"},
		{"metadata", metrics.Question{Kind: policy.Metadata}, 4, 1, "the list has more than 3 entries; give a selector, or a limit"},
		{"labels", metrics.Question{Kind: policy.Series, LabelsOnly: true, Selectors: every}, 6, 1, "the answer has more than 5 series; ask for fewer, or aggregate"},
		{"exemplars", metrics.Question{Kind: policy.Exemplars, Expression: `{__name__=~".+"}`}, 6, 12, "the answer has more than 11 exemplars; ask for less time or fewer series"},
		{"exemplars of series", metrics.Question{Kind: policy.Exemplars, Expression: `seen`}, 3, 6, "the answer has more than 5 exemplars; ask for less time or fewer series"},
	} {
		c.question.Start, c.question.End = start, end
		for less, wants := range map[int]bool{0: true, 1: false} {
			limited := o
			limited.Limits = tenants.Limits{Series: c.series, Samples: c.samples}
			if c.question.Kind == policy.Exemplars {
				limited.Limits.Samples -= less
			} else {
				limited.Limits.Series -= less
			}
			_, _, err := local.Answer(t.Context(), c.question, policy.Decision{Allow: true, Obligations: limited}, partner)
			e := federation.AsError(err)
			if wants && e != nil {
				t.Errorf("%s with %+v: %v", c.name, limited.Limits, err)
			}
			if !wants && (e == nil || e.Kind != federation.OverLimit || e.Message != c.told) {
				t.Errorf("%s with %+v: %v", c.name, limited.Limits, err)
			}
		}
	}
	limited := o
	limited.Limits.Series = 5
	_, _, err := local.Answer(t.Context(), metrics.Question{Kind: policy.Exemplars, Expression: `{__name__=~".+"}`, Start: start, End: end},
		policy.Decision{Allow: true, Obligations: limited}, partner)
	if e := federation.AsError(err); e == nil || e.Kind != federation.OverLimit {
		t.Errorf("exemplars of six series: %v", err)
	}
	for question, told := range map[*metrics.Question]string{
		{Kind: policy.LabelValues, Label: "__name__"}:                         "the list has more than %d bytes; give a selector, or a limit",
		{Kind: policy.LabelNames}:                                             "the list has more than %d bytes; give a selector, or a limit",
		{Kind: policy.Metadata}:                                               "the list has more than %d bytes; give a selector, or a limit",
		{Kind: policy.Series, LabelsOnly: true, Selectors: every}:             "the answer has more than %d bytes; ask for less time, a larger step or fewer series",
		{Kind: policy.Series, Selectors: every}:                               "the answer has more than %d bytes; ask for less time, a larger step or fewer series",
		{Kind: policy.Exemplars, Expression: `{__name__=~".+"}`}:              "the answer has more than %d bytes; ask for less time, a larger step or fewer series",
		{Kind: policy.Range, Expression: `{__name__=~".+"}`, Step: time.Hour}: "the answer has more than %d bytes; ask for less time, a larger step or fewer series",
	} {
		question.Start, question.End = start, end
		asks := func(bytes int) (*metrics.Released, *federation.Error) {
			limited := o
			limited.Limits.Bytes = bytes
			released, _, err := local.Answer(t.Context(), *question, policy.Decision{Allow: true, Obligations: limited}, partner)
			return released, federation.AsError(err)
		}
		released, refused := asks(0)
		if refused != nil || released.Bytes() == 0 {
			t.Errorf("%+v: %v", question, refused)
			continue
		}
		if _, refused := asks(released.Bytes()); refused != nil {
			t.Errorf("%+v of %d bytes: %v", question, released.Bytes(), refused)
		}
		less := released.Bytes() - 1
		_, refused = asks(less)
		var because *tenants.Refusal
		if refused == nil || refused.Kind != federation.OverLimit || refused.Message != fmt.Sprintf(told, less) ||
			!errors.As(refused.Err, &because) || because.Reason != tenants.OverBytes {
			t.Errorf("%+v, one byte too many: %v", question, refused)
		}
	}
}

// A size is that of what is in an answer, and never less than what its samples
// have at least.
func TestBytesOfAnAnswer(t *testing.T) {
	floats := chunkenc.NewXORChunk()
	appender, err := floats.Appender()
	if err != nil {
		t.Fatal(err)
	}
	appender.Append(1, 2)
	l := labels.FromStrings("ab", "cd")
	series := func(c chunkenc.Chunk) []metrics.ReleasedSeries {
		return []metrics.ReleasedSeries{{Labels: l, Chunks: []chunks.Meta{{Chunk: c}}}}
	}
	r := metrics.Received(
		series(floats),
		[]string{"xyz"},
		map[string][]metadata.Metadata{"up": {{Type: "gauge", Help: "h", Unit: "s"}}},
		[]exemplar.QueryResult{{SeriesLabels: l, Exemplars: []exemplar.Exemplar{{Labels: l}}}},
	)
	if got, want := r.Bytes(), 4+16+3+2+7+4+4+16; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	histograms := func(n, buckets int) chunkenc.Chunk {
		c := chunkenc.NewFloatHistogramChunk()
		appender, err := c.Appender()
		if err != nil {
			t.Fatal(err)
		}
		h := &histogram.FloatHistogram{Count: 1, PositiveSpans: []histogram.Span{{Length: uint32(buckets)}}, PositiveBuckets: make([]float64, buckets)}
		for i := range n {
			if _, _, appender, err = appender.AppendFloatHistogram(nil, int64(i), h, true); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	if small := histograms(100, 1); len(small.Bytes()) >= 1600 {
		t.Fatal("no histograms that take less than numbers")
	} else if got := metrics.Received(series(small), nil, nil, nil).Bytes(); got != 4+1600 {
		t.Errorf("100 histograms that are all the same have %d bytes", got)
	}
	if large := histograms(1, 100); metrics.Received(series(large), nil, nil, nil).Bytes() != 4+len(large.Bytes()) {
		t.Errorf("a histogram of %d bytes has %d", len(large.Bytes()), metrics.Received(series(large), nil, nil, nil).Bytes()-4)
	}
}
