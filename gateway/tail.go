package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// longestTail is after how long a tail has to be asked again, as with Loki: the
// pseudonyms of a single question must not be the same for ever.
const longestTail = time.Hour

// TailDoor is what a door does with a tail.
type TailDoor struct {
	// StillKnown says whether who asks is still who may: it is asked before each
	// part. Nil: that can't change.
	StillKnown func(context.Context) error
	// Encode turns a part into what the door will send, and returns its size in
	// bytes. It must not send anything.
	Encode func(federation.Released, federation.Completeness) (bytes int, err error)
	// Send sends what Encode made last. It is called once that is recorded.
	Send func(context.Context) error
}

// Tail takes a tail through the whole pipeline and gives it to the door, part by
// part, until it ends: nil when it goes on once it is asked again, and otherwise
// the error of Send or a *federation.Error. Each part goes the way of an answer:
// under the agreement and the decision of its moment, and recorded before it
// leaves. Parts without anything, which say that we are there, are not recorded.
func (g *Gateway) Tail(ctx context.Context, q Question, door TailDoor) error {
	ctx, cancel := context.WithTimeoutCause(ctx, longestTail, federation.ErrAskAgain)
	defer cancel()
	ctx, span := g.tracer.Start(ctx, "parley.tail")
	defer span.End()
	x := g.begin(q)
	signal := g.config.Signals[x.Signal]
	if x.Kind != policy.Tail || signal.Follow == nil {
		return g.turnAway(ctx, &x, federation.Errorf(federation.BadQuestion, "this gateway tails no %s", cmp.Or(x.Signal, "question without a signal")))
	}
	agreement, release, err := g.who(ctx, q, g.quota.AcquireTail)
	if err != nil {
		return g.turnAway(ctx, &x, err)
	}
	defer release()
	request, err := requested(g.config.Org, q, agreement)
	if err != nil {
		return g.fail(ctx, &x, err)
	}
	if x.Grant, err = g.grant(ctx, q, agreement, x.ID); err != nil {
		return g.turnAway(ctx, &x, err)
	}
	if _, err := g.may(ctx, q, request, agreement, &x); err != nil {
		return g.fail(ctx, &x, err)
	}
	t := &tail{gateway: g, question: q, door: door, exchange: x}
	if q.Door == PeerDoor {
		err = t.answer(ctx, signal)
	} else {
		t.last, err = t.follow(ctx, signal)
	}
	return t.end(ctx, err)
}

// tail is a tail on its way to a door.
type tail struct {
	gateway  *Gateway
	question Question
	door     TailDoor
	exchange Exchange // what all records of it have

	part TailPart // the next one
	last federation.Completeness
	sent error // the door's
}

// answer gives a partner the tail of our own store.
func (t *tail) answer(ctx context.Context, signal Signal) error {
	if signal.Tail == nil {
		return federation.Errorf(federation.Unavailable, "this gateway has no %s of its own", t.exchange.Signal)
	}
	by := federation.Asking{Org: t.question.Principal.Org, ExchangeID: t.exchange.ID}
	grant := t.exchange.Grant
	return signal.Tail(ctx, t.question.Asked, t.deciding(), by, func(released federation.Released, part federation.Part) error {
		if t.part.Stage == "" && !grant.Ends.IsZero() {
			part.Notices = append(slices.Clone(part.Notices), "under a break-glass grant until "+grant.Ends.UTC().Format(time.RFC3339))
			slices.Sort(part.Notices)
		}
		return t.give(ctx, released, federation.Completeness{part})
	})
}

// deciding decides on the tail of our own store as things are when it is called.
// What it decided first has to stay, but for the times of data, which move on.
func (t *tail) deciding() federation.Decide {
	g, q := t.gateway, t.question
	var first *policy.Decision
	return func(ctx context.Context) (policy.Decision, error) {
		var agreement tenants.Agreement
		if q.Door == PeerDoor { // of our own users that is asked for all organizations' parts together
			err := t.stillKnown(ctx)
			if err != nil {
				return policy.Decision{}, asTold(err)
			}
			if agreement, err = covering(g.config.Directory, g.config.Now(), q.Asked.Signal(), q.Principal); err != nil {
				return policy.Decision{}, asTold(err)
			}
			if _, err = g.grant(ctx, q, agreement, t.exchange.ID); err != nil {
				return policy.Decision{}, asTold(err)
			}
		}
		request, err := requested(g.config.Org, q, agreement)
		if err != nil {
			return policy.Decision{}, err
		}
		decision, err := g.config.Decider.Decide(ctx, request)
		if err != nil {
			return policy.Decision{}, federation.AsError(err)
		}
		if decision, err = permitted(q, request, agreement, decision); err != nil {
			return policy.Decision{}, asTold(err)
		}
		if first == nil {
			first = &decision
		}
		if slices.ContainsFunc(inspect.Differences(*first, decision), func(d inspect.Difference) bool { return d.Kind != inspect.OtherTime }) {
			return policy.Decision{}, federation.ErrAskAgain
		}
		return decision, nil
	}
}

// stillKnown asks the door whether who asks is still who may.
func (t *tail) stillKnown(ctx context.Context) error {
	if t.door.StillKnown == nil {
		return nil
	}
	return t.door.StillKnown(ctx)
}

// follow gives our own user the tails of all organizations that can contribute.
func (t *tail) follow(ctx context.Context, signal Signal) (federation.Completeness, error) {
	members, absent := t.members(signal)
	last, err := signal.Follow(ctx, t.question.Asked, members, func(released federation.Released, c federation.Completeness) error {
		if err := t.stillKnown(ctx); err != nil {
			return err
		}
		c = append(c, absent...)
		c.Sort()
		if t.question.RefusePartial && !c.Whole() {
			return federation.Errorf(federation.Unavailable, "the tail would be partial, which was refused: %s", c.Missing())
		}
		return t.give(ctx, released, c)
	})
	last = append(last, absent...)
	last.Sort()
	return last, err
}

// members are the organizations that can contribute, and the parts of those that
// can't be asked at all. One that is asked again is asked under an id of its own,
// which is in its part.
func (t *tail) members(signal Signal) (members []TailMember, absent federation.Completeness) {
	g := t.gateway
	add := func(org tenants.OrgID, own bool, ask func(context.Context, federation.Question, federation.ExchangeID, federation.Give) error) {
		members = append(members, TailMember{Org: org, Own: own, Tail: func(ctx context.Context, q federation.Question, again bool, give federation.Give) (err error) {
			defer func() {
				if cause := recover(); cause != nil {
					g.config.Log.ErrorContext(ctx, "panic in a tail", "org", org, "exchange", t.exchange.ID, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
					err = federation.AsError(fmt.Errorf("panic: %v", cause))
				}
			}()
			if !again {
				return ask(ctx, q, t.exchange.ID, give)
			}
			id := federation.NewExchangeID(g.config.Now())
			return ask(ctx, q, id, func(r federation.Released, p federation.Part) error {
				p.Exchange = id
				return give(r, p)
			})
		}})
	}
	if signal.Tail != nil {
		add(g.config.Org, true, func(ctx context.Context, q federation.Question, id federation.ExchangeID, give federation.Give) error {
			return signal.Tail(ctx, q, t.deciding(), federation.Asking{Org: t.question.Principal.Org, ExchangeID: id}, give)
		})
	} else {
		absent = append(absent, federation.Part{
			Org: g.config.Org, Status: federation.NotAsked, Reason: "this gateway has no " + string(t.exchange.Signal) + " of its own",
		})
	}
	for _, agreement := range g.config.Directory.Partners() {
		if len(agreement.Addresses) == 0 {
			absent = append(absent, federation.Part{
				Org: agreement.Partner, Status: federation.NotAsked, Reason: "the agreement names no address of its gateway",
			})
			continue
		}
		add(agreement.Partner, false, func(ctx context.Context, q federation.Question, id federation.ExchangeID, give federation.Give) error {
			return t.ofPartner(ctx, agreement.Partner, q, id, give)
		})
	}
	return members, absent
}

// ofPartner is one partner's tail, for as long as our side of the agreement and
// our policy allow asking for it.
func (t *tail) ofPartner(ctx context.Context, partner tenants.OrgID, q federation.Question, id federation.ExchangeID, give federation.Give) error {
	g, by := t.gateway, t.question.Principal
	allowed := func(decide decides) (tenants.Agreement, error) {
		agreement, ok := g.config.Directory.Partner(partner)
		if !ok {
			return agreement, &federation.Error{Kind: federation.Refused, Org: partner, Message: "we have no agreement with it any more"}
		}
		return agreement, g.mayAsk(ctx, agreement, by, q, decide)
	}
	agreement, err := allowed(func(ctx context.Context, r policy.Request) (policy.Decision, error) { return g.decide(ctx, r, id) })
	if err != nil {
		return err
	}
	return g.config.Peers.Tail(ctx, agreement, id, by, q, func(released federation.Released, part federation.Part) error {
		if _, err := allowed(g.config.Decider.Decide); err != nil {
			return err
		}
		return give(released, part)
	})
}

// give records a part and sends it.
func (t *tail) give(ctx context.Context, released federation.Released, c federation.Completeness) error {
	x := t.exchange
	bytes, err := t.door.Encode(released, c)
	if err != nil {
		return err
	}
	dropped := 0
	for _, p := range c {
		dropped += p.Dropped
	}
	first := t.part.Stage == ""
	x.discloses(released)
	if first || x.Lines > 0 || dropped > 0 || told(c) != told(t.last) {
		x.Bytes, x.Completeness = bytes, c
		x.Outcome = Answered
		if !c.Whole() {
			x.Outcome = Partially
		}
		t.part.Stage = TailGoesOn
		part := t.part
		part.Lines, part.Bytes, part.Dropped = 0, 0, dropped
		if first {
			part.Stage = TailOpened
		} else {
			x.Start = t.gateway.config.Now()
		}
		x.Tail = &part
		if err := t.gateway.record(ctx, &x); err != nil {
			return err
		}
		t.last = c
		t.part.Number++
		t.part.Lines += x.Lines
		t.part.Bytes += bytes
	}
	if err := t.door.Send(ctx); err != nil {
		t.sent = err
		return err
	}
	return nil
}

// told is what a completeness says beside numbers.
func told(c federation.Completeness) string {
	var b strings.Builder
	for _, p := range c {
		fmt.Fprintf(&b, "%s %s %s %s\n", p.Org, p.Status, p.Reason, p.Exchange)
	}
	return b.String()
}

// end records how and why the tail ended, and returns what the door is told.
func (t *tail) end(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	again := err == nil || errors.Is(cause, federation.ErrAskAgain)
	if stated := (*federation.Error)(nil); errors.As(cause, &stated) {
		err = stated // the door's reason to end it
	}
	if t.part.Stage == "" {
		if again {
			err = federation.Errorf(federation.Unavailable, "policy changed as the tail began; ask again")
		}
		t.exchange.Completeness = t.last
		return t.gateway.fail(ctx, &t.exchange, err)
	}
	x := t.exchange
	part := t.part
	part.Stage = TailEnded
	x.Tail, x.Completeness = &part, withoutCosts(t.last)
	switch {
	case again:
		x.Outcome, x.Reason, err = Answered, "it goes on when it is asked again", nil
	case t.sent != nil || errors.Is(cause, context.Canceled):
		x.Outcome, x.Reason = Answered, "who asked has left"
		err = cmp.Or(t.sent, error(federation.AsError(err)))
	default:
		told := asTold(err)
		x.ErrorKind, x.Reason, x.Outcome = told.Kind, told.Error(), outcomeOf(told.Kind)
		if told.Kind == federation.Internal {
			t.gateway.config.Log.ErrorContext(ctx, "tail failed", "exchange", x.ID, "error", err)
		}
		err = told
	}
	if failed := t.gateway.record(ctx, &x); failed != nil && err == nil {
		return failed
	}
	return err
}

// withoutCosts is a completeness without what its parts disclosed, which another
// record says.
func withoutCosts(c federation.Completeness) federation.Completeness {
	c = slices.Clone(c)
	for i := range c {
		c[i].Cost, c[i].Dropped = federation.Cost{}, 0
	}
	return c
}
