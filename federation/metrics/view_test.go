package metrics_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// drops releases everything with no label but the metric's name.
func drops() policy.Obligations {
	return policy.Obligations{Datasets: []policy.Dataset{{Name: "all", Series: []policy.Selector{{}}, Release: policy.Row}}}
}

// values are Samples values of which those that f gives NaN are gaps.
func values(f func(i int) float64) []float64 {
	out := make([]float64, metricstest.Samples)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// A series that policy hides by time alone has samples on both sides of what
// may be seen, in the same chunk. It must not stand in the way of one that may.
func TestSeriesHiddenByTimeIsNotThere(t *testing.T) {
	five := values(func(int) float64 { return 5 })
	seen := []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "a", "user", "y"), Values: five},
		{Labels: labels.FromStrings("__name__", "b", "user", "z"), Values: five},
	}
	hidden := metricstest.Series{Labels: labels.FromStrings("__name__", "a", "user", "x"), Values: values(func(i int) float64 {
		if i < 20 || i > 110 {
			return 1
		}
		return math.NaN()
	})}
	o := drops()
	o.NotBefore = metricstest.Start.Add(30 * metricstest.Interval)
	o.NotAfter = metricstest.Start.Add(100 * metricstest.Interval)
	with, without := newLocalAt(t, metricstest.Store(t, append(seen, hidden))), newLocalAt(t, metricstest.Store(t, seen))
	at := metricstest.Start.Add(60 * metricstest.Interval)
	every := policy.Selector{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+")}
	for _, q := range []metrics.Question{
		{Kind: policy.Instant, Expression: "a / ignoring (x) b", Start: at, End: at},
		{Kind: policy.Instant, Expression: "a", Start: at, End: at},
		{Kind: policy.Series, Selectors: []policy.Selector{every}, Start: metricstest.Start, End: metricstest.End()},
		{Kind: policy.Series, Selectors: []policy.Selector{every}, LabelsOnly: true, Start: metricstest.Start, End: metricstest.End()},
	} {
		if n := compareViews(t, q, with, o, without, o); n == 0 {
			t.Errorf("%s %s has no answer", q.Kind, q.Expression)
		}
	}
}

// A series without samples in the span that is asked for is not one of the
// answer, and so can't be one too many.
func TestSeriesOutsideTheSpanNeedNoAggregation(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "a", "pod", "old"), Values: values(func(i int) float64 {
			if i > 20 && i < metricstest.Samples-1 {
				return math.NaN()
			}
			return 1
		})},
		{Labels: labels.FromStrings("__name__", "a", "pod", "new"), Values: values(func(int) float64 { return 2 })},
	}))
	q := metrics.Question{
		Kind: policy.Series, Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "a")}},
		Start: metricstest.Start.Add(30 * metricstest.Interval), End: metricstest.Start.Add(60 * metricstest.Interval),
	}
	allowed := policy.Decision{Allow: true, Obligations: drops()}
	released, _, err := local.Answer(context.Background(), q, allowed, partner)
	if err != nil {
		t.Fatal(err)
	}
	if series, samples := released.Cost(); series != 1 || samples != 31 {
		t.Errorf("%d series, %d samples", series, samples)
	}
	q.Start = metricstest.Start
	var e *federation.Error
	if _, _, err := local.Answer(context.Background(), q, allowed, partner); !errors.As(err, &e) || e.Kind != federation.NeedsAggregation {
		t.Errorf("both are in the span: %v", err)
	}
}

// Histograms that policy made alike have different bounds, as while a new
// release rolls out: the bounds that only one of them has stay with it.
func TestBucketsOfAHistogramStayTogether(t *testing.T) {
	var series []metricstest.Series
	add := func(pod, bound string, count float64) {
		series = append(series, metricstest.Series{
			Labels: labels.FromStrings("__name__", "latency_bucket", "pod", pod, "le", bound), Values: values(func(int) float64 { return count }),
		})
	}
	for _, old := range []string{"old-1", "old-2"} {
		add(old, "0.1", 10)
		add(old, "+Inf", 10)
	}
	add("new", "0.1", 1)
	add("new", "0.25", 90)
	add("new", "5", 99)
	add("new", "+Inf", 100)
	local := newLocalAt(t, metricstest.Store(t, series))
	o := drops()
	o.Datasets[0].Labels = map[string]policy.LabelRule{"le": {Mode: policy.Keep}}
	for _, expression := range []string{
		"max(histogram_quantile(0.8, latency_bucket))", "sum(histogram_quantile(0.8, latency_bucket))", "count(histogram_quantile(0.8, latency_bucket))",
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
		if compareViews(t, q, local, o, local, everything.Obligations) == 0 {
			t.Errorf("%s has no answer", expression)
		}
	}
}

// What an exemplar calls org or __name__ is not the series'.
func TestExemplarsOwnOrgIsALabelLikeAnyOther(t *testing.T) {
	series := []metricstest.Series{{
		Labels: labels.FromStrings("__name__", "a"), Values: values(func(int) float64 { return 1 }),
		Exemplars: []exemplar.Exemplar{{
			Labels: labels.FromStrings("org", "customer", "__name__", "secret", "trace_id", "1"), Value: 1,
			Ts: metricstest.End().UnixMilli(), HasTs: true,
		}},
	}}
	o := drops()
	o.Datasets[0].Labels = map[string]policy.LabelRule{"trace_id": {Mode: policy.Keep}}
	q := metrics.Question{Kind: policy.Exemplars, Expression: "a", Start: metricstest.Start, End: metricstest.End()}
	released, _, err := newLocalAt(t, metricstest.Store(t, series)).Answer(context.Background(), q, policy.Decision{Allow: true, Obligations: o}, partner)
	if err != nil {
		t.Fatal(err)
	}
	want := []exemplar.QueryResult{{
		SeriesLabels: labels.FromStrings("__name__", "a", "org", "acme"),
		Exemplars:    []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "1"), Value: 1, Ts: metricstest.End().UnixMilli(), HasTs: true}},
	}}
	if diff := cmp.Diff(want, released.Exemplars(), cmp.Comparer(labels.Equal)); diff != "" {
		t.Errorf("exemplars (-want +got):\n%s", diff)
	}
}

// The part of a refusal says that it is one, and of what was found nothing.
func TestPartOfAnErrorSaysTheSame(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "a", "pod", "1"), Values: values(func(int) float64 { return 1 })},
		{Labels: labels.FromStrings("__name__", "a", "pod", "2"), Values: values(func(int) float64 { return 1 })},
	}))
	q := metrics.Question{Kind: policy.Instant, Expression: "a", Start: metricstest.End(), End: metricstest.End()}
	few := everything
	few.Obligations.Limits.Series = 1
	for name, d := range map[string]policy.Decision{"refused": {}, "over limit": few} {
		_, part, err := local.Answer(context.Background(), q, d, partner)
		want := federation.Part{Org: "acme", Status: federation.Denied, Reason: federation.AsError(err).Message}
		if diff := cmp.Diff(want, part); diff != "" || err == nil {
			t.Errorf("%s: %v, part (-want +got):\n%s", name, err, diff)
		}
	}
}

// A defect that one question meets is an error of that question.
func TestPanicIsAnError(t *testing.T) {
	broken := everything
	broken.Obligations.Datasets = []policy.Dataset{{
		Series: []policy.Selector{{}}, Release: policy.Row,
		Others: policy.LabelRule{Mode: policy.Generalize}, // without the Mapping it must have
	}}
	local := newLocalAt(t, metricstest.Store(t, []metricstest.Series{
		{Labels: labels.FromStrings("__name__", "a", "pod", "1"), Values: values(func(int) float64 { return 1 })},
	}))
	q := metrics.Question{Kind: policy.LabelNames, Start: metricstest.Start, End: metricstest.Start.Add(time.Hour)}
	if _, part, err := local.Answer(context.Background(), q, broken, partner); federation.AsError(err).Kind != federation.Internal || part.Status != federation.Unreachable {
		t.Errorf("%+v, %v", part, err)
	}
}
