package federation

import (
	"context"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Question is what is asked of one signal, in that signal's own form, such as a
// metrics.Question. It is a value, and not changed once it is asked.
type Question interface {
	Signal() tenants.Signal
	// Asked is the question as it arrived, whether it can be understood or not,
	// for the record of it: kind, text, label, window and step.
	Asked() policy.Request
	// Request returns the question as a policy sees it; the caller adds who asks
	// whom. The error is a BadQuestion.
	Request() (policy.Request, error)
	// Listing says whether it asks what there is rather than for samples or
	// entries. It may then name all of time, and gets what is agreed.
	Listing() bool
	// Within returns a listing for no more than the given time before its end,
	// and that not after now; less says whether that is less than was asked for.
	Within(now time.Time, most time.Duration) (q Question, less bool)
}

// Released is data that went through a view, in its signal's own form, such as
// a *metrics.Released: all that merge, doors and fronts take.
type Released interface {
	// Disclosed is how much it holds; bytes and latency are not its to know.
	Disclosed() Cost
	// Bytes is the size of what is in it, whatever it is carried in.
	Bytes() int
}

// Asking says for whom an owner answers.
type Asking struct {
	Org        tenants.OrgID
	ExchangeID ExchangeID
}

// Member is an organization that can be asked a signal's questions, our own
// among them.
type Member[Q Question, R Released] struct {
	Org tenants.OrgID
	// Own is our own organization. What concerns it alone it answers whole.
	Own bool
	// Ask asks one question under the member's own deadline. It is safe for
	// concurrent use; its error is a *Error.
	Ask func(context.Context, Q) (R, Part, error)
}
