package attacks

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var (
	callerOf    = &secret{"which of 16 people a span is of", 16, numbered("person-%02d"), "unhidden-attributes"}
	sessionOf   = &secret{"a session's name of four hexadecimal digits", 1 << 16, numbered("h%04x"), "unhidden-attributes"}
	vault       = &secret{"which of 16 services, all of whose spans are denied, was called", 16, numbered("vault-%02d"), "unhidden-denied-spans"}
	deniedTrace = &secret{"which of 16 traces, all of whose spans are denied, there is", 16, nil, "unhidden-denied-spans"}
	linked      = &secret{"to which of 16 traces a denied span links", 16, nil, "unhidden-denied-spans"}
	interposed  = &secret{"whether there is a denied span between two", 2, nil, "unhidden-denied-spans"}
	inside      = &secret{"how many of 1 to 16 spans are inside of one", 16, nil, "unhidden-inside"}
	nesting     = &secret{"how deep 16 spans inside of one are nested", 16, nil, "unhidden-inside"}
	lasting     = &secret{"how many of 16 tenths of a second a span inside of one takes", 16, nil, "unhidden-inside"}
	begun       = &secret{"in which of 16 seconds a span inside of one begins", 16, nil, "unhidden-inside"}
)

// The traces of a world. Of those that are denied one of 16 is there.
const (
	calledTrace = iota + 1
	crowdedTrace
	nestedTrace
	slowTrace
	lateTrace
	interruptedTrace
	linkingTrace
	rootedTrace
	deniedTraces
	linkedTraces
)

// traceID is that of a trace, in hex. All worlds' begin with this and their number.
const tracePrefix = "beef0"

func (w *world) traceID(which, of int) string {
	return fmt.Sprintf("%s%s%020d%02d%02d", tracePrefix, w.service[1:], 1, which, of)
}

// began is when traces begin: all of a world at once.
func (w *world) began() time.Time { return w.end.Add(-10 * time.Minute) }

// journal is traces in the making. Their spans have the same ids in all worlds.
type journal struct {
	*world
	spans ptrace.Traces
	ids   map[pcommon.TraceID]byte // the last
}

// spanPrefix begins the ids of spans, but for those that gateways make.
const spanPrefix = "5eed"

// recorded is a span of a journal, by whose name others are told.
type recorded struct {
	ptrace.Span
	trace pcommon.TraceID
}

func (j *journal) span(which int, tenant, service, name string, kind ptrace.SpanKind, parent *recorded, from, to time.Duration) *recorded {
	return j.spanOf(j.traceID(which, 0), tenant, service, name, kind, parent, from, to)
}

func (j *journal) spanOf(trace, tenant, service, name string, kind ptrace.SpanKind, parent *recorded, from, to time.Duration) *recorded {
	rs := j.spans.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	rs.Resource().Attributes().PutStr("tenant", tenant)
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	out := &recorded{Span: s, trace: traceIDOf(trace)}
	j.ids[out.trace]++
	s.SetTraceID(out.trace)
	s.SetSpanID(pcommon.SpanID{0x5e, 0xed, 0, 0, 0, 0, 0, j.ids[out.trace]})
	s.SetFlags(0x101) // sampled, and its parent is known to be of the same process
	if parent != nil {
		s.SetParentSpanID(parent.SpanID())
	}
	s.SetName(name)
	s.SetKind(kind)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(j.began().Add(from)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(j.began().Add(to)))
	return out
}

func traceIDOf(text string) (id pcommon.TraceID) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // which this file makes
	}
	copy(id[:], raw)
	return id
}

const (
	server       = ptrace.SpanKindServer
	client       = ptrace.SpanKindClient
	internalKind = ptrace.SpanKindInternal
)

// traces are those of a world. What is shared is of the world's service.
func (w *world) traces() ptrace.Traces {
	const s = time.Second
	j := &journal{world: w, spans: ptrace.NewTraces(), ids: map[pcommon.TraceID]byte{}}
	enter := func(which int, name string, to time.Duration) *recorded {
		return j.span(which, shared, w.service, name, server, nil, 0, to)
	}
	within := func(parent *recorded, which int, from, to time.Duration) *recorded {
		return j.span(which, shared, w.service, "work", internalKind, parent, from, to)
	}

	call := enter(calledTrace, "called", s)
	call.Attributes().PutStr("user.id", w.named(callerOf))
	call.Attributes().PutStr("session.id", w.named(sessionOf))
	j.span(calledTrace, internal, w.service+"-"+w.named(vault), "open", server, call, 0, s)

	crowd := enter(crowdedTrace, "crowded", s)
	for range 1 + w.truth[inside] {
		within(crowd, crowdedTrace, 0, s)
	}
	nest := enter(nestedTrace, "nested", s)
	for i, parent := 0, nest; i < nesting.values; i++ {
		if in := within(parent, nestedTrace, 0, s); i < w.truth[nesting] {
			parent = in
		}
	}
	within(enter(slowTrace, "slow", s/20), slowTrace, 0, time.Duration(1+w.truth[lasting])*s/10)
	began := time.Duration(w.truth[begun])*s + s/2
	within(enter(lateTrace, "late", 20*s), lateTrace, began, began+s)

	outer := enter(interruptedTrace, "outer", s)
	inner := j.span(interruptedTrace, shared, w.service, "inner", client, outer, 0, s)
	if w.truth[interposed] == 1 {
		inner.SetParentSpanID(j.span(interruptedTrace, internal, w.service+"-between", "between", internalKind, outer, 0, s).SpanID())
	}

	link := j.span(linkingTrace, internal, w.service+"-links", "links", internalKind, enter(linkingTrace, "linking", s), 0, s).Links().AppendEmpty()
	link.SetTraceID(traceIDOf(w.traceID(linkedTraces, w.truth[linked])))
	link.SetSpanID(pcommon.SpanID{0x5e, 0xed, 1})

	root := j.span(rootedTrace, internal, w.service+"-"+w.named(vault), "root of "+w.named(vault), server, nil, 0, s)
	j.span(rootedTrace, shared, w.service, "rooted", server, root, 0, s)

	j.spanOf(w.traceID(deniedTraces, w.truth[deniedTrace]), internal, w.service+"-denied", "denied", server, nil, 0, s)
	return j.spans
}

// sendTraces writes the traces of all worlds.
func sendTraces(t testing.TB, address string, worlds []*world) {
	t.Helper()
	for _, w := range worlds {
		var marshaler ptrace.ProtoMarshaler
		body, err := marshaler.MarshalTraces(w.traces())
		if err != nil {
			t.Fatal(err)
		}
		poster := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		response, err := poster.Post("http://"+address+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			t.Fatal("spans aren't taken: ", response.Status, err)
		}
	}
}
