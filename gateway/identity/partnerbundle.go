package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// bundleSource is where a bundle comes from, in a form that can be compared
// and written down: what was known of one source isn't believed of another.
type bundleSource struct {
	Endpoint   string                `json:"endpoint,omitempty"`
	Profile    tenants.BundleProfile `json:"profile,omitempty"`
	EndpointID string                `json:"endpoint_id,omitempty"`
	File       string                `json:"file,omitempty"`
}

func sourceOf(a tenants.Agreement) bundleSource {
	s := bundleSource{Profile: a.Bundle.Profile, File: a.Bundle.File}
	if a.Bundle.Endpoint != nil {
		s.Endpoint = a.Bundle.Endpoint.String()
	}
	if !a.Bundle.EndpointID.IsZero() {
		s.EndpointID = a.Bundle.EndpointID.String()
	}
	return s
}

// partnerBundle keeps the bundle of one partner fresh. It implements
// x509bundle.Source for the one trust domain, with which the partner's
// https_spiffe endpoint is verified.
type partnerBundle struct {
	all        *Bundles
	partner    tenants.OrgID
	td         spiffeid.TrustDomain
	source     bundleSource
	endpointID spiffeid.ID
	cancel     context.CancelFunc

	// fileSum is the digest, in hexadecimal, of the file that was taken last.
	// Owned by the goroutine of run.
	fileSum string

	mu     sync.RWMutex
	bundle x509Bundle // zero until there is one; replaced, never modified
	status BundleStatus
}

func newPartnerBundle(all *Bundles, a tenants.Agreement, cancel context.CancelFunc) *partnerBundle {
	return &partnerBundle{
		all:        all,
		partner:    a.Partner,
		td:         a.TrustDomain,
		source:     sourceOf(a),
		endpointID: a.Bundle.EndpointID,
		cancel:     cancel,
		status:     BundleStatus{Partner: a.Partner, TrustDomain: a.TrustDomain},
	}
}

func (p *partnerBundle) get() (x509Bundle, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.bundle.spiffe == nil {
		reason := p.status.Err
		if reason == nil {
			reason = errNothingYet
		}
		return x509Bundle{}, fmt.Errorf("the bundle of %s, partner %s, is not known yet: %w", p.td, p.partner, reason)
	}
	return p.bundle, nil
}

func (p *partnerBundle) getStatus() BundleStatus {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.status
}

// run refreshes until ctx ends.
func (p *partnerBundle) run(ctx context.Context) {
	p.restore()
	failures := 0
	for {
		err := p.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		p.note(err)
		failures++
		if err == nil {
			failures = 0
		}
		timer := time.NewTimer(p.wait(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// wait is how long until the next refresh, after so many failures in a row.
func (p *partnerBundle) wait(failures int) time.Duration {
	c := p.all.config
	if p.source.Endpoint == "" {
		return c.FileEvery
	}
	if failures > 0 {
		return min(c.MinRefresh<<min(failures-1, 10), c.Refresh)
	}
	if bundle, err := p.get(); err == nil {
		if hint, ok := bundle.spiffe.RefreshHint(); ok && hint > 0 {
			return max(min(hint, c.Refresh), c.MinRefresh)
		}
	}
	return c.Refresh
}

func (p *partnerBundle) refresh(ctx context.Context) error {
	if p.source.Endpoint == "" {
		_, err := p.takeFile()
		return err
	}
	if p.source.File != "" {
		// The bundle that an https_spiffe endpoint is first verified with, and
		// again when somebody put another one there; not whenever a fetch
		// fails, or an authority withdrawn since would be believed for ever.
		taken, err := p.takeFile()
		switch {
		case err != nil:
			p.all.config.Logger.Warn("the agreement's bundle file can't be used", "trust_domain", p.td.Name(), "error", err)
		case taken:
			p.all.config.Logger.Info("bundle read from the agreement's file", "trust_domain", p.td.Name(), "file", p.source.File)
		}
		if _, none := p.get(); none != nil && err != nil {
			return err
		}
	}
	data, err := p.fetch(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.take(data)
}

// fetch asks the endpoint for the bundle.
func (p *partnerBundle) fetch(ctx context.Context) ([]byte, error) {
	c := p.all.config
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout)
	defer cancel()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.WebRoots}
	if p.source.Profile == tenants.HTTPSSPIFFE {
		if _, err := p.get(); err != nil {
			return nil, fmt.Errorf("nothing is known yet to verify the bundle endpoint of %s with; put the partner's bundle in a file and name it in the agreement as bundle.file", p.td)
		}
		config = expectPeer(p, c.Clock, p.endpointID)
	}
	return fetch(ctx, p.source.Endpoint, config)
}

// takeFile reads the file and takes it if it isn't the one taken last.
func (p *partnerBundle) takeFile() (taken bool, err error) {
	data, err := readFile(p.source.File)
	if err != nil {
		return false, err
	}
	digest := sha256.Sum256(data)
	sum := hex.EncodeToString(digest[:])
	if sum == p.fileSum {
		return false, nil
	}
	old := p.fileSum
	p.fileSum = sum
	if err := p.take(data); err != nil {
		p.fileSum = old
		return false, fmt.Errorf("%s: %w", p.source.File, err)
	}
	return true, nil
}

// take makes a bundle the known one, if it can be this partner's.
func (p *partnerBundle) take(data []byte) error {
	bundle, err := ParseBundle(p.td, data)
	if err != nil {
		return err
	}
	if err := p.believe(bundle); err != nil {
		return err
	}
	p.persist(bundle)
	return nil
}

func (p *partnerBundle) believe(bundle *spiffebundle.Bundle) error {
	authorities := bundle.X509Authorities()
	for _, authority := range authorities {
		if p.all.isOurs(authority) {
			return fmt.Errorf("the bundle of %s: one of its authorities is our own; a partner can't supply the bundle of our trust domain", p.td)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bundle.spiffe.Equal(bundle) {
		return nil
	}
	p.bundle = newX509Bundle(bundle)
	p.status.Known, p.status.Authorities = true, len(authorities)
	log := p.all.config.Logger.Info
	if len(authorities) == 0 {
		log = p.all.config.Logger.Warn // SPIFFE_Trust_Domain_and_Bundle: all keys are revoked
	}
	log("bundle taken", "trust_domain", p.td.Name(), "authorities", len(authorities))
	return nil
}

// note records how a refresh went, and logs what is new about it.
func (p *partnerBundle) note(err error) {
	p.mu.Lock()
	last := p.status.Err
	p.status.Err = err
	if err == nil {
		p.status.Refreshed = p.all.config.Clock()
	} else {
		p.status.Failures++
	}
	known := p.status.Known
	p.mu.Unlock()
	switch {
	case err == nil && last != nil:
		p.all.config.Logger.Info("bundle can be refreshed again", "trust_domain", p.td.Name())
	case err != nil && (last == nil || last.Error() != err.Error()):
		p.all.config.Logger.Error("bundle can't be refreshed; the last known one is kept", "trust_domain", p.td.Name(), "known", known, "error", err)
	}
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (p *partnerBundle) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if td != p.td {
		return nil, fmt.Errorf("want a workload of %s, not of %s", p.td, td)
	}
	bundle, err := p.get()
	return bundle.x509, err
}
