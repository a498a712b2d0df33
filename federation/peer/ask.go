package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// call is one request to one replica. started says whether any of an answer
// arrived.
type call func(context.Context, federationv1.FederationClient) (started bool, err error)

// attempts is how many replicas are tried for one question. With a single
// replica it is tried again: a connection that just broke is made anew.
const attempts = 2

// Ask asks the partner. principal is who asks at our end; its organization and
// workload are not sent, since the partner takes them from the connection. The
// error is a *federation.Error with the partner as its Org; the Part then says
// the same.
func (c *Client) Ask(ctx context.Context, exchangeID federation.ExchangeID, principal tenants.Principal, q federation.Question) (federation.Released, federation.Part, error) {
	start := c.config.Now()
	released, part, err := c.ask(ctx, wire.Ask{
		ExchangeID: exchangeID,
		Purpose:    principal.Purpose,
		Case:       principal.Case,
		User:       principal.User,
		BreakGlass: principal.BreakGlass,
		Question:   q,
	})
	if err != nil {
		e := c.explain(ctx, err)
		released, part, err = nil, federation.Part{Org: c.Org(), Status: federation.StatusOf(e), Reason: e.Message}, e
	}
	part.Cost.Latency = c.config.Now().Sub(start)
	return released, part, err
}

func (c *Client) ask(ctx context.Context, a wire.Ask) (released federation.Released, part federation.Part, err error) {
	request, err := wire.EncodeAsk(a)
	if err != nil {
		return nil, federation.Part{}, err
	}
	err = c.call(ctx, func(ctx context.Context, partner federationv1.FederationClient) (started bool, err error) {
		receiver, err := wire.NewReceiver(c.Org(), a.Question, c.config.Accept)
		if err != nil {
			return false, err
		}
		stream, err := partner.Ask(ctx, request)
		if err != nil {
			return false, err
		}
		for {
			message, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return started, err
			}
			started = true
			if err := receiver.Add(message); err != nil {
				return true, &unacceptable{err}
			}
		}
		released, part, err = receiver.Finish()
		if err != nil {
			return true, &unacceptable{err}
		}
		return true, nil
	})
	return released, part, err
}

// Describe asks the partner's gateway who it is and what it answers us. The
// error is a *federation.Error.
func (c *Client) Describe(ctx context.Context) (wire.Description, error) {
	var d wire.Description
	err := c.call(ctx, func(ctx context.Context, partner federationv1.FederationClient) (bool, error) {
		response, err := partner.Describe(ctx, &federationv1.DescribeRequest{})
		if err != nil {
			return false, err
		}
		if d, err = wire.DecodeDescription(response); err == nil && d.Org != c.Org() {
			err = errors.New("the name of another organization")
		}
		if err != nil {
			return true, &unacceptable{err}
		}
		return true, nil
	})
	if err != nil {
		return wire.Description{}, c.explain(ctx, err)
	}
	return d, nil
}

// call asks replicas, the healthy first, until one answers or may have begun
// to.
func (c *Client) call(ctx context.Context, ask call) error {
	if len(c.replicas) == 0 {
		return federation.Errorf(federation.Unavailable, "the agreement has no address of its gateway")
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel() // on return the partner stops work
	order := slices.Clone(c.replicas)
	slices.SortStableFunc(order, func(a, b *replica) int { return a.health() - b.health() })
	alone := len(order) == 1
	if alone {
		order = append(order, order[0])
	}
	var failed error
	tried := 0
	for _, r := range order {
		if tried == attempts || ctx.Err() != nil {
			break
		}
		if !r.breaker.TryAcquirePermit() {
			continue
		}
		tried++
		started, err := r.try(ctx, ask)
		if err == nil || started || !isTransport(err) || alone && wire.IsStated(err) {
			return err
		}
		failed = err
	}
	if failed == nil {
		return errLeftAlone
	}
	return failed
}

var errLeftAlone = errors.New("left alone after repeated failures")

// unacceptable is an answer that breaks the protocol.
type unacceptable struct{ err error }

func (u *unacceptable) Error() string { return "an answer that can't be accepted: " + u.err.Error() }
func (u *unacceptable) Unwrap() error { return u.err }

// explain returns err as our users may see it, and logs what they may not.
func (c *Client) explain(ctx context.Context, err error) *federation.Error {
	if e, ok := wire.DecodeFailure(c.Org(), err); ok {
		return e
	}
	var (
		stated *federation.Error
		broken *unacceptable
	)
	if errors.As(err, &stated) {
		return &federation.Error{Kind: stated.Kind, Org: c.Org(), Message: stated.Message, Err: stated.Err}
	}
	e := &federation.Error{Kind: federation.Unavailable, Org: c.Org(), Err: err}
	switch code := status.Code(err); {
	case errors.As(err, &broken), code == codes.ResourceExhausted, code == codes.Internal, code == codes.Unknown && !errors.Is(err, errLeftAlone):
		e.Message = "sent an answer that can't be accepted"
	case errors.Is(err, errLeftAlone):
		e.Message = fmt.Sprintf("is not answering; it is tried again every %v", c.config.BreakerDelay.Round(time.Millisecond))
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		e.Message = "the question was cancelled"
		return e // our own user's doing: nothing to log
	case code == codes.DeadlineExceeded:
		e.Kind, e.Message = federation.DeadlineExceeded, "did not answer in time"
	case code == codes.Unauthenticated:
		e.Message = "its gateway did not prove who it is"
	case code == codes.Unimplemented:
		e.Message = "its gateway doesn't know this kind of request"
	default:
		e.Message = "can't be reached"
	}
	c.config.Log.WarnContext(ctx, "partner gave no answer", "partner", c.Org(), "kind", e.Kind, "reason", e.Message, "error", err)
	return e
}
