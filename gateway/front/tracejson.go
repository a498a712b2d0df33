package front

import (
	"encoding/json"
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/tenants"
)

// TracesAnswer is what is answered below /api/parley/v1/traces: a trace by its id,
// or none where nobody shows it; or those that were found, the latest first. What
// is missing stands in the header, as always.
type TracesAnswer struct {
	Traces []StitchedTrace `json:"traces"`
}

// StitchedTrace is a trace, with what is known of it beyond its spans.
type StitchedTrace struct {
	TraceID string `json:"traceID"`
	// Trace is OTLP's TracesData as JSON.
	Trace  json.RawMessage `json:"trace"`
	Report TraceReport     `json:"report"`
}

// TraceReport is traces.Report as JSON. What nothing bounds is left out.
type TraceReport struct {
	DurationNs  int64          `json:"duration_ns"`
	Shares      []TraceShare   `json:"shares,omitempty"`
	Critical    []SpanName     `json:"critical,omitempty"`
	ErrorOrigin *SpanName      `json:"error_origin,omitempty"`
	Clocks      []TraceClock   `json:"clocks,omitempty"`
	Joins       []TraceJoin    `json:"joins,omitempty"`
	Missing     []MissingSpan  `json:"missing,omitempty"`
	Conflicts   []SpanConflict `json:"conflicts,omitempty"`
	Broken      []BrokenSpan   `json:"broken,omitempty"`
	Unfollowed  []string       `json:"unfollowed,omitempty"`
}

// SpanName names a span, by the ids under which it was recorded.
type SpanName struct {
	Org     tenants.OrgID `json:"org,omitempty"`
	TraceID string        `json:"traceID"`
	SpanID  string        `json:"spanID"`
}

// TraceShare is whose so much of the time was: an organization's; with To the
// network's; without Org nobody's that is known.
type TraceShare struct {
	Org   tenants.OrgID `json:"org,omitempty"`
	To    tenants.OrgID `json:"to,omitempty"`
	MinNs int64         `json:"min_ns"`
	MaxNs int64         `json:"max_ns"`
}

// TraceClock is how a clock was reconciled with that of the root.
type TraceClock struct {
	Org         tenants.OrgID `json:"org"`
	ShiftNs     int64         `json:"shift_ns"`
	MinNs       *int64        `json:"min_ns,omitempty"`
	MaxNs       *int64        `json:"max_ns,omitempty"`
	Contradicts bool          `json:"contradicts,omitempty"`
}

// TraceJoin is a trace of another id that is part of this one.
type TraceJoin struct {
	TraceID   string          `json:"traceID"`
	By        traces.JoinedBy `json:"by"`
	Attribute string          `json:"attribute,omitempty"`
	Parent    SpanName        `json:"parent"`
	Child     SpanName        `json:"child"`
}

// MissingSpan is a placeholder.
type MissingSpan struct {
	Span     SpanName             `json:"span"`
	Orgs     []tenants.OrgID      `json:"orgs,omitempty"`
	Reason   traces.MissingReason `json:"reason"`
	Children int                  `json:"children"`
}

// SpanConflict is a span that was there under the id of another.
type SpanConflict struct {
	Kept    SpanName `json:"kept"`
	Dropped SpanName `json:"dropped"`
	Differs []string `json:"differs"`
}

// BrokenSpan is a span that could not be taken as it is.
type BrokenSpan struct {
	Span SpanName         `json:"span"`
	What traces.BrokenHow `json:"what"`
}

func stitchedTrace(t traces.Trace) (StitchedTrace, error) {
	spans, err := (&ptrace.JSONMarshaler{}).MarshalTraces(t.Spans)
	if err != nil {
		return StitchedTrace{}, fmt.Errorf("writing a trace: %w", err)
	}
	out := StitchedTrace{TraceID: t.ID.String(), Trace: spans}
	if t.Report != nil {
		out.Report = traceReport(t.Report)
	}
	return out, nil
}

func traceReport(r *traces.Report) TraceReport {
	out := TraceReport{
		DurationNs: int64(r.Blame.Duration),
		Shares: each(r.Blame.Shares, func(s traces.Share) TraceShare {
			return TraceShare{Org: s.Org, To: s.To, MinNs: int64(s.Time.Min), MaxNs: int64(s.Time.Max)}
		}),
		Critical: each(r.Blame.Critical, spanName),
		Clocks:   each(r.Clocks, traceClock),
		Joins: each(r.Joins, func(j traces.Join) TraceJoin {
			return TraceJoin{TraceID: j.Trace.String(), By: j.By, Attribute: j.Attribute, Parent: spanName(j.Parent), Child: spanName(j.Child)}
		}),
		Missing: each(r.Missing, func(m traces.Missing) MissingSpan {
			return MissingSpan{Span: spanName(m.Span), Orgs: m.Orgs, Reason: m.Reason, Children: m.Children}
		}),
		Conflicts: each(r.Conflicts, func(c traces.Conflict) SpanConflict {
			return SpanConflict{Kept: spanName(c.Kept), Dropped: spanName(c.Dropped), Differs: c.Differs}
		}),
		Broken: each(r.Broken, func(b traces.Broken) BrokenSpan {
			return BrokenSpan{Span: spanName(b.Span), What: b.What}
		}),
		Unfollowed: each(r.Unfollowed, pcommon.TraceID.String),
	}
	if r.Blame.ErrorOrigin != nil {
		origin := spanName(*r.Blame.ErrorOrigin)
		out.ErrorOrigin = &origin
	}
	return out
}

func spanName(ref traces.SpanRef) SpanName {
	return SpanName{Org: ref.Org, TraceID: ref.Trace.String(), SpanID: ref.Span.String()}
}

func traceClock(c traces.Clock) TraceClock {
	out := TraceClock{Org: c.Org, ShiftNs: int64(c.Shift), Contradicts: c.Contradicts}
	if least := int64(c.Possible.Min); c.Possible.Min != -traces.Unbounded {
		out.MinNs = &least
	}
	if most := int64(c.Possible.Max); c.Possible.Max != traces.Unbounded {
		out.MaxNs = &most
	}
	return out
}

func each[T, U any](all []T, f func(T) U) []U {
	out := make([]U, len(all))
	for i, x := range all {
		out[i] = f(x)
	}
	return out
}
