package front

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// How spans are written that Jaeger's clients read: what OTLP has a field for and
// Jaeger hasn't is in tags, under the names that OpenTelemetry gives them.

type uiTrace struct {
	TraceID   string               `json:"traceID"`
	Spans     []uiSpan             `json:"spans"`
	Processes map[string]uiProcess `json:"processes"`
	Warnings  []string             `json:"warnings"`
}

type uiSpan struct {
	TraceID       string        `json:"traceID"`
	SpanID        string        `json:"spanID"`
	OperationName string        `json:"operationName"`
	References    []uiReference `json:"references"`
	// StartTime and Duration are in microseconds.
	StartTime uint64   `json:"startTime"`
	Duration  uint64   `json:"duration"`
	Tags      []uiTag  `json:"tags"`
	Logs      []uiLog  `json:"logs"`
	ProcessID string   `json:"processID"`
	Warnings  []string `json:"warnings"`
}

type uiReference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type uiProcess struct {
	ServiceName string  `json:"serviceName"`
	Tags        []uiTag `json:"tags"`
}

type uiTag struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type uiLog struct {
	Timestamp uint64  `json:"timestamp"`
	Fields    []uiTag `json:"fields"`
}

const (
	childOf     = "CHILD_OF"
	followsFrom = "FOLLOWS_FROM"
	// noService is what a resource without attributes is of.
	noService = "OTLPResourceNoServiceName"
	// unknownService is what a placeholder is of.
	unknownService = "unknown"
	serviceName    = "service.name"
)

// jaegerTraces are the traces of an answer, but for those without spans, at which
// clients break.
func jaegerTraces(s *session, released *traces.Released) []uiTrace {
	out := []uiTrace{}
	for _, t := range released.Traces() {
		if t.Spans.SpanCount() > 0 {
			out = append(out, uiTraceOf(t, warningsOf(s, t)))
		}
	}
	return out
}

// uiTraceOf is a trace with what is to be said of its spans.
func uiTraceOf(t traces.Trace, warnings map[spanKey][]string) uiTrace {
	out := uiTrace{TraceID: t.ID.String(), Processes: map[string]uiProcess{}}
	processes := map[string]string{}
	for _, resource := range t.Spans.ResourceSpans().All() {
		process := processOf(resource.Resource())
		key := asKey(process)
		id, known := processes[key]
		if !known {
			id = "p" + strconv.Itoa(len(processes)+1)
			processes[key], out.Processes[id] = id, process
		}
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				s := uiSpanOf(span, scope.Scope())
				s.ProcessID, s.Warnings = id, warnings[keyOf(span)]
				out.Spans = append(out.Spans, s)
			}
		}
	}
	return out
}

// asKey is the same for processes that are.
func asKey(p uiProcess) string {
	text, err := json.Marshal(p)
	if err != nil {
		return p.ServiceName // of a number that JSON hasn't: tags are as texts then
	}
	return string(text)
}

// serviceIn is the service that Jaeger takes a resource for.
func serviceIn(r pcommon.Resource) string {
	if r.Attributes().Len() == 0 {
		return noService
	}
	if name, ok := r.Attributes().Get(serviceName); ok {
		return cmp.Or(name.AsString(), unknownService)
	}
	return unknownService
}

func processOf(r pcommon.Resource) uiProcess {
	out := uiProcess{ServiceName: serviceIn(r), Tags: []uiTag{}}
	for key, value := range r.Attributes().All() {
		if key != serviceName {
			out.Tags = append(out.Tags, uiTagOf(key, value))
		}
	}
	sortTags(out.Tags)
	return out
}

func uiSpanOf(span ptrace.Span, scope pcommon.InstrumentationScope) uiSpan {
	start, end := span.StartTimestamp(), span.EndTimestamp()
	out := uiSpan{
		TraceID: span.TraceID().String(), SpanID: span.SpanID().String(), OperationName: span.Name(),
		References: uiReferences(span), StartTime: microseconds(start), Tags: spanTags(span, scope), Logs: []uiLog{},
	}
	if end > start {
		out.Duration = uint64(end-start) / 1000
	}
	for _, event := range span.Events().All() {
		out.Logs = append(out.Logs, uiLogOf(event))
	}
	return out
}

func microseconds(t pcommon.Timestamp) uint64 { return uint64(t) / 1000 }

// uiReferences are the parent and the links. A link to the parent says in which
// way that is one.
func uiReferences(span ptrace.Span) []uiReference {
	out := []uiReference{}
	if parent := span.ParentSpanID(); !parent.IsEmpty() {
		out = append(out, uiReference{childOf, span.TraceID().String(), parent.String()})
	}
	for _, link := range span.Links().All() {
		is := followsFrom
		if value, ok := link.Attributes().Get("opentracing.ref_type"); ok && value.AsString() == "child_of" {
			is = childOf
		}
		if !span.ParentSpanID().IsEmpty() && link.TraceID() == span.TraceID() && link.SpanID() == span.ParentSpanID() {
			out[0].RefType = is
			continue
		}
		out = append(out, uiReference{is, link.TraceID().String(), link.SpanID().String()})
	}
	return out
}

func spanTags(span ptrace.Span, scope pcommon.InstrumentationScope) []uiTag {
	out := []uiTag{}
	text := func(key, value string) {
		if value != "" {
			out = append(out, uiTag{key, "string", value})
		}
	}
	text("otel.scope.name", scope.Name())
	text("otel.scope.version", scope.Version())
	for key, value := range span.Attributes().All() {
		out = append(out, uiTagOf(key, value))
	}
	text("span.kind", kindOf(span.Kind()))
	switch span.Status().Code() {
	case ptrace.StatusCodeError:
		text("otel.status_code", "ERROR")
		out = append(out, uiTag{"error", "bool", true})
	case ptrace.StatusCodeOk:
		text("otel.status_code", "OK")
	case ptrace.StatusCodeUnset:
	}
	text("otel.status_description", span.Status().Message())
	text("w3c.tracestate", span.TraceState().AsRaw())
	sortTags(out)
	return out
}

// uiLogOf is an event: its name first, then its attributes.
func uiLogOf(event ptrace.SpanEvent) uiLog {
	out := uiLog{Timestamp: microseconds(event.Timestamp()), Fields: []uiTag{}}
	for key, value := range event.Attributes().All() {
		out.Fields = append(out.Fields, uiTagOf(key, value))
	}
	sortTags(out.Fields)
	if _, there := event.Attributes().Get("event"); !there && event.Name() != "" {
		out.Fields = slices.Insert(out.Fields, 0, uiTag{"event", "string", event.Name()})
	}
	return out
}

func sortTags(tags []uiTag) {
	slices.SortStableFunc(tags, func(a, b uiTag) int { return cmp.Compare(a.Key, b.Key) })
}

// safeInteger is the largest number that JavaScript has in full.
const safeInteger = 1<<53 - 1

// uiTagOf writes an attribute. Numbers that JavaScript or JSON doesn't have are
// texts; what has parts is their JSON.
func uiTagOf(key string, value pcommon.Value) uiTag {
	switch value.Type() {
	case pcommon.ValueTypeBool:
		return uiTag{key, "bool", value.Bool()}
	case pcommon.ValueTypeInt:
		if n := value.Int(); n > safeInteger || n < -safeInteger {
			return uiTag{key, "int64", strconv.FormatInt(n, 10)}
		}
		return uiTag{key, "int64", value.Int()}
	case pcommon.ValueTypeDouble:
		if x := value.Double(); math.IsNaN(x) || math.IsInf(x, 0) {
			return uiTag{key, "float64", strconv.FormatFloat(x, 'g', -1, 64)}
		}
		return uiTag{key, "float64", value.Double()}
	case pcommon.ValueTypeBytes:
		return uiTag{key, "binary", value.Bytes().AsRaw()}
	case pcommon.ValueTypeStr, pcommon.ValueTypeMap, pcommon.ValueTypeSlice, pcommon.ValueTypeEmpty:
	}
	return uiTag{key, "string", value.AsString()}
}

// jaegerKinds are the kinds of spans, as Jaeger calls them.
var jaegerKinds = []string{"internal", "server", "client", "producer", "consumer"}

// kindOf is what Jaeger calls a kind, which is what TraceQL does; empty: none.
func kindOf(k ptrace.SpanKind) string {
	if name := traceql.KindName(k); slices.Contains(jaegerKinds, name) {
		return name
	}
	return ""
}
