package traces

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/tenants"
)

// WorkflowAttribute is of a span the workflow that its trace is of.
const WorkflowAttribute = "workflow_id"

// Workflow is what many stitched traces of one workflow have in common: how long it
// takes from end to end, and who spends that.
type Workflow struct {
	WorkflowName
	// Traces is how many there are.
	Traces int
	// Durations is how long they took.
	Durations Quantiles
	// Spent are the parts of organizations and of the network between them, those
	// with most time first.
	Spent []WorkflowShare
	// Slowest are calls from one organization to another on critical paths, the ten
	// that take longest at P95, longest first.
	Slowest []Hop
	// Errors are where errors began, the most frequent first.
	Errors []ErrorOrigin
}

// WorkflowName says which traces are of one workflow: those in which the first span
// that has a WorkflowAttribute has this ID; without any, those whose root is this
// operation.
type WorkflowName struct {
	ID string
	// Org, Service and Operation are of the root, and empty where there is an ID.
	Org                tenants.OrgID
	Service, Operation string
}

func (n WorkflowName) String() string {
	if n.ID != "" {
		return n.ID
	}
	return n.Service + ": " + n.Operation
}

// Quantiles are the least durations that so many percent of all don't exceed.
type Quantiles struct {
	P50, P95, P99 time.Duration
	// Slowest is the trace with the longest.
	Slowest pcommon.TraceID
}

// WorkflowShare is how much time was one organization's, or the network's between
// two, in each of the traces: none, in those without it. As the times are
// intervals, what half or 95 or 99 percent of them don't exceed is one too.
type WorkflowShare struct {
	Org, To       tenants.OrgID // as Share has them
	P50, P95, P99 Interval
	// Total is that of all traces.
	Total Interval
}

// Hop is calls from one organization's service to an operation of another's.
type Hop struct {
	From, To  tenants.OrgID
	Caller    string // the service
	Service   string
	Operation string
	Calls     int
	// Durations are of the spans that called.
	Durations Quantiles
}

// ErrorOrigin is where errors began.
type ErrorOrigin struct {
	Org                tenants.OrgID
	Service, Operation string
	Traces             int
	// Trace is one of them.
	Trace pcommon.TraceID
}

// mostHops is how many hops of a workflow are told.
const mostHops = 10

// Summarize summarizes stitched traces by workflow, in order of names. Traces that
// weren't stitched are passed over.
func Summarize(traces []Trace) []Workflow {
	summaries := map[WorkflowName]*summary{}
	for _, t := range traces {
		if t.Report == nil {
			continue
		}
		spans := describe(t.Spans)
		name := spans.workflow()
		if summaries[name] == nil {
			summaries[name] = newSummary()
		}
		summaries[name].add(t, spans)
	}
	out := make([]Workflow, 0, len(summaries))
	for name, s := range summaries {
		w := s.workflow()
		w.WorkflowName = name
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Workflow) int {
		return cmp.Or(
			strings.Compare(a.ID, b.ID), compareOrgs(a.Org, b.Org),
			strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation),
		)
	})
	return out
}

// described is a span with what a summary says of it.
type described struct {
	span    ptrace.Span
	org     tenants.OrgID
	service string
}

// descriptions are the spans of a trace.
type descriptions struct {
	all  map[SpanRef]described // as they were recorded; whose they are is left out
	byID map[pcommon.SpanID]described
	root described
	id   string // the workflow's
}

func describe(spans ptrace.Traces) *descriptions {
	out := &descriptions{all: map[SpanRef]described{}, byID: map[pcommon.SpanID]described{}}
	var first pcommon.Timestamp
	for s := range traceql.Spans(spans) {
		span := s.Span
		d := described{span: span, org: orgOf(s), service: serviceOf(s.Resource.Resource())}
		out.byID[span.SpanID()] = d
		out.all[recordedAs(span)] = d
		if span.ParentSpanID().IsEmpty() && (out.root == described{} || span.StartTimestamp() < out.root.span.StartTimestamp()) {
			out.root = d
		}
		if id := carried(span, WorkflowAttribute); id != "" && (out.id == "" || span.StartTimestamp() < first) {
			out.id, first = id, span.StartTimestamp()
		}
	}
	return out
}

// recordedAs names a span as a report does, without whose it is.
func recordedAs(span ptrace.Span) SpanRef {
	ref := SpanRef{Trace: span.TraceID(), Span: span.SpanID()}
	if id, err := ParseTraceID(carried(span, TraceAttribute)); err == nil {
		ref.Trace = id
	}
	if id, err := hex.DecodeString(carried(span, SpanAttribute)); err == nil && len(id) == len(ref.Span) {
		ref.Span = pcommon.SpanID(id)
	}
	return ref
}

func (d *descriptions) of(ref SpanRef) (described, bool) {
	ref.Org = ""
	out, ok := d.all[ref]
	return out, ok
}

func (d *descriptions) workflow() WorkflowName {
	if d.id != "" || d.root == (described{}) {
		return WorkflowName{ID: d.id}
	}
	return WorkflowName{Org: d.root.org, Service: d.root.service, Operation: d.root.span.Name()}
}

// summary is a workflow's, in the making.
type summary struct {
	durations []sample
	shares    map[Share][]Interval // by organizations
	hops      map[Hop][]sample     // by what was called
	errors    map[ErrorOrigin]*ErrorOrigin
}

// sample is a duration in a trace.
type sample struct {
	duration time.Duration
	trace    pcommon.TraceID
}

func newSummary() *summary {
	return &summary{shares: map[Share][]Interval{}, hops: map[Hop][]sample{}, errors: map[ErrorOrigin]*ErrorOrigin{}}
}

func (s *summary) add(t Trace, spans *descriptions) {
	b := t.Report.Blame
	s.durations = append(s.durations, sample{b.Duration, t.ID})
	for _, share := range b.Shares {
		whose := Share{Org: share.Org, To: share.To}
		s.shares[whose] = append(s.shares[whose], share.Time)
	}
	for _, ref := range b.Critical {
		if d, ok := spans.of(ref); ok {
			s.addHop(t.ID, d, spans)
		}
	}
	if b.ErrorOrigin == nil {
		return
	}
	if d, ok := spans.of(*b.ErrorOrigin); ok {
		e := ErrorOrigin{Org: d.org, Service: d.service, Operation: d.span.Name()}
		if s.errors[e] == nil {
			s.errors[e] = &ErrorOrigin{Org: e.Org, Service: e.Service, Operation: e.Operation, Trace: t.ID}
		}
		s.errors[e].Traces++
	}
}

// addHop takes a span on the critical path, if another organization's called it.
func (s *summary) addHop(id pcommon.TraceID, called described, spans *descriptions) {
	caller, ok := spans.byID[called.span.ParentSpanID()]
	if !ok || caller.org == called.org || caller.org == "" || called.org == "" {
		return
	}
	hop := Hop{From: caller.org, To: called.org, Caller: caller.service, Service: called.service, Operation: called.span.Name()}
	s.hops[hop] = append(s.hops[hop], sample{lasted(caller.span), id})
}

// lasted is how long a span lasted.
func lasted(s ptrace.Span) time.Duration {
	return time.Duration(max(0, nanoseconds(s.EndTimestamp())-nanoseconds(s.StartTimestamp())))
}

func (s *summary) workflow() Workflow {
	w := Workflow{Traces: len(s.durations), Durations: quantiles(s.durations)}
	for whose, times := range s.shares {
		w.Spent = append(w.Spent, shareOf(whose, times, w.Traces))
	}
	slices.SortFunc(w.Spent, func(a, b WorkflowShare) int {
		return cmp.Or(-cmp.Compare(sum(a.Total.Min, a.Total.Max), sum(b.Total.Min, b.Total.Max)), compareOrgs(a.Org, b.Org), compareOrgs(a.To, b.To))
	})
	for hop, samples := range s.hops {
		hop.Calls, hop.Durations = len(samples), quantiles(samples)
		w.Slowest = append(w.Slowest, hop)
	}
	slices.SortFunc(w.Slowest, func(a, b Hop) int {
		return cmp.Or(
			-cmp.Compare(a.Durations.P95, b.Durations.P95), compareOrgs(a.From, b.From), compareOrgs(a.To, b.To),
			strings.Compare(a.Caller, b.Caller), strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation),
		)
	})
	w.Slowest = limited(w.Slowest, mostHops)
	for _, e := range s.errors {
		w.Errors = append(w.Errors, *e)
	}
	slices.SortFunc(w.Errors, func(a, b ErrorOrigin) int {
		return cmp.Or(
			-cmp.Compare(a.Traces, b.Traces), compareOrgs(a.Org, b.Org),
			strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation),
		)
	})
	return w
}

// shareOf is what a part came to in so many traces.
func shareOf(whose Share, times []Interval, traces int) WorkflowShare {
	out := WorkflowShare{Org: whose.Org, To: whose.To}
	least, most := make([]time.Duration, traces), make([]time.Duration, traces) // zero where it has none
	for i, t := range times {
		least[i], most[i] = t.Min, t.Max
		out.Total = Interval{Min: sum(out.Total.Min, t.Min), Max: sum(out.Total.Max, t.Max)}
	}
	slices.Sort(least)
	slices.Sort(most)
	at := func(percent int) Interval {
		return Interval{Min: least[rank(percent, traces)], Max: most[rank(percent, traces)]}
	}
	out.P50, out.P95, out.P99 = at(50), at(95), at(99)
	return out
}

// sum is the most there is where it would be more: a partner's spans may last for
// centuries.
func sum(a, b time.Duration) time.Duration { return time.Duration(along(int64(a), int64(b))) }

func quantiles(samples []sample) Quantiles {
	slices.SortFunc(samples, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.duration, b.duration), slices.Compare(a.trace[:], b.trace[:]))
	})
	n := len(samples)
	return Quantiles{
		P50: samples[rank(50, n)].duration, P95: samples[rank(95, n)].duration, P99: samples[rank(99, n)].duration,
		Slowest: samples[n-1].trace,
	}
}

// rank is where, among n in order, the least is that so many percent don't exceed.
func rank(percent, n int) int { return max(0, (percent*n+99)/100-1) }
