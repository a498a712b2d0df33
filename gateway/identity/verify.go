package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Verify returns who is at the other end of a connection, by the bundles as
// they are and at the time given, whatever held when it was made.
func Verify(state tls.ConnectionState, bundles x509bundle.Source, now time.Time) (spiffeid.ID, error) {
	id, _, err := verify(state.PeerCertificates, bundles, now)
	return id, err
}

// Verifier is Verify for every request: what it found once is remembered until
// the first certificate of the chain expires or the bundle changes.
type Verifier struct {
	bundles *Bundles
	clock   func() time.Time

	mu sync.Mutex
	// known is at most maxVerified long.
	known map[[sha256.Size]byte]verified
}

// verified is what was found of one chain of certificates.
type verified struct {
	id     spiffeid.ID
	bundle *x509bundle.Bundle // that it was verified with; never modified
	window validity
}

// maxVerified bounds the memory of a Verifier to some hundred KiB; there are
// rarely more peers than that at once.
const maxVerified = 1024

// NewVerifier returns a Verifier that trusts bundles. A nil clock is time.Now.
func NewVerifier(bundles *Bundles, clock func() time.Time) *Verifier {
	return &Verifier{bundles: bundles, clock: clockOr(clock), known: map[[sha256.Size]byte]verified{}}
}

// Verify returns who is at the other end of a connection, as of now. It never
// waits; the context is there for the doors, whose interfaces allow waiting.
func (v *Verifier) Verify(_ context.Context, state tls.ConnectionState) (spiffeid.ID, error) {
	now := v.clock()
	key := fingerprint(state.PeerCertificates)
	v.mu.Lock()
	found, ok := v.known[key]
	v.mu.Unlock()
	if ok && found.window.holds(now) {
		if bundle, err := v.bundles.GetX509BundleForTrustDomain(found.id.TrustDomain()); err == nil && bundle == found.bundle {
			return found.id, nil
		}
	}
	pinned := &pinnedBundle{source: v.bundles}
	id, chains, err := verify(state.PeerCertificates, pinned, now)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		delete(v.known, key)
		return spiffeid.ID{}, err
	}
	if len(v.known) >= maxVerified {
		clear(v.known)
	}
	v.known[key] = verified{id: id, bundle: pinned.used, window: validityOf(chains[0])}
	return id, nil
}

// verify returns the SPIFFE ID that a chain of certificates proves, and the
// chains to an authority of its trust domain, of which there is at least one.
func verify(certs []*x509.Certificate, bundles x509bundle.Source, now time.Time) (spiffeid.ID, [][]*x509.Certificate, error) {
	if len(certs) == 0 {
		return spiffeid.ID{}, nil, errors.New("the peer showed no certificate; an X.509-SVID is required")
	}
	id, chains, err := x509svid.Verify(certs, bundles, x509svid.WithTime(now))
	switch {
	case err != nil && id.IsZero():
		return spiffeid.ID{}, nil, fmt.Errorf("the peer's certificate is not an X.509-SVID: %w", err)
	case err != nil:
		return spiffeid.ID{}, nil, fmt.Errorf("the peer claims to be %s: %w", id, err)
	case id.Path() == "":
		return spiffeid.ID{}, nil, fmt.Errorf("the peer's certificate names the trust domain %s and no workload in it", id.TrustDomain())
	}
	return id, chains, nil
}

// pinnedBundle remembers which bundle was used.
type pinnedBundle struct {
	source x509bundle.Source
	used   *x509bundle.Bundle
}

func (p *pinnedBundle) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	bundle, err := p.source.GetX509BundleForTrustDomain(td)
	p.used = bundle
	return bundle, err
}

// validity is the time in which all certificates of a chain are valid, both
// ends included.
type validity struct{ notBefore, notAfter time.Time }

func validityOf(chain []*x509.Certificate) validity {
	v := validity{chain[0].NotBefore, chain[0].NotAfter}
	for _, cert := range chain[1:] {
		if cert.NotBefore.After(v.notBefore) {
			v.notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(v.notAfter) {
			v.notAfter = cert.NotAfter
		}
	}
	return v
}

func (v validity) holds(now time.Time) bool {
	return !now.Before(v.notBefore) && !now.After(v.notAfter)
}

func fingerprint(certs []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	for _, cert := range certs {
		h.Write(cert.Raw) // DER says where it ends
	}
	return [sha256.Size]byte(h.Sum(nil))
}
