package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// AuthConfig is how our own users are recognized. Each way is off until it is
// configured; with the zero AuthConfig nobody is recognized and nobody is
// refused, which is for a door on loopback only.
type AuthConfig struct {
	// SVID recognizes workloads by their mTLS client certificates.
	SVID *SVIDAuth
	// JWT recognizes users by bearer tokens.
	JWT *JWTConfig
	// TrustedProxies are the addresses from which the header X-Grafana-User is
	// believed. It is the address of the connection itself that counts, never
	// one in a header.
	TrustedProxies []netip.Prefix
}

// SVIDAuth recognizes workloads of our own trust domain.
type SVIDAuth struct {
	TrustDomain spiffeid.TrustDomain
	// Verify returns who is at the other end of a connection: that of a
	// Verifier.
	Verify func(context.Context, tls.ConnectionState) (spiffeid.ID, error)
}

// ProxyUserHeader is what Grafana sends as the name of the user who is logged
// in, with `send_user_header = true`.
const ProxyUserHeader = "X-Grafana-User"

// Authenticator tells which of our own users sent a request.
type Authenticator struct {
	config AuthConfig
	tokens *tokens // nil when tokens are not accepted
}

// NewAuthenticator begins to fetch the JWKS, if there is one, and doesn't wait
// for it. The error is about the configuration.
func NewAuthenticator(config AuthConfig) (*Authenticator, error) {
	if s := config.SVID; s != nil && (s.TrustDomain.IsZero() || s.Verify == nil) {
		return nil, errors.New("authentication by SVID: our trust domain and a verifier are required")
	}
	for _, prefix := range config.TrustedProxies {
		if !prefix.IsValid() || prefix.Masked() != prefix || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("trusted proxy %q: want a network such as 10.1.2.0/24 or an address such as 10.1.2.3/32", prefix)
		}
	}
	a := &Authenticator{config: config}
	if config.JWT != nil {
		var err error
		if a.tokens, err = newTokens(*config.JWT); err != nil {
			return nil, fmt.Errorf("authentication by JWT: %w", err)
		}
	}
	return a, nil
}

// Configured says whether any way to recognize a user is on. Without one the
// door must not be open beyond loopback.
func (a *Authenticator) Configured() bool {
	return a.config.SVID != nil || a.tokens != nil || len(a.config.TrustedProxies) > 0
}

// TrustsLoopback says whether a proxy on this machine is believed: then so is
// whatever else on it makes a connection to the door.
func (a *Authenticator) TrustsLoopback() bool {
	return slices.ContainsFunc(a.config.TrustedProxies, func(trusted netip.Prefix) bool {
		return slices.ContainsFunc(loopback, trusted.Overlaps)
	})
}

// loopback is IPv4's and IPv6's (RFC 6890).
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Ready returns nil when users can be recognized: when JWTs are accepted and
// their keys are not known yet, it says why.
func (a *Authenticator) Ready() error {
	if a.tokens == nil {
		return nil
	}
	return a.tokens.keys.ready()
}

// Close stops fetching the JWKS.
func (a *Authenticator) Close() error {
	if a.tokens != nil {
		a.tokens.keys.close()
	}
	return nil
}

// ErrUnauthenticated is in the error of every request whose sender is not
// recognized. The error says why, for our own log and the user; it holds
// nothing of a token.
var ErrUnauthenticated = errors.New("not authenticated")

// User returns who sent the request, or an ErrUnauthenticated. What
// the request shows of a configured kind must be good: a bad token is not
// forgiven for a good certificate, and two proofs must name the same user.
// What it shows of a kind that isn't configured is not looked at. With nothing
// configured everybody is the zero User.
func (a *Authenticator) User(r *http.Request) (tenants.User, error) {
	if !a.Configured() {
		return tenants.User{}, nil
	}
	var user tenants.User
	for _, way := range []func(*http.Request) (tenants.User, error){a.bySVID, a.byJWT, a.byProxy} { // strongest first
		found, err := way(r)
		switch {
		case err != nil:
			return tenants.User{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
		case found == tenants.User{}:
		case user == tenants.User{}:
			user = found
		case found.Subject != user.Subject:
			return tenants.User{}, fmt.Errorf("%w: the request names two users, %q (%s) and %q (%s)",
				ErrUnauthenticated, user.Subject, user.Proof, found.Subject, found.Proof)
		}
	}
	if user == (tenants.User{}) {
		return tenants.User{}, fmt.Errorf("%w: the request shows nothing we accept: %s", ErrUnauthenticated, a.accepted())
	}
	return user, nil
}

// accepted lists what a request may show.
func (a *Authenticator) accepted() string {
	var ways []string
	if a.config.SVID != nil {
		ways = append(ways, "a client certificate of our trust domain")
	}
	if a.tokens != nil {
		ways = append(ways, "a bearer token")
	}
	if len(a.config.TrustedProxies) > 0 {
		ways = append(ways, ProxyUserHeader+" from a trusted proxy")
	}
	return strings.Join(ways, ", or ")
}

// The ways return the zero User for a request that doesn't try them.

func (a *Authenticator) bySVID(r *http.Request) (tenants.User, error) {
	s := a.config.SVID
	if s == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return tenants.User{}, nil
	}
	id, err := s.Verify(r.Context(), *r.TLS)
	if err != nil {
		return tenants.User{}, err
	}
	if !id.MemberOf(s.TrustDomain) {
		return tenants.User{}, fmt.Errorf("the client is %s; this door is for workloads of %s, partners have another", id, s.TrustDomain)
	}
	return newUser(id.String(), tenants.ProvenBySVID)
}

func (a *Authenticator) byJWT(r *http.Request) (tenants.User, error) {
	headers := r.Header.Values("Authorization")
	if a.tokens == nil || len(headers) == 0 {
		return tenants.User{}, nil
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return tenants.User{}, errors.New(`the header Authorization is malformed: want one, "Bearer" and a token`)
	}
	subject, err := a.tokens.subject(r.Context(), strings.TrimLeft(token, " "))
	if err != nil {
		return tenants.User{}, err
	}
	return newUser(subject, tenants.ProvenByJWT)
}

func (a *Authenticator) byProxy(r *http.Request) (tenants.User, error) {
	names := r.Header.Values(ProxyUserHeader)
	if len(names) == 0 || !a.fromTrustedProxy(r) {
		return tenants.User{}, nil
	}
	if len(names) > 1 {
		return tenants.User{}, fmt.Errorf("the header %s is there %d times", ProxyUserHeader, len(names))
	}
	return newUser(names[0], tenants.StatedByProxy)
}

func (a *Authenticator) fromTrustedProxy(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := remote.Addr().Unmap().WithZone("")
	for _, prefix := range a.config.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// maxSubject is the length of tenants.User.Subject.
const maxSubject = 256

func newUser(subject string, proof tenants.UserProof) (tenants.User, error) {
	if subject == "" || !utf8.ValidString(subject) || utf8.RuneCountInString(subject) > maxSubject {
		return tenants.User{}, fmt.Errorf("the user's name (%s) must have 1 to %d characters", proof, maxSubject)
	}
	for _, r := range subject {
		if !unicode.IsGraphic(r) {
			return tenants.User{}, fmt.Errorf("the user's name (%s) holds a character that can't be printed", proof)
		}
	}
	return tenants.User{Subject: subject, Proof: proof}, nil
}
