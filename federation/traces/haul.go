package traces

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// errTooMuch is the error of several traces that are more than is held at once.
var errTooMuch = errors.New("more spans than are held at once")

// haul puts traces together that a backend gives in pieces, in whatever order.
type haul struct {
	traces map[pcommon.TraceID]ptrace.Traces
	spans  int
}

// take adds a piece, which it keeps.
func (h *haul) take(piece ptrace.Traces) error {
	if h.traces == nil {
		h.traces = map[pcommon.TraceID]ptrace.Traces{}
	}
	h.spans += piece.SpanCount()
	for id, part := range byTrace(piece) {
		whole, is := h.traces[id]
		if !is {
			whole = ptrace.NewTraces()
			h.traces[id] = whole
		}
		part.ResourceSpans().MoveAndAppendTo(whole.ResourceSpans())
	}
	switch {
	case h.spans <= MaxTraceSpans:
		return nil
	case len(h.traces) == 1:
		return fmt.Errorf("a trace of more than %d spans", MaxTraceSpans)
	}
	return errTooMuch
}

// add takes over the traces of another one; those that are there are the same.
func (h *haul) add(other haul) error {
	for id, trace := range other.traces {
		if _, is := h.traces[id]; is {
			continue
		}
		if err := h.take(trace); err != nil {
			return err
		}
	}
	return nil
}

// only is the one trace that it should have; without spans when it has none.
func (h *haul) only(id pcommon.TraceID) (ptrace.Traces, error) {
	trace, is := h.traces[id]
	switch {
	case len(h.traces) == 0:
		return ptrace.NewTraces(), nil
	case !is || len(h.traces) > 1:
		return ptrace.Traces{}, &federation.Error{
			Kind: federation.Unavailable, Message: notNow, Err: errors.New("it gave another trace than the one that was asked for"),
		}
	}
	return trace, nil
}

// byTrace parts spans by the trace they are of. What is of one trace alone, as
// it usually is, isn't copied.
func byTrace(spans ptrace.Traces) iter.Seq2[pcommon.TraceID, ptrace.Traces] {
	groups := map[pcommon.TraceID]*group{}
	for p := range traceql.Spans(spans) {
		if id := p.Span.TraceID(); groups[id] == nil {
			groups[id] = newGroup(id)
		}
	}
	return func(yield func(pcommon.TraceID, ptrace.Traces) bool) {
		if len(groups) == 1 {
			for id := range groups {
				yield(id, spans)
			}
			return
		}
		for p := range traceql.Spans(spans) {
			groups[p.Span.TraceID()].add(p)
		}
		ids := slices.SortedFunc(maps.Keys(groups), func(a, b pcommon.TraceID) int { return slices.Compare(a[:], b[:]) })
		for _, id := range ids {
			if !yield(id, groups[id].spans) {
				return
			}
		}
	}
}

// oneByOne yields the traces that get returns, each id once; one without spans
// isn't there.
func oneByOne(ctx context.Context, ids []pcommon.TraceID, get func(pcommon.TraceID) (ptrace.Traces, error)) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		asked := map[pcommon.TraceID]bool{}
		for _, id := range ids {
			if asked[id] {
				continue
			}
			asked[id] = true
			if err := ctx.Err(); err != nil {
				yield(ptrace.Traces{}, err)
				return
			}
			trace, err := get(id)
			if err != nil {
				yield(ptrace.Traces{}, err)
				return
			}
			if trace.SpanCount() > 0 && !yield(trace, nil) {
				return
			}
		}
	}
}

// latest is when the last span of the selection begins.
func (s selection) latest(trace ptrace.Traces) (latest int64, ok bool) {
	for p := range traceql.Spans(trace) {
		start := int64(p.Span.StartTimestamp())
		if s.has(p) && (!ok || start > latest) {
			latest, ok = start, true
		}
	}
	return latest, ok
}

// has says whether a span is of the selection.
func (s selection) has(p traceql.Span) bool {
	start := p.Span.StartTimestamp()
	return int64(start) >= s.start && int64(start) < s.end &&
		(len(s.services) == 0 || slices.Contains(s.services, serviceOf(p.Resource.Resource()))) &&
		(s.operation == "" || s.operation == p.Span.Name())
}
