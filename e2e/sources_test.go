package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand" //nolint:depguard // promqlsmith takes this one
	randv2 "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cortexproject/promqlsmith"
	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// TestSources asks a gateway that reads a real Prometheus and one with an
// embedded store of the same data the same questions of every kind.
func TestSources(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 2))
	store := newTwins(t, r)
	calls := newCallCounter(t)
	embedded := local(t, store.embedded)
	reading := local(t, source(t, metrics.PrometheusConfig{NoPushDown: true}, store.prometheus.URL))
	g := grammar{r}
	smith := promqlsmith.New(rand.New(rand.NewSource(r.Int64())), labelsOf(store.series), smithOptions()...)
	asked, answered, listed := 0, 0, map[policy.Kind]int{}
	all := policies(r)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := comparison{policy: name, got: reading, want: embedded, obligations: all[name], calls: calls}
		for range 30 {
			c.compare(t, g.question(g.any()))
			c.compare(t, g.question(smith.WalkRangeQuery().String()))
		}
		for _, expression := range []string{
			`latency_native`, `sum(latency_native)`, `rate(latency_native[5m])`, `histogram_quantile(0.9, sum by (region) (rate(latency_native[5m])))`,
		} {
			c.compare(t, g.question(expression))
		}
		asked, answered = asked+c.asked, answered+c.answered
		for range 20 {
			for _, q := range g.listings() {
				want, got := listing(embedded, q, all[name]), listing(reading, q, all[name])
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s %v label=%q labelsOnly=%t start=%d end=%d (-embedded +read):\n%s",
						name, q.Kind, q.Selectors, q.Label, q.LabelsOnly, q.Start.UnixMilli(), q.End.UnixMilli(), diff)
				}
				if len(want) > 0 {
					listed[q.Kind]++
				}
			}
		}
	}
	missing(t, embedded, reading)
	t.Logf("%d questions, %d with an answer; listings with something in them: %v", asked, answered, listed)
	if answered < asked/4 {
		t.Errorf("only %d of %d questions had an answer: the test is blind", answered, asked)
	}
	for _, kind := range []policy.Kind{policy.Series, policy.LabelNames, policy.LabelValues, policy.Exemplars} {
		if listed[kind] < 30 {
			t.Errorf("only %d listings of %s had something in them: the test is blind", listed[kind], kind)
		}
	}
}

// missing compares what two sources don't have that a policy names.
func missing(t *testing.T, embedded, reading *metrics.Local) {
	t.Helper()
	selector := func(text string) policy.Selector {
		s, err := metrics.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	keep := policy.LabelRule{Mode: policy.Keep}
	o := policy.Obligations{Datasets: []policy.Dataset{
		{Name: "a", Series: []policy.Selector{selector(`{__name__=~"requests_total|request_total",zome!="x"}`)}, Release: policy.Row, Labels: map[string]policy.LabelRule{"region": keep, "regoin": keep}},
		{Name: "b", Series: []policy.Selector{selector("queue_size")}, Release: policy.Deny},
		{Name: "c", Series: []policy.Selector{{}}, Release: policy.Row, Labels: map[string]policy.LabelRule{"region": keep, "status": keep}},
	}}
	q := metrics.Question{Kind: policy.Instant, Expression: "up", Start: metricstest.End(), End: metricstest.End()}
	want, _, err := embedded.Missing(t.Context(), q, o, partner)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := reading.Missing(t.Context(), q, o, partner)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 5 {
		t.Errorf("%d names that aren't there, want 5: %+v (-embedded +read):\n%s", len(want), want, diff)
	}
}

// listings are a question of each kind of listing.
func (g grammar) listings() []metrics.Question {
	start := metricstest.Start.Add(time.Duration(g.r.IntN(20*60*1000)) * time.Millisecond)
	selector, err := metrics.ParseSelector(g.selectors())
	if err != nil {
		panic(err) // the grammar is wrong
	}
	q := metrics.Question{Start: start, End: start.Add(time.Duration(1+g.r.IntN(20)) * time.Minute), Selectors: []policy.Selector{selector}}
	series, labelsOnly, names, values, exemplars := q, q, q, q, q
	series.Kind = policy.Series
	labelsOnly.Kind, labelsOnly.LabelsOnly = policy.Series, true
	names.Kind = policy.LabelNames
	values.Kind, values.Label = policy.LabelValues, pick(g, "region", "pod", "user", "status", "__name__", "exported_org", "zone")
	exemplars.Kind, exemplars.Expression, exemplars.Selectors = policy.Exemplars, "requests_total"+g.matchers(), nil
	return []metrics.Question{series, labelsOnly, names, values, exemplars}
}

// selectors is a selector without modifiers.
func (g grammar) selectors() string {
	return pick(g, "http_requests_total", "requests_total", "errors_total", "queue_length", "latency_bucket", "latency_native", "nothing") + g.matchers()
}

// listing is what a Local lists, as text: a line each.
func listing(l *metrics.Local, q metrics.Question, o policy.Obligations) []string {
	released, _, err := l.Answer(context.Background(), q, policy.Decision{Allow: true, Obligations: o}, partner)
	if err != nil {
		return []string{told(err)}
	}
	out := append([]string{}, released.Names()...)
	for _, of := range released.Exemplars() {
		for _, e := range of.Exemplars {
			out = append(out, fmt.Sprintf("%s %s %v @%d", of.SeriesLabels, e.Labels, e.Value, e.Ts))
		}
	}
	matrix, err := released.Matrix()
	if err != nil {
		return []string{err.Error()}
	}
	for _, s := range matrix {
		out = append(out, s.String())
	}
	return out
}
