package federation

import (
	"context"
	"errors"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// A tail is a question whose answer goes on: entries as they are written. It
// comes in parts, each like an answer of its own. The first part is what there
// was already. Later ones come when there is something, and now and then without,
// which says that the owner is still there.

// Give takes the next part of a tail. Its error ends the tail.
type Give = func(Released, Part) error

// Decide is the decision on a tail as it is now: it is asked before each part.
// Its error, a *Error or ErrAskAgain, ends the tail.
type Decide = func(context.Context) (policy.Decision, error)

// ErrAskAgain ends a tail that goes on when it is asked again: what its asker may
// see, or is called by, is not what it was when the tail began.
var ErrAskAgain = errors.New("the tail has to be asked again to go on")

// TailMember is an organization whose tail can be had, our own among them.
type TailMember[Q Question, R Released] struct {
	Org tenants.OrgID
	// Own is our own organization.
	Own bool
	// Tail gives the parts until the tail ends. It ends without an error when it
	// has to be asked again to go on; again says that this is not the first time.
	// An error is a *Error. It is safe for concurrent use.
	Tail func(ctx context.Context, q Q, again bool, give func(R, Part) error) error
}
