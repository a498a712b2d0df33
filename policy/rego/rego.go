// Package rego decides by Rego: a policy.Decider that evaluates the
// organization's own policies with OPA, embedded.
//
// A policy is a Rego v1 package with a rule named decision, whose input is
// described by input.schema.json and whose value by decision.schema.json:
//
//	package parley.partners.globex
//
//	default decision := {"allow": false}
//
//	decision := {"allow": true, "datasets": [{
//		"name": "requests",
//		"series": ["http_requests_total{env=\"prod\"}"],
//		"release": "row",
//		"labels": {"region": "keep", "pod": "pseudonym"},
//	}]} if input.principal.purpose == "slo-review"
//
// A dataset may also name a rule of its package, and the rule say of a series
// whether it is one of them:
//
//	{"name": "ours", "include": "include", "release": "row"}
//
//	include if {
//		input.series.env == "prod"
//		input.series.team in data.agreement.teams
//	}
//
// One that asks for input.stream is of streams, as is the dataset then, and one
// that asks for input.span of spans: a span's name, kind, status and attributes,
// such as input.span["resource.service.name"], all of them text.
//
// It is evaluated once for all questions that are the same to it, as far as it
// goes without a series, and what is left is translated to selectors: exactly,
// or the policy does not load, with the line and the reason. Never is Rego asked
// of each series. Of a label or an attribute can be asked ==, !=, in, startswith, endswith,
// contains, regex.match, glob.match and whether it is there, with not, some,
// several rules, helpers and functions, and object.get for one that may be
// missing. It means what it means in Rego: the label must be there for each of
// these to be true, and with not before it
//
//	not input.series.env == "dev"         // of a series without env: true
//	not input.series.env in ["dev"]       // undefined, since env is looked up first
//	not dev; dev if input.series.env ...  // true
//
// An agreement names the package that answers its partner. Where none is
// named, these decide:
//
//	parley.default.answer   a partner's question: nothing is answered
//	parley.own              our own users' questions about our own data, or if the
//	                        folder has no such package parley.default.own: all of it
//	parley.ask              of whom our own users may ask, or parley.default.ask:
//	                        of everybody with whom it was agreed
//
// The packages under parley.default and parley.lib are the embedded library and
// can't be redefined. parley.lib has helpers; data.parley.agreements has, by
// partner, the signals and purposes of the agreements.
//
// Policies may also be an OPA bundle of such a folder, see BundleConfig, in which
// data are the files named data.json, data.yaml or data.yml.
//
// A policy folder may also hold data (JSON or YAML, rooted at the names of its
// folders as OPA does) and samples (see Sample). Files named _test.rego are for
// Test, which runs OPA's tester, and are not loaded, names that begin with a dot
// are passed over, links to files are followed. Templates are policies to start
// from.
//
// Whatever goes wrong denies: an undefined decision, an evaluation error, a
// result that does not have the published shape, a policy that takes too long or
// too much memory.
package rego

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what Policies are made of.
type Config struct {
	// Org is the organization whose policies these are.
	Org tenants.OrgID
	// Dir is the policy folder. Empty: the library alone.
	Dir string
	// Bundle, instead of Dir, is an OPA bundle; nil: there is none.
	Bundle *BundleConfig
	// Agreements returns those in force now. It is called at every load and
	// every tick of Watch; nil is none.
	Agreements func() []tenants.Agreement
	// Now is the clock.
	Now func() time.Time
	// Log is told of loads and failed loads.
	Log *slog.Logger
	// Timeout bounds one evaluation; zero is DefaultTimeout.
	Timeout time.Duration
	// CacheEntries bounds the decisions kept; zero is DefaultCacheEntries.
	CacheEntries int

	// memory bounds what one evaluation may hold; zero is maxMemory.
	memory uint64
}

// Defaults of a Config's zero fields.
const (
	DefaultTimeout      = time.Second
	DefaultCacheEntries = 4096
)

// Policies decide by the revision that was loaded last without a problem.
type Policies struct {
	config  Config
	current atomic.Pointer[revision]
	status  atomic.Pointer[Status]

	// unfetched is nil as long as the server of bundles gives what can be used.
	unfetched atomic.Pointer[unfetched]
	// fetching is held while a bundle is fetched, and mu while loading; both
	// guard archived.tag, mu all of it.
	fetching, mu sync.Mutex
	archived     archived
	// refused does not load, and is not tried again before retry.
	refused policy.Revision
	retry   time.Time
}

// retryAfter is when sources that were refused are tried again unchanged: what
// refused them may have been a machine too busy to prove them.
const retryAfter = 10 * time.Second

// Status says which policy decides and whether a newer one was refused.
type Status struct {
	// Revision decides, since Loaded. Both are zero as long as there is no
	// policy, and everything is denied.
	Revision policy.Revision
	Loaded   time.Time
	// Err is why the sources as they are now do not decide, a *LoadError where
	// they are to blame; nil when they do.
	Err error
	// Failed is when Err was met first.
	Failed time.Time
}

// New loads the policies. The error has every problem of the sources. A bundle
// of a server is not waited for: until there is one, kept from before or fetched,
// everything is denied.
func New(ctx context.Context, c Config) (*Policies, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.CacheEntries == 0 {
		c.CacheEntries = DefaultCacheEntries
	}
	if c.Agreements == nil {
		c.Agreements = func() []tenants.Agreement { return nil }
	}
	p := &Policies{config: c}
	p.status.Store(&Status{})
	load := p.Reload
	if c.Bundle != nil && c.Bundle.Server != nil {
		load = p.restore
	}
	if err := load(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Status returns which policy decides, for /-/ready, metrics and people.
func (p *Policies) Status() Status {
	s := *p.status.Load()
	if u := p.unfetched.Load(); u != nil && (s.Err == nil || s.Revision == "") {
		s.Err, s.Failed = u.err, u.since
	}
	return s
}

// Reload reads the sources and, if they are others than those that decide and
// prove themselves, lets them decide from now on. After an error the previous
// ones still do.
func (p *Policies) Reload(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	src, err := p.read()
	if err != nil {
		return p.failed(err)
	}
	return p.load(ctx, src)
}

// Watch looks at the sources at each tick until ctx ends. A change is loaded
// when two ticks in a row have seen the same, so that a folder that is being
// written is not loaded by halves.
func (p *Policies) Watch(ctx context.Context, tick <-chan time.Time) {
	var seen policy.Revision
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			seen = p.look(ctx, seen)
		}
	}
}

// look loads the sources if they have changed and are as they were seen last,
// and returns what it saw.
func (p *Policies) look(ctx context.Context, seen policy.Revision) policy.Revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	src, err := p.read()
	if errors.Is(err, errNotFetched) {
		return "" // that is known from the beginning
	}
	if err != nil {
		_ = p.failed(err) // in Status and in the log
		return ""
	}
	sum := src.sum()
	if sum == p.refused && p.config.Now().Before(p.retry) {
		return sum
	}
	if sum == seen || sum == p.current.Load().id {
		_ = p.load(ctx, src) // in Status and in the log
	}
	return sum
}

func (p *Policies) read() (*sources, error) {
	if p.config.Bundle != nil {
		return p.fromBundle()
	}
	return readSources(p.config.Dir, p.config.Org, p.config.Agreements())
}

func (p *Policies) load(ctx context.Context, src *sources) error {
	sum, now := src.sum(), p.config.Now()
	if current := p.current.Load(); current != nil && current.id == sum {
		p.status.Store(&Status{Revision: sum, Loaded: p.status.Load().Loaded})
		p.keep()
		return nil
	}
	next, err := compile(ctx, src, p.config)
	if err == nil {
		err = next.prove(ctx, src, now)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("load policy: %w", ctx.Err())
	}
	if err != nil {
		p.refused, p.retry = sum, now.Add(retryAfter)
		return p.failed(err)
	}
	p.refused = ""
	p.current.Store(next)
	p.status.Store(&Status{Revision: sum, Loaded: now})
	p.config.Log.Info("policy loaded", "revision", sum, "packages", len(next.packages))
	p.keep()
	return nil
}

// failed keeps and reports a problem, once for as long as it stays the same.
// Of the first load the error is New's, and there is nothing to keep.
func (p *Policies) failed(err error) error {
	if p.current.Load() == nil {
		return err
	}
	s := *p.status.Load()
	if s.Err != nil && s.Err.Error() == err.Error() {
		return err
	}
	s.Err, s.Failed = err, p.config.Now()
	p.status.Store(&s)
	if s.Revision == "" {
		p.config.Log.Error("policy does not load, and there is no previous one: nobody is answered", "error", err)
	} else {
		p.config.Log.Error("policy does not load; the previous one stays", "revision", s.Revision, "error", err)
	}
	return err
}

// Decide implements policy.Decider. The obligations of a decision are shared
// and may not be modified. The error is that of an ended ctx; everything else
// that goes wrong is a decision that denies, with the reason.
func (p *Policies) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	return p.DecideAt(ctx, r, p.config.Now())
}

// DecideAt is Decide on a question that is or was asked at a time.
func (p *Policies) DecideAt(ctx context.Context, r policy.Request, at time.Time) (policy.Decision, error) {
	rev := p.current.Load()
	v, err := rev.verdict(ctx, r, at)
	if err != nil {
		return policy.Decision{}, fmt.Errorf("decide: %w", err)
	}
	return v.at(at), nil
}

var _ policy.Decider = (*Policies)(nil)
