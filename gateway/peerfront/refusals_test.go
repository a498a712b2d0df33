package peerfront_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/peerfront"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// Whoever is refused, for whatever reason, is told the same and is recorded.
func TestRefusalsLookTheSame(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return nil, &federation.Error{Kind: federation.Refused, Message: "the purpose is not agreed", Err: &tenants.Refusal{Reason: tenants.PurposeNotAgreed}}
	}
	request, err := wire.EncodeAsk(wire.Ask{ExchangeID: w.exchangeID, Purpose: ada.Purpose, Question: isUp})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	otherWorkload := spiffeid.RequireFromString("spiffe://globex.example/web")
	for _, id := range []spiffeid.ID{globexID, initechID, otherWorkload} {
		stream, err := federationv1.NewFederationClient(w.raw(id)).Ask(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: got %v", id, err)
		}
		told[status.Convert(err).Proto().String()] = true
	}
	if len(told) != 1 {
		t.Errorf("refusals differ: %v", told)
	}
	if len(w.gateway.refused) != 2 {
		t.Fatalf("recorded %d refusals of the door, want 2", len(w.gateway.refused))
	}
	for i, id := range []spiffeid.ID{initechID, otherWorkload} {
		q := w.gateway.refused[i]
		var reason *tenants.Refusal
		if q.Principal.Workload != id || q.Principal.Org != "" || q.ExchangeID != w.exchangeID || q.Principal.Purpose != ada.Purpose || q.Asked.Asked().Query != "up" {
			t.Errorf("recorded %+v", q)
		}
		if !errors.As(w.gateway.reasons[i], &reason) || reason.Reason != tenants.UnknownTrustDomain {
			t.Errorf("recorded the reason %v", w.gateway.reasons[i])
		}
	}
}

// A revoked agreement ends with the next request, on the connection that is
// open.
func TestRevokedMidConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 1)...)
	client := w.as(globexID, nil)
	if _, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp); err != nil {
		t.Fatal(err)
	}
	w.revoke(globexID)
	_, part, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Refused, federation.NotAllowed)
	if part.Status != federation.Denied || len(w.gateway.asked) != 1 {
		t.Errorf("got %+v, the gateway was asked %d times", part, len(w.gateway.asked))
	}
}

// When the record can't be written nothing leaves, not even a refusal's kind.
func TestAuditDown(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 1)...)
	w.gateway.auditDown.Store(true)
	_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be recorded")
	_, _, err = w.as(initechID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be recorded")
}

// What isn't a question gets a clear error and is recorded as well.
func TestGarbage(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.raw(globexID)
	ask := func(message any, options ...grpc.CallOption) error {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/parley.federation.v1.Federation/Ask", options...)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		return stream.RecvMsg(&federationv1.AskResponse{})
	}
	for name, test := range map[string]struct {
		err  error
		want codes.Code
	}{
		"an empty request": {ask(&federationv1.AskRequest{}), codes.InvalidArgument},
		"another message":  {ask(wrapperspb.UInt64(7)), codes.InvalidArgument},
		"a large request":  {ask(&federationv1.AskRequest{Purpose: strings.Repeat("x", wire.MaxRequest+1)}), codes.ResourceExhausted},
		"a bomb":           {ask(&federationv1.AskRequest{Purpose: strings.Repeat("x", 64<<20)}, grpc.UseCompressor(wire.Compression)), codes.ResourceExhausted},
	} {
		if status.Code(test.err) != test.want {
			t.Errorf("%s: got %v, want %v", name, test.err, test.want)
		}
	}
	eventually(t, "all are recorded", func() bool {
		w.gateway.mu.Lock()
		defer w.gateway.mu.Unlock()
		return len(w.gateway.refused) == 4 && w.gateway.refused[3].Principal.Org == "globex"
	})
	// What isn't even there.
	err := conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", &federationv1.AskRequest{}, &federationv1.AskResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("the health service: got %v", err)
	}
}
