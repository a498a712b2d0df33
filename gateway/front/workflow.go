package front

import (
	"net/http"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/tenants"
)

// WorkflowsAnswer is what is answered at /api/parley/v1/workflows: what the traces
// that were found, the latest ones, have in common.
type WorkflowsAnswer struct {
	Workflows []WorkflowSummary `json:"workflows"`
}

// WorkflowSummary is traces.Workflow as JSON.
type WorkflowSummary struct {
	// Workflow is its id, or the service and operation of the root.
	Workflow  string          `json:"workflow"`
	Traces    int             `json:"traces"`
	Durations Durations       `json:"durations"`
	Shares    []WorkflowShare `json:"shares,omitempty"`
	Slowest   []SlowHop       `json:"slowest,omitempty"`
	Errors    []ErrorSource   `json:"errors,omitempty"`
}

// Durations are what so many percent don't exceed, in nanoseconds.
type Durations struct {
	P50 int64 `json:"p50_ns"`
	P95 int64 `json:"p95_ns"`
	P99 int64 `json:"p99_ns"`
	// SlowestTrace is the trace with the longest.
	SlowestTrace string `json:"slowest_trace"`
}

// WorkflowShare is how much time an organization spent, or with To the network from
// it to another; without Org nobody who is known.
type WorkflowShare struct {
	Org tenants.OrgID `json:"org,omitempty"`
	To  tenants.OrgID `json:"to,omitempty"`
	P50 Between       `json:"p50"`
	P95 Between       `json:"p95"`
	P99 Between       `json:"p99"`
}

// Between is what something is at least and at most, in nanoseconds.
type Between struct {
	Min int64 `json:"min_ns"`
	Max int64 `json:"max_ns"`
}

// SlowHop is calls from one organization's service to an operation of another's.
type SlowHop struct {
	From      tenants.OrgID `json:"from"`
	Caller    string        `json:"caller"`
	To        tenants.OrgID `json:"to"`
	Service   string        `json:"service"`
	Operation string        `json:"operation"`
	Calls     int           `json:"calls"`
	Durations Durations     `json:"durations"`
}

// ErrorSource is where errors began.
type ErrorSource struct {
	Org       tenants.OrgID `json:"org"`
	Service   string        `json:"service"`
	Operation string        `json:"operation"`
	Traces    int           `json:"traces"`
	Trace     string        `json:"trace"`
}

// defaultWorkflowTraces is how many traces are summarized where a request doesn't
// say.
const defaultWorkflowTraces = 100

// serveWorkflows answers who spends the time of workflows, over many traces.
func serveWorkflows(f *Front, w http.ResponseWriter, r *http.Request) {
	q, err := f.parleySearch(r, defaultWorkflowTraces)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	writeJSON(w, WorkflowsAnswer{Workflows: each(traces.Summarize(released.Traces()), workflowSummary)})
}

func workflowSummary(w traces.Workflow) WorkflowSummary {
	return WorkflowSummary{
		Workflow: w.String(), Traces: w.Traces, Durations: durations(w.Durations),
		Shares: each(w.Spent, func(s traces.WorkflowShare) WorkflowShare {
			return WorkflowShare{Org: s.Org, To: s.To, P50: between(s.P50), P95: between(s.P95), P99: between(s.P99)}
		}),
		Slowest: each(w.Slowest, func(h traces.Hop) SlowHop {
			return SlowHop{From: h.From, Caller: h.Caller, To: h.To, Service: h.Service, Operation: h.Operation, Calls: h.Calls, Durations: durations(h.Durations)}
		}),
		Errors: each(w.Errors, func(e traces.ErrorOrigin) ErrorSource {
			return ErrorSource{Org: e.Org, Service: e.Service, Operation: e.Operation, Traces: e.Traces, Trace: e.Trace.String()}
		}),
	}
}

func durations(q traces.Quantiles) Durations {
	return Durations{P50: int64(q.P50), P95: int64(q.P95), P99: int64(q.P99), SlowestTrace: q.Slowest.String()}
}

func between(i traces.Interval) Between { return Between{Min: int64(i.Min), Max: int64(i.Max)} }
