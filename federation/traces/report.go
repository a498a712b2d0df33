package traces

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/tenants"
)

// Report is what stitching found out about a trace beyond its spans.
type Report struct {
	// Joins are how traces of other ids became part of this one, in the order in
	// which they were joined.
	Joins []Join
	// Conflicts are spans of one id that differ: the first is in the trace, and the
	// others aren't.
	Conflicts []Conflict
	// Missing are the placeholders in the trace.
	Missing []Missing
	// Clocks are those of the organizations in the trace, in order of their names.
	Clocks []Clock
	// Blame says who spent the time.
	Blame Blame
}

// SpanRef names a span.
type SpanRef struct {
	Org   tenants.OrgID
	Trace pcommon.TraceID
	Span  pcommon.SpanID
}

// JoinedBy is how a trace of another id was recognized as part of this one.
type JoinedBy string

// The ways, in the order in which they are tried.
const (
	ByLink     JoinedBy = "link"
	ByBoundary JoinedBy = "boundary"
)

// Join is a trace of another id that is part of this one.
type Join struct {
	By JoinedBy
	// Trace is the other id.
	Trace pcommon.TraceID
	// Parent is the span under which it hangs, and Child the one that hangs there.
	Parent, Child SpanRef
	// Attribute is the one that both carry, ByBoundary.
	Attribute string
}

// Conflict is a span that was there under the id of another.
type Conflict struct {
	Kept, Dropped SpanRef
	// Differs names what differs: "name", "times", "parent", "kind", "organization",
	// "attributes".
	Differs []string
}

// Missing is a placeholder.
type Missing struct {
	Span SpanRef // its Org is empty where nobody knows whose it would be
	// Orgs are those that could hold it.
	Orgs   []tenants.OrgID
	Reason MissingReason
	// Children are how many spans hang on it.
	Children int
}

// MissingReason is why a span isn't there.
type MissingReason string

// The reasons.
const (
	MissingDenied      MissingReason = "denied"
	MissingUnreachable MissingReason = "unreachable"
	MissingRetention   MissingReason = "retention" // it is older than what is kept or shown
	MissingUnknown     MissingReason = "unknown"   // never recorded, sampled away, lost or hidden
)

// Interval is what a duration is at least and at most, both included.
type Interval struct{ Min, Max time.Duration }

// Clock is how an organization's clock was reconciled with that of the
// organization in which the trace begins.
type Clock struct {
	Org tenants.OrgID
	// Shift is by how much its spans were moved: the smallest in Possible.
	Shift time.Duration
	// Possible are the shifts at which every server span lies within its client
	// span.
	Possible Interval
	// Unbounded says that nothing bounds the shift: no span of one is a child of
	// the other's. Shift is zero then.
	Unbounded bool
	// Contradicts says that there is no such shift. Shift is zero then.
	Contradicts bool
}

// Blame says who spent the time of a trace: along its critical path, the spans
// that determined how long it took.
type Blame struct {
	// Duration is from the first span's start to the end of the root.
	Duration time.Duration
	// Shares are those of organizations and of the network between them, in the
	// order in which they begin. There is an assignment within the intervals that
	// sums up to Duration.
	Shares []Share
	// Critical are the spans of the critical path, in order of time.
	Critical []SpanRef
	// ErrorOrigin is the deepest span with an error whose ancestors all have one;
	// nil: none, or nothing tells.
	ErrorOrigin *SpanRef
}

// Share is one organization's part of the time, or the network's between two.
type Share struct {
	Org tenants.OrgID
	// To is set for the network: between Org, which called, and To.
	To   tenants.OrgID
	Time Interval
}
