package peerfront_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/peerfront"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

func TestFailuresOfEveryKind(t *testing.T) {
	w := newWorld(t, nil)
	client := w.as(globexID, nil)
	for _, kind := range federation.Kinds {
		w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
			return nil, &federation.Error{Kind: kind, Message: "because", Err: errors.New("a secret")}
		}
		_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
		want := "because"
		if kind == federation.Refused {
			want = federation.NotAllowed
		}
		wantError(t, err, kind, want)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the cause crossed the border", kind)
		}
	}
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) { return nil, errors.New("a secret") }
	_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
}

// A defect in answering one question is that question's alone.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) { panic("a secret") }
	client := w.as(globexID, nil)
	_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
	if !strings.Contains(w.log.String(), "service.go") {
		t.Errorf("the log has no stack: %s", w.log.String())
	}
	if n := len(w.gateway.refused); n != 1 {
		t.Errorf("%d records of it", n)
	}
	w.gateway.releases(up(t, 1)...)
	if _, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp); err != nil {
		t.Errorf("the next question: %v", err)
	}
}

// A view that would release another organization's series, or an answer of
// more parts than ours, does not leave.
func TestAnswerThatIsNotOurs(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return disclosing(func(encode func(federation.Released, federation.Completeness) (int, error)) error {
			_, err := encode(metrics.Received(nil, nil, nil, nil), federation.Completeness{{Org: "acme"}, {Org: "initech"}})
			return err
		}), nil
	}
	_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
}

// An asker that doesn't read its answer is left when the question's time is up,
// and the question counts as under way until then.
func TestAnswerNobodyReads(t *testing.T) {
	const most = 3 * time.Second
	w := newWorld(t, func(c *peerfront.Config) { c.MaxDuration = most })
	random := rand.NewChaCha8([32]byte{}) // so that no compression makes it small
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf("%d-%x-%x-%x-%x", i, random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
	}
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return fakeAnswer{w.gateway, metrics.Received(nil, names, nil, nil)}, nil
	}
	request, err := wire.EncodeAsk(wire.Ask{ExchangeID: w.exchangeID, Purpose: "slo-review", Question: isUp})
	if err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	stream, err := federationv1.NewFederationClient(w.raw(globexID)).Ask(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	closed := func() int {
		w.gateway.mu.Lock()
		defer w.gateway.mu.Unlock()
		return w.gateway.closed
	}
	if n := closed(); n != 0 && time.Since(asked) < most {
		t.Errorf("%d answers closed while one is on its way", n)
	}
	eventually(t, "the answer is given up", func() bool { return closed() == 1 })
}

// A question that is cancelled, and one that takes too long, stop work here.
func TestCancelledAndOutOfTime(t *testing.T) {
	stopped := make(chan error, 1)
	arrived := make(chan struct{}, 1)
	waits := func(ctx context.Context, _ gateway.Question) (peerfront.Answer, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	}
	t.Run("cancelled", func(t *testing.T) {
		w := newWorld(t, nil)
		w.gateway.answer = waits
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		_, _, err := w.as(globexID, nil).Ask(ctx, w.exchangeID, ada, isUp)
		wantError(t, err, federation.Unavailable, "cancelled")
		<-stopped
	})
	t.Run("the asker's deadline", func(t *testing.T) {
		w := newWorld(t, nil)
		w.gateway.answer = waits
		_, _, err := w.as(globexID, func(c *peer.Config) { c.Timeout = 200 * time.Millisecond }).Ask(t.Context(), w.exchangeID, ada, isUp)
		wantError(t, err, federation.DeadlineExceeded, "time")
		<-stopped
		<-arrived
	})
	t.Run("ours", func(t *testing.T) {
		w := newWorld(t, func(c *peerfront.Config) { c.MaxDuration = 100 * time.Millisecond })
		w.gateway.answer = waits
		_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
		wantError(t, err, federation.DeadlineExceeded, "ran out of time")
		<-stopped
		<-arrived
	})
}
