package traces

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/tenants"
)

// largeTrace is a trace of so many spans of three organizations that call one
// another, as they released it: 100 calls from each root call, each with a server
// span and what it does inside.
func largeTrace(spans int) (pcommon.TraceID, []piece) {
	id := pcommon.TraceID{1}
	orgs := []tenants.OrgID{"acme", "globex", "initech"}
	pieces := make([]piece, len(orgs))
	into := make([]ptrace.SpanSlice, len(orgs))
	for o, org := range orgs {
		pieces[o] = piece{org: org, id: id, spans: ptrace.NewTraces()}
		rs := pieces[o].spans.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr(OrgAttribute, string(org))
		rs.Resource().Attributes().PutStr(serviceName, "service")
		into[o] = rs.ScopeSpans().AppendEmpty().Spans()
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	const step = int64(time.Microsecond)
	kinds := []ptrace.SpanKind{ptrace.SpanKindServer, ptrace.SpanKindInternal, ptrace.SpanKindClient}
	for i := range spans {
		// A chain of ten spans over all organizations hangs on the root.
		depth := i % 10
		org := (depth + 1) / 3 % 3
		s := into[org].AppendEmpty()
		s.SetTraceID(id)
		s.SetSpanID(numbered(i + 1))
		s.SetKind(kinds[(depth+1)%3])
		s.SetName("an operation")
		at := start + int64(i-depth)*step + int64(depth)
		end := at + 10*step - 2*int64(depth)
		switch {
		case i == 0:
			s.SetKind(ptrace.SpanKindServer)
			end = start + int64(spans)*step
		case depth == 0:
			s.SetKind(ptrace.SpanKindInternal)
			s.SetParentSpanID(numbered(1))
		default:
			s.SetParentSpanID(numbered(i))
		}
		skew := int64(org) * int64(time.Second)
		s.SetStartTimestamp(pcommon.Timestamp(at + skew))
		s.SetEndTimestamp(pcommon.Timestamp(end + skew))
		for a := range 8 {
			s.Attributes().PutStr(fmt.Sprintf("an.attribute.%d", a), "a value")
		}
	}
	return id, pieces
}

func numbered(i int) pcommon.SpanID {
	var id pcommon.SpanID
	binary.BigEndian.PutUint64(id[:], uint64(i))
	return id
}

// BenchmarkStitch stitches a trace of 100,000 spans of three organizations.
func BenchmarkStitch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		id, pieces := largeTrace(100_000)
		ids := []pcommon.TraceID{id}
		h := &holders{}
		b.StartTimer()
		traces := grow(ids, pieces, nil, h).stitch(ids, nil, h)
		b.StopTimer()
		if len(traces) != 1 || traces[0].Spans.SpanCount() != 100_000 || len(traces[0].Report.Broken)+len(traces[0].Report.Missing) > 0 {
			b.Fatalf("%d traces, %+v", len(traces), traces[0].Report.Missing)
		}
		for _, c := range traces[0].Report.Clocks {
			if c.Contradicts || c.Unbounded {
				b.Fatalf("%+v", c)
			}
		}
		b.StartTimer()
	}
}
