package peer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// tailing is a partner's gateway with tails.
type tailing struct {
	*globex
	tail func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error
}

func (g tailing) Tail(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
	g.asked.Add(1)
	return g.tail(r, s)
}

var checkout = logs.Question{Kind: policy.Tail, Expression: `{service="checkout"}`, Start: now.Add(-time.Hour), End: now, Limit: 10, Backward: true}

// part is one part of org's tail, as messages.
func part(t *testing.T, org string, dropped int, lines ...string) []*federationv1.AskResponse {
	t.Helper()
	var entries []logs.Entry
	for i, line := range lines {
		e := logs.Entry{At: now.Add(time.Duration(i)).UnixNano()}
		e.Line, e.Stream = line, labels.FromStrings("org", org, "service", "checkout")
		entries = append(entries, e)
	}
	messages, _, err := wire.EncodeAnswer(logs.Received(logs.Answer{Entries: entries}), federation.Part{Status: federation.Complete, Dropped: dropped})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// tailed asks globex for a tail and returns what came.
func tailed(t *testing.T, c *peer.Client) (lines []string, parts []federation.Part, err error) {
	t.Helper()
	err = c.Tail(t.Context(), exchangeID, ada, checkout, func(r federation.Released, p federation.Part) error {
		for _, e := range r.(*logs.Released).Entries() {
			lines = append(lines, e.Line)
		}
		parts = append(parts, p)
		return nil
	})
	return lines, parts, err
}

func startTailing(t *testing.T, a *authority, tail func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error) string {
	t.Helper()
	g := tailing{globex: &globex{}, tail: tail}
	g.serves = g
	return startGlobex(t, a, globexID, "127.0.0.1:0", g.globex).address
}

func TestTail(t *testing.T) {
	a := newAuthority(t)
	asked := make(chan *federationv1.AskRequest, 1)
	address := startTailing(t, a, func(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		asked <- r
		for _, messages := range [][]*federationv1.AskResponse{part(t, "globex", 0, "a", "b"), part(t, "globex", 0), part(t, "globex", 7, "c")} {
			for _, m := range messages {
				if err := s.Send(m); err != nil {
					return err
				}
			}
		}
		return nil // it goes on when it is asked again
	})
	lines, parts, err := tailed(t, newClient(t, acme(t, a, address)))
	if err != nil || strings.Join(lines, "") != "abc" || len(parts) != 3 || parts[2].Dropped != 7 || parts[0].Cost.Lines != 2 || parts[0].Org != "globex" {
		t.Errorf("got %q %+v, %v", lines, parts, err)
	}
	if r := <-asked; r.GetLogs().GetKind() != "tail" || r.GetExchangeId() != exchangeID || !r.GetLogs().GetBackward() {
		t.Errorf("asked %v", r)
	}
}

// What breaks the protocol ends the tail; what was whole before that counts.
func TestTailGarbage(t *testing.T) {
	a := newAuthority(t)
	good := part(t, "globex", 0, "a")
	unclosed := good[:len(good)-1]
	wrongCount := part(t, "globex", 0, "a")
	wrongCount[len(wrongCount)-1].GetPart().Lines = 2
	for name, messages := range map[string][]*federationv1.AskResponse{
		"another's lines":   part(t, "initech", 0, "a"),
		"an end in a part":  unclosed,
		"a wrong number":    wrongCount,
		"numbers":           answer(t, "globex", 1),
		"an empty message":  {{}},
		"less than nothing": part(t, "globex", -1),
	} {
		address := startTailing(t, a, func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
			for _, m := range append(append([]*federationv1.AskResponse{}, good...), messages...) {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			return nil
		})
		lines, _, err := tailed(t, newClient(t, acme(t, a, address)))
		if strings.Join(lines, "") != "a" {
			t.Errorf("%s: got %q", name, lines)
		}
		wantError(t, err, federation.Unavailable, "sent an answer that can't be accepted")
	}
}

// A gateway from before there were tails is told from one that is away.
func TestTailOfAnOlderGateway(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", &globex{})
	_, _, err := tailed(t, newClient(t, acme(t, a, g.address)))
	wantError(t, err, federation.BadQuestion, "not supported")
	if federation.StatusOf(err) != federation.Denied {
		t.Errorf("its status is %s", federation.StatusOf(err))
	}
}

func TestTailIsRefused(t *testing.T) {
	a := newAuthority(t)
	address := startTailing(t, a, func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		return wire.EncodeFailure(federation.Errorf(federation.OverLimit, "5 tails run already")).Err()
	})
	_, _, err := tailed(t, newClient(t, acme(t, a, address)))
	wantError(t, err, federation.OverLimit, "5 tails run already")
	_, _, err = tailed(t, newClient(t, acme(t, a, freeAddress(t))))
	wantError(t, err, federation.Unavailable, "can't be reached")
}

// A replier that isn't trusted any more isn't read any further.
func TestTailReplierNoLongerTrusted(t *testing.T) {
	a := newAuthority(t)
	distrusted := make(chan struct{})
	address := startTailing(t, a, func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		for {
			for _, m := range part(t, "globex", 0, "a") {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			select {
			case <-distrusted:
			case <-s.Context().Done():
				return nil
			}
		}
	})
	c := newClient(t, acme(t, a, address))
	parts := 0
	err := c.Tail(t.Context(), exchangeID, ada, checkout, func(federation.Released, federation.Part) error {
		parts++
		a.bundles.Remove(globexID.TrustDomain())
		close(distrusted)
		return nil
	})
	if parts != 1 {
		t.Errorf("%d parts came", parts)
	}
	wantError(t, err, federation.Unavailable, "its gateway did not prove who it is")
}

// A tail that runs is no reason to leave a replica alone, nor to try it.
func TestTailAndBreaker(t *testing.T) {
	a := newAuthority(t)
	address := startTailing(t, a, func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		for _, m := range part(t, "globex", 0) {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	})
	config := acme(t, a, address)
	config.BreakerFailures, config.BreakerDelay = 1, time.Hour
	c := newClient(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Tail(ctx, exchangeID, ada, checkout, func(federation.Released, federation.Part) error { cancel(); return nil })
	if federation.AsError(err).Kind != federation.Unavailable {
		t.Errorf("left with %v", err)
	}
	enough := errors.New("enough")
	if err := c.Tail(t.Context(), exchangeID, ada, checkout, func(federation.Released, federation.Part) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("it is left alone: %v", err)
	}
}

// A partner that says nothing more is gone, however long its connection stays.
func TestTailOfAPartnerThatIsSilent(t *testing.T) {
	a := newAuthority(t)
	address := startTailing(t, a, func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		for range 3 {
			for _, m := range part(t, "globex", 0, "a") {
				if err := s.Send(m); err != nil {
					return err
				}
			}
		}
		<-s.Context().Done()
		return nil
	})
	config := acme(t, a, address)
	config.Silence = 200 * time.Millisecond
	slow := time.NewTicker(config.Silence)
	defer slow.Stop()
	lines := 0
	err := newClient(t, config).Tail(t.Context(), exchangeID, ada, checkout, func(released federation.Released, _ federation.Part) error {
		<-slow.C // that we are slow isn't its silence
		lines += released.Disclosed().Lines
		return nil
	})
	wantError(t, err, federation.Unavailable, "can't be reached")
	if lines != 3 {
		t.Errorf("%d lines came", lines)
	}
}

// A tail outlasts no certificate: before one expires it goes on over another
// connection.
func TestTailRenewsConnections(t *testing.T) {
	a := newAuthority(t)
	var later atomic.Int64
	again := make(chan struct{}, 1)
	address := startTailing(t, a, func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		for {
			for _, m := range part(t, "globex", 0, "a") {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			select {
			case <-again:
			case <-s.Context().Done():
				return nil
			}
		}
	})
	config := acme(t, a, address)
	config.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	parts := 0
	err := newClient(t, config).Tail(t.Context(), exchangeID, ada, checkout, func(federation.Released, federation.Part) error {
		if parts++; parts == 3 {
			later.Store(int64(31 * time.Minute)) // certificates are for an hour
		}
		again <- struct{}{}
		return nil
	})
	if err != nil || parts != 3 {
		t.Errorf("after %d parts the tail ended with %v", parts, err)
	}
}
