package identity

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// current is what a Source has at the moment. The three sources embed it and
// differ only in who fills it.
type current struct {
	trustDomain spiffeid.TrustDomain
	clock       func() time.Time

	mu     sync.RWMutex
	svid   *x509svid.SVID       // nil until there is one
	bundle *spiffebundle.Bundle // nil until there is one; replaced, never modified
	err    error                // why the last update failed; nil after a good one
}

// GetX509SVID implements x509svid.Source.
func (c *current) GetX509SVID() (*x509svid.SVID, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.svid == nil {
		return nil, fmt.Errorf("our gateway has no SVID yet: %w", c.reason())
	}
	if notAfter := c.svid.Certificates[0].NotAfter; c.clock().After(notAfter) {
		return nil, fmt.Errorf("our SVID %s expired at %s and no newer one came: %w",
			c.svid.ID, notAfter.UTC().Format(time.RFC3339), c.reason())
	}
	return c.svid, nil
}

// GetBundleForTrustDomain implements spiffebundle.Source.
func (c *current) GetBundleForTrustDomain(td spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	if td != c.trustDomain {
		return nil, fmt.Errorf("our source has the bundle of %s, not of %s", c.trustDomain, td)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.bundle == nil {
		return nil, fmt.Errorf("our trust domain %s has no bundle yet: %w", td, c.reason())
	}
	return c.bundle, nil
}

// Ready says whether there is a valid SVID and a bundle.
func (c *current) Ready() error {
	if _, err := c.GetX509SVID(); err != nil {
		return err
	}
	_, err := c.GetBundleForTrustDomain(c.trustDomain)
	return err
}

// set takes a new SVID and bundle. A bundle equal to the one there doesn't
// replace it, so that what was verified against it stays verified.
func (c *current) set(svid *x509svid.SVID, bundle *spiffebundle.Bundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.svid, c.err = svid, nil
	if c.bundle == nil || !c.bundle.Equal(bundle) {
		c.bundle = bundle
	}
}

// fail remembers why an update failed; what was there stays.
func (c *current) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

var errNothingYet = errors.New("the first update is still awaited")

// reason is called with mu held.
func (c *current) reason() error {
	if c.err == nil {
		return errNothingYet
	}
	return c.err
}
