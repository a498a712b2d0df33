// Package identity is how a gateway shows who it is and finds out who others
// are. Workloads are named by SPIFFE IDs and prove them with X.509-SVIDs; an
// organization is a SPIFFE trust domain.
//
//   - A Source holds our own SVID and our trust domain's bundle: from the
//     SPIFFE Workload API, from files, or from a development CA.
//   - Bundles holds whom we trust: our own bundle and every partner's, kept
//     fresh in the background.
//   - ServerTLS and ClientTLS make connections out of the two, and a Verifier
//     looks at the peer again on every request. A connection is refused once
//     an SVID it was made with expires: clients renew theirs before that.
//   - An Authenticator tells which of our own users sent an HTTP request.
//
// Nothing here waits for anybody at start: what isn't there yet is an error
// that says so, from Ready and from every use, until it is.
//
//	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
//	source, err := ca.Source(identity.DevSourceConfig{ID: gatewayID, TTL: time.Hour})
//	bundles, err := identity.NewBundles(identity.BundlesConfig{TrustDomain: acme, Own: source})
//	err = bundles.SetPartners(agreements)
//	server := identity.ServerTLS(source, bundles, time.Now)
//
// The specifications are SPIFFE's: SPIFFE-ID, X509-SVID, SPIFFE_Workload_API,
// SPIFFE_Trust_Domain_and_Bundle and SPIFFE_Federation, at
// https://github.com/spiffe/spiffe/tree/main/standards.
package identity

import (
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Source is where our own identity comes from. Its methods never block on the
// network and may be called at once from many goroutines.
type Source interface {
	// GetX509SVID returns our current SVID, which the caller must not modify,
	// or an error that says why there is none that is valid now.
	x509svid.Source
	// GetBundleForTrustDomain returns the bundle of our own trust domain and
	// refuses every other. The bundle is not modified later: a change is
	// another bundle, so that equal pointers are equal bundles.
	spiffebundle.Source
	// Ready returns nil when there is a valid SVID and a bundle. Its error is
	// for an operator.
	Ready() error
	// Close stops the background work and waits for it. What was there stays
	// readable.
	Close() error
}

func clockOr(clock func() time.Time) func() time.Time {
	if clock == nil {
		return time.Now
	}
	return clock
}

func loggerOr(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return logger
}

func durationOr(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
