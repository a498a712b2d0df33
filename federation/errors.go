package federation

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-gateway/parley/tenants"
)

// Kind is what sort of thing went wrong, as a partner may know it. The set is
// closed and append-only: it crosses the wire by name.
type Kind string

// The kinds. Hidden, absent and not-yours are all Refused or an empty answer.
const (
	// BadQuestion: the question can't be understood or isn't supported. The
	// text quotes nothing but the question.
	BadQuestion Kind = "bad-question"
	// Refused: agreement or policy does not allow it.
	Refused Kind = "refused"
	// NeedsAggregation: labels that policy drops would tell series of the
	// result apart. The text names what policy says, never what data holds.
	NeedsAggregation Kind = "needs-aggregation"
	// OverLimit: a limit of the agreement or the decision was met.
	OverLimit Kind = "over-limit"
	// Unavailable: the organization, its backend or its audit can't serve now.
	Unavailable Kind = "unavailable"
	// DeadlineExceeded: there was not enough time.
	DeadlineExceeded Kind = "deadline-exceeded"
	// Internal: a defect; details are in the log of the gateway that had it.
	Internal Kind = "internal"
)

// NotAllowed is all that a partner is told of a refusal, whatever its reason:
// who knocks must not learn whether it is unknown, too late or not trusted.
const NotAllowed = "no agreement or policy allows this question"

// Kinds lists every kind.
var Kinds = []Kind{BadQuestion, Refused, NeedsAggregation, OverLimit, Unavailable, DeadlineExceeded, Internal}

// Error is an error with a kind. Message is safe to show the asker; Err is
// the cause, for our own log alone, and never crosses a door.
type Error struct {
	Kind    Kind
	Org     tenants.OrgID // whose gateway had it; empty: ours, before anyone was asked
	Message string
	Err     error
}

// Errorf returns an Error whose message is for the asker.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	msg := string(e.Kind) + ": " + e.Message
	if e.Org != "" {
		msg = string(e.Org) + ": " + msg
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// AsError returns err as an *Error: itself if it is one, DeadlineExceeded or
// Unavailable for an ended context, Internal for anything else, whose text then
// stays out of the message.
func AsError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: DeadlineExceeded, Message: "the question ran out of time", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Unavailable, Message: "the question was cancelled", Err: err}
	}
	return &Error{Kind: Internal, Message: "internal error; the gateway's log has the details", Err: err}
}

// StatusOf is the completeness status of a part that ended in err.
func StatusOf(err error) Status {
	if err == nil {
		return Complete
	}
	switch AsError(err).Kind {
	case DeadlineExceeded:
		return Timeout
	case Unavailable, Internal:
		return Unreachable
	case BadQuestion, Refused, NeedsAggregation, OverLimit:
		return Denied
	}
	return Unreachable
}
