package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/federation/traces"
)

// by are numbers by the dataset that did something.
func (t tried) by(numbers map[int]int, done string) []countedAs {
	var out []countedAs
	for _, i := range slices.Sorted(maps.Keys(numbers)) {
		out = append(out, countedAs{numbers[i], done + " by the dataset " + t.Datasets[i].Name})
	}
	return out
}

// ofLogs says what of the store's lines isn't in the partner's answer.
func (t tried) ofLogs(out *strings.Builder, account *logs.Account) {
	var labels []metrics.LabelAccount
	for _, s := range account.Selectors {
		last := ""
		if s.Cut {
			last = "the last "
		}
		fmt.Fprintf(out, "  %s matches %s%s of %s:\n", s.Selector, last, count(s.Lines, "line"), count(s.Streams, "stream"))
		became := append([]countedAs{{s.Released, "streams released"}}, t.by(s.Denied, "streams denied")...)
		out.WriteString(counted(append(became,
			countedAs{s.Outside, "streams in no dataset"},
			countedAs{s.Unmatched, "streams released, but matched by what is hidden"},
			countedAs{s.Withheld, "lines of streams that aren't released"},
			countedAs{s.Elsewhen, "lines of a time that may not be seen"},
			countedAs{s.Unchanged, "lines released as they are"},
			countedAs{s.Changed, "lines released with something changed"},
			countedAs{s.Emptied, "lines released without anything in them"},
		)))
		if s.Found > 0 || s.FoundSeen > 0 {
			fmt.Fprintf(out, "  out of the pipeline come %s for you, and %d for %s\n", count(s.Found, "line"), s.FoundSeen, t.Partner)
		}
		if len(s.Rules) > 0 {
			out.WriteString("  what was done in lines:\n")
			var done []countedAs
			for _, r := range s.Rules {
				done = append(done, countedAs{int(r.Times), r.Rule})
			}
			out.WriteString(counted(done))
		}
		labels = append(labels, asLabels(s.Labels)...)
	}
	t.labels(out, "their labels and metadata", labels)
}

// ofTraces says what of the spans isn't in the partner's answer.
func (t tried) ofTraces(out *strings.Builder, account *traces.Account) {
	for i, a := range account.Traces {
		if i == mostRows {
			more(out, len(account.Traces)-mostRows, "")
			break
		}
		fmt.Fprintf(out, "  %s has %s:\n", a.TraceID, count(a.Spans, "span"))
		became := []countedAs{}
		for _, mode := range slices.Sorted(maps.Keys(a.Shown)) {
			became = append(became, countedAs{a.Shown[mode], map[bool]string{false: "released", true: "that would be released"}[a.Elsewhen] + ", as " + mode})
		}
		became = append(became, countedAs{a.Folded, "folded into " + count(a.Withheld, "withheld span")})
		became = append(append(became, t.by(a.Hidden, "hidden")...), t.by(a.Denied, "denied")...)
		out.WriteString(counted(append(became,
			countedAs{a.Outside, "in no dataset"},
			countedAs{a.Nameless, "without a span id"},
		)))
		if a.Elsewhen {
			out.WriteString(paragraph("     ", "nothing of it is released, because some of it is of a time that may not be seen"))
		}
		if a.Folded == 0 && a.Withheld > 0 {
			fmt.Fprintf(out, "     beside them there are %s, which tell nothing\n", count(a.Withheld, "withheld span"))
		}
	}
	if len(account.Traces) == 0 {
		out.WriteString("  there is no such trace\n")
	}
	t.labels(out, "names and attributes of spans that are released", asLabels(account.Attributes))
}

func asLabels(all []redact.LabelAccount) []metrics.LabelAccount {
	out := make([]metrics.LabelAccount, len(all))
	for i, l := range all {
		out[i] = metrics.LabelAccount{Name: l.Name, Values: l.Values, Seen: l.Seen, Kept: l.Kept, Datasets: l.Datasets}
	}
	return out
}
