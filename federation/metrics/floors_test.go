package metrics_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

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
				t.Errorf("%v, want a refusal that says %q", err, test.because)
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
