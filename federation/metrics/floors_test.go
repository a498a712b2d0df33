package metrics_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// What floors refuse they refuse by the question's text, whatever there is.
func TestFloorsRefuse(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, nil))
	coarse := everything.Obligations
	coarse.Resolution = time.Minute
	few := everything.Obligations
	few.Functions = []string{"rate", "sum"}
	at := metricstest.End()
	instant := func(expression string) metrics.Question {
		return metrics.Question{Kind: policy.Instant, Expression: expression, Start: at, End: at}
	}
	stepped := func(step time.Duration) metrics.Question {
		return metrics.Question{Kind: policy.Range, Expression: "up", Start: at.Add(-time.Hour), End: at, Step: step}
	}
	series := metrics.Question{Kind: policy.Series, Start: at, End: at, Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "up")}}}
	exemplars := metrics.Question{Kind: policy.Exemplars, Start: at.Add(-time.Hour), End: at, Expression: "up"}
	listed := series
	listed.LabelsOnly = true
	for name, test := range map[string]struct {
		o       policy.Obligations
		q       metrics.Question
		because string // empty: it is answered
	}{
		"a step":                      {coarse, stepped(time.Minute), ""},
		"a short step":                {coarse, stepped(time.Minute - time.Millisecond), "step"},
		"a range":                     {coarse, instant("rate(up[1m])"), ""},
		"a short range":               {coarse, instant("rate(up[59s])"), "ranges"},
		"a subquery":                  {coarse, instant("max_over_time(up[5m:])"), ""},
		"a subquery with short steps": {coarse, instant("sum(max_over_time(up[5m:30s]))"), "ranges"},
		"what is answered":            {few, instant("sum(rate(up[5m])) / sum(rate(up[5m] offset 1h))"), ""},
		"another function":            {few, instant("sum(irate(up[5m]))"), "irate is not among"},
		"another aggregation":         {few, instant("max(rate(up[5m]))"), "max is not among"},
		"a selector":                  {few, instant("up"), "a selector by itself"},
		"a selector beside others":    {few, instant("up / sum(up)"), "a selector by itself"},
		"series":                      {few, series, "series by themselves"},
		"exemplars":                   {few, exemplars, "exemplars by themselves"},
		"what series there are":       {few, listed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := local.Answer(t.Context(), test.q, policy.Decision{Allow: true, Obligations: test.o}, partner)
			if test.because == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(federation.AsError(err).Message, test.because) {
				t.Fatalf("%v, want a refusal that says %q", err, test.because)
			}
			// Of one that is Refused a partner isn't told the reason.
			if federation.AsError(err).Kind == federation.Refused {
				t.Errorf("%v, want a kind whose reason is told", err)
			}
		})
	}
}

// A moment after the end of an interval shows the interval, one before it
// doesn't, whenever within it the question is asked again.
func TestIntervalsShowWhenTheyAreOver(t *testing.T) {
	store := metricstest.Store(t, []metricstest.Series{{Labels: labels.FromStrings("__name__", "up"), Values: values(func(i int) float64 { return float64(i) })}})
	o := everything.Obligations
	o.Resolution = time.Minute
	answers := map[string]bool{}
	for second := range 60 {
		now := metricstest.Start.Add(10*time.Minute + time.Duration(second)*time.Second)
		local, err := metrics.NewLocal(metrics.LocalConfig{
			Org: "acme", Source: store, Secret: []byte("0123456789abcdef0123456789abcdef"), Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		answers[ask(local, metrics.Question{Kind: policy.Series, Start: metricstest.Start, End: metricstest.End(), Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "up")}}}, o)] = true
	}
	if len(answers) != 1 {
		t.Errorf("within one interval %d different answers were given", len(answers))
	}
	for answer := range answers {
		if strings.Count(answer, ":") != 11 { // minutes 0 to 10
			t.Errorf("the view holds %s", answer)
		}
	}
}

// Of exemplars there are no more than of samples, and they are as coarse.
func TestExemplarsAreAsCoarseAsSamples(t *testing.T) {
	s := metricstest.Series{Labels: labels.FromStrings("__name__", "up"), Values: values(func(i int) float64 { return float64(i) })}
	for second := range 240 {
		at := metricstest.Start.Add(time.Duration(second) * time.Second)
		s.Exemplars = append(s.Exemplars, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", fmt.Sprint(second)), Value: float64(second) + 0.7, Ts: at.UnixMilli(), HasTs: true})
	}
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{s}))
	o := everything.Obligations
	o.Resolution = time.Minute
	o.Datasets = slices.Clone(o.Datasets)
	o.Datasets[0].Rounding.Base = 10
	q := metrics.Question{Kind: policy.Exemplars, Start: metricstest.Start.Add(time.Second), End: metricstest.Start.Add(3 * time.Minute), Expression: "up"}
	released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, of := range released.Exemplars() {
		for _, e := range of.Exemplars {
			got = append(got, fmt.Sprintf("%s %s %g", time.UnixMilli(e.Ts).Sub(metricstest.Start), e.Labels.Get("trace_id"), e.Value))
		}
	}
	if want := []string{"1m0s 60 60", "2m0s 120 120", "3m0s 180 180"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A histogram that began anew within an interval did so for the view too: what
// its samples say of the ones before them is about others.
func TestResetsBetweenSamplesOfTheViewShow(t *testing.T) {
	counts := make([]*histogram.FloatHistogram, metricstest.Samples)
	for i := range counts {
		n := float64(i)
		if i > 41 {
			n = float64(i - 41)
		}
		counts[i] = &histogram.FloatHistogram{Count: n, Sum: n, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{n}}
	}
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{{Labels: labels.FromStrings("__name__", "latency"), Histograms: counts}}))
	o := everything.Obligations
	o.Resolution = time.Minute
	q := metrics.Question{Kind: policy.Instant, Expression: "resets(latency[25m])", Start: metricstest.End(), End: metricstest.End()}
	if got, want := ask(local, q, o), fmt.Sprintf(`{org="acme"} %d:%016x`, metricstest.End().UnixMilli(), math.Float64bits(1)); !strings.HasPrefix(got, want) {
		t.Errorf("%s, want one reset", got)
	}
}
