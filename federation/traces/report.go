package traces

import (
	"math"
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
	// Broken are spans that could not be taken as they are.
	Broken []Broken
	// Unfollowed are further ids under which the trace seems to go on, which were
	// not asked for because it has too many; the first sixteen.
	Unfollowed []pcommon.TraceID
	// Clocks are those of the organizations in the trace, in order of their names.
	Clocks []Clock
	// Blame says who spent the time.
	Blame Blame
}

// SpanRef names a span: whose it is, and the ids under which it was recorded. What
// it has instead in the trace has those in TraceAttribute and SpanAttribute.
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
	// "status", "attributes", "events", "links".
	Differs []string
}

// Broken is a span that could not be taken as it is.
type Broken struct {
	Span SpanRef
	What BrokenHow
}

// BrokenHow is what is wrong with a span.
type BrokenHow string

// What can be wrong, and what then happens.
const (
	// BrokenTrace: it is in an answer for another trace; it is left out.
	BrokenTrace BrokenHow = "of another trace"
	// BrokenID: it has no id; it is left out.
	BrokenID BrokenHow = "without an id"
	// BrokenCycle: it is its own ancestor; it hangs on the root instead of its
	// parent.
	BrokenCycle BrokenHow = "its own ancestor"
	// BrokenTimes: it ends before it begins, or later than can be; it counts as if
	// it ended when it begins.
	BrokenTimes BrokenHow = "times that can't be"
)

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
	MissingSampled     MissingReason = "sampled"   // by agreed sampling it isn't kept
	MissingUnknown     MissingReason = "unknown"   // never recorded, sampled away, lost or hidden
)

// Interval is what a duration is at least and at most, both included. An end that
// nothing bounds is Unbounded or -Unbounded.
type Interval struct{ Min, Max time.Duration }

// Unbounded is longer than any time.
const Unbounded = time.Duration(math.MaxInt64)

// Clock is how an organization's clock was reconciled with that of the
// organization in which the trace begins.
type Clock struct {
	Org tenants.OrgID
	// Shift is by how much its spans were moved: the smallest in Possible that goes
	// with the shifts of the organizations nearer to the root.
	Shift time.Duration
	// Possible are the shifts at which no span begins before its parent and every
	// server span lies within its client span.
	Possible Interval
	// Unbounded says that nothing bounds the shift: no chain of calls leads from one
	// to the other.
	Unbounded bool
	// Contradicts says that there is no such shift. Shift is zero then.
	Contradicts bool
}

// Blame says who spent the time of a trace: along its critical path, the spans
// that determined how long it took.
type Blame struct {
	// Duration is how long the root lasted. What consumers of messages do is not in
	// it: nobody waits for them.
	Duration time.Duration
	// Shares are those of organizations and of the network between them, in the
	// order in which they begin, each once. There is an assignment within the
	// intervals that sums up to Duration. They are of the spans there are: what
	// nobody recorded counts for who called it.
	Shares []Share
	// Critical are the spans of the critical path, in order of time.
	Critical []SpanRef
	// ErrorOrigin is the deepest span with an error whose ancestors all have one;
	// nil: none, or nothing tells.
	ErrorOrigin *SpanRef
}

// Share is one organization's part of the time, or the network's between two. Both
// empty, it is the time of spans of which nobody knows whose they are.
type Share struct {
	Org tenants.OrgID
	// To is set for the network: between Org, which called, and To.
	To   tenants.OrgID
	Time Interval
}
