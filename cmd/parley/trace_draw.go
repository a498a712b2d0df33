package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
)

// waterfall is the spans of a trace as they are drawn.
type waterfall struct {
	rows       []waterfallRow // each below what called it
	start, end int64          // Unix nanoseconds
	failed     bool           // a span has an error
}

// waterfallRow is a span.
type waterfallRow struct {
	org, service, name string
	depth              int
	start, end         int64
	critical, failed   bool
	withheld           bool
	missing            string // why, of a placeholder

	id, parent pcommon.SpanID
}

// title is what the span is, in words.
func (r waterfallRow) title() string {
	switch {
	case r.missing != "":
		return printable(r.missing)
	case r.service == "":
		return printable(r.name)
	}
	return printable(r.service) + ": " + printable(r.name)
}

// waterfallOf reads a trace.
func waterfallOf(t front.StitchedTrace) (*waterfall, error) {
	spans, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(t.Trace)
	if err != nil {
		return nil, fmt.Errorf("the spans of trace %s can't be read; try -o json: %w", printable(t.TraceID), err)
	}
	critical := map[front.SpanName]bool{}
	for _, s := range t.Report.Critical {
		critical[front.SpanName{TraceID: s.TraceID, SpanID: s.SpanID}] = true
	}
	var rows []waterfallRow
	for _, rs := range spans.ResourceSpans().All() {
		attributes := rs.Resource().Attributes()
		org, service := attribute(attributes, traces.OrgAttribute), attribute(attributes, "service.name")
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				row := rowOf(span)
				row.org, row.service, row.critical = org, service, critical[recordedAs(span)]
				rows = append(rows, row)
			}
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("a trace without spans; try -o json")
	}
	w := &waterfall{rows: nested(rows), start: math.MaxInt64}
	for _, r := range w.rows {
		w.start, w.end = min(w.start, r.start), max(w.end, r.end)
		w.failed = w.failed || r.failed
	}
	return w, nil
}

func rowOf(span ptrace.Span) waterfallRow {
	row := waterfallRow{
		name: span.Name(), id: span.SpanID(), parent: span.ParentSpanID(),
		start: drawn(span.StartTimestamp()), end: drawn(span.EndTimestamp()),
		failed: span.Status().Code() == ptrace.StatusCodeError,
	}
	row.end = max(row.end, row.start)
	switch traces.Redaction(attribute(span.Attributes(), traces.RedactionAttribute)) {
	case traces.Placeholder:
		row.missing = whyMissing(attribute(span.Attributes(), traces.HoldersAttribute), attribute(span.Attributes(), traces.PlaceholderAttribute))
	case traces.Withheld, traces.Shape, traces.Boundary:
		row.withheld = true
	case traces.Attributes:
	}
	return row
}

// drawn is a time that can be drawn.
func drawn(t pcommon.Timestamp) int64 { return int64(min(t, math.MaxInt64/2)) }

// recordedAs names a span as reports do.
func recordedAs(span ptrace.Span) front.SpanName {
	traceID, spanID := span.TraceID(), span.SpanID()
	name := front.SpanName{TraceID: hex.EncodeToString(traceID[:]), SpanID: hex.EncodeToString(spanID[:])}
	return front.SpanName{
		TraceID: cmp.Or(attribute(span.Attributes(), traces.TraceAttribute), name.TraceID),
		SpanID:  cmp.Or(attribute(span.Attributes(), traces.SpanAttribute), name.SpanID),
	}
}

// whyMissing is what a placeholder says.
func whyMissing(holders, reason string) string {
	of := "of " + cmp.Or(holders, "nobody that is known")
	switch traces.MissingReason(reason) {
	case traces.MissingDenied:
		return "missing: denied by " + cmp.Or(holders, "somebody")
	case traces.MissingUnreachable:
		return "missing: no answer from " + cmp.Or(holders, "somebody")
	case traces.MissingRetention:
		return "missing: older than what is shown " + of
	case traces.MissingUnknown:
	}
	return "missing: not recorded, lost or hidden"
}

func attribute(attributes pcommon.Map, name string) string {
	v, ok := attributes.Get(name)
	if !ok {
		return ""
	}
	return v.AsString()
}

// nested puts spans below what called them, in order of time.
func nested(rows []waterfallRow) []waterfallRow {
	slices.SortStableFunc(rows, func(a, b waterfallRow) int {
		return cmp.Or(cmp.Compare(a.start, b.start), slices.Compare(a.id[:], b.id[:]))
	})
	at := map[pcommon.SpanID]bool{}
	for _, r := range rows {
		at[r.id] = true
	}
	below := map[pcommon.SpanID][]waterfallRow{}
	for _, r := range rows {
		if !at[r.parent] || r.parent == r.id {
			r.parent = pcommon.SpanID{}
		}
		below[r.parent] = append(below[r.parent], r)
	}
	pending := slices.Clone(below[pcommon.SpanID{}])
	slices.Reverse(pending)
	out := make([]waterfallRow, 0, len(rows))
	for len(pending) > 0 {
		r := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		out = append(out, r)
		for _, kid := range slices.Backward(below[r.id]) {
			kid.depth = r.depth + 1
			pending = append(pending, kid)
		}
		delete(below, r.id)
	}
	return out
}

const (
	leastBar, mostBar = 20, 60
	leastTitle        = 16
	// deepest is how far spans are indented at most.
	deepest = 10
)

// widths are those of the columns in which spans are drawn.
type widths struct{ org, title, bar int }

// widths fit into a terminal, unless it is very narrow: titles are as wide as they
// are if bars can still be read, and bars take what is left.
func (w *waterfall) widths(columns int) widths {
	var out widths
	took, marks := 0, 0
	for _, r := range w.rows {
		out.org = max(out.org, utf8.RuneCountInString(printable(r.org)))
		out.title = max(out.title, len(r.indented()))
		took = max(took, utf8.RuneCountInString(r.took()))
		marks = max(marks, len(r.marks()))
	}
	room := columns - out.org - len("  ") - len(" ") - len(" ") - took - marks
	out.title = min(out.title, max(room-leastBar, leastTitle))
	out.bar = min(max(room-out.title, leastBar), mostBar)
	return out
}

// indented is the title as it stands below what called the span.
func (r waterfallRow) indented() []rune {
	return []rune(strings.Repeat("  ", min(r.depth, deepest)) + r.title())
}

func (r waterfallRow) took() string { return brief(time.Duration(r.end - r.start)) }

// marks are what is said in a letter.
func (r waterfallRow) marks() string {
	marks := ""
	if r.critical {
		marks += " *"
	}
	if r.failed {
		marks += " !"
	}
	return marks
}

// drawTrace draws a trace and says what is known of it.
func drawTrace(w io.Writer, t front.StitchedTrace, how style) error {
	fall, err := waterfallOf(t)
	if err != nil {
		return err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "trace %s, %s, %s\n\n", printable(t.TraceID), brief(time.Duration(t.Report.DurationNs)), count(len(fall.rows), "span"))
	columns := fall.widths(how.columns())
	for _, r := range fall.rows {
		out.WriteString(fall.line(r, columns, how))
	}
	known := describeTrace(t.Report, fall)
	if len(known) > 0 {
		out.WriteByte('\n')
	}
	for _, line := range known {
		if how.folded {
			line = fold(line, 0, min(how.columns(), lineWidth))
		}
		out.WriteString(line + "\n")
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// line draws a span.
func (w *waterfall) line(r waterfallRow, columns widths, how style) string {
	title := r.indented()
	if len(title) > columns.title {
		title = append(title[:columns.title-1], '…')
	}
	org, bar := fmt.Sprintf("%-*s", columns.org, printable(r.org)), w.bar(r, columns.bar)
	if how.coloured && r.org != "" {
		colour := colourOf(printable(r.org))
		org, bar = "\x1b["+colour+"m"+org+"\x1b[0m", "\x1b["+colour+"m"+bar+"\x1b[0m"
	}
	pad := strings.Repeat(" ", columns.title-len(title))
	return fmt.Sprintf("%s  %s%s %s %s%s\n", org, string(title), pad, bar, r.took(), r.marks())
}

// bar is when a span was, in the time of the trace.
func (w *waterfall) bar(r waterfallRow, width int) string {
	with := "─"
	switch {
	case r.missing != "":
		with = "·"
	case r.withheld:
		with = "░"
	case r.critical:
		with = "━"
	}
	whole := float64(max(1, w.end-w.start))
	from := min(width-1, int(float64(r.start-w.start)/whole*float64(width)))
	to := min(width, max(from+1, int(math.Round(float64(r.end-w.start)/whole*float64(width)))))
	return strings.Repeat(" ", from) + strings.Repeat(with, to-from) + strings.Repeat(" ", width-to)
}

// brief is a duration in three digits or so.
func brief(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

// describeTrace is what is known of a trace beyond its spans, a sentence each.
func describeTrace(r front.TraceReport, w *waterfall) []string {
	var out []string
	if len(r.Shares) > 0 {
		out = append(out, "who spent the time: "+strings.Join(describeShares(r), "; "))
	}
	if r.ErrorOrigin != nil {
		out = append(out, "the error began in "+w.describe(*r.ErrorOrigin))
	}
	for _, c := range r.Clocks {
		if text := describeClock(c); text != "" {
			out = append(out, text)
		}
	}
	for _, j := range r.Joins {
		by := "a link"
		if j.Attribute != "" {
			by = printable(j.Attribute) + ", which both sides carry"
		}
		out = append(out, fmt.Sprintf("trace %s is part of it: recognized by %s", printable(j.TraceID), by))
	}
	for _, c := range r.Conflicts {
		out = append(out, fmt.Sprintf("a span of %s was left out: its id %s is that of another of %s, and they differ in %s",
			printable(string(c.Dropped.Org)), printable(c.Dropped.SpanID), printable(string(c.Kept.Org)), printable(strings.Join(c.Differs, ", "))))
	}
	for _, b := range r.Broken {
		out = append(out, fmt.Sprintf("span %s of %s can't be taken as it is: %s", printable(b.Span.SpanID), printable(string(b.Span.Org)), printable(string(b.What))))
	}
	for _, id := range r.Unfollowed {
		out = append(out, fmt.Sprintf("it seems to go on as trace %s, which was not followed: there are too many", printable(id)))
	}
	return out
}

func describeShares(r front.TraceReport) []string {
	out := make([]string, 0, len(r.Shares))
	for _, s := range r.Shares {
		out = append(out, fmt.Sprintf("%s %s (%s)", whose(string(s.Org), string(s.To)), between(s.MinNs, s.MaxNs), percents(s, r.DurationNs)))
	}
	return out
}

// whose is whose time it was, as a share has it.
func whose(org, to string) string {
	switch {
	case to != "":
		return "the network from " + printable(org) + " to " + printable(to)
	case org == "":
		return "nobody that is known"
	}
	return printable(org)
}

func between(least, most int64) string {
	if least == most {
		return brief(time.Duration(least))
	}
	return brief(time.Duration(least)) + " to " + brief(time.Duration(most))
}

func percents(s front.TraceShare, whole int64) string {
	percent := func(ns int64) string { return fmt.Sprintf("%.0f%%", float64(ns)/float64(max(1, whole))*100) }
	if least, most := percent(s.MinNs), percent(s.MaxNs); least != most {
		return least + " to " + most
	}
	return percent(s.MinNs)
}

func describeClock(c front.TraceClock) string {
	org := printable(string(c.Org))
	switch {
	case c.Contradicts:
		return "the clock of " + org + " contradicts who called whom: its spans are shown where it says"
	case c.ShiftNs == 0:
		return ""
	}
	possible := ""
	switch {
	case c.MinNs != nil && c.MaxNs != nil:
		possible = fmt.Sprintf(" (%s to %s is possible)", signed(*c.MinNs), signed(*c.MaxNs))
	case c.MinNs != nil:
		possible = fmt.Sprintf(" (%s or more is possible)", signed(*c.MinNs))
	case c.MaxNs != nil:
		possible = fmt.Sprintf(" (%s or less is possible)", signed(*c.MaxNs))
	}
	return "the clock of " + org + " is taken to be wrong, its spans are moved by " + signed(c.ShiftNs) + possible
}

// signed is a duration with its sign.
func signed(ns int64) string {
	if ns < 0 {
		return "-" + brief(time.Duration(-max(ns, -math.MaxInt64)))
	}
	return "+" + brief(time.Duration(ns))
}

// describe names a span of a report.
func (w *waterfall) describe(s front.SpanName) string {
	for _, r := range w.rows {
		if hex.EncodeToString(r.id[:]) == s.SpanID {
			return strings.TrimSpace(printable(r.org) + " " + r.title())
		}
	}
	return strings.TrimSpace(printable(string(s.Org)) + " span " + printable(s.SpanID))
}
