package gateway

import (
	"context"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Rehearsal is a partner's question, taken as far as it goes without data. As
// nothing is disclosed, nothing is recorded; it is for the owner's eyes alone.
type Rehearsal struct {
	Agreement tenants.Agreement
	Request   policy.Request
	// Decision is policy's, with the limits of the agreement.
	Decision policy.Decision
	// Told is what the partner would be told instead of an answer, and has the
	// reason, which it wouldn't; nil if the question would be evaluated.
	Told *federation.Error
}

// RehearsalConfig is what a rehearsal needs of a gateway. Every field is
// required.
type RehearsalConfig struct {
	Org       tenants.OrgID
	Directory Directory
	Decider   policy.Decider
	Now       func() time.Time
}

// Rehearse takes a partner's question through the stages who, its quota aside,
// and may.
func Rehearse(ctx context.Context, c RehearsalConfig, q Question) (Rehearsal, error) {
	var r Rehearsal
	var err error
	if r.Agreement, err = covering(c.Directory, c.Now(), q.Asked.Signal(), q.Principal); err != nil {
		r.Told = asTold(err)
		return r, nil
	}
	if r.Request, err = requested(c.Org, q, r.Agreement); err != nil {
		r.Told = asTold(err)
		return r, nil
	}
	if r.Decision, err = c.Decider.Decide(ctx, r.Request); err != nil {
		return r, err
	}
	if r.Decision, err = agreed(r.Agreement, q.Asked, r.Request, r.Decision); err != nil {
		r.Told = asTold(err)
	}
	return r, nil
}
