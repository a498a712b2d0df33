package metrics_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// Every series of the store is accounted for, each once.
func TestAccount(t *testing.T) {
	selector := func(text string) policy.Selector {
		s, err := metrics.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := values(func(int) float64 { return 1 })
	early := values(func(i int) float64 {
		if i < 10 {
			return 1
		}
		return math.NaN()
	})
	var store []metricstest.Series
	add := func(values []float64, ls ...string) {
		store = append(store, metricstest.Series{Labels: labels.FromStrings(ls...), Values: values})
	}
	for i := range 6 {
		add(one, "__name__", "http", "env", "prod", "region", []string{"eu", "us"}[i%2], "pod", fmt.Sprint(i%3), "user", fmt.Sprint(i))
	}
	add(one, "__name__", "http", "env", "test", "region", "eu")
	add(one, "__name__", "http", "env", "prod", "region", "eu", "secret", "yes")
	add(early, "__name__", "http", "env", "prod", "region", "eu", "user", "early")
	// Cells: eu has three users, us one, ap three of whom one has nearly all.
	for i := range 3 {
		add(one, "__name__", "logins", "region", "eu", "user", fmt.Sprint(i))
		size := 1.0
		if i == 0 {
			size = 1000
		}
		add(values(func(int) float64 { return size }), "__name__", "logins", "region", "ap", "user", fmt.Sprint(i))
	}
	add(one, "__name__", "logins", "region", "us", "user", "0")

	o := policy.Obligations{
		NotBefore: metricstest.Start.Add(20 * metricstest.Interval),
		Queries:   []policy.Query{{Name: "published", Expression: "sum(http)"}},
		Datasets: []policy.Dataset{
			{Name: "http", Series: []policy.Selector{selector(`http{env="prod"}`)}, Release: policy.Row, Labels: map[string]policy.LabelRule{
				"region": {Mode: policy.Keep}, "pod": {Mode: policy.Generalize, Mapping: &policy.Mapping{Buckets: []float64{1}}},
			}},
			{Name: "secrets", Series: []policy.Selector{selector(`{secret!=""}`)}, Release: policy.Deny},
			{Name: "logins", Series: []policy.Selector{selector("logins")}, Release: policy.Aggregate, Labels: map[string]policy.LabelRule{"region": {Mode: policy.Keep}}, Cells: &policy.Cells{
				Dimensions: []string{"region"}, Units: []string{"user"}, K: 2, Dominance: 0.9,
			}},
		},
	}
	for _, c := range []struct {
		expression string
		want       metrics.Account
	}{
		{"sum by (region) (count_over_time(http[30m]))", metrics.Account{Selectors: []metrics.SelectorAccount{{
			Selector: "http", Series: 9, Rows: 6, Denied: map[int]int{1: 1}, Outside: 1, Elsewhen: 1,
			Labels: []metrics.LabelAccount{{Name: "env", Values: 1, Datasets: []int{0}}, {Name: "pod", Values: 3, Seen: 2, Datasets: []int{0}}, {Name: "region", Values: 2, Seen: 2, Kept: 2, Datasets: []int{0}}, {Name: "user", Values: 6, Datasets: []int{0}}},
		}}}},
		{`sum(http{user="3"})`, metrics.Account{Selectors: []metrics.SelectorAccount{{Selector: `http{user="3"}`, Series: 1, Unmatched: 1}}}},
		{`sum(http{org="acme",region="us"})`, metrics.Account{Selectors: []metrics.SelectorAccount{{
			Selector: `http{org="acme",region="us"}`, Series: 3, Rows: 3,
			Labels: []metrics.LabelAccount{{Name: "env", Values: 1, Datasets: []int{0}}, {Name: "pod", Values: 3, Seen: 2, Datasets: []int{0}}, {Name: "region", Values: 1, Seen: 1, Kept: 1, Datasets: []int{0}}, {Name: "user", Values: 3, Datasets: []int{0}}},
		}}}},
		{`sum(http{org="globex"})`, metrics.Account{Selectors: []metrics.SelectorAccount{{Selector: `http{org="globex"}`}}}},
		{`published or sum(nowhere)`, metrics.Account{
			Selectors: []metrics.SelectorAccount{{Selector: "nowhere"}},
			Published: []metrics.PublishedAccount{{Query: "published", Expression: "sum(http)", Series: 1}},
		}},
		{"sum by (region) (logins) or sum(nowhere)", metrics.Account{
			Selectors: []metrics.SelectorAccount{
				{Selector: "logins", Series: 7, InCells: 7, Labels: []metrics.LabelAccount{{Name: "region", Values: 3, Seen: 1, Kept: 1, InCells: true, Dimension: true, Datasets: []int{2}}, {Name: "user", Values: 3, InCells: true, Datasets: []int{2}}}},
				{Selector: "nowhere"},
			},
			Cells: []metrics.CellAccount{{
				Leaf: "logins", Dataset: 2, Series: 7, Cells: 3, Times: 1, Released: 1, Small: 1, Dominated: 1,
				Suppressed: []metrics.SuppressedCell{
					{Labels: map[string]string{"__name__": "logins", "region": "ap"}, Fate: metrics.DominatedCell, Times: 1, Of: 1, LeastUnits: 3, MostUnits: 3},
					{Labels: map[string]string{"__name__": "logins", "region": "us"}, Fate: metrics.SmallCell, Times: 1, Of: 1, LeastUnits: 1, MostUnits: 1},
				},
			}},
		}},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: c.expression, Start: metricstest.End(), End: metricstest.End()}
		got, err := newLocalAt(t, metricstest.Store(t, store)).Account(t.Context(), q, o, metrics.Asking{Org: "globex", ExchangeID: "x"})
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.expression, diff)
		}
	}
}

// A store is read while it is open and written to.
func TestTSDBReader(t *testing.T) {
	dir := t.TempDir()
	writer, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close() })
	// More than a chunk of each, so that some are in files of their own.
	metricstest.Append(t, writer, []metricstest.Series{{Labels: labels.FromStrings("__name__", "up", "job", "a"), Values: values(func(i int) float64 { return float64(i) })}})
	app := writer.Appender(t.Context())
	for i := range 500 {
		if _, err := app.Append(0, labels.FromStrings("__name__", "up", "job", "a"), metricstest.End().Add(time.Duration(i+1)*metricstest.Interval).UnixMilli(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}

	reader, err := metrics.OpenTSDBReader(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := metrics.Question{Kind: policy.Instant, Expression: "sum(sum_over_time(up[10m])) + sum(up)", Start: metricstest.End(), End: metricstest.End()}
	everything := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}}
	asked := func(s metrics.Source) string {
		released, _, err := localOf(t, s).Answer(t.Context(), q, everything, metrics.Asking{Org: "acme", ExchangeID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		matrix, err := released.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		return matrix.String()
	}
	if read, written := asked(reader), asked(writer); read != written || read == "" {
		t.Errorf("read %q, written %q", read, written)
	}
	// Nothing is left in the store's folder.
	if links, err := filepath.Glob(filepath.Join(dir, "*sandbox*")); err != nil || len(links) > 0 {
		t.Errorf("left behind: %v, %v", links, err)
	}
	app = writer.Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "up", "job", "b"), metricstest.End().Add(501*metricstest.Interval).UnixMilli(), 1); err != nil {
		t.Error(err)
	}
	if err := app.Commit(); err != nil {
		t.Errorf("writing after it was read: %v", err)
	}
	if _, err := metrics.OpenTSDBReader(dir+"/nowhere", nil); err == nil {
		t.Error("a store that isn't there was opened")
	}
}

func localOf(t *testing.T, s metrics.Source) *metrics.Local {
	t.Helper()
	l, err := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: s, Secret: make([]byte, 32), Now: metricstest.End})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Of values that another dataset hides in some series, those are told apart that
// leave as they are.
func TestAccountOfALabelInTwoModes(t *testing.T) {
	var store []metricstest.Series
	for i := range 5 {
		store = append(store, metricstest.Series{
			Labels: labels.FromStrings("__name__", "http", "region", []string{"eu", "us"}[min(i, 1)], "pod", fmt.Sprint("pod-", i)), Values: values(func(int) float64 { return 1 }),
		})
	}
	row := func(name, series string, pod policy.Mode) policy.Dataset {
		s, err := metrics.ParseSelector(series)
		if err != nil {
			t.Fatal(err)
		}
		return policy.Dataset{Name: name, Series: []policy.Selector{s}, Release: policy.Row, Labels: map[string]policy.LabelRule{"pod": {Mode: pod}}}
	}
	o := policy.Obligations{Datasets: []policy.Dataset{row("a", "http", policy.Keep), row("b", `{region="eu"}`, policy.Pseudonym)}}
	q := metrics.Question{Kind: policy.Instant, Expression: "http", Start: metricstest.End(), End: metricstest.End()}
	got, err := newLocalAt(t, metricstest.Store(t, store)).Account(t.Context(), q, o, metrics.Asking{Org: "globex", ExchangeID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := []metrics.LabelAccount{{Name: "pod", Values: 5, Seen: 5, Kept: 4, Datasets: []int{0, 1}}, {Name: "region", Values: 2, Datasets: []int{0, 1}}}
	if diff := cmp.Diff(want, got.Selectors[0].Labels); diff != "" {
		t.Error(diff)
	}
}
