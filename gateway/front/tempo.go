package front

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// What this door serves of Tempo's API. It is ours, as Loki's is.

const (
	tempoPrefix   = "/tempo/"
	tempoTrace    = "api/traces/"
	tempoTraceV2  = "api/v2/traces/"
	tempoValues   = "api/search/tag/"
	tempoValuesV2 = "api/v2/search/tag/"
)

var (
	tempoTimes   = []param{one("start"), one("end")}
	tempoTraceQL = param{name: "q", check: checkTraceQL}
	// tempoStale is how many values a Tempo looks at without finding a new one.
	tempoStale = param{name: "maxStaleValues", ignore: true}
)

// tempoEndpoints are what this door serves of Tempo's API.
var tempoEndpoints = under(tempoPrefix, tempoError, []endpoint{
	{path: "api/echo", methods: getOnly, serve: serveTempoEcho},
	{path: "api/status/buildinfo", methods: getOnly, serve: serveTempoBuildInfo},
	{path: tempoTrace + "<name>", methods: getOnly, params: tempoTimes, serve: serveTempoTrace},
	{path: tempoTraceV2 + "<name>", methods: getOnly, params: tempoTimes, serve: serveTempoTraceV2},
	{path: "api/search", methods: getOnly, params: append([]param{
		tempoTraceQL, one("tags"), one("minDuration"), one("maxDuration"), one("limit"), one("spss"),
	}, tempoTimes...), serve: serveTempoSearch},
	{path: "api/search/tags", methods: getOnly, params: append([]param{one("scope"), one("limit"), tempoStale}, tempoTimes...), serve: serveTempoTags},
	{path: "api/v2/search/tags", methods: getOnly, params: append([]param{tempoTraceQL, one("scope"), one("limit"), tempoStale}, tempoTimes...), serve: serveTempoTagsV2},
	{path: tempoValues + "<name...>/values", methods: getOnly, params: append([]param{one("limit"), tempoStale}, tempoTimes...), serve: serveTempoValues},
	{path: tempoValuesV2 + "<name...>/values", methods: getOnly, params: append([]param{tempoTraceQL, one("limit"), tempoStale}, tempoTimes...), serve: serveTempoValuesV2},
	{path: "api/metrics/query_range", methods: getOnly, params: tempoMetrics, serve: refuseTempoMetrics},
	{path: "api/metrics/query", methods: getOnly, params: tempoMetrics, serve: refuseTempoMetrics},
})

// tempoMetrics are ignored: whatever they are, there is no answer.
var tempoMetrics = []param{
	{name: "q", ignore: true},
	{name: "query", ignore: true},
	{name: "start", ignore: true},
	{name: "end", ignore: true},
	{name: "since", ignore: true},
	{name: "step", ignore: true},
	{name: "exemplars", ignore: true},
	{name: "maxSeries", ignore: true},
}

func refuseTempoMetrics(_ *Front, w http.ResponseWriter, _ *http.Request) {
	writeError(w, badRequest(errors.New("no metrics are made of traces here: rate() and the other metrics functions of TraceQL aren't supported; search with filters such as { status = error }, and select(...) or count() after a |")))
}

// tempoError is an error as Tempo's clients read it: text. What is denied is 403;
// what a question would have to be otherwise for is 400.
func tempoError(e apiError) (status int, contentType string, body []byte) {
	status = e.status
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
		if e.refused {
			status = http.StatusForbidden
		}
	}
	return status, "text/plain; charset=utf-8", []byte(e.message)
}

func serveTempoEcho(_ *Front, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("echo")) // the client may have left
}

// tempoVersion is the release whose API this is: clients choose by it what to send.
const tempoVersion = "2.9.0"

func serveTempoBuildInfo(f *Front, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"version": tempoVersion, "revision": f.config.Version, "branch": "parley", "buildUser": "", "buildDate": "", "goVersion": ""})
}

// serveTempoTrace answers a trace alone.
func serveTempoTrace(f *Front, w http.ResponseWriter, r *http.Request) {
	spans, ok := f.tempoTrace(w, r, tempoTrace)
	if !ok {
		return
	}
	if !wantsProtobuf(r) {
		writeJSON(w, tempoBatches{Batches: tempoResources(spans)})
		return
	}
	var marshal ptrace.ProtoMarshaler
	body, err := marshal.MarshalTraces(spans)
	writeTempoProtobuf(w, body, err)
}

// serveTempoTraceV2 answers a trace with what is to be said of it.
func serveTempoTraceV2(f *Front, w http.ResponseWriter, r *http.Request) {
	spans, ok := f.tempoTrace(w, r, tempoTraceV2)
	if !ok {
		return
	}
	message := partialTrace(sessionOf(r.Context()))
	if !wantsProtobuf(r) {
		out := tempoTraceJSON{Trace: tempoTraceSpans{ResourceSpans: tempoResources(spans)}, Message: message}
		if message != "" {
			out.Status = "PARTIAL"
		}
		writeJSON(w, out)
		return
	}
	body, err := traceByIDResponse(spans, message)
	writeTempoProtobuf(w, body, err)
}

// partialTrace says what a trace lacks and what was redacted; empty when nothing.
func partialTrace(s *session) string {
	c, _ := s.outcome()
	return strings.TrimSpace(missing(c) + " " + redacted(c))
}

func wantsProtobuf(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), protobufType)
}

const protobufType = "application/protobuf"

func writeTempoProtobuf(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		writeError(w, unexpected)
		return
	}
	w.Header().Set("Content-Type", protobufType)
	_, _ = w.Write(body) // the client may have left
}

// tempoTrace asks for a trace by the id in the path. ok is false when the client
// has been told what is wrong.
func (f *Front) tempoTrace(w http.ResponseWriter, r *http.Request, path string) (spans ptrace.Traces, ok bool) {
	id, err := traces.ParseTraceID(strings.TrimPrefix(r.URL.Path, tempoPrefix+path))
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return spans, false
	}
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}
	if r.FormValue("start") != "" || r.FormValue("end") != "" {
		if q.Start, q.End, err = tempoSpan(r, f.config.Now(), time.Unix(0, 0).UTC()); err != nil {
			writeError(w, badRequest(err))
			return spans, false
		}
	}
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return spans, false
	}
	if len(released.Traces()) == 0 {
		c, _ := s.outcome()
		writeError(w, apiError{status: http.StatusNotFound, kind: "not_found", message: strings.TrimSpace("trace not found: nobody shows one of the id " + id.String() + ". " + missing(c))})
		return spans, false
	}
	return released.Traces()[0].Spans, true
}

// tempoSpan reads start and end.
func tempoSpan(r *http.Request, now, absent time.Time) (start, end time.Time, err error) {
	start, end = absent, now
	if text := r.FormValue("start"); text != "" {
		if start, err = unixSeconds(text); err != nil {
			return start, end, fmt.Errorf("invalid parameter %q: %w", "start", err)
		}
	}
	if text := r.FormValue("end"); text != "" {
		if end, err = unixSeconds(text); err != nil {
			return start, end, fmt.Errorf("invalid parameter %q: %w", "end", err)
		}
	}
	if !start.Before(end) {
		return start, end, errors.New("start isn't before end")
	}
	return start, end, nil
}
