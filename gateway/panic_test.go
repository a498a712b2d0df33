package gateway_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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

// broken are the partners' gateways to a gateway with a defect.
type broken struct{}

func (broken) Partner(tenants.OrgID) (tenants.Agreement, bool) { return tenants.Agreement{}, false }

func (broken) Partners() []tenants.Agreement {
	return []tenants.Agreement{{
		Partner: "globex", Addresses: []string{"192.0.2.1:9490"}, Signals: []tenants.Signal{tenants.Metrics},
		Purposes: []tenants.Purpose{"audit"}, NotAfter: time.Now().Add(time.Hour),
	}}
}

func (broken) Ask(context.Context, tenants.Agreement, federation.ExchangeID, tenants.Principal, federation.Question) (federation.Released, federation.Part, error) {
	panic("a defect")
}

func (broken) Tail(context.Context, tenants.Agreement, federation.ExchangeID, tenants.Principal, federation.Question, federation.Give) error {
	panic("a defect")
}

// all lets everybody see all.
type all struct{}

func (all) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Name: "all", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}}, nil
}

type nothingKept struct{}

func (nothingKept) Record(context.Context, gateway.Exchange) error { return nil }
func (nothingKept) Observe(gateway.Exchange)                       {}

// A defect in asking one partner is a partner that is missing from the answer.
func TestPanicInAskingAPartner(t *testing.T) {
	var log bytes.Buffer
	store := metricstest.Store(t, []metricstest.Series{{Labels: labels.FromStrings("__name__", "up"), Values: make([]float64, metricstest.Samples)}})
	local, err := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: store, Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{
		Org: "acme", Directory: broken{}, Decider: all{}, Peers: broken{},
		Signals: map[tenants.Signal]gateway.Signal{tenants.Metrics: {
			Answer: gateway.AnswerFrom(local), Federate: gateway.FederateWith(metrics.NewFederated(0, 0, nil)),
		}},
		Auditor: nothingKept{}, Meter: nothingKept{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := g.Answer(t.Context(), gateway.Question{
		Door: gateway.FrontDoor, Principal: tenants.Principal{Org: "acme", Purpose: "audit"},
		Asked: metrics.Question{Kind: policy.Instant, Expression: "sum by (org) (up)", Start: metricstest.End(), End: metricstest.End()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	parts := answer.Completeness()
	if len(parts) != 2 || parts[0].Status != federation.Complete || parts[1].Org != "globex" || parts[1].Status != federation.Unreachable {
		t.Errorf("got %+v", parts)
	}
	if !strings.Contains(parts[1].Reason, "internal error") || strings.Contains(parts[1].Reason, "defect") {
		t.Errorf("its reason is %q", parts[1].Reason)
	}
	for _, said := range []string{"panic while asking", "org=globex", "cause=\"a defect\"", "panic_test.go"} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("the log doesn't say %s: %s", said, log.String())
		}
	}
}
