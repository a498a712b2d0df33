package main

import (
	"fmt"
	"strings"
	"time"
)

// traceQuestions are those of package bench about traces, in words; aim is of the
// ratio to the slowest Jaeger, zero where there is none.
var traceQuestions = []struct {
	name, words string
	aim         float64
}{
	{"large", "a trace of 3,001 spans, by its id", 1.3},
	{"small", "a trace of 11 spans, by its id", 0},
	{"leaving", "one of 11 spans that may go on under another id", 0},
	{"search", "the last 20 traces with a status of 500", 0},
}

// Aims of stitching.
const (
	stitchWithin = 300 * time.Millisecond
	stitchMiB    = 500
)

// traces compares a gateway with the Jaegers of three organizations.
func (r *results) traces(b *strings.Builder) {
	b.WriteString("\n### Traces of three organizations, each with a Jaeger, through one gateway\n\n")
	b.WriteString("| question | against the slowest Jaeger alone | aim | against all three at once | time | CPU of all servers, against all three | peak memory |\n|---|---|---|---|---|---|---|\n")
	for _, q := range traceQuestions {
		name := "Traces/" + q.name
		ratio, ok := r.median(name, "x-slowest")
		text, aim := number(ratio, ok, "%.2f"), ""
		if q.aim > 0 {
			text, aim = verdict(ratio, q.aim, ok, "%.2f"), number(q.aim, true, "%.1f")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", q.words, text, aim,
			r.number(name, "x-direct", "%.2f"), r.duration(name), r.number(name, "x-cpu", "%.2f"), r.number(name, "peak-MiB", "%.0f MiB"))
	}
	b.WriteString("\n### A trace of 100,001 spans, put together\n\n| | time | aim | memory | aim |\n|---|---|---|---|---|\n")
	ns, ok := r.median("Stitch", "ns/op")
	took := r.duration("Stitch")
	if ok && ns > float64(stitchWithin) {
		took = "**" + took + "**"
	}
	most, ok := r.median("Stitch", "peak-MiB")
	fmt.Fprintf(b, "| what three organizations answered, with clocks and blame | %s | %s | %s | %d MiB |\n", took, stitchWithin, verdict(most, stitchMiB, ok, "%.0f MiB"), stitchMiB)

	b.WriteString("\n### Spans a second and core, by what leaves of them\n\n| | read and redacted |\n|---|---|\n")
	for _, mode := range []struct{ name, words string }{
		{"full", "all of them as they are"},
		{"attributes", "six names and attributes kept, one a pseudonym"},
		{"shape", "time and kind"},
		{"boundary", "where requests enter and leave"},
		{"hidden", "nothing"},
	} {
		perSecond, ok := r.median("Spans/"+mode.name, "spans/s/core")
		fmt.Fprintf(b, "| %s | %s |\n", mode.words, number(perSecond/1e3, ok, "%.0f k"))
	}
}
