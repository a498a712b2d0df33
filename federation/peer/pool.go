package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/tenants"
)

// Pool keeps a Client for each partner, made when it is first asked and made
// anew when the agreement names other gateways.
type Pool struct {
	// New makes the client of an agreement.
	New func(tenants.Agreement) (*Client, error)

	mu      sync.Mutex
	clients map[tenants.OrgID]pooled // guarded by mu
	closed  bool                     // guarded by mu
}

type pooled struct {
	client    *Client
	agreement tenants.Agreement
}

// Ask asks the partner of an agreement; see Client.Ask.
func (p *Pool) Ask(ctx context.Context, a tenants.Agreement, exchangeID string, by tenants.Principal, q metrics.Question) (*metrics.Released, federation.Part, error) {
	client, err := p.client(a)
	if err != nil {
		return nil, federation.Part{Org: a.Partner}, &federation.Error{
			Kind: federation.Unavailable, Org: a.Partner, Message: "its gateway can't be dialled", Err: err,
		}
	}
	return client.Ask(ctx, exchangeID, by, q)
}

func (p *Pool) client(a tenants.Agreement) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the gateway is shutting down")
	}
	have, ok := p.clients[a.Partner]
	if ok && have.agreement.GatewayID == a.GatewayID && slices.Equal(have.agreement.Addresses, a.Addresses) {
		return have.client, nil
	}
	client, err := p.New(a)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", a.Partner, err)
	}
	if p.clients == nil {
		p.clients = map[tenants.OrgID]pooled{}
	}
	p.clients[a.Partner] = pooled{client: client, agreement: a}
	if ok {
		return client, have.client.Close()
	}
	return client, nil
}

// Keep closes the clients of partners that are not among the agreements.
func (p *Pool) Keep(agreements []tenants.Agreement) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for org, have := range p.clients {
		if !slices.ContainsFunc(agreements, func(a tenants.Agreement) bool { return a.Partner == org }) {
			errs = append(errs, have.client.Close())
			delete(p.clients, org)
		}
	}
	return errors.Join(errs...)
}

// Close closes all clients.
func (p *Pool) Close() error {
	err := p.Keep(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return err
}
