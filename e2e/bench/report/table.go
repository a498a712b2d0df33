package main

import (
	"fmt"
	"strings"
	"time"
)

// question is one of package bench, in words.
type question struct{ name, words string }

// questions are those of most benchmarks. Cells answer the first two.
var questions = []question{
	{"sum", "`sum by (region, status) (rate(...[5m]))`"},
	{"selective", "`sum(rate(...{region, service, status}[5m]))`, 50 series"},
	{"raw", "`http_requests_total{...}`, 1,500 series"},
	{"topk", "`topk(5, sum by (pod) (rate(...[5m])))`"},
	{"quantile", "`quantile by (region) (0.9, rate(...[5m]))`"},
}

// sharing are those whose leaves have series in common.
var sharing = []question{
	{"errors", "`sum by (region) (rate(...{status=\"500\"}[5m])) / sum by (region) (rate(...[5m]))`"},
	{"each", "`sum by (region) (rate(...[5m])) / count by (region) (rate(...[5m]))`"},
	{"average", "`avg by (region, status) (rate(...[5m]))`"},
	{"quantile", "`histogram_quantile(0.9, sum by (region, le) (rate(..._bucket[5m])))`"},
	{"quantiles", "`histogram_quantile(0.99, ...) / histogram_quantile(0.5, ...)` of the same"},
}

// summed says that the question is a sum and nothing but a sum.
func summed(question string) bool { return question == "sum" || question == "selective" }

// pushed says that owners answer the question with aggregates, so that series
// don't cross the border.
func pushed(question string) bool { return question != "raw" && question != "quantile" }

// render returns the section of the page.
func (r *results) render(goVersion, date string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured on %s: %s cores of %s, %s/%s, %s; the median of %d runs of `make bench`.\n",
		date, r.cores, r.machine["cpu"], r.machine["goos"], r.machine["goarch"], goVersion, r.runs())
	r.against(&b, "Own", "A gateway over its own Prometheus", questions, func(string) float64 { return 1.2 })
	r.against(&b, "Three", "Three organizations through one gateway", questions, func(q string) float64 {
		if pushed(q) {
			return 1.2
		}
		return 2.5
	})
	r.against(&b, "Cells", "Cells of at least five pods, over its own Prometheus", questions[:2], func(string) float64 { return 2 })
	r.against(&b, "Cells", "Cells that are counted once for all leaves of a question", sharing, func(string) float64 { return 1.3 })
	r.formula(&b)
	r.border(&b)
	r.view(&b)
	r.plan(&b)
	r.decide(&b)
	r.bundle(&b)
	r.replay(&b)
	r.logs(&b)
	r.lines(&b)
	r.traces(&b)
	b.WriteByte('\n')
	return b.String()
}

func (r *results) against(b *strings.Builder, benchmark, title string, of []question, aim func(question string) float64) {
	fmt.Fprintf(b, "\n### %s\n\n| question | against asking directly | aim | time | CPU of all servers, against | peak memory |\n|---|---|---|---|---|---|\n", title)
	for _, q := range of {
		name := benchmark + "/" + q.name
		ratio, ok := r.median(name, "x-direct")
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", q.words, verdict(ratio, aim(q.name), ok, "%.2f"), number(aim(q.name), true, "%.1f"),
			r.duration(name), r.number(name, "x-cpu", "%.2f"), r.number(name, "peak-MiB", "%.0f MiB"))
	}
}

// formula compares cells with what pushing them down would cost: the aim is not
// to be slower than that.
func (r *results) formula(b *strings.Builder) {
	b.WriteString("\n### Cells, against their formula at the same Prometheus\n\n| question | against the formula | aim |\n|---|---|---|\n")
	for _, q := range questions[:2] {
		ratio, ok := r.median("Cells/"+q.name, "x-formula")
		fmt.Fprintf(b, "| %s | %s | 1.0 |\n", q.words, verdict(ratio, 1, ok, "%.2f"))
	}
}

// partners is how many there are in BenchmarkThree.
const partners = 2

func (r *results) border(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Bytes across the border, for %d partners\n\n| question | a question | each partner | aim |\n|---|---|---|---|\n", partners)
	for _, q := range questions {
		bytes, ok := r.median("Three/"+q.name, "border-B")
		aim, total := "", number(bytes/1000, ok, "%.1f kB")
		if summed(q.name) {
			aim, total = "20 kB", verdict(bytes/1000, 20, ok, "%.1f kB")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", q.words, total, number(bytes/1000/partners, ok, "%.1f kB"), aim)
	}
}

func (r *results) view(b *strings.Builder) {
	b.WriteString("\n### A view with pseudonyms, in process\n\n| question | against a view that hides nothing | aim | against no view at all | time |\n|---|---|---|---|---|\n")
	for _, q := range questions {
		name := "View/" + q.name
		ratio, ok := r.median(name, "x-nopolicy")
		fmt.Fprintf(b, "| %s | %s | 1.05 | %s | %s |\n", q.words, verdict(ratio, 1.05, ok, "%.2f"), r.number(name, "x-engine", "%.2f"), r.duration(name))
	}
}

func (r *results) decide(b *strings.Builder) {
	b.WriteString("\n### A decision, with fifty partners\n\n| | time | aim |\n|---|---|---|\n")
	r.within(b, "Decide/cold", "a question not asked before", time.Millisecond)
	r.within(b, "Decide/cached", "one asked before", 20*time.Microsecond)
}

func (r *results) plan(b *strings.Builder) {
	b.WriteString("\n### What is done to a question before data is read, policy aside\n\n| | time | aim |\n|---|---|---|\n")
	r.within(b, "Plan/cells", "ratios and `topk` over three leaves, taken apart into cells", time.Millisecond)
	r.within(b, "Plan/rows", "`sum by (region, status) (rate(...[5m]))`, narrowed to what the store is asked", time.Millisecond)
}

func (r *results) bundle(b *strings.Builder) {
	b.WriteString("\n### A signed bundle of a thousand rules, of twenty partners\n\n| | time | aim |\n|---|---|---|\n")
	r.within(b, "Bundle/thousand-rules", "verified, compiled, translated to selectors and tried", 5*time.Second)
}

// within is a row of a table: the time of a benchmark, in bold when it misses its
// aim.
func (r *results) within(b *strings.Builder, benchmark, words string, aim time.Duration) {
	ns, ok := r.median(benchmark, "ns/op")
	took := r.duration(benchmark)
	if ok && ns > float64(aim) {
		took = "**" + took + "**"
	}
	fmt.Fprintf(b, "| %s | %s | %s |\n", words, took, aim)
}

func (r *results) number(benchmark, unit, format string) string {
	value, ok := r.median(benchmark, unit)
	return number(value, ok, format)
}

func number(value float64, ok bool, format string) string {
	if !ok {
		return "not measured"
	}
	return fmt.Sprintf(format, value)
}

// verdict is number, in bold when it misses the aim as it is printed.
func verdict(value, aim float64, ok bool, format string) string {
	text := number(value, ok, format)
	if ok && value > aim && text != fmt.Sprintf(format, aim) {
		return "**" + text + "**"
	}
	return text
}

// duration is the time of the benchmark in three digits.
func (r *results) duration(benchmark string) string {
	ns, ok := r.median(benchmark, "ns/op")
	if !ok {
		return "not measured"
	}
	d := time.Duration(ns)
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (r *results) replay(b *strings.Builder) {
	b.WriteString("\n### A million recorded questions, decided once more\n\n| | time | aim |\n|---|---|---|\n")
	for _, c := range []struct{ name, words string }{
		{"dashboards", "a thousand different ones, by policies that look at what is asked"},
		{"all-different", "all different, by policies that don't"},
	} {
		seconds, ok := r.median("Replay/"+c.name, "s/million")
		fmt.Fprintf(b, "| %s | %s | 60s |\n", c.words, verdict(seconds, 60, ok, "%.0fs"))
	}
}
