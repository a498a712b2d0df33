package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/rehearsal"
)

// size is how much an answer holds, in words.
func size(a rehearsal.Answer) string {
	switch {
	case a.Lines != nil:
		return count(len(a.Lines), "line")
	case a.Traces != nil:
		return count(len(a.Traces), "trace")
	}
	return fmt.Sprintf("%d series", len(a.Series))
}

// answer prints an answer, or as much of it as people read.
func (t tried) answer(out *strings.Builder, a rehearsal.Answer) error {
	switch {
	case a.Lines != nil:
		return t.lines(out, a.Lines)
	case a.Traces != nil:
		return t.traces(out, a.Traces)
	}
	t.series(out, a.Series)
	return nil
}

// indented puts text below a heading.
func indented(out *strings.Builder, text string) {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			line = "  " + line
		}
		out.WriteString(line)
	}
}

// lines are the newest ones, in order of time.
func (t tried) lines(out *strings.Builder, lines []rehearsal.Line) error {
	if len(lines) == 0 {
		out.WriteString("  no lines\n")
		return nil
	}
	var shown []printedLine
	for _, l := range lines[:min(len(lines), mostRows)] {
		shown = append(shown, printedLine{l.Time.UnixNano(), maps.Clone(l.Stream), l.Line})
	}
	slices.Reverse(shown) // they are asked for from the newest on
	var text strings.Builder
	if err := (&linePrinter{w: &text, how: t.how}).write(shown); err != nil {
		return err
	}
	indented(out, text.String())
	more(out, len(lines)-len(shown), " older")
	return nil
}

// traces are drawn where one is asked for, and otherwise listed.
func (t tried) traces(out *strings.Builder, found []rehearsal.Trace) error {
	var shown []front.StitchedTrace
	var text strings.Builder
	for _, released := range found[:min(len(found), mostRows)] {
		trace := front.StitchedTrace{TraceID: released.TraceID, Trace: released.Spans}
		fall, err := waterfallOf(trace)
		if err != nil {
			return err
		}
		trace.Report.DurationNs = fall.end - fall.start
		shown = append(shown, trace)
		if !t.traceID {
			continue
		}
		columns := fall.widths(t.how.columns() - len("  "))
		for _, r := range fall.rows {
			text.WriteString(fall.line(r, columns, t.how))
		}
	}
	if !t.traceID || len(shown) == 0 {
		if err := listTraces(&text, shown); err != nil {
			return err
		}
	}
	indented(out, text.String())
	more(out, len(found)-len(shown), "")
	return nil
}

// more says that not all of an answer is printed.
func more(out *strings.Builder, n int, which string) {
	if n > 0 {
		fmt.Fprintf(out, "  and %d more%s; -o json has all\n", n, which)
	}
}

func (t tried) series(out *strings.Builder, series []rehearsal.Series) {
	var rows [][]string
	shown := series[:min(len(series), mostRows)]
	if t.instant {
		rows = vectorRows(asVector(shown))
	} else {
		rows = matrixRows(asMatrix(shown))
	}
	if len(rows) == 0 {
		rows = [][]string{{"no series"}}
	}
	indented(out, align(rows))
	more(out, len(series)-len(shown), "")
}

func asVector(series []rehearsal.Series) model.Vector {
	var out model.Vector
	for _, s := range series {
		sample := &model.Sample{Metric: s.Labels}
		if len(s.Values) > 0 {
			sample.Value = s.Values[0].Value
		} else {
			sample.Histogram = &model.SampleHistogram{}
		}
		out = append(out, sample)
	}
	return out
}

func asMatrix(series []rehearsal.Series) model.Matrix {
	var out model.Matrix
	for _, s := range series {
		stream := &model.SampleStream{Metric: s.Labels, Values: s.Values}
		for range s.Histograms {
			stream.Histograms = append(stream.Histograms, model.SampleHistogramPair{Histogram: &model.SampleHistogram{}})
		}
		out = append(out, stream)
	}
	return out
}
