// Package gateway serves: it takes a question from one of two doors, finds out
// who asks, whether they may, what the answer is, and records it before the
// first byte leaves.
package gateway

import (
	"context"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/tenants"
)

// Gateway is one organization's parley.
type Gateway struct{}

// Question is what a door hands in.
type Question struct {
	Door Door
	// ExchangeID is the asker's at the peer door; empty at the front door,
	// where one is made.
	ExchangeID string
	Principal  tenants.Principal
	// RefusePartial asks for an error instead of an answer from which an
	// organization is missing.
	RefusePartial bool
	Metrics       metrics.Question
}

// Answer takes a question through the whole pipeline. The error is a
// *federation.Error; the exchange is then recorded already.
func (g *Gateway) Answer(ctx context.Context, q Question) (*Answer, error) { return nil, nil }

func (g *Gateway) fail(ctx context.Context, x *Exchange, err error) error { return err }

func (g *Gateway) record(ctx context.Context, x *Exchange) error { return nil }
