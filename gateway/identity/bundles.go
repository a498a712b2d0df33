package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// BundlesConfig is how bundles are had and kept.
type BundlesConfig struct {
	// TrustDomain is ours; its bundle comes from Own and from nowhere else.
	TrustDomain spiffeid.TrustDomain
	// Own is our Source.
	Own spiffebundle.Source
	// Refresh is how often a partner's bundle endpoint is asked, unless the
	// bundle hints at less (spiffe_refresh_hint). Zero: 5 minutes.
	Refresh time.Duration
	// MinRefresh is the least time between two questions to an endpoint,
	// whatever the bundle hints at; after a failure too. Zero: 10 seconds.
	MinRefresh time.Duration
	// FetchTimeout bounds one question to an endpoint. Zero: 15 seconds.
	FetchTimeout time.Duration
	// FileEvery is how often bundle files are looked at. Zero: 5 seconds.
	FileEvery time.Duration
	// CacheDir is a folder for the partners' last known bundles, so that a
	// restart while a partner is down finds them. Empty: they are not kept.
	CacheDir string
	// WebRoots are the authorities of https_web endpoints. Nil: the system's.
	WebRoots *x509.CertPool
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: there are none.
	Registerer prometheus.Registerer
}

// Bundles is whom we trust: the bundle of our own trust domain and of every
// partner's. A trust domain's bundle comes from the one source its agreement
// names, so that no partner can speak for another or for us. What was known
// last is kept while a source is down; its authorities expire by themselves.
//
// It implements x509bundle.Source and spiffebundle.Source. The bundles it
// returns are not modified later, and equal pointers are equal bundles.
type Bundles struct {
	config     BundlesConfig
	ctx        context.Context
	cancel     context.CancelFunc
	done       sync.WaitGroup
	collectors []prometheus.Collector

	mu       sync.RWMutex
	closed   bool
	partners map[spiffeid.TrustDomain]*partnerBundle
	own      x509Bundle
}

// x509Bundle is a SPIFFE bundle with the view of it that TLS needs.
type x509Bundle struct {
	spiffe *spiffebundle.Bundle
	x509   *x509bundle.Bundle
}

func newX509Bundle(b *spiffebundle.Bundle) x509Bundle { return x509Bundle{b, b.X509Bundle()} }

// NewBundles returns the bundles of our own trust domain alone; see SetPartners.
func NewBundles(config BundlesConfig) (*Bundles, error) {
	if config.TrustDomain.IsZero() || config.Own == nil {
		return nil, errors.New("bundles: our own trust domain and its source are required")
	}
	config.Refresh = durationOr(config.Refresh, 5*time.Minute)
	config.MinRefresh = min(durationOr(config.MinRefresh, 10*time.Second), config.Refresh)
	config.FetchTimeout = durationOr(config.FetchTimeout, 15*time.Second)
	config.FileEvery = durationOr(config.FileEvery, 5*time.Second)
	config.Clock = clockOr(config.Clock)
	config.Logger = loggerOr(config.Logger)
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bundles{config: config, ctx: ctx, cancel: cancel, partners: map[spiffeid.TrustDomain]*partnerBundle{}}
	if config.Registerer != nil {
		c := bundleCollector{b}
		if err := config.Registerer.Register(c); err != nil {
			cancel()
			return nil, fmt.Errorf("bundles: %w", err)
		}
		b.collectors = append(b.collectors, c)
	}
	return b, nil
}

// SetPartners makes the partners those of the agreements: bundles of others
// are forgotten at once, new ones begin to be fetched, and those whose source
// is as before stay untouched. It doesn't wait for any of them.
//
// The error names the agreements whose bundle can't be had the way they say;
// the others are in force all the same.
func (b *Bundles) SetPartners(agreements []tenants.Agreement) error {
	wanted := map[spiffeid.TrustDomain]tenants.Agreement{}
	var problems error
	for _, a := range agreements {
		if err := b.check(a, wanted); err != nil {
			problems = errors.Join(problems, fmt.Errorf("agreement with %s: %w", a.Partner, err))
			continue
		}
		wanted[a.TrustDomain] = a
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("bundles: closed")
	}
	for td, p := range b.partners {
		a, ok := wanted[td]
		if ok && p.source == sourceOf(a) {
			continue
		}
		p.cancel()
		delete(b.partners, td)
	}
	for td, a := range wanted {
		if b.partners[td] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(b.ctx)
		p := newPartnerBundle(b, a, cancel)
		b.partners[td] = p
		b.done.Go(func() { p.run(ctx) })
	}
	return problems
}

// check refuses an agreement whose bundle we wouldn't believe.
func (b *Bundles) check(a tenants.Agreement, wanted map[spiffeid.TrustDomain]tenants.Agreement) error {
	first, taken := wanted[a.TrustDomain]
	src := a.Bundle
	switch {
	case a.TrustDomain.IsZero():
		return errors.New("names no trust domain")
	case a.TrustDomain == b.config.TrustDomain:
		return fmt.Errorf("the trust domain %s is our own; no partner can supply its bundle", a.TrustDomain)
	case taken:
		return fmt.Errorf("the trust domain %s is that of the agreement with %s already", a.TrustDomain, first.Partner)
	case src.Endpoint == nil && src.File == "":
		return errors.New("names neither a bundle endpoint nor a bundle file")
	case src.Endpoint == nil:
		return nil
	case src.Endpoint.Scheme != "https":
		return fmt.Errorf("the bundle endpoint %s is not an https URL", src.Endpoint.Redacted())
	case src.Profile != tenants.HTTPSWeb && src.Profile != tenants.HTTPSSPIFFE:
		return fmt.Errorf("the bundle endpoint's profile %q is not known: want https_web or https_spiffe", src.Profile)
	case src.Profile == tenants.HTTPSSPIFFE && !src.EndpointID.MemberOf(a.TrustDomain):
		return fmt.Errorf("the bundle endpoint's SPIFFE ID %q is not in the trust domain %s; a partner supplies its own bundle only", src.EndpointID, a.TrustDomain)
	}
	return nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (b *Bundles) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	found, err := b.get(td)
	return found.x509, err
}

// GetBundleForTrustDomain implements spiffebundle.Source.
func (b *Bundles) GetBundleForTrustDomain(td spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	found, err := b.get(td)
	return found.spiffe, err
}

func (b *Bundles) get(td spiffeid.TrustDomain) (x509Bundle, error) {
	if td == b.config.TrustDomain {
		return b.getOwn()
	}
	b.mu.RLock()
	p := b.partners[td]
	b.mu.RUnlock()
	if p == nil {
		return x509Bundle{}, fmt.Errorf("there is no agreement with the trust domain %s", td)
	}
	return p.get()
}

func (b *Bundles) getOwn() (x509Bundle, error) {
	current, err := b.config.Own.GetBundleForTrustDomain(b.config.TrustDomain)
	if err != nil {
		return x509Bundle{}, err
	}
	b.mu.RLock()
	own := b.own
	b.mu.RUnlock()
	if own.spiffe == current {
		return own, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.own.spiffe != current {
		b.own = newX509Bundle(current)
	}
	return b.own, nil
}

// isOurs says whether an authority is one of our own trust domain's.
func (b *Bundles) isOurs(authority *x509.Certificate) bool {
	own, err := b.getOwn()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(own.x509.X509Authorities(), func(ours *x509.Certificate) bool {
		return string(ours.RawSubjectPublicKeyInfo) == string(authority.RawSubjectPublicKeyInfo)
	})
}

// BundleStatus is how a partner's bundle fares.
type BundleStatus struct {
	Partner     tenants.OrgID
	TrustDomain spiffeid.TrustDomain
	// Known says whether there is a bundle, from the source or kept from before.
	Known bool
	// Authorities are the X.509 authorities of the bundle.
	Authorities int
	// Refreshed is when the source last gave a good bundle; zero: not since we
	// started.
	Refreshed time.Time
	// Failures counts attempts that failed since we started.
	Failures int
	// Err is why the last attempt failed; nil after a good one.
	Err error
}

// Status returns how every partner's bundle fares, by trust domain.
func (b *Bundles) Status() []BundleStatus {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]BundleStatus, 0, len(b.partners))
	for _, p := range b.partners {
		all = append(all, p.getStatus())
	}
	slices.SortFunc(all, func(a, b BundleStatus) int {
		return strings.Compare(a.TrustDomain.Name(), b.TrustDomain.Name())
	})
	return all
}

// Close stops fetching and waits for it. What is known stays readable.
func (b *Bundles) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.done.Wait()
	for _, c := range b.collectors {
		b.config.Registerer.Unregister(c)
	}
	return nil
}
