package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// JWTConfig is which bearer tokens are believed (JSON Web Token, RFC 7519;
// practices of RFC 8725). Every token must carry exp; nbf counts where
// it is there.
type JWTConfig struct {
	// JWKS is where the issuer's public keys are (JSON Web Key Set, RFC 7517):
	// an https URL, or http on loopback, or the path of a file.
	JWKS string
	// Issuer and Audience must be those of the token (iss, and one of aud).
	Issuer, Audience string
	// Algorithms are the accepted signature algorithms; only asymmetric ones
	// can be. Empty: RS256, PS256, ES256 and EdDSA with their larger siblings.
	Algorithms []string
	// SubjectClaim is the claim that names the user. Empty: sub.
	SubjectClaim string
	// Leeway is how far the issuer's clock may be off. Zero: 30 seconds.
	Leeway time.Duration
	// Refresh is how often the JWKS is read again. Zero: 5 minutes.
	Refresh time.Duration
	// MinRefresh is the least time between two readings, however many tokens
	// come with a key we don't know. Zero: 10 seconds.
	MinRefresh time.Duration
	// WebRoots are the authorities of the JWKS URL. Nil: the system's.
	WebRoots *x509.CertPool
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// asymmetric are the algorithms of which the verifier holds no secret. An HMAC
// "verified" with a public key is how tokens are forged.
func asymmetric() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// maxToken bounds the work a stranger's token makes.
const maxToken = 16 << 10

// tokens verifies bearer tokens.
type tokens struct {
	parser *jwt.Parser
	claim  string
	keys   *keySet
}

func newTokens(config JWTConfig) (*tokens, error) {
	if config.JWKS == "" || config.Issuer == "" || config.Audience == "" {
		return nil, errors.New("the JWKS, the issuer and the audience are required")
	}
	if len(config.Algorithms) == 0 {
		config.Algorithms = asymmetric()
	}
	for _, alg := range config.Algorithms {
		if !slices.Contains(asymmetric(), alg) {
			return nil, fmt.Errorf("the algorithm %q is not accepted; want some of %v", alg, asymmetric())
		}
	}
	if config.Leeway < 0 || config.Leeway > 5*time.Minute {
		return nil, fmt.Errorf("a leeway of %s is not accepted; at most 5m", config.Leeway)
	}
	if err := checkJWKSAddress(config.JWKS); err != nil {
		return nil, err
	}
	t := &tokens{
		claim: config.SubjectClaim,
		parser: jwt.NewParser(
			jwt.WithValidMethods(config.Algorithms),
			jwt.WithIssuer(config.Issuer),
			jwt.WithAudience(config.Audience),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(durationOr(config.Leeway, 30*time.Second)),
			jwt.WithTimeFunc(clockOr(config.Clock)),
			jwt.WithStrictDecoding(),
		),
	}
	if t.claim == "" {
		t.claim = "sub"
	}
	t.keys = newKeySet(config)
	return t, nil
}

// isURL tells the address of a JWKS from a path.
func isURL(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	return u, err == nil && u.Scheme != "" && u.Host != ""
}

func checkJWKSAddress(jwks string) error {
	u, ok := isURL(jwks)
	if !ok || u.Scheme == "https" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("the JWKS %q: want an https URL; keys had over %s could be anybody's", u.Redacted(), u.Scheme)
}

// subject returns the user that a token names, if the token is good.
func (t *tokens) subject(ctx context.Context, token string) (string, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	claims := jwt.MapClaims{}
	_, err := t.parser.ParseWithClaims(token, claims, func(token *jwt.Token) (any, error) {
		if _, there := token.Header["crit"]; there {
			return nil, errors.New("it has critical extensions, of which we know none") // RFC 7515, 4.1.11
		}
		kid, isString := token.Header["kid"].(string)
		if _, there := token.Header["kid"]; there && !isString {
			return nil, errors.New("its kid is not a string")
		}
		return t.keys.key(ctx, kid, token.Method.Alg())
	})
	if err != nil {
		return "", fmt.Errorf("the bearer token is refused: %w", err)
	}
	subject, ok := claims[t.claim].(string)
	if !ok || subject == "" {
		return "", fmt.Errorf("the bearer token has no claim %q that names the user", t.claim)
	}
	return subject, nil
}
