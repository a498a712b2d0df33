package gateway

import (
	"context"
	"fmt"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Signal answers the questions of one signal.
type Signal struct {
	// Answer answers from our own store, through the view that the decision
	// allows; nil where we have no store of the signal. The error is a
	// *federation.Error, and the Part then says the same.
	Answer func(ctx context.Context, q federation.Question, d policy.Decision, by federation.Asking) (federation.Released, federation.Part, error)
	// Federate makes one answer of the members', with a part for each of them.
	// The error is for when there is no answer at all.
	Federate func(ctx context.Context, q federation.Question, members []Member) (federation.Released, federation.Completeness, error)
	// Tail gives the parts of a tail of our own store; nil where there is none. It
	// ends without an error when it has to be asked again to go on.
	Tail func(ctx context.Context, q federation.Question, decide federation.Decide, by federation.Asking, give federation.Give) error
	// Follow makes one tail of the members', until it ends; nil for signals that
	// have none. The completeness is the last one.
	Follow func(ctx context.Context, q federation.Question, members []TailMember, give FollowGive) (federation.Completeness, error)
}

// FollowGive takes the next part of a tail of several organizations. The costs
// and the lines left out in the completeness are those of the part.
type FollowGive = func(federation.Released, federation.Completeness) error

// TailMember is an organization whose tail can be had.
type TailMember = federation.TailMember[federation.Question, federation.Released]

// Member is an organization that can be asked.
type Member = federation.Member[federation.Question, federation.Released]

// Local is a signal's own store, as metrics.Local is one.
type Local[Q federation.Question, R federation.Released] interface {
	Answer(ctx context.Context, q Q, d policy.Decision, by federation.Asking) (R, federation.Part, error)
}

// Federated makes one answer of many, as metrics.Federated does.
type Federated[Q federation.Question, R federation.Released] interface {
	Answer(ctx context.Context, q Q, members []federation.Member[Q, R]) (R, federation.Completeness, error)
}

// AnswerFrom is Signal.Answer of a store.
func AnswerFrom[Q federation.Question, R federation.Released](local Local[Q, R]) func(context.Context, federation.Question, policy.Decision, federation.Asking) (federation.Released, federation.Part, error) {
	return func(ctx context.Context, q federation.Question, d policy.Decision, by federation.Asking) (federation.Released, federation.Part, error) {
		own, ok := q.(Q)
		if !ok {
			return nil, federation.Part{}, fmt.Errorf("a question of type %T where %T is answered", q, own)
		}
		released, part, err := local.Answer(ctx, own, d, by)
		if err != nil {
			return nil, part, err
		}
		return released, part, nil
	}
}

// FederateWith is Signal.Federate of a signal.
func FederateWith[Q federation.Question, R federation.Released](federated Federated[Q, R]) func(context.Context, federation.Question, []Member) (federation.Released, federation.Completeness, error) {
	return func(ctx context.Context, q federation.Question, members []Member) (federation.Released, federation.Completeness, error) {
		own, ok := q.(Q)
		if !ok {
			return nil, nil, fmt.Errorf("a question of type %T where %T is answered", q, own)
		}
		typed := make([]federation.Member[Q, R], len(members))
		for i, m := range members {
			typed[i] = federation.Member[Q, R]{Org: m.Org, Own: m.Own, Ask: asking[Q, R](m)}
		}
		released, completeness, err := federated.Answer(ctx, own, typed)
		if err != nil {
			return nil, completeness, err
		}
		return released, completeness, nil
	}
}

// asking is a member's Ask in the forms of one signal.
func asking[Q federation.Question, R federation.Released](m Member) func(context.Context, Q) (R, federation.Part, error) {
	return func(ctx context.Context, q Q) (R, federation.Part, error) {
		released, part, err := m.Ask(ctx, q)
		own, ok := released.(R)
		if err == nil && !ok {
			err = federation.AsError(fmt.Errorf("an answer of type %T where %T was asked for", released, own))
		}
		return own, part, err
	}
}

// LocalTail is a signal's own store that can be tailed, as logs.Local is one.
type LocalTail[Q federation.Question, R federation.Released] interface {
	Tail(ctx context.Context, q Q, decide federation.Decide, by federation.Asking, give func(R, federation.Part) error) error
}

// FollowedTails makes one tail of many, as logs.Federated does.
type FollowedTails[Q federation.Question, R federation.Released] interface {
	Tail(ctx context.Context, q Q, members []federation.TailMember[Q, R], give func(R, federation.Completeness) error) (federation.Completeness, error)
}

// TailFrom is Signal.Tail of a store.
func TailFrom[Q federation.Question, R federation.Released](local LocalTail[Q, R]) func(context.Context, federation.Question, federation.Decide, federation.Asking, federation.Give) error {
	return func(ctx context.Context, q federation.Question, decide federation.Decide, by federation.Asking, give federation.Give) error {
		own, ok := q.(Q)
		if !ok {
			return fmt.Errorf("a tail of type %T where %T is answered", q, own)
		}
		return local.Tail(ctx, own, decide, by, func(r R, p federation.Part) error { return give(r, p) })
	}
}

// FollowWith is Signal.Follow of a signal.
func FollowWith[Q federation.Question, R federation.Released](followed FollowedTails[Q, R]) func(context.Context, federation.Question, []TailMember, FollowGive) (federation.Completeness, error) {
	return func(ctx context.Context, q federation.Question, members []TailMember, give FollowGive) (federation.Completeness, error) {
		own, ok := q.(Q)
		if !ok {
			return nil, fmt.Errorf("a tail of type %T where %T is answered", q, own)
		}
		typed := make([]federation.TailMember[Q, R], len(members))
		for i, m := range members {
			typed[i] = federation.TailMember[Q, R]{Org: m.Org, Own: m.Own, Tail: tailing[Q, R](m)}
		}
		return followed.Tail(ctx, own, typed, func(r R, c federation.Completeness) error { return give(r, c) })
	}
}

// tailing is a member's Tail in the forms of one signal.
func tailing[Q federation.Question, R federation.Released](m TailMember) func(context.Context, Q, bool, func(R, federation.Part) error) error {
	return func(ctx context.Context, q Q, again bool, give func(R, federation.Part) error) error {
		return m.Tail(ctx, q, again, func(released federation.Released, part federation.Part) error {
			own, ok := released.(R)
			if !ok {
				return federation.AsError(fmt.Errorf("a part of type %T where %T was asked for", released, own))
			}
			return give(own, part)
		})
	}
}
