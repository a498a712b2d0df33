// Package shadow lets other policies decide beside those that count:
//
//	s, err := shadow.New(ctx, shadow.Config{Org: "acme", Dir: "/etc/parley/next", ...})
//	go s.Run(ctx)                         // decides, one question at a time
//	go s.Watch(ctx, ticker.C)             // loads what changes in the folder
//	s.Observe(id, request, decision, now) // never waits
//
// What they would have decided otherwise is counted and logged, and changes no
// answer. Nothing of a question's text, nor for whom it was asked, is in either: the
// audit log has it, by the id of the exchange. A difference of one kind is logged
// once a minute for each partner and purpose, and counted always.
// A question that comes while too many wait is not decided, which is counted.
package shadow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what a Shadow is made of. Every field is required.
type Config struct {
	Org tenants.OrgID
	// Dir is the folder of the other policies.
	Dir string
	// Agreements returns those in force now.
	Agreements func() []tenants.Agreement
	Registerer prometheus.Registerer
	Log        *slog.Logger
	Now        func() time.Time
}

const (
	// waiting is how many questions may wait.
	waiting = 256
	// maxQuery is how long a question's text may be: waiting ones are held.
	maxQuery = 64 << 10
	// retry is how often policies that never loaded are loaded again.
	retry = 30 * time.Second
	// quiet is how long the same difference isn't logged again.
	quiet = time.Minute
	// maxQuieted bounds the differences that are remembered for that.
	maxQuieted = 10_000
)

// Shadow decides beside. It is safe for concurrent use.
type Shadow struct {
	config    Config
	questions chan question
	loaded    atomic.Pointer[loaded]

	decisions   *prometheus.CounterVec
	differences *prometheus.CounterVec

	// logged is when a difference was logged last. Run's alone.
	logged map[difference]time.Time
}

// loaded are the policies that decide, or why none have loaded so far.
type loaded struct {
	policies *rego.Policies
	err      error
}

// question is one that waits, with what was decided on it.
type question struct {
	id      federation.ExchangeID
	request policy.Request
	counts  policy.Decision
	at      time.Time
}

// difference is one as metrics and the log tell it.
type difference struct {
	partner tenants.OrgID
	purpose tenants.Purpose
	kind    inspect.DifferenceKind
}

// How a question fared.
const (
	same      = "same"
	different = "different"
	failed    = "failed"
	notAsked  = "not-asked" // too many waited, or there are no policies
)

// New returns a Shadow. Policies that don't load are logged, and loaded when
// they do: a mistake in what doesn't count must not keep a gateway from serving.
func New(ctx context.Context, c Config) (*Shadow, error) {
	s := &Shadow{
		config: c, questions: make(chan question, waiting), logged: map[difference]time.Time{},
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_policy_shadow_decisions_total",
			Help: "Questions by what the shadow policies would have decided: same, different, failed, or not-asked where too many waited or none were loaded.",
		}, []string{"result"}),
		differences: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_policy_shadow_differences_total",
			Help: "What the shadow policies would have decided otherwise, by partner (our own organization for our users' questions about our own data) and kind.",
		}, []string{"partner", "kind"}),
	}
	for _, result := range []string{same, different, failed, notAsked} {
		s.decisions.WithLabelValues(result)
	}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "parley_policy_shadow_last_reload_successful", Help: "Whether the shadow policies as they are now in their folder are those that decide.",
	}, func() float64 {
		if s.Problem() != nil {
			return 0
		}
		return 1
	})
	for _, m := range []prometheus.Collector{s.decisions, s.differences, up} {
		if err := c.Registerer.Register(m); err != nil {
			return nil, fmt.Errorf("shadow: register metrics: %w", err)
		}
	}
	s.load(ctx)
	return s, nil
}

// load makes the policies. Its error is kept and logged.
func (s *Shadow) load(ctx context.Context) {
	policies, err := rego.New(ctx, rego.Config{
		Org: s.config.Org, Dir: s.config.Dir, Agreements: s.config.Agreements, Now: s.config.Now, Log: s.config.Log.With("policies", "shadow"),
	})
	if before := s.loaded.Load(); err != nil && (before == nil || before.err == nil || before.err.Error() != err.Error()) {
		s.config.Log.Error("shadow policies do not load; none decide", "error", err)
	}
	if err != nil {
		policies = nil
	}
	s.loaded.Store(&loaded{policies, err})
}

// Problem is why the policies in the folder don't decide beside; nil when they
// do.
func (s *Shadow) Problem() error {
	l := s.loaded.Load()
	if l.policies == nil {
		return l.err
	}
	return l.policies.Status().Err
}

// Observe hands over a question with the decision that counts, made at a time.
// It never waits, and neither may be modified afterwards.
func (s *Shadow) Observe(id federation.ExchangeID, r policy.Request, d policy.Decision, at time.Time) {
	if len(r.Query) <= maxQuery {
		select {
		case s.questions <- question{id, r, d, at}:
			return
		default:
		}
	}
	s.decisions.WithLabelValues(notAsked).Inc()
}

// Run decides on questions, one after the other, until ctx ends.
func (s *Shadow) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-s.questions:
			s.decide(ctx, q)
		}
	}
}

// Watch looks at the folder at each tick until ctx ends.
func (s *Shadow) Watch(ctx context.Context, ticks <-chan time.Time) {
	for tried := s.config.Now(); s.loaded.Load().policies == nil; {
		select {
		case <-ctx.Done():
			return
		case at := <-ticks:
			if at.Sub(tried) >= retry {
				tried = at
				s.load(ctx)
			}
		}
	}
	s.loaded.Load().policies.Watch(ctx, ticks)
}

// decide decides on a question. Whatever goes wrong is counted and ends here.
func (s *Shadow) decide(ctx context.Context, q question) {
	result := failed
	defer func() {
		if cause := recover(); cause != nil {
			s.config.Log.Error("shadow policies failed", "exchange", q.id, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
		s.decisions.WithLabelValues(result).Inc()
	}()
	policies := s.loaded.Load().policies
	if policies == nil {
		result = notAsked
		return
	}
	decision, err := policies.DecideAt(ctx, q.request, q.at)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.config.Log.Error("shadow policies failed", "exchange", q.id, "error", err)
		}
		return
	}
	result = same
	found := map[inspect.DifferenceKind][]string{}
	for _, d := range inspect.Differences(q.counts, decision) {
		result, found[d.Kind] = different, append(found[d.Kind], d.Brief)
	}
	for _, kind := range inspect.DifferenceKinds {
		if what := found[kind]; what != nil {
			s.differs(q, decision.Revision, kind, what)
		}
	}
}

// differs counts a difference and logs it, unless the same was logged a moment
// ago.
func (s *Shadow) differs(q question, revision policy.Revision, kind inspect.DifferenceKind, what []string) {
	d := difference{partner: partnerOf(q.request), purpose: q.request.Principal.Purpose, kind: kind}
	s.differences.WithLabelValues(string(d.partner), string(kind)).Inc()
	if last, known := s.logged[d]; known && q.at.Sub(last) < quiet {
		return
	}
	if len(s.logged) >= maxQuieted {
		clear(s.logged)
	}
	s.logged[d] = q.at
	s.config.Log.Info("shadow policies decide otherwise", "exchange", q.id, "partner", d.partner, "purpose", d.purpose,
		"side", q.request.Side, "difference", kind, "what", strings.Join(slices.Compact(what), "; "), "revision", q.counts.Revision, "shadow_revision", revision)
}

// partnerOf is with whom a question is about what: policy is asked only of our
// own users, of partners there is an agreement with, and about these.
func partnerOf(r policy.Request) tenants.OrgID {
	if r.Principal.Org == r.Owner || r.Side == policy.Answer {
		return r.Principal.Org
	}
	return r.Owner
}
