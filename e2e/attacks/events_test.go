package attacks

import (
	"fmt"
	"math"
	"time"
)

var eventsOnly = []string{Events}

// within is how many events there were in the interval with secrets, as an
// expression counts them at its end.
func within(expressions ...string) func(*attempt) int {
	return func(a *attempt) int {
		for _, e := range expressions {
			v, ok := a.asksAt(e, a.eventsBegin().Add(eventInterval)).value()
			if ok && v > 0 {
				return events(v) - 2
			}
		}
		return -1
	}
}

// events is how many there were, be it that Prometheus extrapolated them from
// ten samples, which are nine minutes.
func events(increase float64) int { return int(math.Round(0.91 * increase)) }

// moved reads from values at the ends of minutes in which one of the interval
// with secrets something happened.
func moved(value func(a *attempt, at time.Time) (float64, bool)) func(*attempt) int {
	return func(a *attempt) int {
		before, known := value(a, a.eventsBegin())
		for m := range minute.values {
			v, ok := value(a, a.eventsBegin().Add(time.Duration(m+1)*time.Minute))
			if ok && known && v > before {
				return m
			}
			before, known = v, ok
		}
		return -1
	}
}

// zeros is why policies of events are open to some attacks.
var zeros = map[string]string{Events: "Of events, none is told as 0 and a few are not told: that there were some shows, and so does every value of a dimension that a counter has."}

// onEvents are after few events, and after when they were.
var onEvents = []*attack{
	{name: "few events", of: fewEvents, policies: eventsOnly, guess: within(
		`sum(increase(signups_total{SERVICE,region="ap"}[10m]))`, `sum(rate(signups_total{SERVICE,region="ap"}[10m])) * 600`,
		`sum(increase(signups_total{SERVICE,region="ap"}[10m] @ end()))`)},
	{name: "any event", of: anyEvent, policies: eventsOnly, open: zeros, guess: func(a *attempt) int {
		r := a.asksAt(`sum(increase(signups_total{SERVICE,region="af"}[10m]))`, a.eventsBegin().Add(eventInterval))
		if v, ok := r.value(); r.ok() && (!ok || v > 0) {
			return 1
		}
		return 0
	}},
	{name: "any event, by listing", of: lone, policies: eventsOnly, open: zeros, guess: func(a *attempt) int {
		return named(lone, a.lists("/api/v1/label/region/values", `signups_total{SERVICE}`), a.asks(`sum by (region) (increase(signups_total{SERVICE}[1h]))`))
	}},
	{name: "few events by complement", of: fewEvents, policies: eventsOnly, guess: within(
		`sum(increase(signups_total{SERVICE}[10m])) - sum(increase(signups_total{SERVICE,region!="ap"}[10m]))`)},
	{name: "few events by longer ranges", of: fewEvents, policies: eventsOnly, guess: func(a *attempt) int {
		at := a.eventsBegin().Add(eventInterval)
		long, _ := a.asksAt(`sum(increase(signups_total{SERVICE,region="ap"}[20m]))`, at).value()
		earlier, _ := a.asksAt(`sum(increase(signups_total{SERVICE,region="ap"}[10m] offset 10m))`, at).value()
		// As intervals add up, or as Prometheus extrapolates from 20 samples.
		for _, n := range []int{int(math.Round(long - earlier)), int(math.Round(long*19/20 - 180))} {
			if n > 1 && n < 6 {
				return n - 2
			}
		}
		return -1
	}},
	{name: "few events by offset", of: fewEvents, unserved: true, policies: eventsOnly, guess: within(
		`sum(signups_total{SERVICE,region="ap"}) - sum(signups_total{SERVICE,region="ap"} offset 10m)`,
		`sum(last_over_time(signups_total{SERVICE,region="ap"}[10m])) - sum(last_over_time(signups_total{SERVICE,region="ap"}[10m] offset 10m))`)},
	{name: "few events by @", of: fewEvents, policies: eventsOnly, guess: func(a *attempt) int {
		for _, e := range []string{
			`sum(increase(signups_total{SERVICE,region="ap"}[10m] @ %[1]s))`,
			`sum(increase(signups_total{SERVICE,region="ap"}[30m] @ %[2]s)) - sum(increase(signups_total{SERVICE,region="ap"}[10m] @ %[2]s)) - sum(increase(signups_total{SERVICE,region="ap"}[10m] @ %[3]s))`,
		} {
			begin := a.eventsBegin()
			v, ok := a.asks(fmt.Sprintf(e, seconds(begin.Add(eventInterval)), seconds(begin.Add(2*eventInterval)), seconds(begin))).value()
			if n := events(v); ok && n > 1 && n < 6 {
				return n - 2
			}
		}
		return -1
	}},
	{name: "few events, unaligned", of: fewEvents, policies: eventsOnly, guess: func(a *attempt) int {
		if v, ok := a.asksAt(`sum(delta(signups_total{SERVICE,region="ap"}[9m]))`, a.eventsBegin().Add(eventInterval)).value(); ok {
			return int(math.Round(v*8/9)) - 2
		}
		// A range that begins within an interval of many and ends in that of few.
		for _, shift := range []time.Duration{-time.Minute, time.Minute, 5 * time.Minute} {
			at := a.eventsBegin().Add(eventInterval + shift)
			long, ok := a.asksAt(`sum(increase(signups_total{SERVICE,region="ap"}[20m]))`, at).value()
			short, also := a.asksAt(`sum(increase(signups_total{SERVICE,region="ap"}[10m]))`, at.Add(-eventInterval)).value()
			if n := int(math.Round(long - short)); ok && also && n > 1 && n < 6 {
				return n - 2
			}
		}
		return -1
	}},
	{name: "few events by a subquery", of: fewEvents, policies: eventsOnly, guess: within(
		`sum(max_over_time(signups_total{SERVICE,region="ap"}[9m:1m])) - sum(min_over_time(signups_total{SERVICE,region="ap"}[9m:1m]))`,
		`sum(increase(signups_total{SERVICE,region="ap"}[10m:1m]))`, `sum_over_time(sum(increase(signups_total{SERVICE,region="ap"}[10m]))[10m:10m])`)},
	{name: "few events by comparison", of: fewEvents, policies: eventsOnly, guess: func(a *attempt) int {
		for n := range fewEvents.values {
			r := a.asksAt(fmt.Sprintf(`sum(increase(signups_total{SERVICE,region="ap"}[10m])) < %g`, (float64(n)+2.5)*1.05), a.eventsBegin().Add(eventInterval))
			if len(r.series()) > 0 {
				return n
			}
		}
		return -1
	}},
	{name: "few events by the counter", of: fewEvents, unserved: true, policies: eventsOnly, guess: func(a *attempt) int {
		for _, s := range a.reads("signups_total", is("region", "ap")).series() {
			var before, after float64
			for _, p := range s.Values {
				at := time.UnixMilli(int64(p.at * 1000))
				if !at.After(a.eventsBegin()) {
					before = p.value
				}
				if !at.After(a.eventsBegin().Add(eventInterval)) {
					after = p.value
				}
			}
			if n := int(after - before); n > 0 {
				return n - 2
			}
		}
		return -1
	}},
	{name: "the minute of events", of: minute, unserved: true, policies: eventsOnly, guess: moved(func(a *attempt, at time.Time) (float64, bool) {
		return a.asksAt(`sum(signups_total{SERVICE,region="sa"})`, at).value()
	})},
	{name: "the minute of events, by sliding", of: minute, long: true, policies: eventsOnly, guess: moved(func(a *attempt, at time.Time) (float64, bool) {
		return a.asksAt(`sum(increase(signups_total{SERVICE,region="sa"}[10m]))`, at).value()
	})},
	{name: "the minute of events, by short ranges", of: minute, long: true, policies: eventsOnly, guess: moved(func(a *attempt, at time.Time) (float64, bool) {
		return a.asksAt(`sum(increase(signups_total{SERVICE,region="sa"}[2m])) or vector(0)`, at).value()
	})},
	{name: "the minute of events, by steps", of: minute, policies: eventsOnly, guess: func(a *attempt) int {
		// Increases are extrapolated: the first that is above nothing counts.
		for _, s := range a.asksRange(`sum(increase(signups_total{SERVICE,region="sa"}[10m])) or vector(0)`, a.eventsBegin().Add(time.Minute), a.eventsBegin().Add(eventInterval), time.Minute).series() {
			for i := 1; i < len(s.Values); i++ {
				if s.Values[i].value > s.Values[i-1].value+15 {
					return i
				}
			}
			if len(s.Values) > 0 && s.Values[0].value > 80 {
				return 0
			}
		}
		return -1
	}},
	{name: "the minute of events, by offset", of: minute, long: true, policies: eventsOnly, guess: moved(func(a *attempt, at time.Time) (float64, bool) {
		ago := a.end.Sub(at)
		return a.asks(fmt.Sprintf(`sum(increase(signups_total{SERVICE,region="sa"}[20m] offset %ds))`, int(ago.Seconds()))).value()
	})},
}
