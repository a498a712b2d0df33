package peer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	acmeID   = spiffeid.RequireFromString("spiffe://acme.example/parley")
	globexID = spiffeid.RequireFromString("spiffe://globex.example/parley")
)

// authority is the certificate authority of every trust domain in a test.
type authority struct {
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
	bundles *x509bundle.Set
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	a := &authority{key: key, bundles: x509bundle.NewSet()}
	a.cert = a.sign(t, template, template, key)
	for _, id := range []spiffeid.ID{acmeID, globexID} {
		a.bundles.Add(x509bundle.FromX509Authorities(id.TrustDomain(), []*x509.Certificate{a.cert}))
	}
	return a
}

func (a *authority) sign(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) issue(t *testing.T, id spiffeid.ID) *x509svid.SVID {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{id.URL()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, a.cert, key)
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

func (a *authority) verify(state tls.ConnectionState) (spiffeid.ID, error) {
	id, _, err := x509svid.Verify(state.PeerCertificates, a.bundles)
	return id, err
}

// globex is a partner's gateway that does what the test says.
type globex struct {
	federationv1.UnimplementedFederationServer
	// ask answers; asked counts the questions that arrived.
	ask      func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error
	describe *federationv1.DescribeResponse
	asked    atomic.Int32

	// serves is in place of it where it does more; nil: nothing does.
	serves federationv1.FederationServer

	address string
	server  *grpc.Server
	conns   *countedListener
}

func (g *globex) Ask(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
	g.asked.Add(1)
	return g.ask(r, s)
}

// startGlobex starts a gateway that shows the SVID of id.
func startGlobex(t *testing.T, a *authority, id spiffeid.ID, address string, g *globex) *globex {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	config := tlsconfig.MTLSServerConfig(a.issue(t, id), a.bundles, tlsconfig.AuthorizeAny())
	g.conns = &countedListener{Listener: listener}
	g.address = listener.Addr().String()
	g.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.MaxSendMsgSize(1<<30))
	if g.serves == nil {
		g.serves = g
	}
	federationv1.RegisterFederationServer(g.server, g.serves)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.server.Serve(g.conns) // ends by Stop
	}()
	t.Cleanup(func() { g.server.Stop(); <-done })
	return g
}

type countedListener struct {
	net.Listener
	accepted atomic.Int32
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// acme is the configuration of a client of globex at the addresses.
func acme(t *testing.T, a *authority, addresses ...string) peer.Config {
	t.Helper()
	return peer.Config{
		Agreement: tenants.Agreement{Partner: "globex", TrustDomain: globexID.TrustDomain(), GatewayID: globexID, Addresses: addresses},
		TLS:       tlsconfig.MTLSClientConfig(a.issue(t, acmeID), a.bundles, tlsconfig.AuthorizeID(globexID)),
		Verify:    a.verify,
		Log:       slog.New(slog.DiscardHandler),
		Timeout:   20 * time.Second,
	}
}

func newClient(t *testing.T, c peer.Config) *peer.Client {
	t.Helper()
	client, err := peer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// freeAddress is one at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// description is globex's.
func description() *federationv1.DescribeResponse {
	return wire.EncodeDescription(wire.Description{Org: "globex", Version: "v1", Signals: []tenants.Signal{tenants.Metrics}})
}

func (g *globex) sendAll(messages []*federationv1.AskResponse) {
	g.ask = func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
}
