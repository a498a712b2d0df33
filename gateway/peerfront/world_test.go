package peerfront_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/peerfront"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	acmeID    = spiffeid.RequireFromString("spiffe://acme.example/parley")
	globexID  = spiffeid.RequireFromString("spiffe://globex.example/parley")
	initechID = spiffeid.RequireFromString("spiffe://initech.example/parley")

	begin = time.Unix(1_700_000_000, 0).UTC()
	ada   = tenants.Principal{Org: "globex", Purpose: "slo-review", Case: "SLO-1", User: tenants.User{Subject: "ada", Proof: tenants.ProvenBySVID}}
	isUp  = metrics.Question{Kind: policy.Range, Expression: "up", Start: begin, End: begin.Add(time.Hour), Step: time.Minute}
)

// world is acme's door and what its partners need to knock on it.
type world struct {
	t       *testing.T
	cas     map[spiffeid.TrustDomain]*identity.DevCA
	bundles *x509bundle.Set
	gateway *fakeGateway
	door    *peerfront.Server
	address string
	// exchangeID is that of all questions.
	exchangeID federation.ExchangeID

	mu        sync.Mutex
	agreement map[spiffeid.ID]tenants.Agreement // guarded by mu
	counted   map[string]int                    // guarded by mu
	log       lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newWorld opens acme's door, for globex alone: initech has certificates that
// verify, but no agreement.
func newWorld(t *testing.T, change func(*peerfront.Config)) *world {
	t.Helper()
	w := &world{
		t: t, cas: map[spiffeid.TrustDomain]*identity.DevCA{}, bundles: x509bundle.NewSet(),
		gateway: &fakeGateway{}, counted: map[string]int{}, exchangeID: federation.NewExchangeID(time.Now()),
	}
	for _, id := range []spiffeid.ID{acmeID, globexID, initechID} {
		ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: id.TrustDomain()})
		if err != nil {
			t.Fatal(err)
		}
		w.cas[id.TrustDomain()] = ca
		w.bundles.Add(ca.Bundle().X509Bundle())
	}
	w.agreement = map[spiffeid.ID]tenants.Agreement{globexID: {
		Partner: "globex", TrustDomain: globexID.TrustDomain(), GatewayID: globexID,
		Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"slo-review"}, NotAfter: time.Now().Add(time.Hour),
	}}
	config := peerfront.Config{
		Org: "acme", Version: "v1", TLS: identity.ServerTLS(w.svid(acmeID), w.bundles, time.Now),
		Identify: w.identify, Agreement: w.byWorkload, Gateway: w.gateway,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Count: w.count,
	}
	if change != nil {
		change(&config)
	}
	door, err := peerfront.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.door = door
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- door.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever is still there is cut off
		door.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) svid(id spiffeid.ID) *x509svid.SVID {
	w.t.Helper()
	svid, err := w.cas[id.TrustDomain()].Issue(id, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return svid
}

func (w *world) identify(state tls.ConnectionState) (spiffeid.ID, error) {
	return identity.Verify(state, w.bundles, time.Now())
}

func (w *world) byWorkload(id spiffeid.ID) (tenants.Agreement, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.agreement[id]
	if !ok {
		return a, &tenants.Refusal{Reason: tenants.UnknownTrustDomain, Detail: id.String()}
	}
	return a, nil
}

func (w *world) revoke(id spiffeid.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.agreement, id)
}

func (w *world) count(partner tenants.OrgID, flow wire.Flow, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted[string(partner)+" "+string(flow)] += n
}

func (w *world) bytes(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counted[key]
}

// as is a client of acme with the SVID of id.
func (w *world) as(id spiffeid.ID, change func(*peer.Config)) *peer.Client {
	w.t.Helper()
	config := peer.Config{
		Agreement: tenants.Agreement{Partner: "acme", GatewayID: acmeID, Addresses: []string{w.address}},
		TLS:       identity.ClientTLS(w.svid(id), w.bundles, time.Now, acmeID),
		Verify:    w.identify,
		Log:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	client, err := peer.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return client
}

// raw is a bare gRPC connection to acme with the SVID of id.
func (w *world) raw(id spiffeid.ID) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient("dns:///"+w.address, grpc.WithTransportCredentials(
		credentials.NewTLS(identity.ClientTLS(w.svid(id), w.bundles, time.Now, acmeID))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

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

func wantError(t *testing.T, err error, kind federation.Kind, message string) {
	t.Helper()
	var e *federation.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, message) {
		t.Errorf("got %v, want %s: %s", err, kind, message)
	}
}
