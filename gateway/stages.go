package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// who finds the agreement under which the principal asks and takes one
// question from its quota, or one tail. Our own users need none. In an emergency it is the
// agreement for that.
func (g *Gateway) who(ctx context.Context, q Question, acquire acquires) (tenants.Agreement, func(), error) {
	_, span := g.tracer.Start(ctx, "parley.who")
	defer span.End()
	if q.Door == FrontDoor {
		return tenants.Agreement{}, func() {}, nil
	}
	now := g.config.Now()
	agreement, err := covering(g.config.Directory, now, q.Asked.Signal(), q.Principal)
	if err != nil {
		return agreement, nil, err
	}
	release, err := acquire(agreement, tenants.Limits{}, now)
	return agreement, release, err
}

// acquires takes from a quota.
type acquires = func(tenants.Agreement, tenants.Limits, time.Time) (release func(), err error)

// grant is that of an emergency, which the first question opens; none of every
// day.
func (g *Gateway) grant(ctx context.Context, q Question, a tenants.Agreement, id federation.ExchangeID) (Grant, error) {
	switch {
	case q.Door == FrontDoor || q.Principal.BreakGlass == "":
		return Grant{}, nil
	case g.config.BreakGlass == nil:
		return Grant{}, &tenants.Refusal{Reason: tenants.BreakGlassNotAgreed, Partner: a.Partner, Detail: "this gateway keeps no grants"}
	}
	return g.config.BreakGlass.Grant(ctx, a, q.Principal, id)
}

// covering is the agreement under which a partner may ask now.
func covering(d Directory, now time.Time, s tenants.Signal, by tenants.Principal) (tenants.Agreement, error) {
	agreement, ok := d.Partner(by.Org)
	if !ok {
		return agreement, &tenants.Refusal{Reason: tenants.UnknownTrustDomain}
	}
	if err := agreement.Covers(now, s, by.Purpose); err != nil {
		return agreement, err
	}
	return agreement.Emergency(by)
}

// may asks policy what of our own data the principal may see. A partner whom
// it denies gets nothing; our own user may still be answered by partners.
func (g *Gateway) may(ctx context.Context, q Question, request policy.Request, agreement tenants.Agreement, x *Exchange) (policy.Decision, error) {
	ctx, span := g.tracer.Start(ctx, "parley.may")
	defer span.End()
	x.Query, x.Window = request.Query, request.Window
	decision, err := g.decide(ctx, request, x.ID)
	if err != nil {
		return policy.Decision{}, err
	}
	x.Decision = decision
	return permitted(q, request, agreement, decision)
}

// permitted is what of a decision counts for who asks. The error is why its
// question is not answered.
func permitted(q Question, request policy.Request, agreement tenants.Agreement, d policy.Decision) (policy.Decision, error) {
	if q.Door == FrontDoor {
		d.Obligations.Limits = d.Obligations.Limits.Tighten(ownLimits)
		return d, nil
	}
	return agreed(agreement, q.Asked, request, d)
}

// decide asks policy, and tells its shadow.
func (g *Gateway) decide(ctx context.Context, r policy.Request, id federation.ExchangeID) (policy.Decision, error) {
	at := g.config.Now()
	decision, err := g.config.Decider.Decide(ctx, r)
	if err == nil && g.config.Shadow != nil {
		g.config.Shadow.Observe(id, r, decision, at)
	}
	return decision, err
}

// requested is a question about our own data as policy sees it.
func requested(owner tenants.OrgID, q Question, a tenants.Agreement) (policy.Request, error) {
	request, err := q.Asked.Request()
	request.Side, request.Owner = policy.Answer, owner
	request.Principal, request.Purposes, request.Package = q.Principal, a.Under(q.Principal.Purpose), a.Policy
	return request, err
}

// agreed is what of a decision counts for a partner: with the limits of the
// agreement. The error is why its question is not answered.
func agreed(a tenants.Agreement, q federation.Question, request policy.Request, d policy.Decision) (policy.Decision, error) {
	if !d.Allow {
		return d, &federation.Error{Kind: federation.Refused, Message: federation.NotAllowed, Err: denial(d)}
	}
	limits := d.Obligations.Limits.Tighten(a.Limits.OrDefault())
	d.Obligations.Limits = limits
	if q.Listing() {
		// Listings that name no time ask for all of it. They get what is
		// agreed, and the answer says so: see ask.
		return d, nil
	}
	return d, limits.CheckRange(a.Partner, length(request.Window))
}

// length is how long a window is. Windows of thousands of years are longer
// than a Duration can say, and then the longest one.
func length(w policy.Window) time.Duration { return w.End.Sub(w.Start) }

// ownLimits are those of our own users' questions: what keeps one of them from
// taking the gateway down, not what was agreed with anyone.
var ownLimits = tenants.Limits{Series: 1_000_000, Samples: 50_000_000, Bytes: 1 << 30, Lines: 100_000, Spans: 1_000_000, KeptTraces: 1_000, Range: 100 * 365 * 24 * time.Hour}

// denial is the error of a decision that denies, for our own log and audit.
func denial(d policy.Decision) error {
	return errors.New("denied by policy: " + strings.Join(d.Reasons, "; "))
}

// plan lists the organizations that can contribute. A partner's question is
// answered from our own data only and never relayed. absent are the parts of
// those that can't be asked at all.
func (g *Gateway) plan(q Question, own policy.Decision, exchangeID federation.ExchangeID) (members []Member, absent federation.Completeness) {
	contributes := func(org tenants.OrgID, own bool, ask asks) {
		members = append(members, Member{Org: org, Own: own, Ask: g.recovering(org, exchangeID, ask)})
	}
	by := federation.Asking{Org: q.Principal.Org, ExchangeID: exchangeID}
	if answer := g.config.Signals[q.Asked.Signal()].Answer; answer != nil {
		contributes(g.config.Org, true, func(ctx context.Context, question federation.Question) (federation.Released, federation.Part, error) {
			ctx, span := g.tracer.Start(ctx, "parley.evaluate")
			defer span.End()
			return answer(ctx, question, own, by)
		})
	} else {
		absent = append(absent, federation.Part{
			Org: g.config.Org, Status: federation.NotAsked, Reason: "this gateway has no " + string(q.Asked.Signal()) + " of its own",
		})
	}
	if q.Door == PeerDoor {
		return members, nil
	}
	for _, agreement := range g.config.Directory.Partners() {
		if len(agreement.Addresses) == 0 {
			absent = append(absent, federation.Part{
				Org: agreement.Partner, Status: federation.NotAsked, Reason: "the agreement names no address of its gateway",
			})
			continue
		}
		contributes(agreement.Partner, false, func(ctx context.Context, question federation.Question) (federation.Released, federation.Part, error) {
			return g.askPartner(ctx, agreement, q.Principal, question, exchangeID)
		})
	}
	return members, absent
}

// asks is a member's Ask.
type asks = func(context.Context, federation.Question) (federation.Released, federation.Part, error)

// recovering makes a panic in asking an organization that organization's
// failure: it is asked in a goroutine of its own, where a panic would be the
// end of the gateway.
func (g *Gateway) recovering(org tenants.OrgID, exchangeID federation.ExchangeID, ask asks) asks {
	return func(ctx context.Context, question federation.Question) (released federation.Released, part federation.Part, err error) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			g.config.Log.ErrorContext(ctx, "panic while asking", "org", org, "exchange", exchangeID, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			e := federation.AsError(fmt.Errorf("panic: %v", cause))
			e.Org = org
			released, part, err = nil, federation.Part{Org: org, Status: federation.StatusOf(e), Reason: e.Message}, e
		}()
		return ask(ctx, question)
	}
}

// askPartner asks one partner, if our side of the agreement and our policy
// allow that. Its deadline leaves time to finish without it.
func (g *Gateway) askPartner(ctx context.Context, a tenants.Agreement, by tenants.Principal, question federation.Question, exchangeID federation.ExchangeID) (federation.Released, federation.Part, error) {
	ctx, span := g.tracer.Start(ctx, "parley.ask_partner", trace.WithAttributes(attribute.String("parley.partner", string(a.Partner))))
	defer span.End()
	err := g.mayAsk(ctx, a, by, question, func(ctx context.Context, r policy.Request) (policy.Decision, error) {
		return g.decide(ctx, r, exchangeID)
	})
	if err != nil {
		return nil, federation.Part{Org: a.Partner}, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*4/5)
		defer cancel()
	}
	return g.config.Peers.Ask(ctx, a, exchangeID, by, question)
}

// mayAsk says why our side of an agreement, or our policy, doesn't let a question
// be asked of the partner: a *federation.Error, or nil.
func (g *Gateway) mayAsk(ctx context.Context, a tenants.Agreement, by tenants.Principal, question federation.Question, decide decides) error {
	refused := func(reason string, err error) error {
		return &federation.Error{Kind: federation.Refused, Org: a.Partner, Message: reason, Err: err}
	}
	if err := a.Covers(g.config.Now(), question.Signal(), by.Purpose); err != nil {
		return refused(uncovered(err, by.Purpose), err)
	}
	request, err := question.Request()
	if err != nil {
		return federation.AsError(err)
	}
	request.Side, request.Owner = policy.Ask, a.Partner
	request.Principal, request.Purposes = by, a.Under(by.Purpose)
	decision, err := decide(ctx, request)
	if err != nil {
		return federation.AsError(err)
	}
	if !decision.Allow {
		return refused("our own policy does not allow asking it: "+strings.Join(decision.Reasons, "; "), denial(decision))
	}
	return nil
}

// decides asks policy.
type decides = func(context.Context, policy.Request) (policy.Decision, error)

// uncovered says to our own user why a partner isn't asked.
func uncovered(err error, purpose tenants.Purpose) string {
	var refusal *tenants.Refusal
	switch {
	case !errors.As(err, &refusal) || refusal.Reason != tenants.PurposeNotAgreed:
		return "our agreement does not cover it: " + err.Error()
	case purpose == "":
		return "no purpose was given: set the header X-Parley-Purpose, --purpose, or front.default_purpose in the config; our agreement is for " + refusal.AgreedText()
	}
	return "our agreement names neither the purpose " + string(purpose) + " nor a broader one; it is for " + refusal.AgreedText()
}

// ask asks the members and makes one answer of theirs.
func (g *Gateway) ask(ctx context.Context, q Question, decision policy.Decision, members []Member, absent federation.Completeness, x *Exchange) (federation.Released, error) {
	ctx, span := g.tracer.Start(ctx, "parley.ask")
	defer span.End()
	if q.Door == PeerDoor {
		question, less := q.Asked.Within(g.config.Now(), decision.Obligations.Limits.Range)
		released, part, err := members[0].Ask(ctx, question)
		if err == nil && less {
			part.Status = federation.Partial
			part.Reason = "listed from the last " + model.Duration(decision.Obligations.Limits.Range).String() + " only, as agreed; give start and end"
		}
		if err == nil && !x.Grant.Ends.IsZero() {
			part.Notices = append(slices.Clone(part.Notices), "under a break-glass grant until "+x.Grant.Ends.UTC().Format(time.RFC3339))
			slices.Sort(part.Notices)
		}
		x.Completeness = federation.Completeness{part}
		if err == nil {
			x.discloses(released)
		}
		return released, err
	}
	released, completeness, err := g.config.Signals[q.Asked.Signal()].Federate(ctx, q.Asked, members)
	x.Completeness = append(completeness, absent...)
	x.Completeness.Sort()
	if err != nil {
		return nil, err
	}
	if q.RefusePartial && !x.Completeness.Whole() {
		return nil, federation.Errorf(federation.Unavailable, "the answer would be partial, which was refused: %s", x.Completeness.Missing())
	}
	x.discloses(released)
	return released, nil
}
