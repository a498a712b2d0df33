package traces

import (
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// MaxAsked is how many traces an organization is asked for in one question, by id or
// of a search.
const MaxAsked = 1_000

// Question is one traces question, as it arrives at either door.
type Question struct {
	Kind policy.Kind
	// IDs are the traces that are asked for, of a Trace, or to be kept, of a KeepTrace:
	// at least one, at most MaxAsked.
	IDs []pcommon.TraceID
	// Expression is TraceQL. A Search has one: it finds the traces of which it is
	// true. Of LabelNames, LabelValues, Operations and Dependencies it says of which spans
	// the answer is made, as a single spanset filter; empty is all.
	Expression string
	// Start and End bound when spans begin: Start is included, End is not. A Search
	// finds traces with a span that meets a filter of the expression and begins
	// within; of those, and of a Trace, all spans are in the answer. Both zero, for
	// a Trace, is all of time.
	Start, End time.Time
	// Limit is how many traces a Search wants, the latest first: by when the last
	// span begins that meets a filter; each organization gives MaxAsked of them at
	// most. Of LabelNames, LabelValues and Operations it
	// is how many, and zero is all.
	Limit int
	// Label is the attribute whose values are asked for, as TraceQL names it:
	// resource.service.name, span.http.route, name, kind, status; or, of LabelNames,
	// the scope whose names are asked for: resource, span, event, link,
	// instrumentation; empty is all. Of Operations it is the service; empty is all.
	Label string
}

// timed says whether the question has bounds of time.
func (q Question) timed() bool { return !q.Start.IsZero() || !q.End.IsZero() }

// Signal is traces.
func (q Question) Signal() tenants.Signal { return tenants.Traces }

// Asked is the question as it arrived.
func (q Question) Asked() policy.Request {
	r := policy.Request{
		Signal: tenants.Traces, Kind: q.Kind, Query: q.Expression, Label: q.Label,
		Window: policy.Window{Start: q.Start, End: q.End},
	}
	if q.Kind == policy.Trace || q.Kind == policy.KeepTrace {
		ids := make([]string, len(q.IDs))
		for i, id := range q.IDs {
			ids[i] = id.String()
		}
		r.Query = strings.Join(ids, "\n")
	}
	return r
}

// Request returns the question as a policy sees it; the caller adds who asks
// whom. The error is a BadQuestion.
func (q Question) Request() (policy.Request, error) {
	switch q.Kind {
	case policy.Trace, policy.KeepTrace:
		if len(q.IDs) == 0 {
			return policy.Request{}, federation.Errorf(federation.BadQuestion, "a question for traces, or to keep them, has at least one trace id")
		}
		if len(q.IDs) > MaxAsked {
			return policy.Request{}, federation.Errorf(federation.BadQuestion, "%d trace ids are more than the %d that are asked for at once", len(q.IDs), MaxAsked)
		}
	case policy.Search:
		if q.Limit <= 0 {
			return policy.Request{}, federation.Errorf(federation.BadQuestion, "a search has a limit of at least one trace")
		}
	case policy.LabelValues:
		if q.Label == "" {
			return policy.Request{}, federation.Errorf(federation.BadQuestion, "a question for the values of an attribute names it, such as resource.service.name")
		}
	}
	return q.Asked(), nil
}

// Listing says whether it asks for names, values, services or who calls whom.
func (q Question) Listing() bool {
	switch q.Kind {
	case policy.LabelNames, policy.LabelValues, policy.Operations, policy.Dependencies:
		return true
	}
	return false
}

// Within returns a listing for no more than a time before its end.
func (q Question) Within(now time.Time, most time.Duration) (federation.Question, bool) {
	if !q.Listing() {
		return q, false
	}
	if q.End.After(now) {
		q.End = now
	}
	if q.End.Sub(q.Start) <= most {
		return q, false
	}
	q.Start = q.End.Add(-most)
	return q, true
}
