package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// What partners release: globex knows acme less well than initech does.
const (
	releaseKeepPod = `decision := {"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "status": "keep", "service": "keep", "route": "keep", "pod": "keep"}}]}`
	releaseCells = `decision := {"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total", "http_request_duration_seconds_bucket"], "release": "aggregate",
	"dimensions": ["region", "status", "service"], "units": ["pod"], "k": 5}]}`
	releasePseudonym = `decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "status": "keep", "service": "keep", "route": "keep", "pod": "pseudonym"}}]}`
)

// BenchmarkOwn asks a gateway without partners what its own Prometheus knows.
func BenchmarkOwn(b *testing.B) {
	against(b, world(b, map[string]string{"acme": ""}, nil))
}

// BenchmarkThree asks acme's gateway what three organizations know. The direct
// side asks their three Prometheus servers at once and waits for the last: what
// somebody with an account on each of them would have to do.
func BenchmarkThree(b *testing.B) {
	against(b, world(b, map[string]string{"acme": releaseKeepPod, "globex": releasePseudonym, "initech": releaseKeepPod}, nil))
}

// BenchmarkCells asks a gateway whose policy releases its own data in cells of
// at least five pods, against the Prometheus that counts nothing. The first two
// questions are compared with the same Prometheus asked for the cells by the
// formula that defines them too: what pushing them down would cost there. The
// others ask of the same series more than once, which are counted once.
func BenchmarkCells(b *testing.B) {
	orgs := []*org{overPrometheus(b, "acme", storeOfCells(b))}
	federate(b, "metrics", orgs, nil, map[string]string{"acme": releaseCells})
	for _, q := range questions[:2] {
		b.Run(q.name, func(b *testing.B) {
			formula := q
			formula.expression = formulas[q.name]
			c := newClient(b)
			checkServers(b, c, orgs, formula)
			measure(b, orgs, q, side{"x-formula", func() error { return direct(b.Context(), c, orgs, formula) }})
		})
	}
	for _, q := range sharing {
		b.Run(q.name, func(b *testing.B) { measure(b, orgs, q) })
	}
}

// sharing are questions whose leaves have series in common.
var sharing = []question{
	{name: "errors", expression: `sum by (region) (rate(http_requests_total{status="500"}[5m])) / sum by (region) (rate(http_requests_total[5m]))`, series: 5},
	{name: "each", expression: `sum by (region) (rate(http_requests_total[5m])) / count by (region) (rate(http_requests_total[5m]))`, series: 5},
	{name: "average", expression: `avg by (region, status) (rate(http_requests_total[5m]))`, series: 20},
	{name: "quantile", expression: quantile("0.9"), series: 5},
	{name: "quantiles", expression: quantile("0.99") + " / " + quantile("0.5"), series: 5},
}

func quantile(of string) string {
	return "histogram_quantile(" + of + ", sum by (region, le) (rate(http_request_duration_seconds_bucket[5m])))"
}

// formulas are the questions that cells answer, of what releaseCells releases.
var formulas = map[string]string{
	"sum":       "sum by (region, status) (" + formulaOf(`rate(http_requests_total[5m])`) + ")",
	"selective": "sum(" + formulaOf(`rate(http_requests_total{region="eu-west",service="checkout",status="500"}[5m])`) + ")",
}

func formulaOf(leaf string) string {
	const by = "(region, status, service)"
	return fmt.Sprintf("sum by %[1]s (%[2]s) and on %[1]s count by %[1]s (group by (region, status, service, pod) (%[2]s)) >= 5", by, leaf)
}

func against(b *testing.B, orgs []*org) {
	for _, q := range questions {
		b.Run(q.name, func(b *testing.B) { measure(b, orgs, q) })
	}
}

func measure(b *testing.B, orgs []*org, q question, others ...side) {
	ctx := b.Context()
	c := newClient(b)
	acme := orgs[0]
	door := "http://" + acme.front
	check(b, c, orgs, q)
	compare(b, orgs, acme, minTurns,
		func() error { return c.discard(ctx, queryURL(door, q)) },
		func() error { return direct(ctx, c, orgs, q) }, others...)
}

// compare times an answer through gateways and the same without them in turn,
// at least so often. It reports their ratio, that of the processes' CPU time, the
// bytes that crossed borders for an answer, and the most memory that a gateway
// had resident.
func compare(b *testing.B, orgs []*org, watched *org, turns int, through, direct func() error, others ...side) {
	ctx := b.Context()
	c := newClient(b)
	if err := forgetPeak(watched.process.Process.Pid); err != nil {
		b.Fatal(err)
	}
	before, err := c.wireBytes(ctx, orgs[0])
	if err != nil {
		b.Fatal(err)
	}
	asked := 0
	used := map[string]time.Duration{}
	counted := func(side string, f func() error) func() error {
		return func() error {
			start, err := cpuTime(pids(orgs)...)
			if err != nil {
				return err
			}
			if err := f(); err != nil {
				return err
			}
			end, err := cpuTime(pids(orgs)...)
			used[side] += end - start
			return err
		}
	}
	inTurn(b, turns,
		counted("gateway", func() error { asked++; return through() }),
		append([]side{{"x-direct", counted("direct", direct)}}, others...)...)

	after, err := c.wireBytes(ctx, orgs[0])
	if err != nil {
		b.Fatal(err)
	}
	if len(orgs) > 1 {
		b.ReportMetric((after-before)/float64(asked), "border-B")
	}
	if used["direct"] > 0 {
		b.ReportMetric(float64(used["gateway"])/float64(used["direct"]), "x-cpu")
	}
	most, err := peak(watched.process.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
}

// direct asks every organization's Prometheus at once.
func direct(ctx context.Context, c client, orgs []*org, q question) error {
	var group errgroup.Group
	for _, o := range orgs {
		group.Go(func() error { return c.discard(ctx, queryURL(o.server.URL, q)) })
	}
	return group.Wait()
}

// check asks once before anything is timed, and sees to it that both sides
// answer with what they should.
func check(b *testing.B, c client, orgs []*org, q question) {
	b.Helper()
	want := q.series
	if !q.merged {
		want *= len(orgs)
	}
	got, err := c.series(b.Context(), "http://"+orgs[0].front, q)
	if err != nil {
		b.Fatal(err)
	}
	if got == 0 || q.series > 0 && got != want {
		b.Fatalf("the gateway answers with %d series, not %d", got, want)
	}
	checkServers(b, c, orgs, q)
}

// checkServers does so for the servers that are asked directly.
func checkServers(b *testing.B, c client, orgs []*org, q question) {
	b.Helper()
	for _, o := range orgs {
		got, err := c.series(b.Context(), o.server.URL, q)
		if err != nil {
			b.Fatal(err)
		}
		if got == 0 || q.series > 0 && got != q.series {
			b.Fatalf("the Prometheus of %s answers with %d series, not %d", o.name, got, q.series)
		}
	}
}
