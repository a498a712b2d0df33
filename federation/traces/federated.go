package traces

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Member is an organization that can be asked, our own among them. What it answers
// is the asker's to change.
type Member = federation.Member[Question, *Released]

// FederatedConfig is how questions are put to several organizations. Its zero value
// means something safe.
type FederatedConfig struct {
	// Correlation are the attributes of spans, beside Traceparent, of which it was
	// agreed with an organization that a client span of one and a server span of another
	// that carry the same value are the same request; nil: none. Nobody else is told
	// the values.
	Correlation func(tenants.OrgID) []string
	// Restarts says whether it was agreed with an organization that traces begin anew
	// where requests cross between it and us, with a link to what called or the same
	// Traceparent; nil: with all. Only then is it looked for what goes on under other
	// trace ids, which may take reading all of its traces of minutes.
	Restarts func(tenants.OrgID) bool
	// Sampling is which traces an organization keeps, as agreed with it; nil: nothing
	// is agreed.
	Sampling func(tenants.OrgID) tenants.SamplingProbability
	// JoinBefore and JoinAfter are how long before a trace begins and after it ends it
	// is looked for under other trace ids; zero is a minute, and five. A JoinAfter
	// less than zero looks for none but those that links in the trace name.
	JoinBefore, JoinAfter time.Duration
	// JoinPatience is how long is waited for what is found so, as a store may have to
	// look at all of its traces; zero is three seconds. Who takes longer gave part of
	// the answer.
	JoinPatience time.Duration
	// MaxCandidates is how many traces of each organization are looked at to answer a
	// search that is of several spans together, and at a time to count calls between
	// organizations; zero is 500.
	MaxCandidates int
}

func (c FederatedConfig) orDefault() FederatedConfig {
	c.JoinBefore = cmp.Or(c.JoinBefore, time.Minute)
	c.JoinAfter = cmp.Or(c.JoinAfter, 5*time.Minute)
	c.JoinPatience = cmp.Or(c.JoinPatience, 3*time.Second)
	c.MaxCandidates = cmp.Or(c.MaxCandidates, 500)
	return c
}

// Federated answers one question from several organizations.
type Federated struct {
	config FederatedConfig
}

// NewFederated returns a Federated.
func NewFederated(c FederatedConfig) *Federated {
	return &Federated{config: c.orDefault()}
}

// Answer asks the members what it takes and returns one answer with a part for
// each of them. An organization that fails is left out of the answer as a
// whole and stands in the completeness; the error is for when there is no
// answer at all.
func (f *Federated) Answer(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	if _, err := q.Request(); err != nil {
		return nil, nil, err
	}
	switch q.Kind {
	case policy.Trace:
		return f.answerTrace(ctx, q, members)
	case policy.Search:
		return f.answerSearch(ctx, q, members)
	case policy.Dependencies:
		return f.answerDependencies(ctx, q, members)
	case policy.LabelNames, policy.LabelValues, policy.Operations, policy.KeepTrace:
		answered := askAll(ctx, q, members)
		parts, err := answered.outcome()
		if err != nil {
			return nil, parts, err
		}
		return mergeListings(q, answered), parts, nil
	}
	return nil, nil, federation.Errorf(federation.BadQuestion, "traces have no questions of the kind %s", q.Kind)
}

// answerTrace answers a question for traces by id.
func (f *Federated) answerTrace(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	g := newGathering(f.config, q, members)
	if err := g.fetch(ctx, q); err != nil {
		return nil, g.completeness(), err
	}
	grown := g.follow(ctx)
	return &Released{traces: grown.stitch(q.IDs, g.unfollowed, g.holders())}, g.completeness(), nil
}

// answer is what one member answered.
type answer struct {
	member   *Member
	q        Question
	released *Released
	part     federation.Part
	err      error
}

// answers are those of members, in order of organization.
type answers []answer

// askAll asks all members the same.
func askAll(ctx context.Context, q Question, members []Member) answers {
	return askEach(ctx, members, func(*Member) (Question, bool) { return q, true })
}

// askEach asks each member a question of its own, if there is one.
func askEach(ctx context.Context, members []Member, question func(*Member) (Question, bool)) answers {
	var out answers
	for i := range members {
		if q, ok := question(&members[i]); ok {
			out = append(out, answer{member: &members[i], q: q})
		}
	}
	var running sync.WaitGroup
	for i := range out {
		a := &out[i]
		running.Go(func() {
			a.released, a.part, a.err = a.member.Ask(ctx, a.q)
			a.part.Org = a.member.Org
			if a.err != nil {
				e := federation.AsError(a.err)
				a.part.Status, a.part.Reason = federation.StatusOf(e), e.Message
				a.released = nil
			}
		})
	}
	running.Wait()
	slices.SortFunc(out, func(a, b answer) int { return compareOrgs(a.member.Org, b.member.Org) })
	return out
}

// outcome is the part of each member. The error is the first one, where nobody
// answered.
func (a answers) outcome() (federation.Completeness, error) {
	var parts federation.Completeness
	var failed error
	answered := false
	for _, x := range a {
		parts = append(parts, x.part)
		failed = cmp.Or(failed, x.err)
		answered = answered || x.err == nil && x.released != nil
	}
	if answered {
		failed = nil
	}
	return parts, failed
}
