package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// firstPart is how many times as long the first part may take: its owner reads
// what there is already.
const firstPart = 3

// errSilent ends a tail whose owner says nothing.
var errSilent = errors.New("no part of the tail came for too long")

// Tail asks the partner for a tail and gives its parts until it ends, without an
// error when it has to be asked again to go on. Before each part the replier is
// verified anew. The error is that of give, or a *federation.Error as that of Ask.
func (c *Client) Tail(ctx context.Context, exchangeID federation.ExchangeID, principal tenants.Principal, q federation.Question, give federation.Give) error {
	err := c.tail(ctx, wire.Ask{
		ExchangeID: exchangeID, Purpose: principal.Purpose, Case: principal.Case, User: principal.User,
		BreakGlass: principal.BreakGlass, Question: q,
	}, give)
	var given *giveError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &given):
		return given.error
	case status.Code(err) == codes.Unimplemented:
		return &federation.Error{Kind: federation.BadQuestion, Org: c.Org(), Message: "not supported: its gateway is older than ours and has no tails", Err: err}
	}
	return c.explain(ctx, err)
}

// giveError is an error of who takes the parts.
type giveError struct{ error }

func (c *Client) tail(ctx context.Context, a wire.Ask, give federation.Give) error {
	if _, err := wire.NewTailReceiver(c.Org(), a.Question, c.config.Accept, c.config.Now); err != nil {
		return err
	}
	request, err := wire.EncodeAsk(a)
	if err != nil {
		return err
	}
	if len(c.replicas) == 0 {
		return federation.Errorf(federation.Unavailable, "the agreement has no address of its gateway")
	}
	order := slices.Clone(c.replicas)
	slices.SortStableFunc(order, func(a, b *replica) int { return a.health() - b.health() })
	if len(order) == 1 {
		order = append(order, order[0]) // a connection that just broke is made anew
	}
	failed := errLeftAlone
	for _, r := range order[:attempts] {
		if !r.breaker.TryAcquirePermit() {
			continue
		}
		var started bool
		if started, err = c.tailReplica(ctx, r, request, a.Question, give); err == nil || started || !isTransport(err) || ctx.Err() != nil {
			return err
		}
		failed = err
	}
	return failed
}

// tailReplica has one replica's tail. A tail lasts, so the breaker is told how the
// replica does when the first part is there.
func (c *Client) tailReplica(ctx context.Context, r *replica, request *federationv1.AskRequest, q federation.Question, give federation.Give) (started bool, err error) {
	told := false
	tell := func(well bool) {
		switch {
		case told:
		case well:
			r.breaker.RecordSuccess()
		default:
			r.breaker.RecordFailure()
		}
		told = true
	}
	l, err := r.acquire()
	if err != nil {
		tell(false)
		return false, err
	}
	defer r.release(l)
	defer func() {
		tell(err == nil || wire.IsStated(err) || !isTransport(err))
		if status.Code(err) == codes.Unauthenticated {
			r.renew(l)
		}
	}()
	replier := &replier{}
	ctx, cancel := context.WithCancelCause(withReplier(ctx, replier))
	defer cancel(nil)
	silence := time.AfterFunc(firstPart*c.config.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := federationv1.NewFederationClient(l.conn).Tail(ctx, request)
	if err != nil {
		return false, broken(ctx, err)
	}
	receiver, err := wire.NewTailReceiver(c.Org(), q, c.config.Accept, c.config.Now)
	if err != nil {
		return false, err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if !started || receiver.Started() {
				return started, &unacceptable{errors.New("an end before its closing part")}
			}
			return true, nil
		}
		if err != nil {
			return started, broken(ctx, err)
		}
		released, part, whole, err := receiver.Add(message)
		if err != nil {
			return started, &unacceptable{err}
		}
		if !whole {
			continue
		}
		silence.Stop() // however long taking the part may last
		if err := replier.check(c.config); err != nil {
			return started, err
		}
		started = true
		tell(true)
		if err := give(released, part); err != nil {
			return true, &giveError{err}
		}
		if l.certificates.aged() {
			return true, nil // it goes on over a connection whose certificates last
		}
		silence.Reset(c.config.Silence)
	}
}

// broken is why a stream ended: silence is ours to find out.
func broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return status.Error(codes.Unavailable, cause.Error())
	}
	return err
}

// replier is who is at the other end of a tail's connection.
type replier struct {
	mu    sync.Mutex
	state *tls.ConnectionState // guarded by mu; nil before the call began
}

type replierKey struct{}

// withReplier has replierCheck note the connection of the call: gRPC asks for
// credentials with nothing but the call's context.
func withReplier(ctx context.Context, r *replier) context.Context {
	return context.WithValue(ctx, replierKey{}, r)
}

// note takes down the connection of a call, if that wants to know.
func note(ctx context.Context, state tls.ConnectionState) {
	if r, ok := ctx.Value(replierKey{}).(*replier); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state = &state
	}
}

// check verifies that the other end still is who was dialled.
func (r *replier) check(c Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil {
		return status.Error(codes.Unauthenticated, "the connection is not known")
	}
	return replierCheck{want: c.Agreement.GatewayID, verify: c.Verify}.is(*r.state)
}

// Tail asks the agreement's partner for a tail; see Client.Tail.
func (p *Pool) Tail(ctx context.Context, a tenants.Agreement, exchangeID federation.ExchangeID, principal tenants.Principal, q federation.Question, give federation.Give) error {
	c, err := p.acquire(a)
	if err != nil {
		p.template.Log.ErrorContext(ctx, "partner can't be asked", "partner", a.Partner, "error", err)
		return &federation.Error{Kind: federation.Internal, Org: a.Partner, Message: "can't be asked; our gateway's log has the details", Err: err}
	}
	defer p.release(c)
	return c.Tail(ctx, exchangeID, principal, q, give)
}
