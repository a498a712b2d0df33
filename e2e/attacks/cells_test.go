package attacks

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sums finds what a cell sums to: the secret and thirteen more.
func sums(got func(a *attempt) (float64, bool)) func(*attempt) int {
	return func(a *attempt) int {
		v, ok := got(a)
		if !ok {
			return -1
		}
		return int(math.Round(v)) - 13
	}
}

// sum is sums by one expression.
func sum(expression string) func(*attempt) int {
	return sums(func(a *attempt) (float64, bool) { return a.asks(expression).value() })
}

// richest is the one of the three people of a cell that has all but three of it.
func richest(expressions ...string) func(*attempt) int {
	return func(a *attempt) int {
		for _, e := range expressions {
			if v, ok := a.asks(e).value(); ok {
				return int(math.Round(v)) - 10
			}
		}
		return -1
	}
}

// fortunes reads what the one has who is most of a cell.
func fortunes(expressions ...string) func(*attempt) int {
	return func(a *attempt) int {
		for _, e := range expressions {
			if v, ok := a.asks(e).value(); ok {
				return int(math.Floor(v-1000)) / 100
			}
		}
		return -1
	}
}

// arrives reads from a cell's numbers when somebody came.
func arrives(expression string) func(*attempt) int {
	return func(a *attempt) int {
		const first = samples - 65
		values := map[int]float64{}
		steps := 1
		r := a.asksRange(expression, a.at(first-1), a.end, interval)
		if !r.ok() { // too fine
			steps = int(viewInterval / interval)
			r = a.asksRange(expression, a.at(first-steps).Truncate(viewInterval), a.end, viewInterval)
		}
		for _, s := range r.series() {
			for _, p := range s.Values {
				values[a.index(time.UnixMilli(int64(p.at*1000)))] += p.value
			}
		}
		for i := first; i < samples; i++ {
			if now, before := values[i], values[i-steps]; now > before && before > 0 {
				return (i - (steps-1)/2 - first) / 4
			}
		}
		return -1
	}
}

// fullBucket finds the first bound up to which there is more than up to the
// lowest.
func fullBucket(upTo func(a *attempt, bound string) (float64, bool)) func(*attempt) int {
	return func(a *attempt) int {
		fast, ok := upTo(a, bounds[0])
		if !ok || fast <= 0 {
			return -1
		}
		for i, bound := range bounds[1:] {
			if v, ok := upTo(a, bound); ok && v > fast*(1+1e-9) {
				return i
			}
		}
		return -1
	}
}

const comesAndGoes = "Differencing over time: what a cell says of two moments differs by who came in between, and by what a counter, such as a bucket of a histogram, gained. POLICY.md says so. A `resolution` makes it coarser."

// Why cells are open to some attacks.
var (
	differencing = map[string]string{Cells: comesAndGoes}
	phases       = map[string]string{Cells: "Differencing over time, without anybody coming or going: targets are scraped at different moments, and who looks back for less than the time between two scrapes sees some of a cell's units and not the others. With a `resolution` that is not shorter than that time, all are seen at the same moments."}
	loads        = map[string]string{Cells: "Series of suppressed cells are read before they are suppressed: that takes time."}
)

var cellsOnly = []string{Cells}

// onCells are after cells of too few, and who is in cells of enough.
var onCells = []*attack{
	{name: "a small cell", of: smallSum, policies: cellsOnly, guess: sum(`sum(agent_jobs{SERVICE,region="sa"})`)},
	{name: "a small cell by its dimension", of: smallSum, policies: cellsOnly, guess: func(a *attempt) int {
		for _, s := range a.asks(`sum by (region) (agent_jobs{SERVICE})`).series() {
			if s.Metric["region"] == "sa" {
				return int(s.Values[0].value) - 13
			}
		}
		return -1
	}},
	{name: "complement", of: smallSum, policies: cellsOnly, guess: sum(`sum(agent_jobs{SERVICE}) - sum(agent_jobs{SERVICE,region="eu"}) - sum(agent_jobs{SERVICE,region="us"})`)},
	{name: "difference of two questions", of: smallSum, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		all, ok := a.asks(`sum(agent_jobs{SERVICE})`).value()
		large, also := a.asks(`sum(agent_jobs{SERVICE,region=~"eu|us"})`).value()
		return all - large, ok && also
	})},
	{name: "complement by negation", of: smallSum, policies: cellsOnly, guess: sum(`sum(agent_jobs{SERVICE,region!~"eu|us"})`)},
	{name: "complement by another label", of: smallSum, unserved: true, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		all, ok := a.asks(`sum(agent_jobs{SERVICE})`).value()
		large, also := a.asks(`sum(agent_jobs{SERVICE,user!~"sa-.*"})`).value()
		return all - large, ok && also
	})},
	{name: "average times number", of: smallSum, policies: cellsOnly, guess: sum(`avg(agent_jobs{SERVICE,region="sa"}) * count(agent_jobs{SERVICE,region="sa"})`)},
	{name: "average of all", of: smallSum, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		all, ok := a.asks(`avg(agent_jobs{SERVICE})`).value()
		return all*19 - 9*3 - 7*4, ok
	})},
	{name: "a small cell, without", of: smallSum, policies: cellsOnly, guess: sum(`sum without (user) (agent_jobs{SERVICE,region="sa"})`)},
	{name: "the largest, the smallest, a quantile", of: smallSum, unserved: true, policies: cellsOnly, guess: richest(
		`max(agent_jobs{SERVICE,region="sa"})`, `quantile(1, agent_jobs{SERVICE,region="sa"})`, `topk(1, agent_jobs{SERVICE,region="sa"})`,
		`-min(-agent_jobs{SERVICE,region="sa"})`, `bottomk(1, -agent_jobs{SERVICE,region="sa"}) * -1`)},
	{name: "a series of a cell", of: smallSum, unserved: true, policies: cellsOnly, guess: richest(
		`agent_jobs{SERVICE,region="sa"} > 9`, `limitk(1, agent_jobs{SERVICE,region="sa"} > 9)`, `sum(agent_jobs{SERVICE,user="sa-0"})`)},
	{name: "a quantile over time", of: smallSum, unserved: true, policies: cellsOnly, guess: richest(
		`max(quantile_over_time(1, agent_jobs{SERVICE,region="sa"}[5m]))`, `max(max_over_time(agent_jobs{SERVICE,region="sa"}[5m]))`,
		`max(max_over_time(agent_jobs{SERVICE,region="sa"}[5m:1m]))`)},
	{name: "functions of time, summed", of: smallSum, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		for _, e := range []string{
			`sum(max_over_time(agent_jobs{SERVICE,region="sa"}[2h]))`, `sum(last_over_time(agent_jobs{SERVICE,region="sa"}[5m:1m]))`,
			`sum(avg_over_time(agent_jobs{SERVICE,region="sa"}[1h]))`, `sum(agent_jobs{SERVICE,region="sa"} offset 5m)`, `sum(agent_jobs{SERVICE,region="sa"} @ end())`,
		} {
			if v, ok := a.asks(e).value(); ok {
				return v, true
			}
		}
		return 0, false
	})},
	{name: "sum with another cell's", of: smallSum, unserved: true, policies: cellsOnly, guess: sum(
		`sum(agent_jobs{SERVICE,region="sa"} or agent_jobs{SERVICE,region="eu"}) - sum(agent_jobs{SERVICE,region="eu"})`)},
	{name: "cells under one label", of: smallSum, unserved: true, policies: cellsOnly, guess: sum(
		`sum by (all) (label_replace(agent_jobs{SERVICE}, "all", "all", "region", ".*")) - on () sum(agent_jobs{SERVICE,region=~"eu|us"})`)},
	{name: "join of cells", of: smallSum, unserved: true, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		v, ok := a.asks(`sum(agent_jobs{SERVICE,region="eu"} + on (service) group_left () sum by (service) (agent_jobs{SERVICE,region="sa"}))`).value()
		return v/9 - 3, ok
	})},
	{name: "comparison by halves", of: smallSum, policies: cellsOnly, guess: func(a *attempt) int {
		low, high := 13, 29
		for high-low > 1 {
			middle := (low + high) / 2
			if len(a.asks(fmt.Sprintf(`sum(agent_jobs{SERVICE,region="sa"}) < %d`, middle)).series()) > 0 {
				high = middle
			} else {
				low = middle
			}
		}
		return low - 13
	}},
	{name: "> bool by halves", of: smallSum, unserved: true, policies: cellsOnly, guess: func(a *attempt) int {
		low, high := 10, 26
		for high-low > 1 {
			middle := (low + high) / 2
			if v, ok := a.asks(fmt.Sprintf(`sum(agent_jobs{SERVICE} > bool %d)`, middle-1)).value(); ok && v > 0 {
				low = middle
			} else {
				high = middle
			}
		}
		return low - 10
	}},
	{name: "value into a label", of: smallSum, unserved: true, policies: cellsOnly, guess: func(a *attempt) int {
		r := a.asks(`count_values("value", agent_jobs{SERVICE,region="sa"} > 9)`)
		match := regexp.MustCompile(`"value":"(\d+)"`).FindStringSubmatch(r.body)
		if match == nil {
			return -1
		}
		v, _ := strconv.Atoi(match[1])
		return v - 10
	}},
	{name: "deviation", of: smallSum, unserved: true, policies: cellsOnly, guess: func(a *attempt) int {
		// Of three numbers, two of which are known.
		got, ok := a.asks(`stdvar(agent_jobs{SERVICE,region="sa"})`).value()
		if !ok {
			return -1
		}
		for v := range smallSum.values {
			x, mean := float64(10+v), float64(13+v)/3
			if math.Abs(((x-mean)*(x-mean)+(2-mean)*(2-mean)+(1-mean)*(1-mean))/3-got) < 1e-6 {
				return v
			}
		}
		return -1
	}},
	{name: "remote read of a cell", of: smallSum, unserved: true, policies: cellsOnly, guess: func(a *attempt) int {
		for _, s := range a.reads("agent_jobs", is("region", "sa")).series() {
			if n := len(s.Values); n > 0 && s.Values[n-1].value > 9 {
				return int(s.Values[n-1].value) - 10
			}
		}
		return -1
	}},
	{name: "the cells there are", of: smallRegion, policies: cellsOnly, guess: byName(smallRegion,
		`count by (region) (agent_places{SERVICE})`, `group by (region) (agent_places{SERVICE})`, `sum by (region) (present_over_time(agent_places{SERVICE}[2h]))`)},
	{name: "absent cells", of: smallRegion, policies: cellsOnly, guess: byHalves(smallRegion, func(a *attempt, pattern string) bool {
		r := a.asks(fmt.Sprintf(`absent(sum(agent_places{SERVICE,region=~%q}))`, pattern))
		return r.ok() && len(r.series()) == 0
	})},
	{name: "listing of cells", of: smallRegion, policies: cellsOnly, guess: func(a *attempt) int {
		return named(smallRegion, a.lists("/api/v1/label/region/values", `agent_places{SERVICE}`), a.lists("/api/v1/series", `agent_places{SERVICE}`),
			a.lists("/api/v1/label/region/values", `{SERVICE}`), a.lists("/api/v1/labels", `agent_places{SERVICE}`))
	}},
	{name: "listing of cells by halves", of: smallRegion, policies: cellsOnly, guess: byHalves(smallRegion, func(a *attempt, pattern string) bool {
		r := a.lists("/api/v1/label/service/values", fmt.Sprintf(`agent_places{SERVICE,region=~%q}`, pattern))
		return r.ok() && regexp.MustCompile(`"`+a.service+`"`).MatchString(r.body)
	})},
	{name: "number of people", of: crew, long: true, policies: cellsOnly, guess: func(a *attempt) int {
		for _, e := range []string{
			`count(agent_crew{SERVICE,region="ap"})`, `count(agent_crew{SERVICE}) - count(agent_crew{SERVICE,region="eu"})`,
			`sum(agent_crew{SERVICE}) - sum(agent_crew{SERVICE,region="eu"})`, `count(count by (user) (agent_crew{SERVICE,region="ap"}))`,
			`sum(agent_crew{SERVICE}) / avg(agent_crew{SERVICE}) - 9`,
		} {
			if v, ok := a.asks(e).value(); ok && v >= 2 {
				return int(math.Round(v)) - 2
			}
		}
		return -1
	}},
	{name: "statistics of a question", of: crew, policies: cellsOnly, only: Front, unserved: true, guess: func(a *attempt) int {
		r := a.put(question{path: "/api/v1/query", form: url.Values{
			"query": {a.of(`sum by (region) (agent_crew{SERVICE})`)}, "time": {seconds(a.end)}, "stats": {"all"},
		}})
		match := regexp.MustCompile(`"totalQueryableSamples":(\d+)`).FindStringSubmatch(r.body)
		if match == nil {
			return -1
		}
		n, _ := strconv.Atoi(match[1])
		return n - 9 - 2
	}},
	{name: "limit on samples", of: crew, policies: cellsOnly, long: true, guess: func(a *attempt) int {
		// The more series there are, the shorter is the longest subquery that is
		// within the limit. How long it is for nine shows how many others are.
		longest := func(selector string) float64 {
			low, high := 0, maxSamples
			for high-low > max(low/100, 1) {
				middle := (low + high) / 2
				if a.asks(fmt.Sprintf(`sum(max_over_time(%s[%dms:10ms]))`, selector, 10*middle)).ok() {
					low = middle
				} else {
					high = middle
				}
			}
			return float64(low+high) / 2
		}
		// One more than there are series is counted.
		return int(math.Round((9+1)*longest(`agent_crew{SERVICE,region="eu"}`)/longest(`agent_crew{SERVICE,region="ap"}`))) - 1 - 2
	}},
	{name: "parameters of a published query", of: smallSum, long: true, policies: cellsOnly, guess: sums(func(a *attempt) (float64, bool) {
		injected := strings.NewReplacer("SERVICE", a.service)
		for _, value := range []string{
			`SERVICE\",region=\"sa`, `SERVICE\"} or agent_jobs{region=\"sa`, `SERVICE|.*`, `SERVICE\u0022,region=\u0022sa`, "SERVICE`", `SERVICE$region`,
		} {
			if v, ok := a.asks(fmt.Sprintf(`service:jobs:sum{parameter="%s"} - on () service:jobs:sum{parameter=%q}`, injected.Replace(value), a.service)).value(); ok && v > 0 {
				return v, true
			}
		}
		large, ok := a.asks(fmt.Sprintf(`service:jobs:sum{parameter=%q}`, a.service)).value()
		if !ok {
			large = 9*3 + 7*4 // there is no such query
		}
		for _, e := range []string{`sum(agent_jobs{SERVICE})`, `sum(agent_jobs{SERVICE,region="sa"}) + 55`, `service:jobs:sum{region="sa"} + 55`} {
			if v, ok := a.asks(e).value(); ok && v > large {
				return v - large, true
			}
		}
		return 0, false
	})},
	{name: "somebody comes to a small cell", of: lateToSmall, policies: cellsOnly, guess: arrives(`sum(agent_members{SERVICE,region="ap"})`)},
	{name: "somebody comes, by complement", of: lateToSmall, policies: cellsOnly, guess: arrives(`sum(agent_members{SERVICE}) - sum(agent_members{SERVICE,region="eu"})`)},
	{name: "somebody comes, by listings", of: lateToSmall, long: true, policies: cellsOnly, guess: func(a *attempt) int {
		// Over a span there may be more people than at any moment.
		for slot := range lateToSmall.values {
			form := url.Values{"match[]": {a.of(`agent_members{SERVICE,region="ap"}`)}, "start": {seconds(a.end.Add(-2 * time.Hour))}, "end": {seconds(a.at(samples - 65 + 4*slot + 3))}}
			if r := a.put(question{path: "/api/v1/series", form: form}); r.ok() && regexp.MustCompile(`ap-late`).MatchString(r.body) {
				return slot
			}
			if v, ok := a.asksAt(`count(present_over_time(agent_members{SERVICE,region="ap"}[2h]))`, a.at(samples-65+4*slot+3)).value(); ok && v > 2 {
				return slot
			}
		}
		return -1
	}},
	{name: "somebody comes to a large cell", of: lateToLarge, policies: []string{Cells, CoarseCells}, open: map[string]string{Cells: comesAndGoes, CoarseCells: comesAndGoes}, guess: arrives(`sum(agent_members{SERVICE,region="eu"})`)},
	{name: "offset", of: lateToLarge, long: true, policies: cellsOnly, open: differencing, guess: func(a *attempt) int {
		for slot := range lateToLarge.values {
			if v, ok := a.asksAt(`sum(agent_members{SERVICE,region="eu"}) - sum(agent_members{SERVICE,region="eu"} offset 4m)`, a.at(samples-65+4*slot+3)).value(); ok && v > 0 {
				return slot
			}
		}
		return -1
	}},
	{name: "@", of: lateToLarge, long: true, policies: cellsOnly, open: differencing, guess: func(a *attempt) int {
		for slot := range lateToLarge.values {
			e := fmt.Sprintf(`sum(agent_members{SERVICE,region="eu"} @ %s) - sum(agent_members{SERVICE,region="eu"} @ %s)`,
				seconds(a.at(samples-65+4*slot+3)), seconds(a.at(samples-65+4*slot-1)))
			if v, ok := a.asks(e).value(); ok && v > 0 {
				return slot
			}
		}
		return -1
	}},
	{name: "subquery over a sum", of: lateToLarge, long: true, policies: cellsOnly, open: differencing, guess: func(a *attempt) int {
		v, ok := a.asks(`count_over_time((sum(agent_members{SERVICE,region="eu"}) > 60)[65m:1m])`).value()
		if !ok {
			return -1
		}
		return (65 - int(v)) / 4
	}},
	{name: "[1m] against [5m]", of: lateToLarge, long: true, policies: cellsOnly, open: differencing, guess: func(a *attempt) int {
		for slot := range lateToLarge.values {
			v, ok := a.asksAt(`sum(count_over_time(agent_members{SERVICE,region="eu"}[8m])) / 8 - sum(count_over_time(agent_members{SERVICE,region="eu"}[1m]))`,
				a.at(samples-65+4*slot+3)).value()
			if ok && v < 0 {
				return slot
			}
		}
		return -1
	}},
	{name: "moments of scraping", of: elsewhere, policies: []string{Cells, CoarseCells}, open: phases, guess: func(a *attempt) int {
		// Two of ten people are scraped half a minute after the others. Looking
		// back for a second only, who was scraped then is a group of its own.
		all, ok := a.asksAt(`sum(agent_shifts{SERVICE})`, a.end).value()
		r := a.put(question{path: "/api/v1/query", form: url.Values{
			"query": {a.of(`sum(agent_shifts{SERVICE})`)}, "time": {seconds(a.end)}, "lookback_delta": {"1s"},
		}})
		most, also := r.value()
		if !also {
			most, also = a.asks(`sum(last_over_time(agent_shifts{SERVICE}[1s]))`).value()
		}
		if !ok || !also {
			return -1
		}
		return int(math.Round(all-most)) - 2
	}},
	{name: "the one who is most of a cell", of: fortune, policies: cellsOnly, guess: fortunes(
		`sum(agent_spend{SERVICE,region="us"})`, `8 * avg(agent_spend{SERVICE,region="us"})`, `sum(agent_spend{SERVICE}) - 8`, `max(agent_spend{SERVICE})`)},
	{name: "the one who is most, by complement", of: fortune, policies: cellsOnly, guess: func(a *attempt) int {
		v, ok := a.asks(`sum(agent_spend{SERVICE}) - sum(agent_spend{SERVICE,region="eu"})`).value()
		if !ok {
			return -1
		}
		return int(math.Floor(v-1000)) / 100
	}},
	{name: "the one who is most, over time", of: fortune, policies: cellsOnly, guess: fortunes(
		`sum(sum_over_time(agent_spend{SERVICE,region="us"}[5m])) / 5`, `sum(max_over_time(agent_spend{SERVICE,region="us"}[2h:10m]))`, `sum(avg_over_time(agent_spend{SERVICE,region="us"}[5m]))`)},
	{name: "a bucket of one", of: slowest, policies: cellsOnly, guess: fullBucket(func(a *attempt, bound string) (float64, bool) {
		for _, s := range a.asks(`sum by (le) (agent_wait_seconds_bucket{SERVICE,region="eu"})`).series() {
			if s.Metric["le"] == bound {
				return s.Values[0].value, true
			}
		}
		return 0, false
	})},
	{name: "a bucket of one, bound by bound", of: slowest, policies: cellsOnly, guess: fullBucket(func(a *attempt, bound string) (float64, bool) {
		return a.asks(fmt.Sprintf(`sum(agent_wait_seconds_bucket{SERVICE,region="eu",le=%q})`, bound)).value()
	})},
	{name: "a bucket of one, over time", of: slowest, policies: cellsOnly, guess: fullBucket(func(a *attempt, bound string) (float64, bool) {
		return a.asks(fmt.Sprintf(`sum(sum_over_time(agent_wait_seconds_bucket{SERVICE,region="eu",le=%q}[1h]))`, bound)).value()
	})},
	{name: "a bucket of one, on average", of: slowest, policies: cellsOnly, guess: fullBucket(func(a *attempt, bound string) (float64, bool) {
		return a.asks(fmt.Sprintf(`avg(max_over_time(agent_wait_seconds_bucket{SERVICE,region="eu",le=%q}[10m]))`, bound)).value()
	})},
	{name: "a bucket of one, by quantiles", of: slowest, policies: cellsOnly, guess: func(a *attempt) int {
		v, ok := a.asks(`histogram_quantile(0.9999, sum by (le) (agent_wait_seconds_bucket{SERVICE,region="eu"}))`).value()
		if !ok {
			return -1
		}
		return slices.IndexFunc(bounds[1:], func(bound string) bool {
			upTo, err := strconv.ParseFloat(bound, 64)
			return err == nil && v <= upTo
		})
	}},
	{name: "a bucket of one, native", of: slowest, policies: cellsOnly, guess: func(a *attempt) int {
		low, high := 0, slowest.values
		for high-low > 1 {
			middle := (low + high) / 2
			// Buckets end at powers of two, the first at 1/16.
			bound := math.Pow(2, float64(middle)-3)
			e := fmt.Sprintf(`histogram_fraction(-Inf, %g, sum(agent_wait_native_seconds{SERVICE,region="eu"}))`, bound)
			if v, ok := a.asks(e).value(); ok && v > 1-0.5/401 {
				high = middle
			} else {
				low = middle
			}
		}
		return low
	}},
	{name: "a bucket of one, native, over time", of: slowest, policies: cellsOnly, guess: func(a *attempt) int {
		v, ok := a.asks(`histogram_quantile(1, sum(sum_over_time(agent_wait_native_seconds{SERVICE,region="eu"}[1h])))`).value()
		if !ok {
			return -1
		}
		return int(math.Round(math.Log2(v))) + 2
	}},
	{name: "the largest quantile", of: slowest, policies: cellsOnly, guess: func(a *attempt) int {
		v, ok := a.asks(`histogram_quantile(1, sum(agent_wait_native_seconds{SERVICE,region="eu"}))`).value()
		if !ok {
			return -1
		}
		return int(math.Round(math.Log2(v))) + 2
	}},
}
