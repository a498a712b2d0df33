package peer_test

import (
	"crypto/tls"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// A partner that moves is asked at its new address from the next question on;
// the one under way ends where it was asked.
func TestPoolFollowsTheAgreement(t *testing.T) {
	a := newAuthority(t)
	hold := make(chan struct{})
	messages := answer(t, "globex", 1)
	before := &globex{ask: func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		<-hold
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return nil
	}}
	startGlobex(t, a, globexID, "127.0.0.1:0", before)
	after := startGlobex(t, a, globexID, "127.0.0.1:0", sending(answer(t, "globex", 2)))

	config := acme(t, a, before.address)
	old := config.Agreement
	pool := peer.NewPool(config, func(spiffeid.ID) *tls.Config { return config.TLS })
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	held := make(chan error)
	go func() {
		_, _, err := pool.Ask(t.Context(), old, exchangeID, ada, isUp)
		held <- err
	}()
	eventually(t, "the held question arrives", func() bool { return before.asked.Load() == 1 })

	moved := old
	moved.Addresses = []string{after.address}
	for range 2 {
		if _, part, err := pool.Ask(t.Context(), moved, exchangeID, ada, isUp); err != nil || part.Cost.Series != 2 {
			t.Errorf("at the new address: got %+v, %v", part, err)
		}
	}
	if n := after.conns.accepted.Load(); n != 1 {
		t.Errorf("got %d connections, want one for both questions", n)
	}
	close(hold)
	if err := <-held; err != nil {
		t.Errorf("the question under way: %v", err)
	}

	pool.Retain(nil)
	if _, _, err := pool.Ask(t.Context(), moved, exchangeID, ada, isUp); err != nil {
		t.Errorf("after the agreement was away for a while: %v", err)
	}
	nobody := tenants.Agreement{Partner: "globex"}
	_, _, err := pool.Ask(t.Context(), nobody, exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "can't be asked")
}
