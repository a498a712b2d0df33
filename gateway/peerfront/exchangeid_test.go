package peerfront_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// Pseudonyms of a single question are made with its exchange id: one that was
// made long ago, or says that it will be, is refused and recorded.
func TestExchangeIDCountsForAWhile(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 1)...)
	client := w.as(globexID, nil)
	for _, c := range []struct {
		from time.Duration // now
		says string
	}{
		{0, ""},
		{-5 * time.Minute, ""},
		{30 * time.Second, ""},
		{-6*time.Minute - time.Second, "exchange_id: was made 6m"},
		{-365 * 24 * time.Hour, "exchange_id: was made 8760h"},
		{2 * time.Minute, "from now; see that both gateways' clocks are right"},
		{100 * 365 * 24 * time.Hour, "from now"},
	} {
		id := federation.NewExchangeID(time.Now().Add(c.from))
		_, _, err := client.Ask(t.Context(), id, ada, isUp)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s from now: %v", c.from, err)
			}
			continue
		}
		wantError(t, err, federation.BadQuestion, c.says)
		if refused := w.gateway.refused; len(refused) == 0 || refused[len(refused)-1].ExchangeID != id || refused[len(refused)-1].Principal.Org != "globex" {
			t.Errorf("%s from now: recorded %+v", c.from, refused)
		}
	}
	if n := len(w.gateway.asked); n != 3 {
		t.Errorf("%d questions were answered, want 3", n)
	}
}

// An id that holds no time is none.
func TestExchangeIDOfAnotherVersion(t *testing.T) {
	w := newWorld(t, nil)
	request, err := wire.EncodeAsk(wire.Ask{ExchangeID: w.exchangeID, Purpose: ada.Purpose, Question: isUp})
	if err != nil {
		t.Fatal(err)
	}
	request.ExchangeId = uuid.NewString()
	stream, err := federationv1.NewFederationClient(w.raw(globexID)).Ask(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}
