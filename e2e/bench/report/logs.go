package main

import (
	"fmt"
	"strings"
)

// logQuestions are those of package bench about logs, in words; aim is of the
// ratio, zero where there is none.
var logQuestions = []struct {
	name, words string
	ruled       bool
	aim         float64
}{
	{"needle", "`{service} |= \"needle\"`, 20 lines of all", false, 1.5},
	{"first", "`{service}`, the last 10 lines", false, 1.5},
	{"rate", "`sum by (level) (rate({service}[5m]))`", false, 1.5},
	{"ruled-first", "`{service}`, the last 10 lines", true, 1.5},
	{"ruled-rate", "`sum by (level) (rate({service} | json | duration_ms > 500 [5m]))`", true, 0},
	{"ruled-count", "`sum(count_over_time({service} | json | level_extracted=\"error\" [6h]))`", true, 0},
}

const mostMiB = 256

// logs compares gateways with the Loki behind them.
func (r *results) logs(b *strings.Builder) {
	lines, ok := r.median("Logs/own/rate", "lines")
	fmt.Fprintf(b, "\n### Logs: one Loki, of how many million lines: %s\n\n", number(lines/1e6, ok, "%.3g"))
	b.WriteString("| question | by whom | against asking directly | aim | time | CPU of all servers, against | peak memory | aim |\n|---|---|---|---|---|---|---|---|\n")
	for _, by := range []struct{ name, words string }{{"own", "its own organization"}, {"partner", "a partner"}} {
		for _, q := range logQuestions {
			words := by.words
			if q.ruled {
				words += ", rules on lines"
			}
			if q.ruled && by.name == "own" {
				continue // who has no rules
			}
			name := "Logs/" + by.name + "/" + q.name
			ratio, ok := r.median(name, "x-direct")
			text, aim := number(ratio, ok, "%.2f"), ""
			if q.aim > 0 {
				text, aim = verdict(ratio, q.aim, ok, "%.2f"), number(q.aim, true, "%.1f")
			}
			peak, ok := r.median(name, "peak-MiB")
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %d MiB |\n", strings.ReplaceAll(q.words, "|", `\|`), words, text, aim,
				r.duration(name), r.number(name, "x-cpu", "%.2f"), verdict(peak, mostMiB, ok, "%.0f MiB"), mostMiB)
		}
	}
}

// lineRules are kinds of rules about lines; least is how many lines a second
// and core are aimed at, zero where there is no aim.
var lineRules = []struct {
	name, words string
	least       float64
}{
	{"keep", "lines as they are", 0},
	{"none", "no lines", 0},
	{"keep-drop", "JSON: six fields kept, the others dropped", 1e6},
	{"drop-one", "JSON: one field dropped, the others kept", 1e6},
	{"pseudonym", "JSON: six kept, one a pseudonym, the others dropped", 0},
	{"three-detectors", "three detectors", 300e3},
	{"keep-drop-three", "JSON: six kept, the others dropped; three detectors", 300e3},
	{"keep-drop-all", "JSON: six kept, the others dropped; all detectors", 0},
	{"logfmt", "logfmt: six kept, the others dropped", 0},
	{"logfmt-three", "logfmt: six kept, the others dropped; three detectors", 0},
	{"shape", "the template", 0},
}

func (r *results) lines(b *strings.Builder) {
	b.WriteString("\n### Lines a second and core, by what leaves of them\n\n| | redacted | aim | read, redacted and counted |\n|---|---|---|---|\n")
	for _, rule := range lineRules {
		name := "Lines/" + rule.name
		perSecond, ok := r.median(name, "lines/s/core")
		text, aim := number(perSecond/1e6, ok, "%.2f M"), ""
		if rule.least > 0 {
			aim = fmt.Sprintf("%.1f M", rule.least/1e6)
			if ok && perSecond < rule.least {
				text = "**" + text + "**"
			}
		}
		viewed, ok := r.median(name, "view-lines/s/core")
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", rule.words, text, aim, number(viewed/1e6, ok, "%.2f M"))
	}
}
