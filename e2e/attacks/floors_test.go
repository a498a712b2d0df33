package attacks

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

var floorsOnly = []string{Floors}

// insideView is a moment that the view of the policy of floors holds, as long as
// the run takes.
func (w *world) insideView() time.Time { return w.end.Add(-80 * time.Minute).Truncate(viewInterval) }

// thousands reads a value that was above 5000 in thousands.
func thousands(v float64, ok bool) int {
	if !ok || v < 5500 {
		return -1
	}
	return int(math.Round(v/1000)) - 6
}

// highest reads the highest value of several expressions at a time.
func highest(at func(*attempt) time.Time, expressions ...string) func(*attempt) int {
	return func(a *attempt) int {
		for _, e := range expressions {
			if v, ok := a.asksAt(e, at(a)).value(); ok && v > 5500 {
				return thousands(v, ok)
			}
		}
		return -1
	}
}

func atEnd(a *attempt) time.Time      { return a.end }
func whenSpiked(a *attempt) time.Time { return a.spikedAt() }
func insideView(a *attempt) time.Time { return a.insideView() }

// onFloors are after what is finer, newer or older than the view.
var onFloors = []*attack{
	{name: "the last digits", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		v, ok := a.asksAt(`queue_depth{SERVICE,queue="digits"}`, a.insideView()).value()
		if !ok {
			return -1
		}
		return int(math.Round(v)-5000) / 2
	}},
	{name: "the last digits, by arithmetic", of: digits, long: true, policies: floorsOnly, guess: func(a *attempt) int {
		for _, e := range []string{
			`queue_depth{SERVICE,queue="digits"} % 100`, `sum_over_time(queue_depth{SERVICE,queue="digits"}[10m]) / count_over_time(queue_depth{SERVICE,queue="digits"}[10m]) - 5000`,
			`avg(queue_depth{SERVICE,queue=~"digits|between"}) * 2 - 10000`, `sum(queue_depth{SERVICE,queue="digits"} * 1000) / 1000 - 5000`,
			`quantile(0.5, queue_depth{SERVICE,queue="digits"}) - 5000`, `min_over_time(queue_depth{SERVICE,queue="digits"}[10m:5m]) - 5000`,
		} {
			if v, ok := a.asksAt(e, a.insideView()).value(); ok && v > 0.5 {
				return int(math.Round(v)) / 2
			}
		}
		return 0
	}},
	{name: "the last digits, by comparison", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		low, high := 0, digits.values
		for high-low > 1 {
			middle := (low + high) / 2
			if len(a.asksAt(fmt.Sprintf(`queue_depth{SERVICE,queue="digits"} < %d`, 5000+2*middle), a.insideView()).series()) > 0 {
				high = middle
			} else {
				low = middle
			}
		}
		return low
	}},
	{name: "the last digits, by == bool", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		for v := range digits.values {
			if got, ok := a.asksAt(fmt.Sprintf(`queue_depth{SERVICE,queue="digits"} == bool %d`, 5000+2*v), a.insideView()).value(); ok && got == 1 {
				return v
			}
		}
		return -1
	}},
	{name: "the last digits, into a label", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		r := a.asksAt(`count_values("value", queue_depth{SERVICE,queue="digits"})`, a.insideView())
		if len(r.series()) != 1 {
			return -1
		}
		v, err := strconv.ParseFloat(r.series()[0].Metric["value"], 64)
		if err != nil {
			return -1
		}
		return int(v-5000) / 2
	}},
	{name: "the last digits, by remote read", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		for _, s := range a.reads("queue_depth", is("queue", "digits")).series() {
			if len(s.Values) > 0 {
				return int(math.Round(s.Values[0].value)-5000) / 2
			}
		}
		return -1
	}},
	{name: "the last digits, of an exemplar", of: digits, policies: floorsOnly, guess: func(a *attempt) int {
		r := a.put(question{path: "/api/v1/query_exemplars", form: url.Values{
			"query": {a.of(`queue_depth{SERVICE,queue="digits"}`)}, "start": {seconds(a.at(0))}, "end": {seconds(a.end)},
		}})
		match := regexp.MustCompile(`"value":"?(50\d\d)`).FindStringSubmatch(r.body)
		if match == nil {
			return -1
		}
		v, _ := strconv.Atoi(match[1])
		return (v - 5000) / 2
	}},
	{name: "when a steady counter's rounding tips", of: drifted, policies: floorsOnly, open: map[string]string{
		Floors: "Rounding is not noise: when a number tips that is known to be steady shows where it began.",
	}, guess: func(a *attempt) int {
		// What every beginning would look like, rounded or not, is known.
		var seen []point
		for _, s := range a.asksRange(`queue_depth{SERVICE,queue="drift"}`, a.insideView().Add(-50*time.Minute), a.insideView().Add(5*time.Minute), viewInterval).series() {
			seen = s.Values
		}
		best, least := -1, math.Inf(1)
		for v := range drifted.values {
			off := 0.0
			for _, p := range seen {
				exact := float64(5000 + 6*v + 7*a.index(time.UnixMilli(int64(p.at*1000))))
				off += min(math.Abs(p.value-exact), math.Abs(p.value-100*math.Round(exact/100)))
			}
			if len(seen) > 0 && off < least {
				best, least = v, off
			}
		}
		return best
	}},
	{name: "between samples", of: between, policies: floorsOnly, guess: highest(whenSpiked, `queue_depth{SERVICE,queue="between"}`, `queue_depth{SERVICE,queue="between"} @ end()`)},
	{name: "between samples, over ranges", of: between, long: true, policies: floorsOnly, guess: highest(whenSpiked,
		`max_over_time(queue_depth{SERVICE,queue="between"}[1m])`, `max_over_time(queue_depth{SERVICE,queue="between"}[5m])`, `max_over_time(queue_depth{SERVICE,queue="between"}[30m])`,
		`max_over_time(queue_depth{SERVICE,queue="between"}[5m:1s])`, `max_over_time(queue_depth{SERVICE,queue="between"}[10m:5m])`, `5000 + max_over_time(deriv(queue_depth{SERVICE,queue="between"}[10m])[10m:5m])`,
		`sum_over_time(queue_depth{SERVICE,queue="between"}[5m]) - 5000 * (count_over_time(queue_depth{SERVICE,queue="between"}[5m]) - 1)`)},
	{name: "between samples, by steps", of: between, policies: floorsOnly, guess: func(a *attempt) int {
		for _, step := range []time.Duration{time.Second, time.Minute, 5 * time.Minute} {
			for _, shift := range []time.Duration{0, 2 * time.Minute} {
				for _, s := range a.asksRange(`queue_depth{SERVICE,queue="between"}`, a.insideView().Add(shift-10*time.Minute), a.insideView().Add(shift+10*time.Minute), step).series() {
					for _, p := range s.Values {
						if p.value > 5500 {
							return thousands(p.value, true)
						}
					}
				}
			}
		}
		return -1
	}},
	{name: "between samples, by looking back", of: between, policies: floorsOnly, guess: func(a *attempt) int {
		for _, lookback := range []string{"1s", "1m", "3m", "1h"} {
			r := a.put(question{path: "/api/v1/query", form: url.Values{
				"query": {a.of(`queue_depth{SERVICE,queue="between"}`)}, "time": {seconds(a.spikedAt())}, "lookback_delta": {lookback},
			}})
			if v, ok := r.value(); ok && v > 5500 {
				return thousands(v, ok)
			}
		}
		return -1
	}},
	{name: "between samples, by resets", of: restarted, policies: floorsOnly, guess: func(a *attempt) int {
		for _, e := range []string{
			`resets(queue_depth{SERVICE,queue="restarted"}[10m]) > 0`, `changes(queue_depth{SERVICE,queue="restarted"}[5m]) - 4 > 0`,
			`increase(queue_depth{SERVICE,queue="restarted"}[10m]) > 5000`, `min_over_time(queue_depth{SERVICE,queue="restarted"}[10m]) < 5000`,
			`resets(queue_depth{SERVICE,queue="restarted"}[10m:5m]) > 0`, `irate(queue_depth{SERVICE,queue="restarted"}[5m]) > 50`,
		} {
			if len(a.asksAt(e, a.spikedAt()).series()) > 0 || len(a.asksAt(e, a.spikedAt().Add(3*time.Minute)).series()) > 0 {
				return 1
			}
		}
		return 0
	}},
	{name: "the moment of scraping", of: scraped, policies: floorsOnly, guess: func(a *attempt) int {
		v, ok := a.asksAt(`timestamp(queue_depth{SERVICE,queue="scraped"})`, a.insideView()).value()
		if !ok {
			return -1
		}
		return int(float64(a.insideView().Unix())-v) / 2 % 30
	}},
	{name: "the moment of scraping, by remote read", of: scraped, policies: floorsOnly, guess: func(a *attempt) int {
		for _, s := range a.reads("queue_depth", is("queue", "scraped")).series() {
			if len(s.Values) > 0 {
				return (60 - int(s.Values[0].at)%60) % 60 / 2
			}
		}
		return -1
	}},
	{name: "between samples, by remote read", of: between, policies: floorsOnly, guess: readHighest("between")},
	{name: "the last minutes", of: recent, policies: floorsOnly, guess: highest(atEnd, `queue_depth{SERVICE,queue="recent"}`)},
	{name: "the last minutes, from other times", of: recent, policies: floorsOnly, guess: highest(insideView,
		`queue_depth{SERVICE,queue="recent"} offset -76m`, `queue_depth{SERVICE,queue="recent"} offset -79m`, `max_over_time(queue_depth{SERVICE,queue="recent"}[1h] offset -80m)`,
		`max_over_time(queue_depth{SERVICE,queue="recent"}[10m:5m] offset -78m)`)},
	{name: "the last minutes, by @", of: recent, policies: floorsOnly, guess: func(a *attempt) int {
		for _, e := range []string{`queue_depth{SERVICE,queue="recent"} @ %s`, `max_over_time(queue_depth{SERVICE,queue="recent"}[2h] @ %s)`, `max_over_time((queue_depth{SERVICE,queue="recent"} @ %s)[5m:5m])`} {
			if v, ok := a.asksAt(fmt.Sprintf(e, seconds(a.end)), a.insideView()).value(); ok && v > 5500 {
				return thousands(v, ok)
			}
		}
		return -1
	}},
	{name: "the last minutes, over ranges", of: recent, policies: floorsOnly, guess: highest(atEnd,
		`max_over_time(queue_depth{SERVICE,queue="recent"}[5m])`, `max_over_time(queue_depth{SERVICE,queue="recent"}[3h])`, `max_over_time(queue_depth{SERVICE,queue="recent"}[3h:5m])`,
		`last_over_time(queue_depth{SERVICE,queue="recent"}[3h])`)},
	{name: "the last minutes, by remote read", of: recent, policies: floorsOnly, guess: readHighest("recent")},
	{name: "long ago", of: old, policies: floorsOnly, guess: func(a *attempt) int {
		v, ok := a.asksAt(`queue_depth{SERVICE,queue="old"}`, a.at(20)).value()
		return thousands(v, ok)
	}},
	{name: "long ago, by offset and range", of: old, policies: floorsOnly, guess: highest(insideView,
		`queue_depth{SERVICE,queue="old"} offset 70m`, `max_over_time(queue_depth{SERVICE,queue="old"}[3h])`, `max_over_time(queue_depth{SERVICE,queue="old"}[3h:5m])`,
		`max_over_time(queue_depth{SERVICE,queue="old"}[10m] offset 70m)`)},
	{name: "long ago, by steps", of: old, policies: floorsOnly, guess: func(a *attempt) int {
		for _, s := range a.asksRange(`queue_depth{SERVICE,queue="old"}`, a.at(0), a.end, viewInterval).series() {
			for _, p := range s.Values {
				if p.value > 5500 {
					return thousands(p.value, true)
				}
			}
		}
		return -1
	}},
	{name: "long ago, by looking back", of: old, policies: floorsOnly, guess: func(a *attempt) int {
		r := a.put(question{path: "/api/v1/query", form: url.Values{
			"query": {a.of(`queue_depth{SERVICE,queue="old"}`)}, "time": {seconds(a.at(24).Add(30 * time.Second))}, "lookback_delta": {"1h"},
		}})
		v, ok := r.value()
		return thousands(v, ok)
	}},
	{name: "long ago, by remote read", of: old, policies: floorsOnly, guess: readHighest("old")},
}

// readHighest reads a queue's highest value by remote read.
func readHighest(queue string) func(*attempt) int {
	return func(a *attempt) int {
		for _, s := range a.reads("queue_depth", is("queue", queue)).series() {
			for _, p := range s.Values {
				if p.value > 5500 {
					return thousands(p.value, true)
				}
			}
		}
		return -1
	}
}
