package metrics_test

import (
	"fmt"
	randv2 "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// Leaves of which one asks for some of what another asks for are of cells that
// are formed once.
func TestCellsAreFormedOnce(t *testing.T) {
	generalized := inCells(func(d *policy.Dataset) {
		d.Labels["status"] = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}}
	})
	other := inCells(func(d *policy.Dataset) { d.Cells.Other = true })
	for _, c := range []struct {
		expression string
		o          policy.Obligations
		formed     int
	}{
		{"sum(rate(requests_total[5m])) / count(rate(requests_total[5m]))", inCells(nil), 1},
		{`sum(rate(requests_total{status="500"}[5m])) / sum(rate(requests_total[5m]))`, inCells(nil), 1},
		{`sum(requests_total{status="500",region="eu"}) / sum(requests_total{region="eu"}) / sum(requests_total)`, inCells(nil), 1},
		{`sum(requests_total{region="eu"}) / sum(requests_total{status="500"})`, inCells(nil), 2},
		{`sum(requests_total{region="eu"}) / sum(requests_total{region!="eu"})`, inCells(nil), 2},
		{`sum(wait_bucket{le="1"}) / sum(wait_bucket{le="+Inf"})`, inCells(nil), 1},
		{`sum(requests_total{status="5"}) / sum(requests_total{status="2"})`, generalized, 1},
		{`sum(requests_total{region="eu"}) / sum(requests_total{region="us"})`, other, 1},
		{`sum(requests_total{region="eu"}) / sum(errors_total)`, inCells(nil), 2},
		{`sum(rate(requests_total{region="eu"}[5m])) / sum(rate(requests_total[1m]))`, inCells(nil), 2},
		{`sum(requests_total{region="eu"}) / sum(requests_total offset 1m)`, inCells(nil), 2},
		{`max_over_time(sum(requests_total{region="eu"})[5m:1m]) / sum(requests_total)`, inCells(nil), 2},
	} {
		q := metrics.Question{Kind: policy.Range, Expression: c.expression, Start: metricstest.Start, End: metricstest.End(), Step: metricstest.End().Sub(metricstest.Start)}
		if formed, err := metrics.CellsFormed(q, c.o); err != nil || formed != c.formed {
			t.Errorf("%s: cells are formed %d times, want %d: %v", c.expression, formed, c.formed, err)
		}
	}
}

// A partner may ask for thousands of leaves at once: planning each takes the same
// however many there are.
func TestManyLeavesArePlannedOneByOne(t *testing.T) {
	allocations := func(leaves int) float64 {
		parts := make([]string, leaves)
		for i := range parts {
			parts[i] = fmt.Sprintf(`sum(requests_total{region="%d"})`, i)
		}
		q := metrics.Question{Kind: policy.Instant, Expression: strings.Join(parts, "+"), Start: metricstest.Start, End: metricstest.Start}
		return testing.AllocsPerRun(1, func() {
			if formed, err := metrics.CellsFormed(q, inCells(nil)); err != nil || formed != leaves {
				t.Fatalf("cells of %d leaves are formed %d times: %v", leaves, formed, err)
			}
		})
	}
	if few, many := allocations(200), allocations(1600); many > 12*few {
		t.Errorf("200 leaves take %.0f allocations, 1600 take %.0f", few, many)
	}
}

// How many series are in small cells doesn't show in what is over the limit on
// samples.
func TestSmallCellsDontCountAgainstTheLimit(t *testing.T) {
	one := values(func(int) float64 { return 1 })
	world := func(most, pods int) *metrics.Local {
		var series []metricstest.Series
		add := func(region string, users, pods int) {
			for i := range users * pods {
				series = append(series, metricstest.Series{Values: one, Labels: labels.FromStrings("__name__", "up", "status", "200",
					"region", region, "user", fmt.Sprint(region, i%users), "pod", fmt.Sprint(i))})
			}
		}
		add("eu", threshold, 2)
		add("us", threshold-1, pods)
		local, err := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: metricstest.Store(t, series), Secret: make([]byte, 32), MaxSamples: most})
		if err != nil {
			t.Fatal(err)
		}
		return local
	}
	q := metrics.Question{
		Kind: policy.Range, Expression: `sum by (region) (max_over_time(up[5m:10s])) + sum by (region) (up)`,
		Start: metricstest.Start, End: metricstest.End(), Step: time.Minute,
	}
	refused, answered := 0, 0
	for most := 20; most < 5000; most *= 2 {
		few, many := ask(world(most, 1), q, inCells(nil)), ask(world(most, 100), q, inCells(nil))
		if few != many {
			t.Errorf("%d samples at most: %s\nwith a larger small cell: %s", most, few, many)
		}
		if strings.Contains(few, "eu") {
			answered++
		} else {
			refused++
		}
	}
	if refused == 0 || answered == 0 {
		t.Errorf("%d times refused, %d times answered: the limit isn't met", refused, answered)
	}
}

// Cells that are found among those of another leaf are those of the leaf by
// itself.
func TestCellsAmongOthersAreTheSame(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 15))
	g := overCells{r: r}
	metric := func() string {
		return g.pick("requests_total", "queue_length", "wait_bucket", "latency_bucket", "wait_native", "errors_total")
	}
	matchers := func() string {
		return g.pick(`region="eu"`, `region=~"e.*|u.*"`, `status=~"2.*"`, `status!=""`, `le="1"`, `status!~"5.*"`, `org=~".+"`)
	}
	function := func() string {
		return g.pick("#", "rate(#[2m])", "increase(#[90s])", "sum_over_time(#[1m])", "max_over_time(#[3m:30s])", "avg_over_time(#[2m] offset 1m)")
	}
	answered, among := 0, 0
	for range 10 {
		local := newLocalAt(t, metricstest.Store(t, metricstest.Cells(r, r, threshold)))
		change := randomCells(r)
		o := inCells(func(d *policy.Dataset) {
			change(d)
			d.Cells.Other = r.IntN(4) == 0
		})
		for range 60 {
			name, of, some, more := metric(), function(), matchers(), matchers()
			leaf := func(matchers string) string { return strings.ReplaceAll(of, "#", name+"{"+matchers+"}") }
			alone := g.pick("sum", "count", "avg", "group") + " by (" + g.labels() + ") (" + leaf(some+","+more) + ")"
			q := randomQuestion(r, always("1"), always("1"))
			q.Expression = alone
			want := ask(local, q, o)
			for _, wider := range []string{leaf(""), leaf(some), leaf(more)} {
				q.Expression = alone + " and on () (vector(1) or sum(" + wider + "))"
				if got := ask(local, q, o); got != want {
					t.Fatalf("%s\nbeside %s: %.900s\nby itself: %.900s\npolicy: %+v", describe(q), wider, got, want, o.Datasets[0])
				}
				if formed, err := metrics.CellsFormed(q, o); err == nil && formed == 1 {
					among++
				}
			}
			if !strings.HasPrefix(want, "error") && want != "[] [] map[]\n" {
				answered++
			}
		}
	}
	t.Logf("%d answers, %d among others", answered, among)
	if answered < 80 || among < 400 {
		t.Errorf("only %d answers, and %d among others: the test is blind", answered, among)
	}
}

// Worlds that differ inside small cells alone give the same bytes where leaves share
// cells as well, whatever they match, with datasets that overlap and floors.
func TestSmallCellsDontShowInManyLeaves(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 16))
	g := overCells{r: r}
	matchers := func() string {
		list := make([]string, r.IntN(4))
		for i := range list {
			list[i] = g.pick(
				`region="eu"`, `region=""`, `region!=""`, `region=~"e.*|u.*"`, `region=~"|eu"`, `region="__other__"`, `status="500"`, `status=~"2.*"`, `status!~"5.*"`,
				`le="1"`, `le!="0.3"`, `le=""`, `le=~"0.*|.Inf"`, `org=~".+"`, `org!="x"`, `org="x"`, `exported_org=""`,
			)
		}
		return strings.Join(list, ",")
	}
	answered, among := 0, 0
	for range 16 {
		world := r.Uint64()
		store := func(small uint64) *metrics.Local {
			series := metricstest.Cells(randv2.New(randv2.NewPCG(world, 0)), randv2.New(randv2.NewPCG(world, small)), threshold)
			return newLocalAt(t, metricstest.Store(t, series))
		}
		one, other := store(1), store(2)
		o := inCells(randomCells(r))
		in := func(label, value string) []policy.Selector {
			return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, label, value)}}
		}
		switch r.IntN(4) {
		case 0:
			second := inCells(randomCells(r)).Datasets[0]
			second.Name, second.Series = "second", in("region", g.pick("eu", "us", ""))
			o.Datasets = append(o.Datasets, second)
		case 1:
			o.Datasets = append(o.Datasets, policy.Dataset{Name: "none", Series: in("region", "us"), Release: policy.Deny})
		case 2:
			o.Resolution = 15 * time.Second
		}
		for range 120 {
			metric := g.pick("requests_total", "queue_length", "wait_bucket", "latency_bucket", "wait_native", "latency_native")
			function := g.pick("#", "#", "rate(#[2m])", "increase(#[90s])", "sum_over_time(#[1m])", "max_over_time(#[3m:30s])", "avg_over_time(#[2m] offset 1m)", "rate(#[2m] @ end())", "# offset -30s")
			leaf := func() string {
				return g.pick("sum", "sum", "count", "avg", "group") + " by (" + g.labels() + ") (" + strings.ReplaceAll(function, "#", metric+"{"+matchers()+"}") + ")"
			}
			leaves := 2 + r.IntN(4)
			q := randomQuestion(r, always("1"), always("1"))
			q.Expression = leaf()
			for range leaves - 1 {
				q.Expression = "(" + q.Expression + " " + g.pick("or", "or on ()", "and on ()", "/ on () group_left ()", "-", "unless on (region)") + " " + leaf() + ")"
			}
			got, want := ask(one, q, o), ask(other, q, o)
			if got != want && (!unstable(one, q, o) || !unstable(other, q, o)) {
				t.Fatalf("%s\none world: %.900s\nthe other: %.900s\npolicy: %+v", describe(q), got, want, o)
			}
			if strings.HasPrefix(got, "error") || got == "[] [] map[]\n" {
				continue
			}
			answered++
			if formed, err := metrics.CellsFormed(q, o); err == nil && formed < leaves {
				among++
			}
		}
	}
	t.Logf("%d answers, %d of which share cells", answered, among)
	if answered < 120 || among < 60 {
		t.Errorf("only %d answers, %d of which share cells: the test is blind", answered, among)
	}
}
