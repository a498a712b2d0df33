package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// bundleDoor is the handler of the org's bundle endpoint.
func (o org) bundleDoor() http.Handler {
	return identity.NewBundleHandler(identity.BundleEndpointConfig{TrustDomain: o.ca.TrustDomain(), Own: o.source, RefreshHint: time.Second})
}

// bootstrap is a file with the org's bundle, as one is exchanged beforehand.
func (o org) bootstrap(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.json")
	writeBundle(t, path, o.ca.Bundle())
	return path
}

func spiffeAgreement(td spiffeid.TrustDomain, endpoint *url.URL, file string) tenants.Agreement {
	return tenants.Agreement{
		Partner: orgOf(td), TrustDomain: td,
		Bundle: tenants.BundleSource{Endpoint: endpoint, Profile: tenants.HTTPSSPIFFE, EndpointID: gatewayOf(td), File: file},
	}
}

func webAgreement(td spiffeid.TrustDomain, endpoint *url.URL) tenants.Agreement {
	return tenants.Agreement{
		Partner: orgOf(td), TrustDomain: td,
		Bundle: tenants.BundleSource{Endpoint: endpoint, Profile: tenants.HTTPSWeb},
	}
}

func statusOf(b *identity.Bundles, td spiffeid.TrustDomain) identity.BundleStatus {
	for _, s := range b.Status() {
		if s.TrustDomain == td {
			return s
		}
	}
	return identity.BundleStatus{}
}

func refreshedAfter(b *identity.Bundles, td spiffeid.TrustDomain, at time.Time) func() error {
	return func() error {
		if s := statusOf(b, td); s.Err != nil || !s.Refreshed.After(at) {
			return fmt.Errorf("refreshed at %s: %w", s.Refreshed, errors.Join(s.Err))
		}
		return nil
	}
}

func failing(b *identity.Bundles, td spiffeid.TrustDomain, says string) func() error {
	return func() error {
		s := statusOf(b, td)
		if s.Err == nil || !strings.Contains(s.Err.Error(), says) {
			return fmt.Errorf("the status is %+v; want it to say %q", s, says)
		}
		return nil
	}
}

func TestBundleEndpointOverSPIFFE(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	endpoint := serve(t, identity.BundleTLS(g.source), g.bundleDoor())

	b := a.bundles(t, identity.BundlesConfig{})
	must(t, b.SetPartners([]tenants.Agreement{spiffeAgreement(globex, endpoint, g.bootstrap(t))}))
	eventually(t, refreshedAfter(b, globex, time.Time{}))
	got, err := b.GetBundleForTrustDomain(globex)
	must(t, err)
	if !got.X509Bundle().Equal(g.ca.Bundle().X509Bundle()) {
		t.Error("not globex's authorities")
	}
	if hint, ok := got.RefreshHint(); !ok || hint != time.Second {
		t.Errorf("refresh hint %s, %t", hint, ok)
	}
	// go-spiffe's own client can read it too.
	theirs, err := federation.FetchBundle(context.Background(), globex, endpoint.String(),
		federation.WithSPIFFEAuth(g.ca.Bundle(), gatewayOf(globex)))
	if err != nil || !theirs.Equal(got) {
		t.Errorf("go-spiffe: %v", err)
	}
}

func TestBundleEndpointOverSPIFFENeedsAFirstBundle(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	endpoint := serve(t, identity.BundleTLS(g.source), g.bundleDoor())
	b := a.bundles(t, identity.BundlesConfig{})
	must(t, b.SetPartners([]tenants.Agreement{spiffeAgreement(globex, endpoint, "")}))
	eventually(t, failing(b, globex, "bundle.file"))
	if _, err := b.GetX509BundleForTrustDomain(globex); err == nil {
		t.Error("a bundle was believed at first sight")
	}
}

func TestImpostorOfABundleEndpoint(t *testing.T) {
	a, g, i := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour), newOrg(t, initech, time.Hour)
	// Initech sits at globex's address.
	endpoint := serve(t, identity.BundleTLS(i.source), i.bundleDoor())
	b := a.bundles(t, identity.BundlesConfig{})
	must(t, b.SetPartners([]tenants.Agreement{spiffeAgreement(globex, endpoint, g.bootstrap(t))}))
	eventually(t, failing(b, globex, "spiffe://initech.example/parley"))
	got, err := b.GetBundleForTrustDomain(globex)
	if err != nil || !got.Equal(g.ca.Bundle()) {
		t.Errorf("the bundle agreed on was lost: %v", err)
	}
}

func TestEndpointDownKeepsTheLastKnownBundle(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	cache, file := t.TempDir(), g.bootstrap(t)
	endpoint, stop := serveUntil(t, identity.BundleTLS(g.source), g.bundleDoor())
	agreement := spiffeAgreement(globex, endpoint, file)
	b := a.bundles(t, identity.BundlesConfig{CacheDir: cache})
	must(t, b.SetPartners([]tenants.Agreement{agreement}))
	eventually(t, refreshedAfter(b, globex, time.Time{}))
	known, err := b.GetX509BundleForTrustDomain(globex)
	must(t, err)

	stop()
	eventually(t, failing(b, globex, "connection refused"))
	kept, err := b.GetX509BundleForTrustDomain(globex)
	if err != nil || kept != known {
		t.Fatalf("the last known bundle is gone: %v", err)
	}

	// A restart meanwhile, without the file: the cache knows.
	must(t, os.Remove(file))
	again := a.bundles(t, identity.BundlesConfig{CacheDir: cache})
	must(t, again.SetPartners([]tenants.Agreement{agreement}))
	eventually(t, knows(again, globex))
	eventually(t, failing(again, globex, "connection refused"))
	restored, err := again.GetX509BundleForTrustDomain(globex)
	if err != nil || !restored.Equal(known) {
		t.Errorf("restored %v, %v", restored, err)
	}
	if s := statusOf(again, globex); !s.Refreshed.IsZero() || !s.Known || s.Failures == 0 {
		t.Errorf("the status hides that nothing came since the start: %+v", s)
	}

	// What was known of one source isn't believed of another.
	moved := agreement
	other := *endpoint
	other.Path = "/elsewhere"
	moved.Bundle.Endpoint = &other
	must(t, again.SetPartners([]tenants.Agreement{moved}))
	eventually(t, failing(again, globex, "no such file"))
	if _, err := again.GetX509BundleForTrustDomain(globex); err == nil {
		t.Error("the cache of another endpoint was used")
	}
}

// An operator repairs a partner whose CA changed while we were away by putting
// the new bundle in the agreement's file; the old file would not be believed
// again just because a fetch fails.
func TestFirstBundleIsTakenAgainWhenItChanges(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	next := newOrg(t, globex, time.Hour)
	file := g.bootstrap(t)
	endpoint := serve(t, identity.BundleTLS(next.source), next.bundleDoor())
	b := a.bundles(t, identity.BundlesConfig{})
	must(t, b.SetPartners([]tenants.Agreement{spiffeAgreement(globex, endpoint, file)}))
	eventually(t, failing(b, globex, "signed by unknown authority"))
	writeBundle(t, file, next.ca.Bundle())
	eventually(t, refreshedAfter(b, globex, time.Time{}))
}

// webPKI makes a certificate for 127.0.0.1 and a pool that trusts it.
func webPKI(t *testing.T, dir string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certFile, keyFile = filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key")
	must(t, replaceFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	must(t, replaceFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	return certFile, keyFile, roots
}

// webServer serves with the Web PKI.
func webServer(t *testing.T, handler http.Handler) (*url.URL, *x509.CertPool) {
	t.Helper()
	certFile, keyFile, roots := webPKI(t, t.TempDir())
	cert, err := identity.NewWebCert(certFile, keyFile, nil, nil)
	must(t, err)
	return serve(t, identity.WebTLS(cert.Get), handler), roots
}

func TestBundleEndpointOverWebPKI(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	endpoint, roots := webServer(t, g.bundleDoor())
	b := a.bundles(t, identity.BundlesConfig{WebRoots: roots})
	must(t, b.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
	eventually(t, refreshedAfter(b, globex, time.Time{}))

	unknown := a.bundles(t, identity.BundlesConfig{WebRoots: x509.NewCertPool()})
	must(t, unknown.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
	eventually(t, failing(unknown, globex, "signed by unknown authority"))
}

func TestAPartnerSuppliesItsOwnBundleOnly(t *testing.T) {
	a, g, i := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour), newOrg(t, initech, time.Hour)
	// An authority without a SPIFFE ID says nothing of whose it is.
	nameless, err := x509.ParseCertificate(namelessCA(t))
	must(t, err)
	var serving atomic.Pointer[[]byte]
	endpoint, roots := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(*serving.Load())
	}))
	set := func(b *spiffebundle.Bundle) {
		data, err := b.Marshal()
		must(t, err)
		serving.Store(&data)
	}
	set(g.ca.Bundle())
	b := a.bundles(t, identity.BundlesConfig{WebRoots: roots})
	must(t, b.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
	eventually(t, knows(b, globex))
	known, err := b.GetX509BundleForTrustDomain(globex)
	must(t, err)

	set(i.ca.Bundle())
	eventually(t, failing(b, globex, "belongs to the trust domain initech.example"))
	set(a.ca.Bundle())
	eventually(t, failing(b, globex, "belongs to the trust domain acme.example"))
	kept, err := b.GetX509BundleForTrustDomain(globex)
	if err != nil || kept != known {
		t.Errorf("globex's own bundle was not kept: %v", err)
	}
	set(spiffebundle.FromX509Authorities(globex, []*x509.Certificate{nameless}))
	eventually(t, func() error {
		if now, err := b.GetX509BundleForTrustDomain(globex); err != nil || now == known {
			return fmt.Errorf("an authority without a SPIFFE ID is not taken: %w", errors.Join(err))
		}
		return nil
	})

	// The same, but our own trust domain's CA is the nameless one.
	ours, err := identity.NewBundles(identity.BundlesConfig{
		TrustDomain: acme, Own: spiffebundle.FromX509Authorities(acme, []*x509.Certificate{nameless}),
		WebRoots: roots, Refresh: 20 * time.Millisecond,
	})
	must(t, err)
	defer func() { must(t, ours.Close()) }()
	must(t, ours.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
	eventually(t, failing(ours, globex, "is our own"))

	for _, c := range []struct {
		agreement tenants.Agreement
		says      string
	}{
		{webAgreement(acme, endpoint), "acme.example is our own"},
		{spiffeAgreement(globex, &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, ""), "not an https URL"},
		{tenants.Agreement{Partner: "globex", TrustDomain: globex}, "neither a bundle endpoint nor a bundle file"},
		{tenants.Agreement{Partner: "globex", TrustDomain: globex, Bundle: tenants.BundleSource{
			Endpoint: endpoint, Profile: tenants.HTTPSSPIFFE, EndpointID: gatewayOf(initech),
		}}, "not in the trust domain globex.example"},
		{tenants.Agreement{Partner: "globex", TrustDomain: globex, Bundle: tenants.BundleSource{Endpoint: endpoint}}, "profile"},
	} {
		refused(t, b.SetPartners([]tenants.Agreement{c.agreement}), c.says)
		if len(b.Status()) != 0 {
			t.Errorf("%s: a partner all the same", c.says)
		}
	}
	err = b.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint), fileAgreement(t, globex, i.ca.Bundle())})
	refused(t, err, "agreement with globex", "already")
	own, err := b.GetBundleForTrustDomain(acme)
	if err != nil || !own.Equal(a.ca.Bundle()) {
		t.Errorf("our own bundle: %v", err)
	}
}

func namelessCA(t *testing.T) []byte {
	t.Helper()
	certFile, _, _ := webPKI(t, t.TempDir())
	data, err := os.ReadFile(certFile)
	must(t, err)
	block, _ := pem.Decode(data)
	return block.Bytes
}

func TestGarbageFromABundleEndpoint(t *testing.T) {
	a := newOrg(t, acme, time.Hour)
	for path, says := range map[string]string{
		"/html":     "neither a SPIFFE bundle",
		"/missing":  "404",
		"/redirect": "redirects",
		"/endless":  "more than",
		"/jwks":     "no SPIFFE bundle",
	} {
		endpoint, roots := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/html":
				_, _ = w.Write([]byte("<html>sign in</html>"))
			case "/redirect":
				http.Redirect(w, r, "/html", http.StatusFound)
			case "/endless":
				for range 3000 {
					if _, err := w.Write(make([]byte, 1024)); err != nil {
						return
					}
				}
			case "/jwks":
				_, _ = w.Write([]byte(`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","x":"fK-wKTnKL7KFLM27lqq5DC-bxrVaH6rDV-IcCSEOeL4","y":"wq-g3TQWxYlV51TCPH030yXsRxvujD4hUUaIQrXk4KI"}]}`))
			default:
				http.NotFound(w, r)
			}
		}))
		endpoint.Path = path
		b := a.bundles(t, identity.BundlesConfig{WebRoots: roots})
		must(t, b.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
		eventually(t, failing(b, globex, says))
	}
}

func TestNobodyIsWaitedForAtStart(t *testing.T) {
	a := newOrg(t, acme, time.Hour)
	hanging := make(chan struct{})
	endpoint, roots := webServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	}))
	defer close(hanging)
	b := a.bundles(t, identity.BundlesConfig{WebRoots: roots})
	must(t, b.SetPartners([]tenants.Agreement{webAgreement(globex, endpoint)}))
	_, err := b.GetX509BundleForTrustDomain(globex)
	refused(t, err, "globex.example", "not known yet")
	_, err = b.GetX509BundleForTrustDomain(initech)
	refused(t, err, "no agreement with the trust domain initech.example")
	must(t, b.Close()) // ends the question under way
	refused(t, b.SetPartners(nil), "closed")
}

func TestSetPartnersLeavesOthersAlone(t *testing.T) {
	a, g, i := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour), newOrg(t, initech, time.Hour)
	b := a.bundles(t, identity.BundlesConfig{})
	withGlobex, withInitech := fileAgreement(t, globex, g.ca.Bundle()), fileAgreement(t, initech, i.ca.Bundle())
	must(t, b.SetPartners([]tenants.Agreement{withGlobex, withInitech}))
	eventually(t, knows(b, globex))
	eventually(t, knows(b, initech))
	before, err := b.GetX509BundleForTrustDomain(globex)
	must(t, err)
	withGlobex.Purposes = []tenants.Purpose{"audit"} // nothing about the bundle
	must(t, b.SetPartners([]tenants.Agreement{withGlobex}))
	after, err := b.GetX509BundleForTrustDomain(globex)
	if err != nil || after != before {
		t.Errorf("globex's bundle was fetched anew: %v", err)
	}
	if _, err := b.GetX509BundleForTrustDomain(initech); err == nil {
		t.Error("initech is still trusted")
	}
}

func TestBundleMetrics(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	reg := prometheus.NewPedanticRegistry()
	must(t, identity.RegisterSVIDExpiry(reg, a.source))
	b := a.bundles(t, identity.BundlesConfig{Registerer: reg})
	must(t, b.SetPartners([]tenants.Agreement{
		fileAgreement(t, globex, g.ca.Bundle()),
		{Partner: "initech", TrustDomain: initech, Bundle: tenants.BundleSource{File: filepath.Join(t.TempDir(), "none")}},
	}))
	eventually(t, refreshedAfter(b, globex, time.Time{}))
	eventually(t, failing(b, initech, "no such file"))
	families, err := reg.Gather()
	must(t, err)
	got := map[string]bool{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()+m.GetCounter().GetValue() > 0
		}
	}
	for name, positive := range map[string]bool{
		"parley_svid_not_after_timestamp_seconds":                              true,
		"parley_bundle_last_refresh_timestamp_seconds globex globex.example":   true,
		"parley_bundle_last_refresh_timestamp_seconds initech initech.example": false,
		"parley_bundle_refresh_failures_total globex globex.example":           false,
		"parley_bundle_refresh_failures_total initech initech.example":         true,
		"parley_bundle_authorities globex globex.example":                      true,
		"parley_bundle_authorities initech initech.example":                    false,
	} {
		if p, ok := got[name]; !ok || p != positive {
			t.Errorf("%s: there %t, more than zero %t; want %t", name, ok, p, positive)
		}
	}
	must(t, b.Close())
	a.bundles(t, identity.BundlesConfig{Registerer: reg}) // Close made room
}

func TestBundleHandlerAnswersGETAndHEADOnly(t *testing.T) {
	g := newOrg(t, globex, time.Hour)
	endpoint := serve(t, identity.BundleTLS(g.source), g.bundleDoor())
	c := client(t, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	for method, want := range map[string]int{
		http.MethodGet: http.StatusOK, http.MethodHead: http.StatusOK,
		http.MethodPost: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed,
	} {
		request, err := http.NewRequestWithContext(context.Background(), method, endpoint.String(), http.NoBody)
		must(t, err)
		response, err := c.Do(request)
		must(t, err)
		must(t, response.Body.Close())
		if response.StatusCode != want {
			t.Errorf("%s: %s", method, response.Status)
		}
	}
}

func TestWebCertIsReadAgain(t *testing.T) {
	dir, now := t.TempDir(), newClock()
	certFile, keyFile, _ := webPKI(t, dir)
	cert, err := identity.NewWebCert(certFile, keyFile, now.Now, nil)
	must(t, err)
	leaf := func() string {
		now.Add(2 * time.Second)
		c, err := cert.Get()
		must(t, err)
		return string(c.Certificate[0])
	}
	first := leaf()
	must(t, replaceFile(certFile, []byte("bad")))
	if leaf() != first {
		t.Error("a bad file took the good certificate away")
	}
	webPKI(t, dir)
	if leaf() == first {
		t.Error("the new certificate is not used")
	}
	_, err = identity.NewWebCert(filepath.Join(dir, "none"), keyFile, nil, nil)
	refused(t, err, "no such file")
}
