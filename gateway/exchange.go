package gateway

import (
	"context"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Door is where a question came in.
type Door string

// The two doors.
const (
	// FrontDoor is for our own users: HTTP, any organization may be asked.
	FrontDoor Door = "front"
	// PeerDoor is for partners: gRPC, answered from our own data only.
	PeerDoor Door = "peer"
)

// Outcome is how a question ended.
type Outcome string

// The outcomes, as audit and metrics spell them.
const (
	Answered  Outcome = "answered"
	Partially Outcome = "partial" // answered, with an organization missing
	Refused   Outcome = "refused" // by agreement, policy or limit
	Failed    Outcome = "failed"
)

// Exchange is the record of one question and its answer at one gateway. It is
// filled as the work proceeds and then read by audit and by the transfer
// metrics, so that they can't disagree.
type Exchange struct {
	// ID is made by the asking gateway; every gateway that takes part in the
	// question records its own exchange under it.
	ID   federation.ExchangeID
	Door Door
	// Org is the organization whose gateway this is.
	Org       tenants.OrgID
	Principal tenants.Principal
	Signal    tenants.Signal
	Kind      policy.Kind
	Query     string
	// Label is the one whose values were asked for, or the metric of which its
	// metadata; empty otherwise.
	Label  string
	Window policy.Window
	Step   time.Duration

	// Grant is, at the peer door, the one under which the question was asked in
	// an emergency; its zero value is none.
	Grant Grant

	// Decision is the owner's at the peer door; at the front door the asker's
	// on its own data.
	Decision policy.Decision

	Outcome Outcome
	// ErrorKind is what the asker was told when there was no answer.
	ErrorKind federation.Kind
	// Reason is for our own eyes: which check refused, or what failed.
	Reason string
	// TurnedAway is why the question was refused before policy was asked or
	// data looked at, as a word of a closed set: a tenants.Reason, or else the
	// ErrorKind. Empty for all others. To ask such a question again costs the
	// asker nothing.
	TurnedAway string

	// Series, Samples, Lines, Spans and Bytes are what was disclosed: to the
	// partner at the peer door, to our user at the front door. Bytes are message
	// bytes before compression.
	Series, Samples, Lines, Spans, Bytes int
	// Redactions are how often each rule of what leaves of lines did something,
	// by its name in policy. Never a value.
	Redactions map[string]uint64
	// Tail is which part of a tail this is the record of; nil for all else.
	Tail *TailPart
	// Completeness has a part for every organization at the front door; at the
	// peer door our own alone.
	Completeness federation.Completeness

	Start   time.Time
	Latency time.Duration
}

// discloses takes down how much an answer holds.
func (x *Exchange) discloses(r federation.Released) {
	cost := r.Disclosed()
	x.Series, x.Samples, x.Lines, x.Spans = cost.Series, cost.Samples, cost.Lines, cost.Spans
	if r, ok := r.(interface{ Redactions() map[string]uint64 }); ok {
		x.Redactions = r.Redactions()
	}
}

// TailStage is where in a tail a part of it is, as audit spells it.
type TailStage string

// The stages. What was disclosed is in the records of the first two.
const (
	TailOpened TailStage = "opened" // the first part: what there was already
	TailGoesOn TailStage = "part"
	TailEnded  TailStage = "ended" // how and why it ended; no part
)

// TailPart is a part of a tail. Each is recorded before it leaves; all records of
// a tail have one exchange id.
type TailPart struct {
	Stage TailStage
	// Number of parts before this one, or at the end of all. Parts that disclose
	// nothing are neither counted nor recorded.
	Number int
	// Lines and Bytes are, at the end, what all parts disclosed.
	Lines, Bytes int
	// Dropped is how many lines were left out since the part before.
	Dropped int
}

// Grant lets a person of a partner see more in an emergency.
type Grant struct {
	Partner tenants.OrgID
	Case    tenants.CaseID
	// Person is the subject of a proven user.
	Person string
	Proof  tenants.UserProof
	// Purpose and Reason are those of the question that opened it.
	Purpose tenants.Purpose
	Reason  tenants.EmergencyReason
	// It is in force at t when Opened <= t < Ends.
	Opened, Ends time.Time
}

// BreakGlass keeps the grants.
type BreakGlass interface {
	// Grant returns the grant under which the principal asks now, and opens it
	// with the first question. When it returns one, that is durable. The error of
	// one that has ended or can't be opened is a *tenants.Refusal. The agreement
	// has a BreakGlass, and the principal all that Agreement.Emergency asks for.
	Grant(ctx context.Context, a tenants.Agreement, by tenants.Principal, id federation.ExchangeID) (Grant, error)
}

// Auditor keeps evidence.
type Auditor interface {
	// Record returns nil once the exchange is durable. After an error nothing
	// of the answer may leave. Of questions that were turned away, and so
	// disclose nothing, the repetitions may be counted and recorded together.
	Record(ctx context.Context, x Exchange) error
}

// Meter counts exchanges.
type Meter interface {
	Observe(x Exchange)
}
