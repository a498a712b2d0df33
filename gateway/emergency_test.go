package gateway_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// emergencies is what globex agreed with acme, keeps its grants and its evidence.
type emergencies struct {
	opened   int
	refuses  error
	recorded []gateway.Exchange
}

func (*emergencies) Partner(tenants.OrgID) (tenants.Agreement, bool) {
	return tenants.Agreement{
		Partner: "acme", Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"audit"}, NotAfter: time.Now().Add(time.Hour),
		BreakGlass: &tenants.BreakGlass{Policy: "parley.partners.acme_emergency", Longest: time.Hour},
	}, true
}

func (*emergencies) Partners() []tenants.Agreement { return nil }

func (e *emergencies) Grant(context.Context, tenants.Agreement, tenants.Principal, federation.ExchangeID) (gateway.Grant, error) {
	if e.refuses != nil {
		return gateway.Grant{}, e.refuses
	}
	e.opened++
	return gateway.Grant{Partner: "acme", Ends: time.Now().Add(time.Hour)}, nil
}

func (e *emergencies) Record(_ context.Context, x gateway.Exchange) error {
	e.recorded = append(e.recorded, x)
	return nil
}

func (*emergencies) Observe(gateway.Exchange) {}

// What can't be understood opens no emergency, and what can doesn't pass policy
// without one.
func TestWhatOpensAnEmergency(t *testing.T) {
	store := metricstest.Store(t, []metricstest.Series{{Labels: labels.FromStrings("__name__", "up"), Values: make([]float64, metricstest.Samples)}})
	local, err := metrics.NewLocal(metrics.LocalConfig{Org: "globex", Source: store, Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	e := &emergencies{}
	g, err := gateway.New(gateway.Config{
		Org: "globex", Directory: e, Decider: all{}, Peers: broken{}, BreakGlass: e,
		Signals: map[tenants.Signal]gateway.Signal{tenants.Metrics: {
			Answer: gateway.AnswerFrom(local), Federate: gateway.FederateWith(metrics.NewFederated(0, 0, nil)),
		}},
		Auditor: e, Meter: e, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	asks := func(expression string) error {
		answer, err := g.Answer(t.Context(), gateway.Question{
			Door: gateway.PeerDoor,
			Principal: tenants.Principal{
				Org: "acme", Purpose: "audit", Case: "INC-7", User: tenants.User{Subject: "ada", Proof: tenants.ProvenByJWT}, BreakGlass: "checkout is down",
			},
			Asked: metrics.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()},
		})
		if err == nil {
			answer.Close()
		}
		return err
	}
	if err := asks("sum by user (up)"); federation.AsError(err).Kind != federation.BadQuestion || e.opened != 0 {
		t.Errorf("a slip of the pen opened %d: %v", e.opened, err)
	}
	if err := asks("sum(up)"); err != nil || e.opened != 1 {
		t.Errorf("opened %d: %v", e.opened, err)
	}
	e.refuses = &tenants.Refusal{Reason: tenants.BreakGlassEnded, Partner: "acme"}
	if err := asks("sum(up)"); federation.AsError(err).Kind != federation.Refused {
		t.Errorf("without a grant: %v", err)
	}
	if n := len(e.recorded); n != 2 || e.recorded[1].TurnedAway != string(tenants.BreakGlassEnded) || e.recorded[1].Decision.Allow {
		t.Errorf("recorded %+v", e.recorded)
	}
}
