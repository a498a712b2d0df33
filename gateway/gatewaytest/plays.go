package gatewaytest

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/peerfront"
	"github.com/parley-gateway/parley/tenants"
)

// Script is what a partner answers whose gateway isn't parley, or isn't
// honest.
type Script func(context.Context, gateway.Question) (*metrics.Released, federation.Part, error)

// Plays runs a peer door with the organization's own SVID, to everybody, whose
// answers are the script's: no policy, no view, no record. It is in place of
// Start.
func (o *Org) Plays(script Script) {
	t := o.world.t
	t.Helper()
	o.relisten()
	bundles := o.world.bundles()
	door, err := peerfront.New(peerfront.Config{
		Org: o.ID, Version: "test", TLS: identity.ServerTLS(o.proveIdentity(), bundles, nil), Log: o.logger(),
		Identify: func(state tls.ConnectionState) (spiffeid.ID, error) {
			return identity.Verify(state, bundles, time.Now())
		},
		Agreement: func(id spiffeid.ID) (tenants.Agreement, error) {
			return tenants.Agreement{Partner: tenants.OrgID(id.TrustDomain().Name())}, nil
		},
		Gateway: script,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.run(cancel, func() error {
		stop := context.AfterFunc(ctx, func() { door.Shutdown(ctx) })
		defer stop()
		return door.Serve(o.peer)
	})
}

// bundles are those of all organizations.
func (w *World) bundles() *x509bundle.Set {
	set := x509bundle.NewSet()
	for _, o := range w.orgs {
		set.Add(o.CA.Bundle().X509Bundle())
	}
	return set
}

// Answer implements peerfront.Gateway.
func (s Script) Answer(ctx context.Context, q gateway.Question) (peerfront.Answer, error) {
	released, part, err := s(ctx, q)
	if err != nil {
		return nil, err
	}
	return scripted{released, part}, nil
}

// Refuse implements peerfront.Gateway.
func (s Script) Refuse(_ context.Context, _ gateway.Question, err error) error { return err }

type scripted struct {
	released *metrics.Released
	part     federation.Part
}

// Close implements peerfront.Answer.
func (s scripted) Close() {}

// Disclose implements peerfront.Answer.
func (s scripted) Disclose(_ context.Context, encode func(federation.Released, federation.Completeness) (int, error)) error {
	_, err := encode(s.released, federation.Completeness{s.part})
	return err
}

// Tail implements peerfront.Gateway: a script has none.
func (s Script) Tail(context.Context, gateway.Question, gateway.TailDoor) error {
	return federation.Errorf(federation.BadQuestion, "no tails")
}
