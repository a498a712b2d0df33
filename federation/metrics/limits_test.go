package metrics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

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
}
