package gatewaytest

import (
	"crypto/tls"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// Caller is a workload that speaks to a peer door by itself: no gateway of its
// organization asks whether it may.
type Caller struct {
	// ExchangeID is that of all it asks.
	ExchangeID federation.ExchangeID
	// Principal is whom it claims to ask for, and why.
	Principal tenants.Principal

	world  *World
	client *peer.Client
}

// Issue makes an SVID of the organization.
func (o *Org) Issue(path string, ttl time.Duration) *x509svid.SVID {
	o.world.t.Helper()
	id, err := spiffeid.FromPath(o.TrustDomain(), path)
	if err != nil {
		o.world.t.Fatal(err)
	}
	svid, err := o.CA.Issue(id, ttl)
	if err != nil {
		o.world.t.Fatal(err)
	}
	return svid
}

// Caller returns a workload that has an SVID and calls the peer door of owner
// at address, or at its own for "". It keeps to the one connection for as long
// as that lasts.
func (w *World) Caller(svid *x509svid.SVID, owner tenants.OrgID, address string) *Caller {
	w.t.Helper()
	o := w.Org(owner)
	if address == "" {
		address = o.peerAt
	}
	client, err := peer.New(peer.Config{
		Agreement: tenants.Agreement{Partner: owner, TrustDomain: o.TrustDomain(), GatewayID: o.GatewayID(), Addresses: []string{address}},
		TLS:       w.CallerTLS(svid, owner),
		Verify: func(state tls.ConnectionState) (spiffeid.ID, error) {
			return identity.Verify(state, o.CA.Bundle().X509Bundle(), time.Now())
		},
		Log: o.logger(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return &Caller{
		ExchangeID: federation.NewExchangeID(time.Now()), Principal: tenants.Principal{Purpose: "slo-review"},
		world: w, client: client,
	}
}

// CallerTLS shows an SVID as it is, be it expired, to the gateway of owner.
func (w *World) CallerTLS(svid *x509svid.SVID, owner tenants.OrgID) *tls.Config {
	o := w.Org(owner)
	config := identity.ClientTLS(svid, o.CA.Bundle().X509Bundle(), nil, o.GatewayID())
	cert := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	config.GetClientCertificate, config.Certificates = nil, []tls.Certificate{cert}
	return config
}

// AsksLogs asks one question about logs.
func (c *Caller) AsksLogs(q logs.Question) (*logs.Released, federation.Part, error) {
	released, part, err := c.client.Ask(c.world.t.Context(), c.ExchangeID, c.Principal, q)
	answer, _ := released.(*logs.Released) // of another type only with an error
	return answer, part, err
}

// AsksTraces asks one question about traces.
func (c *Caller) AsksTraces(q traces.Question) (*traces.Released, federation.Part, error) {
	released, part, err := c.client.Ask(c.world.t.Context(), c.ExchangeID, c.Principal, q)
	answer, _ := released.(*traces.Released) // of another type only with an error
	return answer, part, err
}

// Asks asks one question.
func (c *Caller) Asks(q metrics.Question) (*metrics.Released, federation.Part, error) {
	released, part, err := c.client.Ask(c.world.t.Context(), c.ExchangeID, c.Principal, q)
	answer, _ := released.(*metrics.Released) // of another type only with an error
	return answer, part, err
}
