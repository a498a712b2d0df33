package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

const (
	issuer   = "https://login.acme.example"
	audience = "parley"
)

// signer is a key of an issuer.
type signer struct {
	kid string
	key *ecdsa.PrivateKey
}

func newSigner(t *testing.T, kid string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return signer{kid, key}
}

func (s signer) token(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodES256, s.key, map[string]any{"kid": s.kid}, claims)
}

func sign(t *testing.T, method jwt.SigningMethod, key crypto.PrivateKey, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		token.Header[k] = v
	}
	s, err := token.SignedString(key)
	must(t, err)
	return s
}

// claims are those of a good token, changed as the pairs say; a nil value
// removes one.
func claims(pairs ...any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": "alice",
		"nbf": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for i := 0; i < len(pairs); i += 2 {
		name := fmt.Sprint(pairs[i])
		if c[name] = pairs[i+1]; pairs[i+1] == nil {
			delete(c, name)
		}
	}
	return c
}

func jwks(t *testing.T, signers ...signer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid, Algorithm: "ES256", Use: "sig"})
	}
	data, err := json.Marshal(set)
	must(t, err)
	return data
}

func jwksFile(t *testing.T, signers ...signer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	must(t, replaceFile(path, jwks(t, signers...)))
	return path
}

func jwtConfig(where string) *identity.JWTConfig {
	return &identity.JWTConfig{JWKS: where, Issuer: issuer, Audience: audience, Refresh: time.Hour, MinRefresh: time.Millisecond}
}

func authenticator(t *testing.T, config identity.AuthConfig) *identity.Authenticator {
	t.Helper()
	a, err := identity.NewAuthenticator(config)
	must(t, err)
	t.Cleanup(func() { must(t, a.Close()) })
	eventually(t, a.Ready)
	return a
}

// request comes from an address, with headers given in pairs.
func request(from string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/query", http.NoBody)
	r.RemoteAddr = from
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func bearing(token string) *http.Request {
	return request("192.0.2.1:4000", "Authorization", "Bearer "+token)
}

func TestJWT(t *testing.T) {
	key, stranger := newSigner(t, "k1"), newSigner(t, "k1")
	a := authenticator(t, identity.AuthConfig{JWT: jwtConfig(jwksFile(t, key))})
	x, err := x509PublicKey(key)
	must(t, err)
	now := time.Now()
	good := key.token(t, claims())
	for name, c := range map[string]struct {
		token string
		says  string // empty: the token is good
	}{
		"good":                       {good, ""},
		"one of several audiences":   {key.token(t, claims("aud", []string{"grafana", audience})), ""},
		"no kid, one key":            {sign(t, jwt.SigningMethodES256, key.key, nil, claims()), ""},
		"expired a moment ago":       {key.token(t, claims("exp", now.Add(-5*time.Second).Unix())), ""},
		"expired":                    {key.token(t, claims("exp", now.Add(-time.Minute).Unix())), "expired"},
		"not yet valid":              {key.token(t, claims("nbf", now.Add(time.Minute).Unix())), "not valid yet"},
		"no nbf, which is optional":  {key.token(t, claims("nbf", nil)), ""},
		"no exp":                     {key.token(t, claims("exp", nil)), "exp claim is required"},
		"wrong audience":             {key.token(t, claims("aud", "grafana")), "aud"},
		"no audience":                {key.token(t, claims("aud", nil)), "aud"},
		"wrong issuer":               {key.token(t, claims("iss", "https://login.globex.example")), "iss"},
		"no issuer":                  {key.token(t, claims("iss", nil)), "iss"},
		"no subject":                 {key.token(t, claims("sub", nil)), `no claim "sub"`},
		"subject not a string":       {key.token(t, claims("sub", 7)), "sub"},
		"subject too long":           {key.token(t, claims("sub", strings.Repeat("a", 257))), "1 to 256 characters"},
		"subject with a line break":  {key.token(t, claims("sub", "alice\nroot")), "can't be printed"},
		"signed by a stranger":       {stranger.token(t, claims()), "signature is invalid"},
		"unknown kid":                {sign(t, jwt.SigningMethodES256, key.key, map[string]any{"kid": "k9"}, claims()), "no such key"},
		"kid not a string":           {sign(t, jwt.SigningMethodES256, key.key, map[string]any{"kid": 1}, claims()), "kid is not a string"},
		"alg none":                   {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "k1"}, claims()), "signing method none is invalid"},
		"HMAC with the public key":   {sign(t, jwt.SigningMethodHS256, x, map[string]any{"kid": "k1"}, claims()), "signing method HS256 is invalid"},
		"unknown critical extension": {sign(t, jwt.SigningMethodES256, key.key, map[string]any{"kid": "k1", "crit": []string{"exp"}}, claims()), "critical"},
		"changed":                    {tampered(good), "signature is invalid"},
		"cut short":                  {good[:len(good)/2], "malformed"},
		"not a token":                {"alice", "malformed"},
		"empty":                      {"", "malformed"},
		"huge":                       {strings.Repeat("a", 1<<20), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			user, err := a.User(bearing(c.token))
			if c.says == "" {
				if err != nil || user != (tenants.User{Subject: "alice", Proof: tenants.ProvenByJWT}) {
					t.Fatalf("%+v, %v", user, err)
				}
				return
			}
			refused(t, err, c.says)
			if !errors.Is(err, identity.ErrUnauthenticated) || user != (tenants.User{}) {
				t.Errorf("%+v, %v", user, err)
			}
			if len(c.token) > 10 && strings.Contains(err.Error(), c.token[:10]) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func x509PublicKey(s signer) ([]byte, error) {
	data, err := s.key.PublicKey.Bytes()
	return data, err
}

// tampered is the token with another subject.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(body), "alice", "carol", 1)))
	return strings.Join(parts, ".")
}

func TestJWTOfAnotherClaim(t *testing.T) {
	key := newSigner(t, "k1")
	config := jwtConfig(jwksFile(t, key))
	config.SubjectClaim = "email"
	a := authenticator(t, identity.AuthConfig{JWT: config})
	user, err := a.User(bearing(key.token(t, claims("email", "alice@acme.example"))))
	if err != nil || user.Subject != "alice@acme.example" {
		t.Errorf("%+v, %v", user, err)
	}
	_, err = a.User(bearing(key.token(t, claims())))
	refused(t, err, `no claim "email"`)
}

func TestJWKSIsReadAgainForAnUnknownKey(t *testing.T) {
	first, second, third := newSigner(t, "k1"), newSigner(t, "k2"), newSigner(t, "k3")
	var body atomic.Pointer[[]byte]
	var asked atomic.Int64
	set := func(data []byte) { body.Store(&data) }
	set(jwks(t, first))
	where, roots := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(*body.Load())
	}))
	config := jwtConfig(where.String())
	config.WebRoots = roots
	a := authenticator(t, identity.AuthConfig{JWT: config})
	ask := func(s signer) func() error {
		return func() error {
			_, err := a.User(bearing(s.token(t, claims())))
			return err
		}
	}
	must(t, ask(first)())
	set(jwks(t, first, second))
	eventually(t, ask(second))

	// The issuer's server breaks: what is known stays.
	set([]byte("<html>"))
	eventually(t, func() error {
		if err := ask(third)(); err == nil {
			t.Fatal("an unknown key was believed")
		}
		if asked.Load() < 3 {
			return errors.New("not read again yet")
		}
		return nil
	})
	must(t, ask(first)())
	must(t, ask(second)())
	must(t, a.Ready())

	// A flood of unknown keys is not passed on, until it is time to look again.
	now := newClock()
	config.MinRefresh, config.Clock = time.Minute, now.Now
	set(jwks(t, first))
	a = authenticator(t, identity.AuthConfig{JWT: config})
	before := asked.Load()
	for range 100 {
		refused(t, ask(third)(), "no such key")
	}
	if n := asked.Load() - before; n > 0 {
		t.Errorf("100 unknown keys made %d questions", n)
	}
	set(jwks(t, first, third))
	now.Add(time.Minute)
	must(t, ask(third)())
	if n := asked.Load() - before; n != 1 {
		t.Errorf("a minute later there were %d questions", n)
	}
}

func TestJWKSThatIsNotThere(t *testing.T) {
	key := newSigner(t, "k1")
	path := filepath.Join(t.TempDir(), "jwks.json")
	a, err := identity.NewAuthenticator(identity.AuthConfig{JWT: jwtConfig(path)})
	must(t, err)
	defer func() { must(t, a.Close()) }()
	eventually(t, func() error {
		if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "no such file") {
			return fmt.Errorf("ready: %w", errors.Join(err))
		}
		return nil
	})
	_, err = a.User(bearing(key.token(t, claims())))
	refused(t, err, "keys are not known yet")
	must(t, replaceFile(path, jwks(t, key)))
	eventually(t, a.Ready)
	_, err = a.User(bearing(key.token(t, claims())))
	must(t, err)
}

func TestJWKSKeysThatAreNotUsed(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	other := newSigner(t, "enc")
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: weak.Public(), KeyID: "weak"},
		{Key: []byte("a shared secret of thirty-two bytes"), KeyID: "shared"},
		{Key: other.key.Public(), KeyID: "enc", Use: "enc"},
		{Key: other.key, KeyID: "private"},
	}}
	data, err := json.Marshal(set)
	must(t, err)
	path := filepath.Join(t.TempDir(), "jwks.json")
	must(t, replaceFile(path, data))
	a, err := identity.NewAuthenticator(identity.AuthConfig{JWT: jwtConfig(path)})
	must(t, err)
	defer func() { must(t, a.Close()) }()
	eventually(t, func() error {
		if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "no public key") {
			return fmt.Errorf("ready: %w", errors.Join(err))
		}
		return nil
	})
}

func TestJWTConfigIsChecked(t *testing.T) {
	for says, change := range map[string]func(*identity.JWTConfig){
		"required":         func(c *identity.JWTConfig) { c.Audience = "" },
		`"HS256"`:          func(c *identity.JWTConfig) { c.Algorithms = []string{"ES256", "HS256"} },
		`"none"`:           func(c *identity.JWTConfig) { c.Algorithms = []string{"none"} },
		"want an https":    func(c *identity.JWTConfig) { c.JWKS = "http://login.acme.example/keys" },
		"a leeway of 1h0m": func(c *identity.JWTConfig) { c.Leeway = time.Hour },
	} {
		config := jwtConfig("/etc/parley/jwks.json")
		change(config)
		_, err := identity.NewAuthenticator(identity.AuthConfig{JWT: config})
		refused(t, err, says)
	}
	for _, prefix := range []netip.Prefix{{}, netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("::ffff:10.0.0.0/104")} {
		_, err := identity.NewAuthenticator(identity.AuthConfig{TrustedProxies: []netip.Prefix{prefix}})
		refused(t, err, "trusted proxy")
	}
	_, err := identity.NewAuthenticator(identity.AuthConfig{SVID: &identity.SVIDAuth{TrustDomain: acme}})
	refused(t, err, "verifier")
}

func TestTrustsLoopback(t *testing.T) {
	for prefix, want := range map[string]bool{
		"127.0.0.1/32": true, "127.0.0.0/8": true, "::1/128": true, "0.0.0.0/1": true, "::/64": true,
		"10.1.2.0/24": false, "128.0.0.0/1": false, "fd00::/8": false,
	} {
		a := authenticator(t, identity.AuthConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix(prefix)}})
		if got := a.TrustsLoopback(); got != want {
			t.Errorf("%s: %v", prefix, got)
		}
	}
	if authenticator(t, identity.AuthConfig{}).TrustsLoopback() {
		t.Error("nobody is trusted, but this machine is")
	}
}

func TestTrustedProxy(t *testing.T) {
	a := authenticator(t, identity.AuthConfig{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("fd00::/8"),
	}})
	for _, from := range []string{"10.1.2.3:4000", "[::ffff:10.1.2.3]:4000", "[fd00::1]:4000"} {
		user, err := a.User(request(from, "X-Grafana-User", "alice"))
		if err != nil || user != (tenants.User{Subject: "alice", Proof: tenants.StatedByProxy}) {
			t.Errorf("%s: %+v, %v", from, user, err)
		}
	}
	for name, r := range map[string]*http.Request{
		"untrusted address":     request("10.1.3.3:4000", "X-Grafana-User", "alice"),
		"an address in headers": request("10.1.3.3:4000", "X-Grafana-User", "alice", "X-Forwarded-For", "10.1.2.3"),
		"no address":            request("@", "X-Grafana-User", "alice"),
		"no header":             request("10.1.2.3:4000"),
		"two headers":           request("10.1.2.3:4000", "X-Grafana-User", "alice", "X-Grafana-User", "carol"),
		"empty header":          request("10.1.2.3:4000", "X-Grafana-User", ""),
		"a name on two lines":   request("10.1.2.3:4000", "X-Grafana-User", "alice\tcarol"),
	} {
		if user, err := a.User(r); !errors.Is(err, identity.ErrUnauthenticated) || user != (tenants.User{}) {
			t.Errorf("%s: %+v, %v", name, user, err)
		}
	}
}

func TestSVIDOfAUser(t *testing.T) {
	o, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	b := o.trusting(t, g)
	now := newClock()
	a := authenticator(t, identity.AuthConfig{SVID: &identity.SVIDAuth{TrustDomain: acme, Verify: identity.NewVerifier(b, now.Now).Verify}})
	users := serve(t, identity.UsersTLS(identity.CertOf(o.source), b, time.Now), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := a.User(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User", string(user.Proof)+" "+user.Subject)
	}))
	alice, err := o.ca.Issue(spiffeid.RequireFromPath(acme, "/user/alice"), time.Hour)
	must(t, err)
	c := client(t, identity.ClientTLS(alice, b, time.Now, gatewayOf(acme)))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, users.String(), http.NoBody)
	must(t, err)
	response, err := c.Do(r)
	must(t, err)
	must(t, response.Body.Close())
	if got := response.Header.Get("X-User"); got != "svid spiffe://acme.example/user/alice" {
		t.Errorf("%q, %s", got, response.Status)
	}
	now.Add(2 * time.Hour)
	if status, err := get(c, users); err != nil || status != http.StatusUnauthorized {
		t.Errorf("expired on an open connection: %d, %v", status, err)
	}
	now.Add(-2 * time.Hour)
	if status, err := get(client(t, identity.ClientTLS(g.source, g.trusting(t, o), time.Now, gatewayOf(acme))), users); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a partner at the users' door: %d, %v", status, err)
	}
	bare := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if status, err := get(client(t, bare), users); err != nil || status != http.StatusUnauthorized {
		t.Errorf("nobody: %d, %v", status, err)
	}
	stranger, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	forged, err := stranger.Issue(spiffeid.RequireFromPath(acme, "/user/alice"), time.Hour)
	must(t, err)
	if _, err := get(client(t, identity.ClientTLS(forged, b, time.Now, gatewayOf(acme))), users); err == nil {
		t.Error("a forged certificate was let in")
	}
}

func TestSeveralProofs(t *testing.T) {
	key := newSigner(t, "k1")
	a := authenticator(t, identity.AuthConfig{
		JWT:            jwtConfig(jwksFile(t, key)),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")},
	})
	const proxy, elsewhere = "10.1.2.3:4000", "10.9.9.9:4000"
	alice := "Bearer " + key.token(t, claims())
	for name, c := range map[string]struct {
		r    *http.Request
		want tenants.UserProof // empty: refused
	}{
		"both name alice":                    {request(proxy, "Authorization", alice, "X-Grafana-User", "alice"), tenants.ProvenByJWT},
		"they differ":                        {request(proxy, "Authorization", alice, "X-Grafana-User", "carol"), ""},
		"header from elsewhere is not heard": {request(elsewhere, "Authorization", alice, "X-Grafana-User", "carol"), tenants.ProvenByJWT},
		"only a header from elsewhere":       {request(elsewhere, "X-Grafana-User", "carol"), ""},
		"a bad token and a good header":      {request(proxy, "Authorization", "Bearer x", "X-Grafana-User", "alice"), ""},
		"basic and a good header":            {request(proxy, "Authorization", "Basic YTpi", "X-Grafana-User", "alice"), ""},
		"two tokens":                         {request(proxy, "Authorization", alice, "Authorization", alice), ""},
		"lower-case scheme":                  {request(elsewhere, "Authorization", strings.Replace(alice, "Bearer", "bearer", 1)), tenants.ProvenByJWT},
	} {
		user, err := a.User(c.r)
		if user.Proof != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %+v, %v", name, user, err)
		}
	}
}

func TestNothingConfigured(t *testing.T) {
	a := authenticator(t, identity.AuthConfig{})
	if a.Configured() {
		t.Error("configured")
	}
	user, err := a.User(request("10.1.2.3:4000", "X-Grafana-User", "alice", "Authorization", "Bearer x"))
	if err != nil || user != (tenants.User{}) {
		t.Errorf("%+v, %v", user, err)
	}
}

func FuzzUser(f *testing.F) {
	a, err := identity.NewAuthenticator(identity.AuthConfig{
		JWT:            jwtConfig(filepath.Join(f.TempDir(), "none")),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = a.Close() })
	f.Add("10.1.2.3:4000", "alice", "Bearer a.b.c")
	f.Add("[::1]:80", "", "bearer")
	f.Fuzz(func(t *testing.T, from, name, authorization string) {
		r := request(from, "X-Grafana-User", name, "Authorization", authorization)
		if user, err := a.User(r); err == nil || user != (tenants.User{}) {
			t.Errorf("without a key, with an Authorization header: %+v, %v", user, err)
		}
	})
}
