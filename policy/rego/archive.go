package rego

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/parley-gateway/parley/policy/bundle"
)

// BundleConfig is an OPA bundle that policies come from: File or Server.
type BundleConfig struct {
	// Key is what the operator's config calls where the bundle is; messages begin
	// with it. Empty: they don't.
	Key string
	// File is the archive's.
	File string
	// Server has it. Policies ask it when they are told to, see Fetch and Poll.
	Server bundle.Server
	// Keys are whose bundles are taken.
	Keys bundle.Keys
	// Kept is the file in which the last bundle of the server that proved itself
	// is kept for the next start; empty: it isn't.
	Kept string
}

// archived is the bundle that policies come from. Its fields are under the lock
// of Policies.
type archived struct {
	// bundle is what was read last, of what has this digest or, at the server,
	// this tag.
	bundle *bundle.Bundle
	sum    [sha256.Size]byte
	tag    string

	// unkept is the archive of bundle as the server gave it, until it is kept: once
	// it decides, which may be later than when it was fetched.
	unkept []byte
	// notKept is the last reason why it couldn't be; it is told once.
	notKept string
}

// named is an error that says by which key of the config there is the bundle.
func (c *BundleConfig) named(err error) error {
	if c.Key == "" || err == nil || errors.Is(err, bundle.ErrNotModified) {
		return err
	}
	return fmt.Errorf("%s: %w", c.Key, err)
}

// errNotFetched is a bundle that is only at the server so far.
var errNotFetched = errors.New("no bundle has been fetched yet")

// unfetched is why what the server has now is not known, or not taken.
type unfetched struct {
	err   error
	since time.Time
}

// fromBundle reads the sources that are a bundle's.
func (p *Policies) fromBundle() (*sources, error) {
	src, err := readSources("", p.config.Org, p.config.Agreements())
	if err != nil {
		return nil, err
	}
	c := p.config.Bundle
	if c.Server != nil {
		if p.archived.bundle == nil {
			return nil, c.named(fmt.Errorf("%s: %w", c.Server, errNotFetched))
		}
		src.add(c.Server.String(), p.archived.bundle)
		return src, nil
	}
	problem := func(err error) error {
		return problems{{File: c.File, Text: c.named(errors.New(cause(err))).Error()}}.orNil()
	}
	archive, err := bundle.ReadFile(c.File)
	if err != nil {
		return nil, problem(err)
	}
	if sum := sha256.Sum256(archive); p.archived.bundle == nil || sum != p.archived.sum {
		b, err := bundle.Read(archive, c.Keys)
		if err != nil {
			return nil, problem(err)
		}
		p.archived.bundle, p.archived.sum = b, sum
	}
	src.add(c.File, p.archived.bundle)
	return src, nil
}

// add adds the files of a bundle, which is called by where it is.
func (s *sources) add(name string, b *bundle.Bundle) {
	for _, f := range b.Files {
		s.files = append(s.files, file{name: name + "/" + f.Path, path: f.Path, text: f.Text})
	}
}

// restore takes the bundle that is kept, if there is one, so that a start does
// not depend on the server; without one nobody is answered.
func (p *Policies) restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.config.Bundle
	if err := p.unavailable(ctx); err != nil {
		return err
	}
	if c.Kept == "" {
		return nil
	}
	archive, err := bundle.ReadFile(c.Kept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		p.archived.bundle, err = bundle.Read(archive, c.Keys)
	}
	if err == nil {
		var src *sources
		if src, err = p.read(); err == nil {
			err = p.load(ctx, src)
		}
	}
	if err != nil {
		p.archived.bundle = nil
		p.config.Log.Error("the policy bundle kept from before the restart is not used", "file", c.Kept, "error", err)
	}
	return ctx.Err()
}

// unavailable makes policies deny everything until there is one.
func (p *Policies) unavailable(ctx context.Context) error {
	src, err := readSources("", p.config.Org, nil)
	if err != nil {
		return err
	}
	rev, err := compile(ctx, src, p.config)
	if err != nil {
		return err
	}
	c := p.config.Bundle
	rev.id = ""
	rev.unavailable = fmt.Sprintf("there is no policy yet: %v", c.named(fmt.Errorf("%s: %w", c.Server, errNotFetched)))
	p.current.Store(rev)
	p.status.Store(&Status{Err: errors.New(rev.unavailable), Failed: p.config.Now()})
	return nil
}

// Fetch asks the server once for a bundle that is new, and lets it decide if it
// proves itself; if not, or if there is none to be had, everything stays as it
// is. Without a server it does nothing.
func (p *Policies) Fetch(ctx context.Context) error {
	c := p.config.Bundle
	if c == nil || c.Server == nil {
		return nil
	}
	p.fetching.Lock()
	defer p.fetching.Unlock()
	archive, tag, err := c.Server.Fetch(ctx, p.archived.tag)
	var b *bundle.Bundle
	if err == nil {
		if b, err = bundle.Read(archive, c.Keys); err != nil {
			err = fmt.Errorf("%s: the bundle is refused: %w", c.Server, err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("fetch policy: %w", ctx.Err())
	}
	err = c.named(err)
	known := errors.Is(err, bundle.ErrNotModified)
	if known {
		err = nil
	}
	p.tell(err)
	if err != nil || known {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.archived.bundle, p.archived.tag = b, tag
	if c.Kept != "" {
		p.archived.unkept = archive
	}
	src, err := p.read()
	if err != nil {
		return p.failed(err)
	}
	return p.load(ctx, src)
}

// keep keeps the bundle that decides, if it isn't kept yet.
func (p *Policies) keep() {
	a := &p.archived
	if a.unkept == nil {
		return
	}
	err := bundle.Keep(p.config.Bundle.Kept, a.unkept)
	if err == nil {
		a.unkept, a.notKept = nil, ""
		return
	}
	if text := cause(err); text != a.notKept {
		a.notKept = text
		p.config.Log.Warn("the policy bundle can't be kept for the next start", "file", p.config.Bundle.Kept, "error", err)
	}
}

// tell keeps and reports what the last fetch met, once for as long as it stays
// the same.
func (p *Policies) tell(err error) {
	before := p.unfetched.Load()
	switch {
	case err == nil && before != nil:
		p.unfetched.Store(nil)
		p.config.Log.Info("policy bundles can be fetched again", "server", p.config.Bundle.Server.String())
	case err != nil && (before == nil || before.err.Error() != err.Error()):
		p.unfetched.Store(&unfetched{err: err, since: p.config.Now()})
		p.config.Log.Error("the policy bundle can't be fetched; what there is of policy stays", "error", err)
	}
}

// Poll fetches until ctx ends: now, then at every interval, and sooner after a
// failure.
func (p *Policies) Poll(ctx context.Context, interval time.Duration) {
	if c := p.config.Bundle; c == nil || c.Server == nil {
		return
	}
	failures := 0
	for {
		_ = p.Fetch(ctx) // in Status and in the log
		wait := interval
		if p.unfetched.Load() == nil {
			failures = 0
		} else {
			wait = min(wait, time.Second<<min(failures, 16))
			failures++
		}
		// Gateways that were started together don't ask together.
		timer := time.NewTimer(wait + time.Duration(rand.Int64N(int64(wait)/5+1)) - wait/10)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
