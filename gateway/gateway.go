// Package gateway serves: it takes a question from one of two doors, finds out
// who asks, whether they may, what the answer is, and records it before the
// first byte leaves. Gateway.Answer is the whole journey.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what a Gateway is made of. Fields without "default" are required.
type Config struct {
	Org       tenants.OrgID
	Directory Directory
	Decider   policy.Decider
	// Signals are those that are answered.
	Signals map[tenants.Signal]Signal
	Peers   Peers
	// Auditor records every exchange before its answer leaves; Meter counts it.
	Auditor Auditor
	Meter   Meter
	// Shadow is told of every decision; nil: nobody is.
	Shadow Shadow
	// BreakGlass keeps the grants of emergencies; nil: none is given.
	BreakGlass BreakGlass
	Log        *slog.Logger

	// Timeout bounds a question of our own users; default 30s. A shorter
	// deadline of the request counts.
	Timeout time.Duration
	// Tracer traces the stages; default: no traces.
	Tracer trace.TracerProvider
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Shadow lets other policies decide beside those that count.
type Shadow interface {
	// Observe hands over what was asked of policy, what it decided, and when. It
	// returns at once; nothing of it may be modified.
	Observe(id federation.ExchangeID, r policy.Request, d policy.Decision, at time.Time)
}

// Directory knows the agreements in force at this moment.
type Directory interface {
	Partner(tenants.OrgID) (tenants.Agreement, bool)
	Partners() []tenants.Agreement
}

// Peers asks partners' gateways.
type Peers interface {
	// Ask asks one question of the partner of an agreement. The error is a
	// *federation.Error.
	Ask(ctx context.Context, a tenants.Agreement, exchangeID federation.ExchangeID, by tenants.Principal, q federation.Question) (federation.Released, federation.Part, error)
	// Tail asks for a tail and gives its parts until it ends, without an error when
	// it has to be asked again to go on.
	Tail(ctx context.Context, a tenants.Agreement, exchangeID federation.ExchangeID, by tenants.Principal, q federation.Question, give federation.Give) error
}

// Gateway is one organization's parley. It is safe for concurrent use.
type Gateway struct {
	config Config
	quota  tenants.Quota
	tracer trace.Tracer
}

const defaultTimeout = 30 * time.Second

// New returns a Gateway.
func New(c Config) (*Gateway, error) {
	if c.Org == "" || c.Directory == nil || c.Decider == nil || len(c.Signals) == 0 || c.Peers == nil || c.Log == nil {
		return nil, errors.New("gateway: Org, Directory, Decider, Signals, Peers and Log are required")
	}
	if c.Auditor == nil || c.Meter == nil {
		return nil, errors.New("gateway: an Auditor and a Meter are required; nothing is answered without evidence")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Gateway{config: c, tracer: c.Tracer.Tracer("github.com/parley-gateway/parley/gateway")}, nil
}

// Question is what a door hands in.
type Question struct {
	Door Door
	// ExchangeID is the asker's at the peer door; when it is empty one is made.
	ExchangeID federation.ExchangeID
	Principal  tenants.Principal
	// RefusePartial asks for an error instead of an answer from which an
	// organization is missing.
	RefusePartial bool
	// Asked is the question itself; nil where it couldn't be read.
	Asked federation.Question
}

// Answer takes a question through the whole pipeline. The answer is recorded
// when it is disclosed, and has to be closed; when there is none the exchange
// is recorded already. The error is a *federation.Error.
func (g *Gateway) Answer(ctx context.Context, q Question) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, g.config.Timeout)
	defer cancel()
	ctx, span := g.tracer.Start(ctx, "parley.answer")
	defer span.End()
	x := g.begin(q)
	if _, served := g.config.Signals[x.Signal]; !served {
		return nil, g.turnAway(ctx, &x, federation.Errorf(federation.BadQuestion, "this gateway answers no questions about %s", cmp.Or(x.Signal, "nothing")))
	}

	agreement, release, err := g.who(ctx, q, g.quota.Acquire)
	if err != nil {
		return nil, g.turnAway(ctx, &x, err)
	}
	answered := false
	defer func() {
		if !answered { // an error, or a panic
			release()
		}
	}()
	request, err := requested(g.config.Org, q, agreement)
	if err != nil {
		return nil, g.fail(ctx, &x, err)
	}
	// Only now: a question that nobody understands opens nothing.
	if x.Grant, err = g.grant(ctx, q, agreement, x.ID); err != nil {
		return nil, g.turnAway(ctx, &x, err)
	}
	decision, err := g.may(ctx, q, request, agreement, &x)
	if err != nil {
		return nil, g.fail(ctx, &x, err)
	}
	members, absent := g.plan(q, decision, x.ID)
	released, err := g.ask(ctx, q, decision, members, absent, &x)
	if err != nil {
		return nil, &Unanswered{Completeness: x.Completeness, Err: g.fail(ctx, &x, err)}
	}
	answered = true
	return &Answer{gateway: g, released: released, exchange: x, release: release}, nil
}

// Refuse records a question that did not get as far as Answer, with what is
// known of it, and returns what the asker is told.
func (g *Gateway) Refuse(ctx context.Context, q Question, err error) error {
	x := g.begin(q)
	return g.turnAway(ctx, &x, err)
}

// begin opens the record of an exchange.
func (g *Gateway) begin(q Question) Exchange {
	x := Exchange{ID: q.ExchangeID, Door: q.Door, Org: g.config.Org, Principal: q.Principal, Start: g.config.Now()}
	if q.Asked != nil {
		asked := q.Asked.Asked()
		x.Signal, x.Kind, x.Query, x.Label, x.Step, x.Window = asked.Signal, asked.Kind, asked.Query, asked.Label, asked.Step, asked.Window
	}
	if x.ID == "" {
		x.ID = federation.NewExchangeID(x.Start)
	}
	return x
}
