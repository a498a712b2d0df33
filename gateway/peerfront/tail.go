package peerfront

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// readWithin is how long the asker of a tail may take to read a part.
const readWithin = 30 * time.Second

// errGoing ends tails when the door closes.
var errGoing = federation.Errorf(federation.Unavailable, "the gateway is being shut down; ask again")

// Tail gives what is written to our own logs, until the asker leaves or may not
// see it any more.
func (s *service) Tail(request *federationv1.AskRequest, stream grpc.ServerStreamingServer[federationv1.AskResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.ending, func() { cancel(errGoing) })()

	q, err := s.asked(ctx, request)
	if err == nil && q.Asked.Asked().Kind != policy.Tail {
		err = federation.Errorf(federation.BadQuestion, "kind: a tail is of the kind tail; ask for the others with Ask")
	}
	if err != nil {
		return s.refuse(ctx, q, err)
	}
	if err := compress(ctx); err != nil {
		return s.failure(ctx, err)
	}
	return s.tail(ctx, q, stream)
}

// tail sends the parts of a tail. A panic is recorded as any other failure is.
func (s *service) tail(ctx context.Context, q gateway.Question, stream grpc.ServerStreamingServer[federationv1.AskResponse]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.refuse(ctx, q, s.panicked(ctx, federationv1.Federation_Tail_FullMethodName, p))
		}
	}()
	var (
		messages []*federationv1.AskResponse
		unsent   error // the connection's: there is nobody left to tell
	)
	err = s.config.Gateway.Tail(ctx, q, gateway.TailDoor{
		StillKnown: func(ctx context.Context) error { _, _, err := s.who(ctx); return err },
		Encode: func(released federation.Released, c federation.Completeness) (size int, err error) {
			if len(c) != 1 || c[0].Org != s.config.Org {
				return 0, fmt.Errorf("a tail for a partner has one part, ours; this one has %d", len(c))
			}
			messages, size, err = wire.EncodeAnswer(released, c[0])
			return size, err
		},
		Send: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, readWithin)
			defer cancel()
			unsent = s.send(ctx, stream, messages)
			return unsent
		},
	})
	if unsent != nil {
		return unsent
	}
	if err != nil {
		return s.failure(ctx, err)
	}
	return nil
}
