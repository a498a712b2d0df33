package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	acme    = spiffeid.RequireTrustDomainFromString("acme.example")
	globex  = spiffeid.RequireTrustDomainFromString("globex.example")
	initech = spiffeid.RequireTrustDomainFromString("initech.example")
)

func gatewayOf(td spiffeid.TrustDomain) spiffeid.ID { return spiffeid.RequireFromPath(td, "/parley") }

// org is an organization in these stories: a CA, and a gateway with an SVID.
type org struct {
	ca     *identity.DevCA
	source *identity.DevSource
}

func newOrg(t *testing.T, td spiffeid.TrustDomain, ttl time.Duration) org {
	t.Helper()
	return newRotatingOrg(t, td, ttl, ttl/2)
}

func newRotatingOrg(t *testing.T, td spiffeid.TrustDomain, ttl, every time.Duration) org {
	t.Helper()
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: td})
	must(t, err)
	source, err := ca.Source(identity.DevSourceConfig{ID: gatewayOf(td), TTL: ttl, Every: every})
	must(t, err)
	t.Cleanup(func() { must(t, source.Close()) })
	return org{ca, source}
}

// trusting returns the org's bundles, with quick refreshes, and an agreement
// with each partner whose bundle is in a file.
func (o org) trusting(t *testing.T, partners ...org) *identity.Bundles {
	t.Helper()
	b := o.bundles(t, identity.BundlesConfig{})
	var agreements []tenants.Agreement
	for _, p := range partners {
		agreements = append(agreements, fileAgreement(t, p.ca.TrustDomain(), p.ca.Bundle()))
	}
	must(t, b.SetPartners(agreements))
	for _, p := range partners {
		eventually(t, knows(b, p.ca.TrustDomain()))
	}
	return b
}

func (o org) bundles(t *testing.T, config identity.BundlesConfig) *identity.Bundles {
	t.Helper()
	config.TrustDomain, config.Own = o.ca.TrustDomain(), o.source
	config.Refresh, config.MinRefresh, config.FileEvery = 20*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	b, err := identity.NewBundles(config)
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return b
}

func fileAgreement(t *testing.T, td spiffeid.TrustDomain, bundle *spiffebundle.Bundle) tenants.Agreement {
	t.Helper()
	path := t.TempDir() + "/bundle.json"
	writeBundle(t, path, bundle)
	return tenants.Agreement{Partner: orgOf(td), TrustDomain: td, Bundle: tenants.BundleSource{File: path}}
}

func orgOf(td spiffeid.TrustDomain) tenants.OrgID {
	name, _, _ := strings.Cut(td.Name(), ".")
	return tenants.OrgID(name)
}

func writeBundle(t *testing.T, path string, bundle *spiffebundle.Bundle) {
	t.Helper()
	data, err := bundle.Marshal()
	must(t, err)
	must(t, replaceFile(path, data))
}

func knows(b *identity.Bundles, td spiffeid.TrustDomain) func() error {
	return func() error {
		_, err := b.GetX509BundleForTrustDomain(td)
		return err
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err says all of the words.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("the error is %q; want it to say %q", err, w)
		}
	}
}

// eventually polls until there is no error, for at most ten seconds.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("after 10s still: %v", err)
		case <-tick.C:
		}
	}
}

// serve answers HTTPS on loopback until the test ends.
func serve(t *testing.T, config *tls.Config, handler http.Handler) *url.URL {
	t.Helper()
	u, _ := serveUntil(t, config, handler)
	return u
}

func serveUntil(t *testing.T, config *tls.Config, handler http.Handler) (*url.URL, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: handler, TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var done sync.WaitGroup
	done.Go(func() { _ = server.ServeTLS(listener, "", "") })
	stop := sync.OnceFunc(func() {
		_ = server.Close()
		done.Wait()
	})
	t.Cleanup(stop)
	return &url.URL{Scheme: "https", Host: listener.Addr().String(), Path: "/"}, stop
}

// client makes HTTP requests over its own connections.
func client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// get returns the status of a GET.
func get(c *http.Client, u *url.URL) (int, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// door answers 204 to those whom the verifier recognizes and 401 to others.
func door(v *identity.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.Verify(r.Context(), *r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Peer", id.String())
		w.WriteHeader(http.StatusNoContent)
	})
}

// clock is what time it is in a test that moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// state is what a server sees of a client that shows an SVID.
func state(chain []*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: chain}
}
