// Package peer asks a partner's gateway.
//
// A Client is one partner, however many replicas its gateway has:
//
//	globex, err := peer.New(peer.Config{Agreement: agreement, TLS: tlsConfig, Verify: verify, Log: log})
//	defer globex.Close()
//	released, part, err := globex.Ask(ctx, exchangeID, principal, question)
//
// An answer is taken only from who was dialled. The replier's X.509-SVID is
// verified before every question leaves, not once per connection, and every
// series must carry the partner's own org label. An answer that breaks the
// protocol anywhere is refused as a whole.
//
// A question is asked of one replica, and of a second one when the first fails
// before any of its answer arrived. A replica that keeps failing is left alone
// for a while.
package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what a Client needs. Fields without "default" are required.
type Config struct {
	// Agreement says who the partner is, where its gateways are and which
	// SPIFFE ID they have.
	Agreement tenants.Agreement
	// TLS presents our X.509-SVID and accepts only Agreement.GatewayID. Its
	// GetClientCertificate is called for every connection.
	TLS *tls.Config
	// Verify returns the SPIFFE ID of the other end of a connection, checked
	// against the bundles of now and the time of now. It is called for every
	// question.
	Verify func(tls.ConnectionState) (spiffeid.ID, error)
	// Log gets what an operator should know of the partner. No data.
	Log *slog.Logger

	// Timeout bounds one question, from dialling to the last byte; default 30s.
	// A shorter deadline of the caller counts.
	Timeout time.Duration
	// Silence is for how long a tail may be without a part; default 20s. Its owner
	// gives one every five seconds, be it without lines. The first may take three
	// times as long.
	Silence time.Duration
	// ConnectTimeout bounds making a connection; default 5s.
	ConnectTimeout time.Duration
	// Accept bounds an answer; defaults are wire.DefaultLimits.
	Accept wire.Limits
	// BreakerFailures is after how many failures in a row, none of them the
	// gateway's own word, a replica is left alone; default 5.
	BreakerFailures uint
	// BreakerDelay is for how long, before a single question tries it again;
	// default 5s.
	BreakerDelay time.Duration
	// Count is told of the bytes on the wire; default: nobody is.
	Count func(partner tenants.OrgID, flow wire.Flow, n int)
	// Tracer and Propagator trace questions across gateways; default: no traces.
	Tracer     trace.TracerProvider
	Propagator propagation.TextMapPropagator
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Client asks one partner. It is safe for concurrent use.
type Client struct {
	config   Config
	replicas []*replica
}

// New returns a Client. Nothing is dialled until the first question.
func New(c Config) (*Client, error) {
	switch {
	case c.Agreement.Partner == "":
		return nil, errors.New("peer: an agreement with a partner is required")
	case c.Agreement.GatewayID.IsZero():
		return nil, fmt.Errorf("peer %s: the agreement must name the SPIFFE ID of its gateway", c.Agreement.Partner)
	case c.TLS == nil, c.Verify == nil, c.Log == nil:
		return nil, fmt.Errorf("peer %s: TLS, Verify and Log are required", c.Agreement.Partner)
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Silence == 0 {
		c.Silence = 20 * time.Second
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.BreakerFailures == 0 {
		c.BreakerFailures = 5
	}
	if c.BreakerDelay == 0 {
		c.BreakerDelay = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	client := &Client{config: c}
	for _, address := range c.Agreement.Addresses {
		r, err := newReplica(address, c)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("peer %s: %w", c.Agreement.Partner, err), client.Close())
		}
		client.replicas = append(client.replicas, r)
	}
	return client, nil
}

// Org is the partner.
func (c *Client) Org() tenants.OrgID { return c.config.Agreement.Partner }

// Close ends all connections and the questions under way on them.
func (c *Client) Close() error {
	var errs []error
	for _, r := range c.replicas {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}
