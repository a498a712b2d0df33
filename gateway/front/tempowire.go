package front

import (
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of Tempo's message TraceByIDResponse (pkg/tempopb/tempo.proto). Its
// Trace has the resource spans in field 1, as OTLP's TracesData has.
const (
	fieldTrace   = 1 // Trace
	fieldMetrics = 2 // TraceByIDMetrics
	fieldStatus  = 3 // PartialStatus
	fieldMessage = 4 // string

	statusPartial = 1
)

// traceByIDResponse is a TraceByIDResponse. It has a trace even if that is empty,
// since Grafana doesn't expect none. With a message the trace is partial.
func traceByIDResponse(spans ptrace.Traces, message string) ([]byte, error) {
	var marshal ptrace.ProtoMarshaler
	trace, err := marshal.MarshalTraces(spans)
	if err != nil {
		return nil, err
	}
	out := protowire.AppendTag(nil, fieldTrace, protowire.BytesType)
	out = protowire.AppendBytes(out, trace)
	out = protowire.AppendTag(out, fieldMetrics, protowire.BytesType)
	out = protowire.AppendBytes(out, nil)
	if message != "" {
		out = protowire.AppendTag(out, fieldStatus, protowire.VarintType)
		out = protowire.AppendVarint(out, statusPartial)
		out = protowire.AppendTag(out, fieldMessage, protowire.BytesType)
		out = protowire.AppendString(out, message)
	}
	return out, nil
}
