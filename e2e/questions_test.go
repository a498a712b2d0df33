package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// benchmarked are the questions of the benchmarks.
var benchmarked = []string{
	`sum by (region, status) (rate(http_requests_total[5m]))`,
	`sum(rate(http_requests_total{region="eu-west",service="checkout",status="500"}[5m]))`,
	`http_requests_total{region="eu-west",status!="500"}`,
	`topk(5, sum by (pod) (rate(http_requests_total[5m])))`,
	`quantile by (region) (0.9, rate(http_requests_total[5m]))`,
}

// grammar makes random PromQL of the shapes that may be pushed down and their
// neighbours that may not.
type grammar struct{ r *rand.Rand }

func pick[T any](g grammar, from ...T) T { return from[g.r.IntN(len(from))] }

// maybe is the text with a chance of one in n.
func (g grammar) maybe(n int, text string) string {
	if g.r.IntN(n) == 0 {
		return text
	}
	return ""
}

// any is an expression of the right shape, or nearly so.
func (g grammar) any() string {
	if g.r.IntN(8) == 0 {
		return g.deviation()
	}
	return g.vector(g.r.IntN(3))
}

// vector is an expression whose labels are known. It has no operator that makes
// much of a last digit, which depends on the order of additions.
func (g grammar) vector(depth int) string {
	if depth == 0 {
		return g.aggregation(0, g.grouping())
	}
	switch g.r.IntN(9) {
	case 0:
		return fmt.Sprintf("%s %s %s", g.vector(depth-1), pick(g, "+", "-", "*", "/", ">", "<= bool", "==", "atan2"), g.number())
	case 1:
		return fmt.Sprintf("%s %s %s", g.number(), pick(g, "+", "-", "*", "/", ">", "!= bool"), g.vector(depth-1))
	case 2: // both sides with the same labels
		by := g.grouping()
		return fmt.Sprintf("%s %s %s", g.aggregation(depth-1, by), pick(g, "+", "/", "-", ">", "and", "unless", "or"), g.aggregation(depth-1, by))
	case 3:
		return fmt.Sprintf("%s / %s %s", g.vector(depth-1), g.maybe(3, "on (region) group_left "), g.vector(depth-1))
	case 4:
		return fmt.Sprintf("%s(%s)", pick(g, "abs", "ceil", "sgn", "sqrt", "ln", "exp", "round", "timestamp", "sort", "absent"), g.vector(depth-1))
	case 5:
		return fmt.Sprintf("clamp(%s, %s, %s)", g.vector(depth-1), g.number(), g.number())
	case 6:
		return fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(latency_bucket%s[%s])))", g.number(),
			pick(g, "le", "le, region", "le, pod, org", "region", "le, user"), g.matchers(), g.duration())
	case 7:
		return fmt.Sprintf("%s(%s[%s:%s])", pick(g, "max_over_time", "avg_over_time", "count_over_time", "delta"), g.vector(depth-1), g.duration(), pick(g, "30s", "1m", "17s", ""))
	}
	return g.aggregation(depth, g.grouping())
}

func (g grammar) aggregation(depth int, grouping string) string {
	operator := pick(g, "sum", "sum", "sum", "avg", "min", "max", "count", "group", "quantile", "topk")
	inner := g.series()
	switch {
	case operator == "quantile":
		// Where Prometheus sorts several NaN depends on the order of series.
		inner = pick(g, "0.9", "0.5", "1", "2", "-1") + ", " + g.steady()
	case depth > 0 && g.r.IntN(2) == 0:
		inner = g.vector(depth - 1)
	case g.r.IntN(3) > 0: // what may be pushed down where policy hides something
		inner = g.steady()
	}
	if operator == "topk" {
		inner = "3, " + inner
	}
	return fmt.Sprintf("%s %s (%s)", operator, grouping, inner)
}

// deviation is an aggregation whose digits depend on the order of additions most.
func (g grammar) deviation() string {
	return fmt.Sprintf("%s %s (%s)", pick(g, "stddev", "stdvar"), g.grouping(), g.steady())
}

// steady is a function of each series that is a number near zero, never NaN.
func (g grammar) steady() string {
	return fmt.Sprintf("%s(%s)", pick(g, "rate", "increase", "irate", "delta", "changes", "resets", "min_over_time", "count_over_time"),
		g.selector("["+g.duration()+"]"))
}

func (g grammar) grouping() string {
	var by []string
	for _, label := range []string{"region", "status", "service", "pod", "user", "le", "org", "exported_org", "__name__", "zone"} {
		if g.r.IntN(5) == 0 {
			by = append(by, label)
		}
	}
	if len(by) == 0 {
		return g.maybe(2, "by ()")
	}
	return pick(g, "by", "by", "by", "by", "without") + " (" + strings.Join(by, ", ") + ")"
}

// series is an expression with one result for each series of the store.
func (g grammar) series() string {
	switch g.r.IntN(6) {
	case 0:
		return g.selector("")
	case 1:
		return fmt.Sprintf("%s(%s)", pick(g, "abs", "timestamp", "sqrt", "round"), g.series())
	case 2:
		return fmt.Sprintf("%s %s %s", g.series(), pick(g, "*", "/", "%", "^", ">", "+"), g.number())
	case 3:
		return fmt.Sprintf("%s(%s[%s:%s])", pick(g, "max_over_time", "sum_over_time", "last_over_time", "changes"), g.series(), g.duration(), pick(g, "30s", "1m", "7s"))
	}
	function := pick(g, "rate", "rate", "increase", "irate", "idelta", "delta", "deriv", "changes", "resets", "avg_over_time", "min_over_time",
		"max_over_time", "sum_over_time", "count_over_time", "last_over_time", "present_over_time", "stddev_over_time", "absent_over_time")
	return fmt.Sprintf("%s(%s)", function, g.selector("["+g.duration()+"]"))
}

// selector is a selector with what stands between it and its modifiers.
func (g grammar) selector(between string) string {
	name := pick(g, "http_requests_total", "http_requests_total", "requests_total", "errors_total", "queue_length", "memory_bytes", "latency_bucket", "latency_native",
		"nothing", `{__name__=~"requests_total|errors_total"}`)
	if !strings.HasPrefix(name, "{") {
		name += g.matchers()
	}
	return name + between + g.maybe(6, " offset "+pick(g, "1m", "-30s", "2m3s")) +
		g.maybe(8, pick(g, " @ start()", " @ end()", fmt.Sprintf(" @ %d", metricstest.Start.Add(10*time.Minute).Unix())))
}

func (g grammar) matchers() string {
	return g.maybe(2, "{"+pick(g,
		`region="eu-west"`, `region=~"us.*"`, `region!="eu"`, `region=""`, `status="500"`, `status!~"5.."`, `service="checkout",status="200"`,
		`pod="pod-3"`, `pod!=""`, `user="bob"`, `user!="user-1"`, `org="acme"`, `org!="acme"`, `exported_org="someone"`, `zone=""`, `le="+Inf"`,
		`region=~".+",status=~"200|500"`,
	)+"}")
}

func (g grammar) duration() string { return pick(g, "1m", "5m", "45s", "2m30s", "10m") }

func (g grammar) number() string {
	return pick(g, "0", "1", "2.5", "-3", "0.9", "1e3", "(1 + 2)", "NaN")
}

// question asks an expression at a random moment or over a random range.
func (g grammar) question(expression string) metrics.Question {
	start := metricstest.Start.Add(time.Duration(g.r.IntN(20*60*1000)) * time.Millisecond)
	q := metrics.Question{Kind: policy.Instant, Expression: expression, Start: start, End: start}
	q.Lookback = pick(g, 0, 0, time.Minute, 150*time.Second)
	if g.r.IntN(3) > 0 {
		q.Kind = policy.Range
		q.Step = pick(g, 15*time.Second, time.Minute, 10500*time.Millisecond, 33300*time.Millisecond)
		q.End = start.Add(q.Step*time.Duration(1+g.r.IntN(25)) + time.Duration(g.r.IntN(999))*time.Millisecond)
	}
	return q
}
