package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// Both gateways have SVIDs that live for three seconds and are replaced twice
// a second. Acme asks Globex without pause until the first ones have long
// expired, each connection used for as long as half of what its SVIDs have
// left, and one connection per request besides.
func TestShortLivedSVIDsRotateUnderLoad(t *testing.T) {
	const ttl, every, load, askers = 3 * time.Second, 500 * time.Millisecond, 5 * time.Second, 4
	a, g := newRotatingOrg(t, acme, ttl, every), newRotatingOrg(t, globex, ttl, every)
	aTrusts, gTrusts := a.trusting(t, g), g.trusting(t, a)
	globexDoor := serve(t, identity.ServerTLS(g.source, gTrusts, time.Now), door(identity.NewVerifier(gTrusts, time.Now)))
	globexVerified := identity.NewVerifier(aTrusts, time.Now)
	config := identity.ClientTLS(a.source, aTrusts, time.Now, gatewayOf(globex))

	var requests, connections atomic.Int64
	var serials sync.Map
	ask := func(c *http.Client) (time.Time, error) {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, globexDoor.String(), http.NoBody)
		if err != nil {
			return time.Time{}, err
		}
		response, err := c.Do(request)
		if err != nil {
			return time.Time{}, err
		}
		if err := response.Body.Close(); err != nil {
			return time.Time{}, err
		}
		if _, err := globexVerified.Verify(context.Background(), *response.TLS); err != nil {
			return time.Time{}, err
		}
		if response.StatusCode != http.StatusNoContent || response.Header.Get("X-Peer") != gatewayOf(acme).String() {
			return time.Time{}, fmt.Errorf("status %d for %q", response.StatusCode, response.Header.Get("X-Peer"))
		}
		requests.Add(1)
		leaf := response.TLS.PeerCertificates[0]
		serials.Store(leaf.SerialNumber.String(), true)
		return leaf.NotAfter, nil
	}
	until := time.Now().Add(load)
	var asking sync.WaitGroup
	for i := range askers {
		asking.Go(func() {
			for time.Now().Before(until) {
				connections.Add(1)
				transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: i == 0}
				c := &http.Client{Transport: transport, Timeout: 10 * time.Second}
				ours, err := a.source.GetX509SVID()
				renew := time.Now()
				if err == nil {
					expires, askErr := ask(c)
					if ours.Certificates[0].NotAfter.Before(expires) {
						expires = ours.Certificates[0].NotAfter
					}
					err, renew = askErr, time.Now().Add(time.Until(expires)/2)
				}
				for err == nil && time.Now().Before(renew) && time.Now().Before(until) {
					_, err = ask(c)
				}
				transport.CloseIdleConnections()
				if err != nil {
					t.Errorf("after %d requests: %v", requests.Load(), err)
					return
				}
			}
		})
	}
	asking.Wait()
	rotations := 0
	serials.Range(func(any, any) bool { rotations++; return true })
	if rotations < 4 || requests.Load() < 100 {
		t.Fatalf("%d requests met %d SVIDs; want at least 100 and 4", requests.Load(), rotations)
	}
	t.Logf("%d requests, %d connection phases, %d SVIDs of globex", requests.Load(), connections.Load(), rotations)
}

func TestWrongTrustDomainIsRefused(t *testing.T) {
	a, g, i := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour), newOrg(t, initech, time.Hour)
	gTrusts := g.trusting(t, a)
	globexDoor := serve(t, identity.ServerTLS(g.source, gTrusts, time.Now), door(identity.NewVerifier(gTrusts, time.Now)))

	// Initech trusts Globex, Globex has no agreement with Initech.
	if _, err := get(client(t, identity.ClientTLS(i.source, i.trusting(t, g), time.Now, gatewayOf(globex))), globexDoor); err == nil {
		t.Error("initech's SVID was let in")
	}
	// Initech's CA makes an SVID in acme's name.
	forged, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	svid, err := forged.Issue(gatewayOf(acme), time.Hour)
	must(t, err)
	if _, err := get(client(t, identity.ClientTLS(svid, i.trusting(t, g), time.Now, gatewayOf(globex))), globexDoor); err == nil {
		t.Error("a forged SVID was let in")
	}
	// Acme dials Globex and wants somebody else there.
	aTrusts := a.trusting(t, g)
	_, err = get(client(t, identity.ClientTLS(a.source, aTrusts, time.Now, spiffeid.RequireFromPath(globex, "/billing"))), globexDoor)
	refused(t, err, "the server is spiffe://globex.example/parley", "we dialled spiffe://globex.example/billing")
	_, err = get(client(t, identity.ClientTLS(a.source, aTrusts, time.Now, spiffeid.ID{})), globexDoor)
	refused(t, err, "not given")
	// No certificate at all.
	bare := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if _, err := get(client(t, bare), globexDoor); err == nil {
		t.Error("a client without a certificate was let in")
	}
	// TLS 1.2.
	old := identity.ClientTLS(a.source, aTrusts, time.Now, gatewayOf(globex))
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, err := get(client(t, old), globexDoor); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	// And acme itself is let in.
	status, err := get(client(t, identity.ClientTLS(a.source, aTrusts, time.Now, gatewayOf(globex))), globexDoor)
	if err != nil || status != http.StatusNoContent {
		t.Errorf("acme: %d, %v", status, err)
	}
}

func TestExpiredSVIDIsRefusedOnAnOpenConnection(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	gTrusts, now := g.trusting(t, a), newClock()
	globexDoor := serve(t, identity.ServerTLS(g.source, gTrusts, now.Now), door(identity.NewVerifier(gTrusts, now.Now)))
	c := client(t, identity.ClientTLS(a.source, a.trusting(t, g), time.Now, gatewayOf(globex)))
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, http.StatusNoContent}, {59 * time.Minute, http.StatusNoContent}, {2 * time.Minute, http.StatusUnauthorized}} {
		now.Add(step.after)
		if status, err := get(c, globexDoor); err != nil || status != step.want {
			t.Fatalf("after %s: %d, %v; want %d on the same connection", step.after, status, err, step.want)
		}
	}
}

func TestRevokedAgreementIsRefusedOnAnOpenConnection(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	gTrusts := g.trusting(t, a)
	globexDoor := serve(t, identity.ServerTLS(g.source, gTrusts, time.Now), door(identity.NewVerifier(gTrusts, time.Now)))
	c := client(t, identity.ClientTLS(a.source, a.trusting(t, g), time.Now, gatewayOf(globex)))
	if status, err := get(c, globexDoor); err != nil || status != http.StatusNoContent {
		t.Fatalf("%d, %v", status, err)
	}
	must(t, gTrusts.SetPartners(nil))
	if status, err := get(c, globexDoor); err != nil || status != http.StatusUnauthorized {
		t.Fatalf("%d, %v; want 401 on the same connection", status, err)
	}
}

func TestResumedSessionIsVerified(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	gTrusts := g.trusting(t, a)
	config := identity.ServerTLS(g.source, gTrusts, time.Now)
	if !config.SessionTicketsDisabled {
		t.Error("session tickets are given out")
	}
	config.SessionTicketsDisabled = false // if they ever are
	var resumed atomic.Int64
	verify := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if s.DidResume {
			resumed.Add(1)
		}
		return verify(s)
	}
	globexDoor := serve(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	clientConfig := identity.ClientTLS(a.source, a.trusting(t, g), time.Now, gatewayOf(globex))
	clientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	ask := func() error {
		transport := &http.Transport{TLSClientConfig: clientConfig, DisableKeepAlives: true}
		_, err := get(&http.Client{Transport: transport, Timeout: 10 * time.Second}, globexDoor)
		return err
	}
	must(t, ask())
	must(t, ask())
	if resumed.Load() != 1 {
		t.Fatalf("%d sessions resumed, want 1: the test shows nothing", resumed.Load())
	}
	must(t, gTrusts.SetPartners(nil))
	if err := ask(); err == nil {
		t.Fatal("a resumed session was let in after its agreement ended")
	}
	if resumed.Load() != 2 {
		t.Fatalf("%d sessions resumed, want 2", resumed.Load())
	}
}

func TestVerifierSeesBundlesChange(t *testing.T) {
	a, g := newOrg(t, acme, time.Hour), newOrg(t, globex, time.Hour)
	b := a.bundles(t, identity.BundlesConfig{})
	agreement := fileAgreement(t, globex, g.ca.Bundle())
	must(t, b.SetPartners([]tenants.Agreement{agreement}))
	eventually(t, knows(b, globex))
	v := identity.NewVerifier(b, time.Now)
	svid, err := g.source.GetX509SVID()
	must(t, err)
	verify := func() error {
		id, err := v.Verify(context.Background(), state(svid.Certificates))
		if err == nil && id != gatewayOf(globex) {
			t.Errorf("verified as %s", id)
		}
		return err
	}
	must(t, verify())
	must(t, verify())

	// Globex replaces its CA.
	next, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: globex})
	must(t, err)
	writeBundle(t, agreement.Bundle.File, next.Bundle())
	eventually(t, func() error {
		if verify() == nil {
			return fmt.Errorf("the old CA's SVID is still accepted")
		}
		return nil
	})
	refused(t, verify(), "spiffe://globex.example/parley")
	// And takes it back beside the new one.
	both := next.Bundle()
	for _, authority := range g.ca.Bundle().X509Authorities() {
		both.AddX509Authority(authority)
	}
	writeBundle(t, agreement.Bundle.File, both)
	eventually(t, verify)
	// And revokes everything: a bundle without keys.
	must(t, replaceFile(agreement.Bundle.File, []byte(`{"keys":[]}`)))
	eventually(t, func() error {
		if verify() == nil {
			return fmt.Errorf("an SVID of a trust domain without authorities is still accepted")
		}
		return nil
	})
}

func TestVerifyRefusesWhatIsNoWorkloadsSVID(t *testing.T) {
	a := newOrg(t, acme, time.Hour)
	b := a.bundles(t, identity.BundlesConfig{})
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		says  string
	}{
		{"nothing", nil, "showed no certificate"},
		{"the CA itself", a.ca.Bundle().X509Authorities(), "spiffe://acme.example"},
		{"no SPIFFE ID", []*x509.Certificate{{}}, "not an X.509-SVID"},
	} {
		_, err := identity.Verify(state(c.chain), b, time.Now())
		t.Log(c.name)
		refused(t, err, c.says)
	}
	svid, err := a.source.GetX509SVID()
	must(t, err)
	id, err := identity.Verify(state(svid.Certificates), b, time.Now())
	if err != nil || id != gatewayOf(acme) {
		t.Errorf("%s, %v", id, err)
	}
	_, err = identity.Verify(state(svid.Certificates), b, time.Now().Add(2*time.Hour))
	refused(t, err, "spiffe://acme.example/parley", "expired")
	_, err = identity.Verify(state(svid.Certificates), spiffebundle.New(globex), time.Now())
	refused(t, err, "no X.509 bundle")
}

func BenchmarkVerifier(b *testing.B) {
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	if err != nil {
		b.Fatal(err)
	}
	svid, err := ca.Issue(gatewayOf(acme), time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	bundles, err := identity.NewBundles(identity.BundlesConfig{TrustDomain: acme, Own: ca.Bundle()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bundles.Close() }() // there is nothing to lose
	v, s := identity.NewVerifier(bundles, time.Now), state(svid.Certificates)
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.Verify(context.Background(), s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			if _, err := identity.Verify(s, bundles, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
