package front

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// The third version of Jaeger's API, of which newer clients use some: its traces
// are OTLP. Its parameters are spelt in two ways, as two of its servers do.

const jaegerV3Trace = "api/v3/traces/"

var (
	jaegerV3Query = []param{
		one("query.serviceName"), one("query.service_name"), one("query.operationName"), one("query.operation_name"),
		one("query.attributes"), one("query.startTimeMin"), one("query.start_time_min"), one("query.startTimeMax"), one("query.start_time_max"),
		one("query.durationMin"), one("query.duration_min"), one("query.durationMax"), one("query.duration_max"),
		one("query.searchDepth"), one("query.search_depth"), one("query.num_traces"),
	}
	jaegerV3Endpoints = under(jaegerPrefix, jaegerV3Error, []endpoint{
		{path: "api/v3/services", methods: getOnly, serve: serveJaegerV3Services},
		{path: "api/v3/operations", methods: getOnly, params: []param{one("service"), one("spanKind"), one("span_kind")}, serve: serveJaegerV3Operations},
		{path: "api/v3/traces", methods: getOnly, params: jaegerV3Query, serve: serveJaegerV3Search},
		{path: jaegerV3Trace + "<name>", methods: getOnly, params: []param{one("startTime"), one("start_time"), one("endTime"), one("end_time")}, serve: serveJaegerV3Trace},
		{path: "api/v3/trace-summaries", methods: getOnly, params: jaegerV3Query, serve: serveJaegerSummaries},
	})
)

// jaegerV3Error is an error as clients of this version read it.
func jaegerV3Error(e apiError) (status int, contentType string, body []byte) {
	status = jaegerStatus(e)
	body, err := asRead(map[string]any{"error": map[string]any{"httpCode": status, "message": e.message}})
	if err != nil {
		return http.StatusInternalServerError, jsonType, []byte(`{"error":{"httpCode":500,"message":"internal error"}}`)
	}
	return status, jsonType, body
}

func serveJaegerV3Services(f *Front, w http.ResponseWriter, r *http.Request) {
	if services, ok := f.jaegerServices(w, r); ok {
		writeJSON(w, map[string]any{"services": services})
	}
}

func serveJaegerV3Operations(f *Front, w http.ResponseWriter, r *http.Request) {
	kind, err := either(r, "spanKind", "span_kind")
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	if operations, ok := f.jaegerOperations(w, r, r.FormValue("service"), kind); ok {
		writeJSON(w, map[string]any{"operations": operations})
	}
}

// either is the value of a parameter that has several spellings.
func either(r *http.Request, names ...string) (value string, err error) {
	for _, name := range names {
		text := r.FormValue(name)
		if value != "" && text != "" && text != value {
			return "", fmt.Errorf("parameter %q is given twice with different values; give it once", name)
		}
		if text != "" {
			value = text
		}
	}
	return value, nil
}

func serveJaegerV3Trace(_ *Front, w http.ResponseWriter, r *http.Request) {
	q, err := jaegerV3ByID(r)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	if released, ok := askJaegerTrace(w, r, q); ok {
		writeOTLP(w, released)
	}
}

func jaegerV3ByID(r *http.Request) (traces.Question, error) {
	start, end, err := rfcTimes(r, []string{"startTime", "start_time"}, []string{"endTime", "end_time"})
	if err != nil {
		return traces.Question{}, err
	}
	q, err := tracesByID([]string{strings.TrimPrefix(r.URL.Path, jaegerPrefix+jaegerV3Trace)})
	if err != nil || start.IsZero() && end.IsZero() {
		return q, err
	}
	if start.IsZero() {
		start = time.Unix(0, 0).UTC()
	}
	if end.IsZero() {
		end = latest
	}
	q.Start, q.End = start, end
	if !start.Before(end) {
		return q, errStartAfterEnd
	}
	return q, nil
}

// rfcTimes reads two times in RFC 3339, zero where there is none.
func rfcTimes(r *http.Request, from, until []string) (start, end time.Time, err error) {
	for _, t := range []struct {
		names []string
		to    *time.Time
	}{{from, &start}, {until, &end}} {
		text, err := either(r, t.names...)
		if err != nil {
			return start, end, err
		}
		if text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || at.Before(time.Unix(0, 0)) || at.After(latest) {
			return start, end, fmt.Errorf("invalid parameter %q: want a time such as 2026-03-14T12:00:00Z", t.names[0])
		}
		*t.to = at.UTC()
	}
	return start, end, nil
}

// writeOTLP writes all traces as one list of resources.
func writeOTLP(w http.ResponseWriter, released *traces.Released) {
	all := ptrace.NewTraces()
	for _, t := range released.Traces() {
		for _, resource := range t.Spans.ResourceSpans().All() {
			resource.CopyTo(all.ResourceSpans().AppendEmpty())
		}
	}
	var marshaler ptrace.JSONMarshaler
	body, err := marshaler.MarshalTraces(all)
	if err != nil {
		writeError(w, unexpected)
		return
	}
	writeJSON(w, map[string]json.RawMessage{"result": body})
}

func serveJaegerV3Search(f *Front, w http.ResponseWriter, r *http.Request) {
	released, ok := f.jaegerV3Found(w, r)
	if !ok {
		return
	}
	if len(released.Traces()) == 0 {
		c, _ := sessionOf(r.Context()).outcome()
		writeError(w, apiError{status: http.StatusNotFound, kind: "not_found", message: strings.TrimSpace("no traces found. " + missing(c))})
		return
	}
	writeOTLP(w, released)
}

// jaegerV3Found asks for the traces of a search. ok is false when the client has
// been told what is wrong.
func (f *Front) jaegerV3Found(w http.ResponseWriter, r *http.Request) (released *traces.Released, ok bool) {
	q, err := f.jaegerV3Search(r)
	if err != nil {
		writeError(w, badRequest(err))
		return nil, false
	}
	return askJaeger(w, r, q)
}

func (f *Front) jaegerV3Search(r *http.Request) (q traces.Question, err error) {
	var s jaegerSearch
	var shortest, longest, limit string
	for _, p := range []struct {
		to    *string
		names []string
	}{
		{&s.service, []string{"query.serviceName", "query.service_name"}},
		{&s.operation, []string{"query.operationName", "query.operation_name"}},
		{&shortest, []string{"query.durationMin", "query.duration_min"}},
		{&longest, []string{"query.durationMax", "query.duration_max"}},
		{&limit, []string{"query.searchDepth", "query.search_depth", "query.num_traces"}},
	} {
		if *p.to, err = either(r, p.names...); err != nil {
			return q, err
		}
	}
	if text := r.FormValue("query.attributes"); text != "" {
		if err = s.readTags(text); err != nil {
			return q, fmt.Errorf("invalid parameter %q: %w", "query.attributes", err)
		}
	}
	if err = s.readDurations("query.durationMin", shortest, "query.durationMax", longest); err != nil {
		return q, err
	}
	start, end, err := rfcTimes(r, []string{"query.startTimeMin", "query.start_time_min"}, []string{"query.startTimeMax", "query.start_time_max"})
	if err != nil {
		return q, err
	}
	if end.IsZero() {
		end = f.config.Now()
	}
	if start.IsZero() {
		start = end.Add(-defaultJaegerSpan)
	}
	return s.question(start, end, limit)
}

// jaegerSummary is what a list of found traces shows of one.
type jaegerSummary struct {
	TraceID           string                 `json:"traceId"`
	RootServiceName   string                 `json:"rootServiceName"`
	RootOperationName string                 `json:"rootOperationName"`
	MinStart          string                 `json:"minStartTimeUnixNano"`
	MaxEnd            string                 `json:"maxEndTimeUnixNano"`
	SpanCount         int                    `json:"spanCount"`
	ErrorSpanCount    int                    `json:"errorSpanCount"`
	OrphanSpanCount   int                    `json:"orphanSpanCount"`
	Services          []jaegerServiceSummary `json:"services"`
}

type jaegerServiceSummary struct {
	Name           string `json:"name"`
	SpanCount      int    `json:"spanCount"`
	ErrorSpanCount int    `json:"errorSpanCount"`
}

func serveJaegerSummaries(f *Front, w http.ResponseWriter, r *http.Request) {
	released, ok := f.jaegerV3Found(w, r)
	if !ok {
		return
	}
	out := []jaegerSummary{}
	for _, t := range released.Traces() {
		if t.Spans.SpanCount() > 0 {
			out = append(out, summaryOf(t))
		}
	}
	writeJSON(w, map[string]any{"summaries": out})
}

// summaryOf counts what a trace has, which is at least a span. Its root is the first
// span without a parent, or whose parent isn't there.
func summaryOf(t traces.Trace) jaegerSummary {
	out := jaegerSummary{TraceID: t.ID.String()}
	there := map[pcommon.SpanID]bool{}
	start, end := pcommon.Timestamp(math.MaxUint64), pcommon.Timestamp(0)
	for s := range traceql.Spans(t.Spans) {
		there[s.Span.SpanID()] = true
		start, end = min(start, s.Span.StartTimestamp()), max(end, s.Span.EndTimestamp())
	}
	out.MinStart, out.MaxEnd = strconv.FormatUint(uint64(start), 10), strconv.FormatUint(uint64(max(start, end)), 10)
	services := map[string]*jaegerServiceSummary{}
	var root *ptrace.Span
	for s := range traceql.Spans(t.Spans) {
		service := serviceIn(s.Resource.Resource())
		if services[service] == nil {
			services[service] = &jaegerServiceSummary{Name: service}
		}
		out.SpanCount++
		services[service].SpanCount++
		if s.Span.Status().Code() == ptrace.StatusCodeError {
			out.ErrorSpanCount++
			services[service].ErrorSpanCount++
		}
		parent := s.Span.ParentSpanID()
		if there[parent] {
			continue
		}
		if !parent.IsEmpty() {
			out.OrphanSpanCount++
		}
		if root == nil || s.Span.StartTimestamp() < root.StartTimestamp() {
			root = &s.Span
			out.RootServiceName, out.RootOperationName = service, s.Span.Name()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		out.Services = append(out.Services, *services[name])
	}
	return out
}
