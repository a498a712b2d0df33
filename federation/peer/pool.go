package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/tenants"
)

// Pool is a Client for each partner. One whose agreement names another gateway
// or other addresses than before is made anew; questions under way end on the
// old one. It is safe for concurrent use.
type Pool struct {
	template Config
	tls      func(gateway spiffeid.ID) *tls.Config

	mu      sync.Mutex
	clients map[tenants.OrgID]*pooled // guarded by mu
	closed  bool                      // guarded by mu
}

// pooled is a Client with the questions under way on it. A retired one is
// closed by its last user. users and retired are guarded by the pool's mu.
type pooled struct {
	*Client
	users   int
	retired bool
}

// NewPool returns a Pool whose clients are configured as template, except for
// Agreement and TLS. tls makes the configuration of connections to a gateway.
func NewPool(template Config, tls func(gateway spiffeid.ID) *tls.Config) *Pool {
	return &Pool{template: template, tls: tls, clients: map[tenants.OrgID]*pooled{}}
}

// Ask asks the agreement's partner; see Client.Ask.
func (p *Pool) Ask(ctx context.Context, a tenants.Agreement, exchangeID federation.ExchangeID, principal tenants.Principal, q federation.Question) (federation.Released, federation.Part, error) {
	c, err := p.acquire(a)
	if err != nil {
		e := &federation.Error{Kind: federation.Internal, Org: a.Partner, Message: "can't be asked; our gateway's log has the details", Err: err}
		p.template.Log.ErrorContext(ctx, "partner can't be asked", "partner", a.Partner, "error", err)
		return nil, federation.Part{Org: a.Partner, Status: federation.StatusOf(e), Reason: e.Message}, e
	}
	defer p.release(c)
	return c.Ask(ctx, exchangeID, principal, q)
}

// Describe asks the agreement's partner who it is; see Client.Describe.
func (p *Pool) Describe(ctx context.Context, a tenants.Agreement) (wire.Description, error) {
	c, err := p.acquire(a)
	if err != nil {
		return wire.Description{}, &federation.Error{Kind: federation.Internal, Org: a.Partner, Message: "can't be asked", Err: err}
	}
	defer p.release(c)
	return c.Describe(ctx)
}

// Retain closes the clients of partners with which there is no agreement any
// more, once their questions end.
func (p *Pool) Retain(agreements []tenants.Agreement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for org, c := range p.clients {
		if !slices.ContainsFunc(agreements, func(a tenants.Agreement) bool { return a.Partner == org }) {
			p.retire(c)
		}
	}
}

// Close ends all connections and the questions under way on them.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for org, c := range p.clients {
		errs = append(errs, c.Close())
		delete(p.clients, org)
	}
	return errors.Join(errs...)
}

func (p *Pool) acquire(a tenants.Agreement) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the clients of partners are closed")
	}
	c, ok := p.clients[a.Partner]
	if !ok || !sameGateway(c.config.Agreement, a) {
		config := p.template
		config.Agreement, config.TLS = a, p.tls(a.GatewayID)
		fresh, err := New(config)
		if err != nil {
			return nil, err
		}
		if ok {
			p.retire(c)
		}
		c = &pooled{Client: fresh}
		p.clients[a.Partner] = c
	}
	c.users++
	return c, nil
}

func sameGateway(a, b tenants.Agreement) bool {
	return a.GatewayID == b.GatewayID && slices.Equal(a.Addresses, b.Addresses)
}

// retire takes the client out of use. The caller holds mu.
func (p *Pool) retire(c *pooled) {
	delete(p.clients, c.Org())
	c.retired = true
	if c.users == 0 {
		p.closeRetired(c)
	}
}

func (p *Pool) release(c *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	if c.retired && c.users == 0 {
		p.closeRetired(c)
	}
}

func (p *Pool) closeRetired(c *pooled) {
	if err := c.Close(); err != nil {
		p.template.Log.Warn("closing a partner's connections", "partner", c.Org(), "error", err)
	}
}
