package metrics_test

import (
	"slices"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// From what is kept of a question, policy is told the same once more.
func TestRecorded(t *testing.T) {
	selectors := func(texts ...string) []policy.Selector {
		var out []policy.Selector
		for _, text := range texts {
			s, err := metrics.ParseSelector(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	at := metricstest.End()
	for _, q := range []metrics.Question{
		{Kind: policy.Instant, Expression: `sum by (a) (rate(x{b=~"c|d"}[5m])) / on (a) topk(3, y offset 1h)`, Start: at, End: at},
		{Kind: policy.Range, Expression: `max_over_time(x[1h:5m] @ end())`, Start: at.Add(-time.Hour), End: at, Step: time.Minute},
		{Kind: policy.Exemplars, Expression: `x{a="b\nc"}`, Start: at, End: at},
		{Kind: policy.Series, Selectors: selectors(`x{a="b\nc"}`, `{__name__=~"y.*", z!=""}`), Start: at, End: at},
		{Kind: policy.LabelNames, Start: at, End: at},
		{Kind: policy.LabelValues, Label: "job", Selectors: selectors("x"), Start: at, End: at},
		{Kind: policy.Metadata, Label: "x"},
	} {
		asked, err := q.Request()
		if err != nil {
			t.Fatal(err)
		}
		got, err := metrics.Recorded(asked.Kind, asked.Query)
		if err != nil {
			t.Errorf("%s: %v", asked.Query, err)
			continue
		}
		same := slices.EqualFunc(got.Selectors, asked.Selectors, func(a, b policy.Selector) bool {
			return metrics.FormatSelector(a) == metrics.FormatSelector(b)
		})
		if !same || got.Query != asked.Query || got.Signal != asked.Signal || !slices.Equal(got.Functions, asked.Functions) || got.Window != (policy.Window{}) {
			t.Errorf("%s: %+v, want %+v", asked.Query, got, asked)
		}
	}
	for kind, text := range map[policy.Kind]string{policy.Instant: "sum(", policy.Series: "{", "nothing": "up"} {
		if _, err := metrics.Recorded(kind, text); err == nil {
			t.Errorf("%s %q was read", kind, text)
		}
	}
}
