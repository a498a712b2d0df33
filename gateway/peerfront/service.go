package peerfront

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// service is the two calls of the protocol.
type service struct {
	federationv1.UnimplementedFederationServer
	config Config
	// describes bounds what is logged of those that are refused.
	describes *sparing
	// ending ends all tails, which would go on as long as their askers want.
	ending context.Context //nolint:containedctx // it is the door's life
}

// Ask answers one question.
func (s *service) Ask(request *federationv1.AskRequest, stream grpc.ServerStreamingServer[federationv1.AskResponse]) error {
	ctx, cancel := context.WithTimeout(stream.Context(), s.config.MaxDuration)
	defer cancel()

	q, err := s.asked(ctx, request)
	if err != nil {
		return s.refuse(ctx, q, err)
	}
	messages, done, err := s.answer(ctx, q)
	if err != nil {
		return s.failure(ctx, err)
	}
	defer done()
	if err := compress(ctx); err != nil {
		return s.failure(ctx, err)
	}
	return s.send(ctx, stream, messages)
}

// asked is what is asked, and by whom. With an error, which refuses it, it holds
// what is known, for the record.
func (s *service) asked(ctx context.Context, request *federationv1.AskRequest) (gateway.Question, error) {
	principal, _, unknown := s.who(ctx)
	q, malformed := s.question(principal, request)
	return q, cmp.Or(unknown, malformed)
}

// answer returns the messages of an answer that is recorded, and what is to be
// called when they have left. A panic is recorded as any other failure is.
func (s *service) answer(ctx context.Context, q gateway.Question) (messages []*federationv1.AskResponse, done func(), err error) {
	done = func() {}
	defer func() {
		if p := recover(); p != nil {
			messages, err = nil, s.config.Gateway.Refuse(ctx, q, s.panicked(ctx, federationv1.Federation_Ask_FullMethodName, p))
		}
		if err != nil {
			done()
		}
	}()
	answer, err := s.config.Gateway.Answer(ctx, q)
	if err != nil {
		return nil, done, err
	}
	done = answer.Close
	err = answer.Disclose(ctx, func(released federation.Released, c federation.Completeness) (size int, err error) {
		if len(c) != 1 || c[0].Org != s.config.Org {
			return 0, fmt.Errorf("an answer for a partner has one part, ours; this one has %d", len(c))
		}
		messages, size, err = wire.EncodeAnswer(released, c[0])
		return size, err
	})
	return messages, done, err
}

// compress has what is sent compressed, if the asker can read that. It is called
// before anything is sent.
func compress(ctx context.Context) error {
	supported, err := grpc.ClientSupportedCompressors(ctx)
	if err == nil && slices.Contains(supported, wire.Compression) {
		err = grpc.SetSendCompressor(ctx, wire.Compression)
	}
	return err
}

// send sends messages no faster than the asker reads them, and for no longer
// than the question may take: whoever doesn't read is left.
func (s *service) send(ctx context.Context, stream grpc.ServerStreamingServer[federationv1.AskResponse], messages []*federationv1.AskResponse) error {
	sent := make(chan error, 1)
	go func() {
		for _, m := range messages {
			// The end of the call, ours included, ends a Send that waits.
			if err := stream.Send(m); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		return err // the connection's: there is nobody left to tell
	case <-ctx.Done():
		return s.failure(ctx, ctx.Err())
	}
}

// Describe says who we are and what the caller may ask about.
func (s *service) Describe(ctx context.Context, request *federationv1.DescribeRequest) (*federationv1.DescribeResponse, error) {
	principal, agreement, err := s.who(ctx)
	d := wire.Description{Org: s.config.Org, Version: s.config.Version, Signals: s.answered(agreement)}
	if err == nil && len(d.Signals) == 0 {
		err = federation.Errorf(federation.Refused, federation.NotAllowed)
	}
	if err == nil && len(request.ProtoReflect().GetUnknown()) > 0 {
		err = federation.Errorf(federation.BadQuestion, "the request has fields that this gateway doesn't know; it may be older than yours")
	}
	if err != nil {
		// Nothing was asked, so there is no exchange to record.
		if leftOut, ok := s.describes.turn(); ok {
			s.config.Log.WarnContext(ctx, "describe refused", "workload", principal.Workload.String(), "partner", principal.Org, "error", err, "left_out", leftOut)
		}
		return nil, wire.EncodeFailure(err).Err()
	}
	return wire.EncodeDescription(d), nil
}

// answered are the signals that the agreement, today, has for any purpose.
func (s *service) answered(a tenants.Agreement) []tenants.Signal {
	var out []tenants.Signal
	for _, signal := range a.Signals {
		if slices.ContainsFunc(a.Purposes, func(p tenants.Purpose) bool {
			return a.Covers(s.config.Now(), signal, p) == nil
		}) {
			out = append(out, signal)
		}
	}
	return out
}

// who returns the caller, from the connection alone. On a refusal the
// principal holds what is known, for the record.
func (s *service) who(ctx context.Context) (tenants.Principal, tenants.Agreement, error) {
	refused := func(err error) error {
		return &federation.Error{Kind: federation.Refused, Message: federation.NotAllowed, Err: err}
	}
	var principal tenants.Principal
	caller, ok := peer.FromContext(ctx)
	if !ok {
		return principal, tenants.Agreement{}, refused(errors.New("no connection"))
	}
	tlsInfo, ok := caller.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return principal, tenants.Agreement{}, refused(errors.New("the connection is not TLS"))
	}
	var err error
	if principal.Workload, err = s.config.Identify(tlsInfo.State); err != nil {
		return principal, tenants.Agreement{}, refused(err)
	}
	agreement, err := s.config.Agreement(principal.Workload)
	if err != nil {
		return principal, tenants.Agreement{}, refused(err)
	}
	principal.Org = agreement.Partner
	wire.SetPartner(ctx, agreement.Partner)
	return principal, agreement, nil
}

// question is what is asked. With an error it holds what was understood.
func (s *service) question(principal tenants.Principal, request *federationv1.AskRequest) (gateway.Question, error) {
	ask, err := wire.DecodeAsk(request)
	if err == nil {
		err = current(ask.ExchangeID, s.config.Now())
	}
	principal.User, principal.Purpose, principal.Case, principal.BreakGlass = ask.User, ask.Purpose, ask.Case, ask.BreakGlass
	return gateway.Question{
		Door:       gateway.PeerDoor,
		ExchangeID: ask.ExchangeID,
		Principal:  principal,
		Asked:      ask.Question,
	}, err
}

// An exchange id counts for a while only: pseudonyms of a single question are
// made with it, and would stay the same for whoever used it for ever.
const (
	// exchangeLife is for how long questions come under one id. A user's
	// question may take several of them, one after the other, and each of them
	// two minutes: MaxDuration.
	exchangeLife = 5 * time.Minute
	// clockDifference is how far the asker's clock may be from ours.
	clockDifference = time.Minute
)

// current says whether an exchange id was made lately.
func current(id federation.ExchangeID, now time.Time) error {
	made, err := id.Time()
	if err != nil {
		return err
	}
	switch age := now.Sub(made); {
	case age > exchangeLife+clockDifference:
		return federation.Errorf(federation.BadQuestion, "exchange_id: was made %s ago, and counts for %s; ask under a new one, and see that both gateways' clocks are right",
			age.Round(time.Second), exchangeLife)
	case age < -clockDifference:
		return federation.Errorf(federation.BadQuestion, "exchange_id: was made %s from now; see that both gateways' clocks are right", (-age).Round(time.Second))
	}
	return nil
}

// refuse records the refusal and returns what the caller is told.
func (s *service) refuse(ctx context.Context, q gateway.Question, err error) error {
	if told := s.config.Gateway.Refuse(ctx, q, err); told != nil {
		err = told
	}
	return s.failure(ctx, err)
}

// failure is err as the status that the caller sees. Defects are logged here:
// the caller is told only that there was one.
func (s *service) failure(ctx context.Context, err error) error {
	if e := federation.AsError(err); e.Kind == federation.Internal {
		s.config.Log.ErrorContext(ctx, "question failed", "error", err)
	}
	return wire.EncodeFailure(err).Err()
}

// recordUnreadable records requests that aren't messages of the protocol, or
// are too large: gRPC refuses them before Ask is called.
func (s *service) recordUnreadable(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	watched := &watchedStream{ServerStream: stream}
	err := handle(srv, watched)
	switch status.Code(watched.unreadable) {
	case codes.OK, codes.Canceled, codes.DeadlineExceeded: // the asker left
		return err
	}
	// gRPC ends the stream itself, and its context, when a request is too large.
	ctx := context.WithoutCancel(stream.Context())
	principal, _, unknown := s.who(ctx)
	if unknown != nil {
		return s.refuse(ctx, gateway.Question{Door: gateway.PeerDoor, Principal: principal}, unknown)
	}
	return s.refuse(ctx, gateway.Question{Door: gateway.PeerDoor, Principal: principal}, &federation.Error{
		Kind:    federation.BadQuestion,
		Message: fmt.Sprintf("the request can't be read; it must be an AskRequest of at most %d bytes", wire.MaxRequest),
		Err:     errors.New(status.Convert(watched.unreadable).Message()),
	})
}

// watchedStream remembers that a request couldn't be read.
type watchedStream struct {
	grpc.ServerStream
	unreadable error
}

func (w *watchedStream) RecvMsg(m any) error {
	err := w.ServerStream.RecvMsg(m)
	if err != nil {
		w.unreadable = err
	}
	return err
}
