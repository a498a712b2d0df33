package front

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// Traces as Tempo's JSON has them: OTLP's, but with ids in base64 and words for
// enumerations, as protobuf's JSON is. What is empty isn't there.

// tempoBatches is what /api/traces answers.
type tempoBatches struct {
	Batches []tempoResource `json:"batches"`
}

// tempoTraceJSON is what /api/v2/traces answers.
type tempoTraceJSON struct {
	Trace   tempoTraceSpans `json:"trace"`
	Metrics struct{}        `json:"metrics"`
	Status  string          `json:"status,omitempty"`
	Message string          `json:"message,omitempty"`
}

type tempoTraceSpans struct {
	ResourceSpans []tempoResource `json:"resourceSpans"`
}

type tempoResource struct {
	Resource struct {
		Attributes []tempoKeyValue `json:"attributes,omitempty"`
	} `json:"resource"`
	ScopeSpans []tempoScope `json:"scopeSpans"`
	SchemaURL  string       `json:"schemaUrl,omitempty"`
}

type tempoScope struct {
	Scope struct {
		Name       string          `json:"name,omitempty"`
		Version    string          `json:"version,omitempty"`
		Attributes []tempoKeyValue `json:"attributes,omitempty"`
	} `json:"scope"`
	Spans     []tempoSpanJSON `json:"spans"`
	SchemaURL string          `json:"schemaUrl,omitempty"`
}

type tempoSpanJSON struct {
	TraceID           string          `json:"traceId"`
	SpanID            string          `json:"spanId"`
	TraceState        string          `json:"traceState,omitempty"`
	ParentSpanID      string          `json:"parentSpanId,omitempty"`
	Flags             uint32          `json:"flags,omitempty"`
	Name              string          `json:"name"`
	Kind              string          `json:"kind,omitempty"`
	StartTimeUnixNano string          `json:"startTimeUnixNano"`
	EndTimeUnixNano   string          `json:"endTimeUnixNano"`
	Attributes        []tempoKeyValue `json:"attributes,omitempty"`
	Events            []tempoEvent    `json:"events,omitempty"`
	Links             []tempoLink     `json:"links,omitempty"`
	Status            struct {
		Message string `json:"message,omitempty"`
		Code    string `json:"code,omitempty"`
	} `json:"status"`
}

type tempoEvent struct {
	TimeUnixNano string          `json:"timeUnixNano"`
	Name         string          `json:"name,omitempty"`
	Attributes   []tempoKeyValue `json:"attributes,omitempty"`
}

type tempoLink struct {
	TraceID    string          `json:"traceId"`
	SpanID     string          `json:"spanId"`
	TraceState string          `json:"traceState,omitempty"`
	Attributes []tempoKeyValue `json:"attributes,omitempty"`
}

type tempoKeyValue struct {
	Key   string        `json:"key"`
	Value tempoAnyValue `json:"value"`
}

// tempoAnyValue has one field, or none if the value is empty.
type tempoAnyValue struct {
	String *string         `json:"stringValue,omitempty"`
	Bool   *bool           `json:"boolValue,omitempty"`
	Int    string          `json:"intValue,omitempty"`
	Double json.RawMessage `json:"doubleValue,omitempty"`
	Array  *tempoArray     `json:"arrayValue,omitempty"`
	Map    *tempoMap       `json:"kvlistValue,omitempty"`
	Bytes  *string         `json:"bytesValue,omitempty"`
}

type tempoArray struct {
	Values []tempoAnyValue `json:"values"`
}

type tempoMap struct {
	Values []tempoKeyValue `json:"values"`
}

func tempoResources(spans ptrace.Traces) []tempoResource {
	out := make([]tempoResource, 0, spans.ResourceSpans().Len())
	for _, rs := range spans.ResourceSpans().All() {
		resource := tempoResource{SchemaURL: rs.SchemaUrl(), ScopeSpans: []tempoScope{}}
		resource.Resource.Attributes = tempoAttributes(rs.Resource().Attributes())
		for _, ss := range rs.ScopeSpans().All() {
			scope := tempoScope{SchemaURL: ss.SchemaUrl(), Spans: []tempoSpanJSON{}}
			scope.Scope.Name, scope.Scope.Version = ss.Scope().Name(), ss.Scope().Version()
			scope.Scope.Attributes = tempoAttributes(ss.Scope().Attributes())
			for _, span := range ss.Spans().All() {
				scope.Spans = append(scope.Spans, tempoSpanOf(span))
			}
			resource.ScopeSpans = append(resource.ScopeSpans, scope)
		}
		out = append(out, resource)
	}
	return out
}

func tempoSpanOf(span ptrace.Span) tempoSpanJSON {
	trace, id, parent := span.TraceID(), span.SpanID(), span.ParentSpanID()
	out := tempoSpanJSON{
		TraceID: base64.StdEncoding.EncodeToString(trace[:]), SpanID: base64.StdEncoding.EncodeToString(id[:]),
		TraceState: span.TraceState().AsRaw(), Flags: span.Flags(), Name: span.Name(), Kind: tempoKinds[span.Kind()],
		StartTimeUnixNano: nanoseconds(span.StartTimestamp()), EndTimeUnixNano: nanoseconds(span.EndTimestamp()),
		Attributes: tempoAttributes(span.Attributes()),
	}
	if !parent.IsEmpty() {
		out.ParentSpanID = base64.StdEncoding.EncodeToString(parent[:])
	}
	for _, e := range span.Events().All() {
		out.Events = append(out.Events, tempoEvent{TimeUnixNano: nanoseconds(e.Timestamp()), Name: e.Name(), Attributes: tempoAttributes(e.Attributes())})
	}
	for _, l := range span.Links().All() {
		trace, id := l.TraceID(), l.SpanID()
		out.Links = append(out.Links, tempoLink{
			TraceID: base64.StdEncoding.EncodeToString(trace[:]), SpanID: base64.StdEncoding.EncodeToString(id[:]),
			TraceState: l.TraceState().AsRaw(), Attributes: tempoAttributes(l.Attributes()),
		})
	}
	out.Status.Message, out.Status.Code = span.Status().Message(), tempoStatuses[span.Status().Code()]
	return out
}

// tempoKinds and tempoStatuses are OTLP's names. What is unspecified or unset
// isn't there.
var (
	tempoKinds = map[ptrace.SpanKind]string{
		ptrace.SpanKindInternal: "SPAN_KIND_INTERNAL", ptrace.SpanKindServer: "SPAN_KIND_SERVER",
		ptrace.SpanKindClient: "SPAN_KIND_CLIENT", ptrace.SpanKindProducer: "SPAN_KIND_PRODUCER", ptrace.SpanKindConsumer: "SPAN_KIND_CONSUMER",
	}
	tempoStatuses = map[ptrace.StatusCode]string{ptrace.StatusCodeOk: "STATUS_CODE_OK", ptrace.StatusCodeError: "STATUS_CODE_ERROR"}
)

func nanoseconds(t pcommon.Timestamp) string { return strconv.FormatUint(uint64(t), 10) }

func tempoAttributes(attributes pcommon.Map) []tempoKeyValue {
	var out []tempoKeyValue
	for key, value := range attributes.All() {
		out = append(out, tempoKeyValue{Key: key, Value: tempoAny(value)})
	}
	return out
}

func tempoAny(v pcommon.Value) tempoAnyValue {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		s := v.Str()
		return tempoAnyValue{String: &s}
	case pcommon.ValueTypeBool:
		b := v.Bool()
		return tempoAnyValue{Bool: &b}
	case pcommon.ValueTypeInt:
		return tempoAnyValue{Int: strconv.FormatInt(v.Int(), 10)}
	case pcommon.ValueTypeDouble:
		return tempoAnyValue{Double: doubleJSON(v.Double())}
	case pcommon.ValueTypeBytes:
		s := base64.StdEncoding.EncodeToString(v.Bytes().AsRaw())
		return tempoAnyValue{Bytes: &s}
	case pcommon.ValueTypeMap:
		return tempoAnyValue{Map: &tempoMap{Values: append([]tempoKeyValue{}, tempoAttributes(v.Map())...)}}
	case pcommon.ValueTypeSlice:
		out := &tempoArray{Values: []tempoAnyValue{}}
		for _, element := range v.Slice().All() {
			out.Values = append(out.Values, tempoAny(element))
		}
		return tempoAnyValue{Array: out}
	}
	return tempoAnyValue{}
}

// doubleJSON is a number, or its name in protobuf's JSON where there is none.
func doubleJSON(f float64) json.RawMessage {
	switch {
	case math.IsNaN(f):
		return json.RawMessage(`"NaN"`)
	case math.IsInf(f, 1):
		return json.RawMessage(`"Infinity"`)
	case math.IsInf(f, -1):
		return json.RawMessage(`"-Infinity"`)
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}

// tempoFound is what a query looked at: a value, or several as an array.
// Durations, statuses and kinds are text.
func tempoFound(values []traceql.Value) tempoAnyValue {
	if len(values) == 1 {
		return tempoFoundOne(values[0])
	}
	out := &tempoArray{Values: []tempoAnyValue{}}
	for _, v := range values {
		out.Values = append(out.Values, tempoFoundOne(v))
	}
	return tempoAnyValue{Array: out}
}

func tempoFoundOne(v traceql.Value) tempoAnyValue {
	text := v.String()
	switch v.Type() {
	case traceql.IntValue:
		return tempoAnyValue{Int: text}
	case traceql.FloatValue:
		f, err := strconv.ParseFloat(text, 64)
		if err == nil {
			return tempoAnyValue{Double: doubleJSON(f)}
		}
	case traceql.BoolValue:
		b := text == "true"
		return tempoAnyValue{Bool: &b}
	}
	return tempoAnyValue{String: &text}
}
