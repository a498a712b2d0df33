package gateway_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Whoever isn't known any more gets nothing more, whose lines it may be and
// whether our own organization has any.
func TestTailOfSomebodyForgotten(t *testing.T) {
	now := time.Now()
	e := logs.Entry{At: now.UnixNano()}
	e.Line, e.Stream = "line", labels.FromStrings("org", "globex")
	g, err := gateway.New(gateway.Config{
		Org: "acme", Directory: broken{}, Decider: all{}, Peers: broken{},
		Signals: map[tenants.Signal]gateway.Signal{tenants.Logs: {
			Follow: func(_ context.Context, _ federation.Question, _ []gateway.TailMember, give gateway.FollowGive) (federation.Completeness, error) {
				for {
					c := federation.Completeness{{Org: "globex", Status: federation.Complete}}
					if err := give(logs.Received(logs.Answer{Entries: []logs.Entry{e}}), c); err != nil {
						return c, err
					}
				}
			},
		}},
		Auditor: nothingKept{}, Meter: nothingKept{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	err = g.Tail(t.Context(), gateway.Question{
		Door: gateway.FrontDoor, Principal: tenants.Principal{Org: "acme", Purpose: "audit"},
		Asked: logs.Question{Kind: policy.Tail, Expression: `{service="checkout"}`, Start: now, End: now, Backward: true},
	}, gateway.TailDoor{
		StillKnown: func(context.Context) error {
			if sent == 3 {
				return federation.Errorf(federation.Refused, "nobody we know")
			}
			return nil
		},
		Encode: func(federation.Released, federation.Completeness) (int, error) { return 1, nil },
		Send: func(context.Context) error {
			if sent++; sent > 3 {
				return context.Canceled
			}
			return nil
		},
	})
	if sent != 3 || federation.AsError(err).Kind != federation.Refused {
		t.Errorf("%d parts were sent, and it ended with %v", sent, err)
	}
}
