package identity

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// DialConfig is a gRPC connection to a workload.
type DialConfig struct {
	SVID    x509svid.Source
	Bundles x509bundle.Source
	// Expected is the workload's SPIFFE ID: another one is not talked to.
	Expected spiffeid.ID
	// Addresses are host:port of the workload's replicas, tried in order.
	Addresses []string
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
}

// DialTarget is the target to give grpc.NewClient with DialOptions.
const DialTarget = dialScheme + ":///"

const dialScheme = "parley-svid"

// DialOptions are the options of a gRPC connection whose SVIDs rotate under
// it:
//
//	conn, err := grpc.NewClient(identity.DialTarget, identity.DialOptions(config)...)
//
// A peer refuses the requests of a connection whose SVID expired (Verifier),
// so the connection is made anew when two thirds of the time are over in which
// both ends' SVIDs are valid. Requests under way end on the old connection;
// those that follow wait for the new one. The options are for one connection.
func DialOptions(config DialConfig) []grpc.DialOption {
	config.Clock = clockOr(config.Clock)
	r := &redialer{config: config, stopped: true}
	return []grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(&redialingCredentials{
			TransportCredentials: credentials.NewTLS(ClientTLS(config.SVID, config.Bundles, config.Clock, config.Expected)),
			redialer:             r,
		}),
		// The name is not checked (an SVID has none) and not asked for.
		grpc.WithAuthority(config.Expected.TrustDomain().Name()),
	}
}

// redialer is the name resolver of one connection. It gives the same addresses
// again and again, each time as ones not seen before, at which gRPC drains the
// connection it has.
type redialer struct {
	config DialConfig

	mu      sync.Mutex
	conn    resolver.ClientConn // nil until built
	epoch   int
	timer   *time.Timer // nil when no handshake was made yet
	due     time.Time   // when timer fires
	stopped bool
}

func (r *redialer) Scheme() string { return dialScheme }

// Build is called again after the connection was idle.
func (r *redialer) Build(_ resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.stopped = conn, false
	return r, r.resolve()
}

// ResolveNow does nothing: the addresses don't change.
func (r *redialer) ResolveNow(resolver.ResolveNowOptions) {}

func (r *redialer) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

type epochKey struct{}

// resolve is called with mu held.
func (r *redialer) resolve() error {
	r.epoch++
	var state resolver.State
	for _, addr := range r.config.Addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{
			Addr:       addr,
			Attributes: attributes.New(epochKey{}, strconv.Itoa(r.epoch)),
		}}})
	}
	return r.conn.UpdateState(state)
}

// minRedial keeps a peer whose SVID is about to expire and is not renewed from
// being dialled in a frenzy.
const minRedial = 200 * time.Millisecond

// connected plans the next connection after a handshake that showed the
// certificates of both ends.
func (r *redialer) connected(notAfter time.Time) {
	in := max(notAfter.Sub(r.config.Clock())*2/3, minRedial)
	due := time.Now().Add(in)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.due = due
	r.timer = time.AfterFunc(in, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.stopped && r.due.Equal(due) {
			_ = r.resolve() // the balancer asks again by itself
		}
	})
}

// redialingCredentials tells the redialer how long a connection is good.
type redialingCredentials struct {
	credentials.TransportCredentials
	redialer *redialer
}

func (c *redialingCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	// Read before the handshake: if it rotates meanwhile, the older one counts.
	ours, err := c.redialer.config.SVID.GetX509SVID()
	if err != nil {
		return nil, nil, err
	}
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	expiries := []time.Time{ours.Certificates[0].NotAfter}
	if tlsInfo, ok := info.(credentials.TLSInfo); ok {
		for _, cert := range tlsInfo.State.PeerCertificates {
			expiries = append(expiries, cert.NotAfter)
		}
	}
	c.redialer.connected(slices.MinFunc(expiries, time.Time.Compare))
	return conn, info, nil
}

func (c *redialingCredentials) Clone() credentials.TransportCredentials {
	return &redialingCredentials{TransportCredentials: c.TransportCredentials.Clone(), redialer: c.redialer}
}
