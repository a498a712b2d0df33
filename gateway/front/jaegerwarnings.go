package front

import (
	"fmt"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/tenants"
)

// Of all that can be said of a trace, Grafana's data source for Jaeger shows the
// warnings of spans alone.

// spanKey names a span of an answer.
type spanKey struct {
	trace pcommon.TraceID
	span  pcommon.SpanID
}

func keyOf(span ptrace.Span) spanKey { return spanKey{span.TraceID(), span.SpanID()} }

// warningsOf says of spans what became of them, and of the trace what it lacks and
// what was redacted: at its first span.
func warningsOf(s *session, t traces.Trace) map[spanKey][]string {
	out := map[spanKey][]string{}
	add := func(at spanKey, text string) {
		if text != "" {
			out[at] = append(out[at], text)
		}
	}
	firsts := map[tenants.OrgID]ptrace.Span{}
	var first ptrace.Span
	begins := func(span, before ptrace.Span) bool {
		return before == (ptrace.Span{}) || span.StartTimestamp() < before.StartTimestamp()
	}
	for s := range traceql.Spans(t.Spans) {
		span, org := s.Span, orgOf(s.Resource.Resource())
		if begins(span, first) {
			first = span
		}
		if begins(span, firsts[org]) {
			firsts[org] = span
		}
		add(keyOf(span), whatBecame(span, org))
	}
	c, _ := s.outcome()
	add(keyOf(first), missing(c))
	add(keyOf(first), redacted(c))
	if t.Report == nil {
		return out
	}
	for _, clock := range t.Report.Clocks {
		at, there := firsts[clock.Org]
		if !there {
			at = first
		}
		add(keyOf(at), clockText(clock))
	}
	for _, conflict := range t.Report.Conflicts {
		add(spanKey{conflict.Kept.Trace, conflict.Kept.Span}, conflictText(conflict))
	}
	for _, join := range t.Report.Joins {
		add(spanKey{join.Child.Trace, join.Child.Span}, joinText(join))
	}
	return out
}

func orgOf(r pcommon.Resource) tenants.OrgID {
	value, ok := r.Attributes().Get(traces.OrgAttribute)
	if !ok {
		return ""
	}
	return tenants.OrgID(value.AsString())
}

// whatBecame says of a span that isn't one of a store what it stands for.
func whatBecame(span ptrace.Span, org tenants.OrgID) string {
	value, ok := span.Attributes().Get(traces.RedactionAttribute)
	if !ok {
		return ""
	}
	switch traces.Redaction(value.AsString()) {
	case traces.Withheld:
		if n, told := span.Attributes().Get(traces.FoldedAttribute); told {
			return fmt.Sprintf("Withheld: it stands for %s spans that %s doesn't show.", n.AsString(), someone(org))
		}
		return fmt.Sprintf("Withheld: it stands for what %s doesn't show.", someone(org))
	case traces.Placeholder:
		why := "why isn't known"
		if reason, told := span.Attributes().Get(traces.PlaceholderAttribute); told {
			why = reason.AsString()
		}
		if holders, told := span.Attributes().Get(traces.HoldersAttribute); told && holders.AsString() != "" {
			why += ": " + holders.AsString() + " could hold it"
		}
		return fmt.Sprintf("Placeholder: the span that it stands for isn't there (%s).", why)
	case traces.Shape:
		return fmt.Sprintf("Of this span %s shows its time and kind only.", someone(org))
	case traces.Attributes, traces.Boundary:
	}
	return ""
}

func someone(org tenants.OrgID) string {
	if org == "" {
		return "its owner"
	}
	return string(org)
}

func clockText(c traces.Clock) string {
	switch {
	case c.Contradicts:
		return fmt.Sprintf("The clock of %s contradicts itself: no shift lets all of its spans lie within those that called them, so that none is made.", c.Org)
	case c.Unbounded, c.Shift == 0:
		return ""
	}
	return fmt.Sprintf("The spans of %s are shown %s from where its clock has them; anything from %s to %s is possible.", c.Org, signed(int64(c.Shift)), signed(int64(c.Possible.Min)), signed(int64(c.Possible.Max)))
}

// signed is a number of nanoseconds in milliseconds, with its sign.
func signed(ns int64) string {
	text := strconv.FormatFloat(float64(ns)/1e6, 'f', -1, 64) + "ms"
	if ns > 0 {
		return "+" + text
	}
	return text
}

func conflictText(c traces.Conflict) string {
	return fmt.Sprintf("%s has another span of this id, which isn't shown; what differs: %s.", someone(c.Dropped.Org), strings.Join(c.Differs, ", "))
}

func joinText(j traces.Join) string {
	if j.By == traces.ByBoundary {
		return fmt.Sprintf("The trace %s is part of this one: both sides carry the same %s.", j.Trace, j.Attribute)
	}
	return fmt.Sprintf("The trace %s is part of this one: a link says so.", j.Trace)
}
