package traces

import (
	"iter"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// MaxNesting is how deep a value of an attribute may be nested: so many lists and
// maps in one another.
const MaxNesting = 64

// unmarshal reads OTLP that is in several pieces.
func unmarshal(chunks [][]byte) (ptrace.Traces, error) {
	all := ptrace.NewTraces()
	for _, chunk := range chunks {
		var u ptrace.ProtoUnmarshaler
		some, err := u.UnmarshalTraces(chunk)
		if err != nil {
			return ptrace.Traces{}, err
		}
		some.ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
	}
	return all, nil
}

func spanNestsTooDeep(span ptrace.Span) bool {
	if nestsTooDeep(span.Attributes()) {
		return true
	}
	for _, event := range span.Events().All() {
		if nestsTooDeep(event.Attributes()) {
			return true
		}
	}
	for _, link := range span.Links().All() {
		if nestsTooDeep(link.Attributes()) {
			return true
		}
	}
	return false
}

func nestsTooDeep(attributes pcommon.Map) bool { return mapDeeper(attributes.All(), MaxNesting) }

func mapDeeper(values iter.Seq2[string, pcommon.Value], left int) bool {
	for _, v := range values {
		if deeper(v, left) {
			return true
		}
	}
	return false
}

// deeper says whether a value is nested deeper than is left.
func deeper(v pcommon.Value, left int) bool {
	switch {
	case v.Type() != pcommon.ValueTypeMap && v.Type() != pcommon.ValueTypeSlice:
		return false
	case left == 0:
		return true
	case v.Type() == pcommon.ValueTypeMap:
		return mapDeeper(v.Map().All(), left-1)
	}
	for _, element := range v.Slice().All() {
		if deeper(element, left-1) {
			return true
		}
	}
	return false
}
