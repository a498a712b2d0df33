package front

import (
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// What this door serves of traces beyond what Tempo and Jaeger have words for:
// what stitching found out about them.

const (
	parleyPrefix = "/api/parley/v1/"
	parleyTrace  = "traces/"
	parleyKept   = "kept-traces/"
)

// parleyEndpoints are what this door serves of an API that nobody else has. Times
// are seconds since 1970; errors are as Prometheus's API has them.
var parleyEndpoints = under(parleyPrefix, nil, []endpoint{
	{path: parleyTrace + "<name>", methods: getOrPost, params: tempoTimes, serve: serveParleyTrace},
	{path: "traces", methods: getOrPost, params: append([]param{tempoTraceQL, one("limit")}, tempoTimes...), serve: serveParleySearch},
	{path: "workflows", methods: getOrPost, params: append([]param{tempoTraceQL, one("limit")}, tempoTimes...), serve: serveWorkflows},
	{path: parleyKept + "<name>", methods: postOnly, serve: serveKeepTrace},
})

// serveParleyTrace answers a trace by its id.
func serveParleyTrace(f *Front, w http.ResponseWriter, r *http.Request) {
	id, err := traces.ParseTraceID(strings.TrimPrefix(r.URL.Path, parleyPrefix+parleyTrace))
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return
	}
	q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}
	if r.FormValue("start") != "" || r.FormValue("end") != "" {
		now := f.config.Now()
		if q.Start, q.End, err = tempoSpan(r, now, time.Unix(0, 0).UTC()); err != nil {
			writeError(w, badRequest(err))
			return
		}
	}
	answerParleyTraces(w, r, q)
}

// serveParleySearch answers the traces that TraceQL finds, the latest first.
func serveParleySearch(f *Front, w http.ResponseWriter, r *http.Request) {
	q, err := f.parleySearch(r, defaultTempoLimit)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	answerParleyTraces(w, r, q)
}

// parleySearch is the search that a request asks for.
func (f *Front) parleySearch(r *http.Request, limit int) (traces.Question, error) {
	q := traces.Question{Kind: policy.Search}
	expr, err := traceql.Parse(r.FormValue("q"))
	if err != nil {
		return q, err
	}
	q.Expression = expr.String()
	if q.Limit, err = positive(r, "limit", limit); err != nil {
		return q, err
	}
	now := f.config.Now()
	q.Start, q.End, err = tempoSpan(r, now, now.Add(-defaultTracesSpan))
	return q, err
}

func answerParleyTraces(w http.ResponseWriter, r *http.Request, q traces.Question) {
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	out := TracesAnswer{Traces: []StitchedTrace{}}
	for _, t := range released.Traces() {
		stitched, err := stitchedTrace(t)
		if err != nil {
			writeError(w, unexpected)
			return
		}
		out.Traces = append(out.Traces, stitched)
	}
	writeJSON(w, out)
}

// KeptTrace is what is answered below /api/parley/v1/kept-traces.
type KeptTrace struct {
	TraceID string `json:"traceID"`
	// By are the organizations that keep what they have of it, sorted.
	By []tenants.OrgID `json:"by"`
}

// serveKeepTrace asks all organizations to keep a trace for longer than they would.
func serveKeepTrace(_ *Front, w http.ResponseWriter, r *http.Request) {
	id, err := traces.ParseTraceID(strings.TrimPrefix(r.URL.Path, parleyPrefix+parleyKept))
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return
	}
	s := sessionOf(r.Context())
	if _, err := s.askTraces(r.Context(), traces.Question{Kind: policy.KeepTrace, IDs: []pcommon.TraceID{id}}); err != nil {
		writeError(w, render(s.failed()))
		return
	}
	out := KeptTrace{TraceID: id.String(), By: []tenants.OrgID{}}
	completeness, _ := s.outcome()
	for _, part := range completeness {
		if part.Cost.Series > 0 { // who answers with the id keeps it
			out.By = append(out.By, part.Org)
		}
	}
	writeJSON(w, out)
}
