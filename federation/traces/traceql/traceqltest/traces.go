package traceqltest

import (
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The words of which traces and queries are made: few, so that queries find
// something.
var (
	attributeNames = []string{"foo", "bar", "service.name", "a b", `quo"te`, "5"}
	texts          = []string{"", "a", "ab", "b", "GET /x", "7", "checkout"}
	ints           = []int64{-1, 0, 5, 7, 100, 1 << 60}
	floats         = []float64{-1, 0, 5, 7.5, 100}
)

// Trace makes a trace of up to so many spans. Some have parents that aren't in
// it, some share an id, and some are their own ancestors.
func Trace(r *rand.Rand, most int) ptrace.Traces {
	td := ptrace.NewTraces()
	n := r.IntN(most + 1)
	traceID := pcommon.TraceID{15: 1}
	for made := 0; made < n; {
		resource := td.ResourceSpans().AppendEmpty()
		fill(r, resource.Resource().Attributes())
		for range 1 + r.IntN(2) {
			scope := resource.ScopeSpans().AppendEmpty()
			scope.Scope().SetName(one(r, texts))
			scope.Scope().SetVersion(one(r, texts))
			fill(r, scope.Scope().Attributes())
			for range r.IntN(4) {
				made++
				span := scope.Spans().AppendEmpty()
				span.SetTraceID(traceID)
				span.SetSpanID(spanID(made))
				if r.IntN(20) == 0 {
					span.SetSpanID(spanID(1 + r.IntN(n)))
				}
				fillSpan(r, span, n)
			}
		}
	}
	return td
}

func spanID(n int) pcommon.SpanID { return pcommon.SpanID{6: 0xab, 7: byte(n)} }

func fillSpan(r *rand.Rand, span ptrace.Span, spans int) {
	if r.IntN(6) > 0 {
		span.SetParentSpanID(spanID(1 + r.IntN(spans+1)))
	}
	span.SetName(one(r, texts))
	span.SetKind(ptrace.SpanKind(r.IntN(6)))
	span.Status().SetCode(ptrace.StatusCode(r.IntN(3)))
	span.Status().SetMessage(one(r, texts))
	span.SetStartTimestamp(pcommon.Timestamp(1000 + r.IntN(5)))
	span.SetEndTimestamp(pcommon.Timestamp(1000 + 2*r.IntN(6)))
	fill(r, span.Attributes())
	for range r.IntN(3) {
		event := span.Events().AppendEmpty()
		event.SetName(one(r, texts))
		event.SetTimestamp(pcommon.Timestamp(1000 + r.IntN(8)))
		fill(r, event.Attributes())
	}
	for range r.IntN(3) {
		link := span.Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{15: byte(r.IntN(3))})
		link.SetSpanID(spanID(r.IntN(4)))
		fill(r, link.Attributes())
	}
}

func fill(r *rand.Rand, attributes pcommon.Map) {
	for _, name := range attributeNames {
		if r.IntN(2) == 0 {
			fillValue(r, attributes.PutEmpty(name), true)
		}
	}
}

func fillValue(r *rand.Rand, v pcommon.Value, arrays bool) {
	switch n := r.IntN(12); {
	case n < 4:
		v.SetStr(one(r, texts))
	case n < 6:
		v.SetInt(one(r, ints))
	case n < 7:
		v.SetDouble(one(r, floats))
	case n < 9:
		v.SetBool(r.IntN(2) == 0)
	case n < 10 && arrays:
		array := v.SetEmptySlice()
		for range r.IntN(4) {
			fillValue(r, array.AppendEmpty(), false)
		}
	case n < 11 && arrays:
		v.SetEmptyMap().PutStr("a", "b")
	}
}

func one[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }
