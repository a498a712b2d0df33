package metrics_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

func mustSelect(t *testing.T, text string) policy.Selector {
	t.Helper()
	s, err := metrics.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cellsOf(t *testing.T, series string, k int, dimensions ...string) policy.Dataset {
	t.Helper()
	d := policy.Dataset{
		Name: series, Series: []policy.Selector{mustSelect(t, series)}, Release: policy.Aggregate, Labels: map[string]policy.LabelRule{},
		Cells: &policy.Cells{Dimensions: dimensions, Units: []string{"user"}, K: k},
	}
	for _, name := range dimensions {
		d.Labels[name] = policy.LabelRule{Mode: policy.Keep}
	}
	return d
}

func accountOf(t *testing.T, store []metricstest.Series, q metrics.Question, o policy.Obligations) metrics.Account {
	t.Helper()
	a, err := newLocalAt(t, metricstest.Store(t, store)).Account(t.Context(), q, o, metrics.Asking{Org: "globex", ExchangeID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A series in two datasets that release cells is in the cells of neither.
func TestAccountOfTwoLattices(t *testing.T) {
	one := values(func(int) float64 { return 1 })
	var store []metricstest.Series
	for i := range 4 {
		store = append(store, metricstest.Series{Labels: labels.FromStrings("__name__", "logins", "region", []string{"eu", "us"}[i%2], "user", fmt.Sprint(i)), Values: one})
	}
	o := policy.Obligations{Datasets: []policy.Dataset{cellsOf(t, "logins", 2, "region"), cellsOf(t, `{__name__=~"log.*",region="eu"}`, 2)}}
	q := metrics.Question{Kind: policy.Instant, Expression: "sum by (region) (logins)", Start: metricstest.End(), End: metricstest.End()}
	got := accountOf(t, store, q, o)
	if s := got.Selectors[0]; s.Series != 4 || s.InCells != 2 || s.InTwo != 2 {
		t.Errorf("%+v", s)
	}
	if len(got.Cells) != 2 || got.Cells[0].Released != 1 || got.Cells[0].Cells != 1 || got.Cells[1].Cells != 0 {
		t.Errorf("%+v", got.Cells)
	}
}

// le is a dimension without being named.
func TestAccountOfBuckets(t *testing.T) {
	var store []metricstest.Series
	for i := range 3 {
		for j, le := range []string{"1", "+Inf"} {
			store = append(store, metricstest.Series{
				Labels: labels.FromStrings("__name__", "took_bucket", "region", "eu", "user", fmt.Sprint(i), "le", le),
				Values: values(func(n int) float64 { return float64(n * (j + 1)) }),
			})
		}
	}
	o := policy.Obligations{Datasets: []policy.Dataset{cellsOf(t, "took_bucket", 2, "region")}}
	q := metrics.Question{Kind: policy.Instant, Expression: "sum by (le) (rate(took_bucket[5m]))", Start: metricstest.End(), End: metricstest.End()}
	got := accountOf(t, store, q, o)
	want := []metrics.LabelAccount{
		{Name: "le", Values: 2, Seen: 2, Kept: 2, InCells: true, Dimension: true, Datasets: []int{0}},
		{Name: "region", Values: 1, Seen: 1, Kept: 1, InCells: true, Dimension: true, Datasets: []int{0}},
		{Name: "user", Values: 3, InCells: true, Datasets: []int{0}},
	}
	if diff := cmp.Diff(want, got.Selectors[0].Labels); diff != "" {
		t.Error(diff)
	}
	q.Expression = `sum by (le) (rate(took_bucket{le="1"}[5m]))`
	if got = accountOf(t, store, q, o); got.Cells[0].Cells != 1 || got.Cells[0].Series != 3 {
		t.Errorf("cells that weren't asked for are counted: %+v", got.Cells)
	}
}

// Over a range a cell that leaves at some times is not one that leaves.
func TestAccountOverARange(t *testing.T) {
	// eu has three users, of whom one comes later; us one; ap two.
	var store []metricstest.Series
	add := func(region string, user int, from int) {
		store = append(store, metricstest.Series{
			Labels: labels.FromStrings("__name__", "logins", "region", region, "user", fmt.Sprint(user)),
			Values: values(func(i int) float64 {
				if i < from {
					return math.NaN()
				}
				return 1
			}),
		})
	}
	add("eu", 1, 0)
	add("eu", 2, 0)
	add("eu", 3, metricstest.Samples-4)
	add("us", 1, 0)
	for user := range 3 {
		add("ap", user, 0)
	}
	o := policy.Obligations{Datasets: []policy.Dataset{cellsOf(t, "logins", 3, "region")}}
	last := metricstest.Start.Add((metricstest.Samples - 1) * metricstest.Interval)
	q := metrics.Question{
		Kind: policy.Range, Expression: "sum by (region) (logins)", Start: last.Add(-9 * metricstest.Interval), End: last, Step: metricstest.Interval,
	}
	got := accountOf(t, store, q, o)
	want := []metrics.CellAccount{{
		Leaf: "logins", Series: 7, Cells: 3, Times: 10, Released: 1, Partly: 1, Small: 1,
		Suppressed: []metrics.SuppressedCell{
			{Labels: map[string]string{"__name__": "logins", "region": "us"}, Fate: metrics.SmallCell, Times: 10, Of: 10, LeastUnits: 1, MostUnits: 1},
			{Labels: map[string]string{"__name__": "logins", "region": "eu"}, Fate: metrics.SmallCell, Times: 6, Of: 10, LeastUnits: 2, MostUnits: 2},
		},
	}}
	if diff := cmp.Diff(want, got.Cells); diff != "" {
		t.Error(diff)
	}
	// So many that not all are listed.
	for region := range 25 {
		add(fmt.Sprint(region), 1, 0)
	}
	if c := accountOf(t, store, q, o).Cells[0]; len(c.Suppressed) != 20 || c.Unlisted != 7 || c.Small != 26 {
		t.Errorf("%d are listed, %d aren't, of %d", len(c.Suppressed), c.Unlisted, c.Small)
	}
}

// Events are counted by interval, and so is what isn't known of them.
func TestAccountOfEvents(t *testing.T) {
	const length = 4 * metricstest.Interval
	events := cellsOf(t, "logins", 5, "region")
	events.Cells.Units = nil
	begin := metricstest.Start.Truncate(length).Add(2 * length)
	counter := func(region string, perInterval []float64, missing func(interval int) bool) metricstest.Series {
		return metricstest.Series{
			Labels: labels.FromStrings("__name__", "logins", "region", region),
			Values: values(func(i int) float64 {
				at := metricstest.Start.Add(time.Duration(i) * metricstest.Interval)
				// Of the interval that ends at begin on, the n-th.
				n := int((at.Sub(begin) + length - 1) / length)
				total := 0.0
				for j := range n + 1 {
					total += perInterval[j%len(perInterval)]
				}
				if missing != nil && missing(n) {
					return math.NaN()
				}
				return total
			}),
		}
	}
	store := []metricstest.Series{
		counter("eu", []float64{10}, nil),                                // enough, always
		counter("us", []float64{3}, nil),                                 // never
		counter("ap", []float64{0, 20, 4}, nil),                          // in one of three not
		counter("af", []float64{10}, func(n int) bool { return n == 3 }), // a gap
	}
	o := policy.Obligations{Resolution: length, Datasets: []policy.Dataset{events}}
	end := begin.Add(6 * length)
	q := metrics.Question{Kind: policy.Instant, Expression: "sum by (region) (increase(logins[6m]))", Start: end, End: end}
	got := accountOf(t, store, q, o)
	want := []metrics.EventAccount{{
		Leaf: "increase(logins[6m])", Series: 4, Cells: 4, Interval: length, Intervals: 6,
		Released: 6 + 4 + 4, Small: 6 + 2, Unknown: 2, Gaps: 1,
		Suppressed: []metrics.SuppressedEvents{
			{Labels: map[string]string{"region": "us"}, Intervals: 6, Of: 6, Least: 3, Most: 3},
			{Labels: map[string]string{"region": "ap"}, Intervals: 2, Of: 6, Least: 4, Most: 4},
		},
	}}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Error(diff)
	}
	if len(got.Cells) > 0 || got.Selectors[0].InCells != 4 {
		t.Errorf("%+v", got)
	}
}
