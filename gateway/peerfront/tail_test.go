package peerfront_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
)

var checkoutTail = logs.Question{Kind: policy.Tail, Expression: `{service="checkout"}`, Start: begin, End: begin, Limit: 10, Backward: true}

// hands gives the door a part with a line, as a gateway does.
func hands(ctx context.Context, door gateway.TailDoor, line string) error {
	if err := door.StillKnown(ctx); err != nil {
		return err
	}
	e := logs.Entry{At: begin.UnixNano()}
	e.Line, e.Stream = line, labels.FromStrings("org", "acme")
	if _, err := door.Encode(logs.Received(logs.Answer{Entries: []logs.Entry{e}}), federation.Completeness{{Org: "acme", Status: federation.Complete}}); err != nil {
		return err
	}
	return door.Send(ctx)
}

func tailWith(t *testing.T, w *world, take func(lines int) error) error {
	t.Helper()
	return w.as(globexID, nil).Tail(t.Context(), w.exchangeID, ada, checkoutTail, func(r federation.Released, _ federation.Part) error {
		return take(r.Disclosed().Lines)
	})
}

func TestTailIsSentPartByPart(t *testing.T) {
	w := newWorld(t, nil)
	came := make(chan struct{}, 3)
	w.gateway.tail = func(ctx context.Context, door gateway.TailDoor) error {
		for range 3 {
			if err := hands(ctx, door, "line"); err != nil {
				return err
			}
			select {
			case <-came: // it is there before the next one
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	lines := 0
	err := tailWith(t, w, func(n int) error { lines += n; came <- struct{}{}; return nil })
	if err != nil || lines != 3 || len(w.gateway.asked) != 1 || w.gateway.asked[0].Principal.Org != "globex" {
		t.Errorf("%d lines came of %+v, %v", lines, w.gateway.asked, err)
	}
}

// A revoked agreement ends a tail that runs, before its next part.
func TestRevokedMidTail(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.tail = func(ctx context.Context, door gateway.TailDoor) error {
		for {
			if err := hands(ctx, door, "line"); err != nil {
				return err
			}
			eventually(t, "the agreement is revoked", func() bool {
				_, err := w.byWorkload(globexID)
				return err != nil
			})
		}
	}
	lines := 0
	err := tailWith(t, w, func(n int) error { lines += n; w.revoke(globexID); return nil })
	wantError(t, err, federation.Refused, federation.NotAllowed)
	if lines != 1 {
		t.Errorf("%d lines came", lines)
	}
}

func TestTailsEndWithTheDoor(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.tail = func(ctx context.Context, d gateway.TailDoor) error {
		if err := hands(ctx, d, "line"); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	begun := time.Now()
	err := tailWith(t, w, func(int) error {
		go w.door.Shutdown(context.Background())
		return nil
	})
	wantError(t, err, federation.Unavailable, "being shut down")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestTailOfAPanic(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.tail = func(context.Context, gateway.TailDoor) error { panic("a defect") }
	wantError(t, tailWith(t, w, nil), federation.Internal, "")
	if len(w.gateway.refused) != 1 {
		t.Errorf("recorded %+v", w.gateway.refused)
	}
}

// What isn't a tail isn't asked for with Tail, nor a tail with Ask.
func TestTailOfSomethingElse(t *testing.T) {
	w := newWorld(t, nil)
	_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, checkoutTail)
	if err == nil {
		t.Error("a tail was asked for with Ask")
	}
	err = w.as(globexID, nil).Tail(t.Context(), w.exchangeID, ada, isUp, func(federation.Released, federation.Part) error { return errors.New("something came") })
	wantError(t, err, federation.BadQuestion, "only logs have a tail")
}
