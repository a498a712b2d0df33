package front

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// What this door serves of the HTTP API that Jaeger's UI and Grafana's data source
// for Jaeger use. It is ours: Jaeger's own is in a module with all of its storage.

const (
	jaegerPrefix   = "/jaeger/"
	jaegerTrace    = "api/traces/"
	jaegerServices = "api/services"
	jaegerEnd      = "/operations"

	// Jaeger's defaults.
	defaultJaegerLimit        = 100
	defaultJaegerSpan         = 48 * time.Hour
	defaultJaegerDependencies = 24 * time.Hour
)

// pretty asks for white space in JSON, for people.
var pretty = param{name: "prettyPrint", ignore: true}

// jaegerEndpoints are what this door serves of Jaeger's API.
var jaegerEndpoints = slices.Concat(
	under(jaegerPrefix, jaegerError, []endpoint{
		{path: jaegerServices, methods: getOnly, params: []param{pretty}, serve: serveJaegerServices},
		{path: jaegerServices + "/<name...>" + jaegerEnd, methods: getOnly, params: []param{pretty}, serve: serveJaegerOperationNames},
		{path: "api/operations", methods: getOnly, params: []param{one("service"), one("spanKind"), pretty}, serve: serveJaegerOperations},
		{path: "api/traces", methods: getOnly, params: []param{
			one("service"), one("operation"), many("tag"), many("tags"), one("minDuration"), one("maxDuration"), one("limit"),
			one("start"), one("end"), many("traceID"),
			{name: "lookback", ignore: true},
			pretty,
		}, serve: serveJaegerSearch},
		{path: jaegerTrace + "<name>", methods: getOnly, params: []param{one("start"), one("end"), pretty}, serve: serveJaegerTrace},
		{path: "api/dependencies", methods: getOnly, params: []param{one("endTs"), one("lookback"), one("service"), pretty}, serve: serveJaegerDependencies},
	}),
	jaegerV3Endpoints,
)

// jaegerAnswer is what every answer of this API is in.
type jaegerAnswer struct {
	Data   any             `json:"data"`
	Total  int             `json:"total"`
	Limit  int             `json:"limit"`
	Offset int             `json:"offset"`
	Errors []jaegerProblem `json:"errors"`
}

type jaegerProblem struct {
	Code    int    `json:"code,omitempty"`
	Msg     string `json:"msg"`
	TraceID string `json:"traceID,omitempty"`
}

// jaegerError is an error as Jaeger's clients read it, most of which show the
// status alone: so that says as much as there is to say.
func jaegerError(e apiError) (status int, contentType string, body []byte) {
	status = jaegerStatus(e)
	body, err := asRead(jaegerAnswer{Errors: []jaegerProblem{{Code: status, Msg: e.message}}})
	if err != nil {
		return http.StatusInternalServerError, jsonType, []byte(`{"data":null,"errors":[{"code":500,"msg":"internal error"}]}`)
	}
	return status, jsonType, body
}

// jaegerStatus is 403 for what is denied, and 504 for what takes too long.
func jaegerStatus(e apiError) int {
	switch {
	case e.refused:
		return http.StatusForbidden
	case e.kind == "timeout":
		return http.StatusGatewayTimeout
	}
	return e.status
}

func serveJaegerServices(f *Front, w http.ResponseWriter, r *http.Request) {
	if services, ok := f.jaegerServices(w, r); ok {
		writeJSON(w, jaegerAnswer{Data: services, Total: len(services)})
	}
}

// jaegerServices asks for the names of services. ok is false when the client has
// been told what is wrong.
func (f *Front) jaegerServices(w http.ResponseWriter, r *http.Request) (services []string, ok bool) {
	released, ok := askJaeger(w, r, f.jaegerServicesAsked())
	if !ok {
		return nil, false
	}
	return servicesOf(released), true
}

// askJaeger asks a question. ok is false when the client has been told what is
// wrong.
func askJaeger(w http.ResponseWriter, r *http.Request, q traces.Question) (released *traces.Released, ok bool) {
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return nil, false
	}
	return released, true
}

func serveJaegerOperationNames(f *Front, w http.ResponseWriter, r *http.Request) {
	service := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, jaegerPrefix+jaegerServices+"/"), jaegerEnd)
	operations, ok := f.jaegerOperations(w, r, service, "")
	if !ok {
		return
	}
	names := []string{}
	for _, o := range operations {
		names = append(names, o.Name)
	}
	names = slices.Compact(names)
	writeJSON(w, jaegerAnswer{Data: names, Total: len(names)})
}

func serveJaegerOperations(f *Front, w http.ResponseWriter, r *http.Request) {
	operations, ok := f.jaegerOperations(w, r, r.FormValue("service"), r.FormValue("spanKind"))
	if ok {
		writeJSON(w, jaegerAnswer{Data: operations, Total: len(operations)})
	}
}

// jaegerOperation is what a service does.
type jaegerOperation struct {
	Name     string `json:"name"`
	SpanKind string `json:"spanKind"`
}

// jaegerOperations asks for the operations of a service, whoever's it is, in order
// of name and kind. ok is false when the client has been told what is wrong.
func (f *Front) jaegerOperations(w http.ResponseWriter, r *http.Request, service, kind string) (out []jaegerOperation, ok bool) {
	q, err := f.jaegerOperationsAsked(service, kind)
	if err != nil {
		writeError(w, badRequest(err))
		return nil, false
	}
	released, ok := askJaeger(w, r, q)
	if !ok {
		return nil, false
	}
	return operationsOf(released, kind), true
}

// jaegerServicesAsked asks for the names of services.
func (f *Front) jaegerServicesAsked() traces.Question {
	now := f.config.Now()
	return traces.Question{Kind: policy.LabelValues, Label: "resource.service.name", Start: now.Add(-defaultJaegerSpan), End: now}
}

func servicesOf(released *traces.Released) []string {
	out := []string{}
	for _, value := range released.Values() {
		out = append(out, value.Text)
	}
	return out
}

// jaegerOperationsAsked asks what a service does.
func (f *Front) jaegerOperationsAsked(service, kind string) (traces.Question, error) {
	switch {
	case service == "":
		return traces.Question{}, errors.New("parameter \"service\" is missing")
	case kind != "" && !slices.Contains(jaegerKinds, kind):
		return traces.Question{}, fmt.Errorf("invalid parameter %q: want one of %s", "spanKind", strings.Join(jaegerKinds, ", "))
	}
	now := f.config.Now()
	return traces.Question{Kind: policy.Operations, Label: service, Start: now.Add(-defaultJaegerSpan), End: now}, nil
}

// operationsOf are those of a kind, or of any, in order of name and kind.
func operationsOf(released *traces.Released, kind string) []jaegerOperation {
	out := []jaegerOperation{}
	for _, o := range released.Operations() {
		is := jaegerOperation{Name: o.Name, SpanKind: kindOf(o.Kind)}
		if (kind == "" || kind == is.SpanKind) && (len(out) == 0 || out[len(out)-1] != is) { // two organizations' are beside one another
			out = append(out, is)
		}
	}
	return out
}

func serveJaegerSearch(f *Front, w http.ResponseWriter, r *http.Request) {
	q, err := f.jaegerSearch(r)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	released, ok := askJaeger(w, r, q)
	if !ok {
		return
	}
	answer := jaegerAnswer{Data: jaegerTraces(sessionOf(r.Context()), released)}
	for _, id := range q.IDs {
		if !slices.ContainsFunc(released.Traces(), func(t traces.Trace) bool { return t.ID == id || holds(t, id) }) {
			answer.Errors = append(answer.Errors, jaegerProblem{Msg: "trace not found", TraceID: id.String()})
		}
	}
	writeJSON(w, answer)
}

// holds says whether a trace went on under an id.
func holds(t traces.Trace, id pcommon.TraceID) bool {
	return t.Report != nil && slices.ContainsFunc(t.Report.Joins, func(j traces.Join) bool { return j.Trace == id })
}

// jaegerSearch reads a search, or a question for traces by their ids.
func (f *Front) jaegerSearch(r *http.Request) (traces.Question, error) {
	if ids := r.Form["traceID"]; len(ids) > 0 {
		return jaegerByID(r, ids)
	}
	s := jaegerSearch{service: r.FormValue("service"), operation: r.FormValue("operation")}
	for _, text := range r.Form["tag"] {
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			return traces.Question{}, fmt.Errorf("invalid parameter %q: want a name and a value with a colon between, such as http.route:/pay", "tag")
		}
		s.tags = append(s.tags, jaegerTag{key, value})
	}
	var err error
	for _, text := range r.Form["tags"] {
		if err = s.readTags(text); err != nil {
			return traces.Question{}, fmt.Errorf("invalid parameter %q: %w", "tags", err)
		}
	}
	if err = s.readDurations("minDuration", r.FormValue("minDuration"), "maxDuration", r.FormValue("maxDuration")); err != nil {
		return traces.Question{}, err
	}
	now := f.config.Now()
	start, end := now.Add(-defaultJaegerSpan), now
	if text := r.FormValue("start"); text != "" {
		if start, err = unixMicroseconds(text); err != nil {
			return traces.Question{}, fmt.Errorf("invalid parameter %q: %w", "start", err)
		}
	}
	if text := r.FormValue("end"); text != "" {
		if end, err = unixMicroseconds(text); err != nil {
			return traces.Question{}, fmt.Errorf("invalid parameter %q: %w", "end", err)
		}
	}
	return s.question(start, end, r.FormValue("limit"))
}

// tracesByID asks for traces by their ids, each once.
func tracesByID(ids []string) (traces.Question, error) {
	q := traces.Question{Kind: policy.Trace}
	seen := map[pcommon.TraceID]bool{}
	for _, text := range ids {
		id, err := traces.ParseTraceID(text)
		if err != nil {
			return q, errors.New(federation.AsError(err).Message)
		}
		if !seen[id] {
			seen[id] = true
			q.IDs = append(q.IDs, id)
		}
	}
	return q, nil
}

// jaegerByID reads a question for traces by their ids, and when they are of.
func jaegerByID(r *http.Request, ids []string) (traces.Question, error) {
	q, err := tracesByID(ids)
	if err != nil {
		return q, err
	}
	start, end := r.FormValue("start"), r.FormValue("end")
	if start == "" && end == "" {
		return q, nil
	}
	q.Start, q.End = time.Unix(0, 0).UTC(), latest
	if start != "" {
		if q.Start, err = unixMicroseconds(start); err != nil {
			return q, fmt.Errorf("invalid parameter %q: %w", "start", err)
		}
	}
	if end != "" {
		if q.End, err = unixMicroseconds(end); err != nil {
			return q, fmt.Errorf("invalid parameter %q: %w", "end", err)
		}
	}
	if !q.Start.Before(q.End) {
		return q, errStartAfterEnd
	}
	return q, nil
}

// latest is the last time that a span can have.
var latest = time.Unix(0, math.MaxInt64).UTC()

var errStartAfterEnd = errors.New("start isn't before end")

// firstMicroseconds is where numbers are microseconds since 1970 rather than
// milliseconds: as the latter they are of the year 5138, as the former of 1973.
const firstMicroseconds = 100_000_000_000_000

// unixMicroseconds reads a time in microseconds since 1970. Grafana's data source
// has milliseconds where it asks for a trace, which its size tells.
func unixMicroseconds(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(time.Microsecond) {
		return time.Time{}, fmt.Errorf("%q is not a time in microseconds since 1970", text)
	}
	if n < firstMicroseconds {
		return time.UnixMilli(n).UTC(), nil
	}
	return time.UnixMicro(n).UTC(), nil
}

func serveJaegerTrace(_ *Front, w http.ResponseWriter, r *http.Request) {
	q, err := jaegerByID(r, []string{strings.TrimPrefix(r.URL.Path, jaegerPrefix+jaegerTrace)})
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	released, ok := askJaegerTrace(w, r, q)
	if ok {
		writeJSON(w, jaegerAnswer{Data: jaegerTraces(sessionOf(r.Context()), released)})
	}
}

// askJaegerTrace asks for a trace, of which there is at least a span. ok is false
// when the client has been told what is wrong.
func askJaegerTrace(w http.ResponseWriter, r *http.Request, q traces.Question) (released *traces.Released, ok bool) {
	if released, ok = askJaeger(w, r, q); !ok {
		return nil, false
	}
	if slices.ContainsFunc(released.Traces(), func(t traces.Trace) bool { return t.Spans.SpanCount() > 0 }) {
		return released, true
	}
	c, _ := sessionOf(r.Context()).outcome()
	writeError(w, apiError{
		status: http.StatusNotFound, kind: "not_found",
		message: strings.TrimSpace("trace not found: nobody shows one of the id " + q.IDs[0].String() + ". " + missing(c)),
	})
	return nil, false
}

// jaegerDependency is one service calling another.
type jaegerDependency struct {
	Parent    string `json:"parent"`
	Child     string `json:"child"`
	CallCount uint64 `json:"callCount"`
}

func serveJaegerDependencies(f *Front, w http.ResponseWriter, r *http.Request) {
	end, lookback := f.config.Now(), defaultJaegerDependencies
	for _, p := range []struct {
		name string
		to   func(int64)
	}{
		{"endTs", func(n int64) { end = time.UnixMilli(n).UTC() }},
		{"lookback", func(n int64) { lookback = time.Duration(n) * time.Millisecond }},
	} {
		text := r.FormValue(p.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/int64(time.Millisecond) {
			writeError(w, badRequest(fmt.Errorf("invalid parameter %q: want milliseconds", p.name)))
			return
		}
		p.to(n)
	}
	released, ok := askJaeger(w, r, traces.Question{Kind: policy.Dependencies, Start: end.Add(-lookback), End: end})
	if !ok {
		return
	}
	writeJSON(w, jaegerAnswer{Data: dependenciesOf(released, r.FormValue("service"))})
}

// dependenciesOf are those of a service, or of any. Jaeger knows of no organizations:
// services of one name are one, and stand beside one another in the answer.
func dependenciesOf(released *traces.Released, service string) []jaegerDependency {
	out := []jaegerDependency{}
	for _, d := range released.Dependencies() {
		if service != "" && service != d.Parent && service != d.Child {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].Parent == d.Parent && out[last].Child == d.Child {
			out[last].CallCount += min(d.Calls, math.MaxUint64-out[last].CallCount) // as a partner likes to say
			continue
		}
		out = append(out, jaegerDependency{Parent: d.Parent, Child: d.Child, CallCount: d.Calls})
	}
	return out
}
