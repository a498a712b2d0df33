package peer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// replica is one gateway of the partner, at one address.
type replica struct {
	address string
	breaker circuitbreaker.CircuitBreaker[any]
	dial    func(*certificates) (*grpc.ClientConn, error)
	now     func() time.Time

	mu     sync.Mutex
	link   *link // what new questions use; never nil
	closed bool
}

// link is a connection with the questions under way on it.
type link struct {
	conn         *grpc.ClientConn
	certificates *certificates
	// Under the replica's mu. A retired link is closed by its last user.
	users   int
	retired bool
}

func newReplica(address string, c Config) (*replica, error) {
	r := &replica{
		address: address,
		now:     c.Now,
		breaker: circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(c.BreakerFailures).
			WithSuccessThreshold(1).
			WithDelay(c.BreakerDelay).
			OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
				c.Log.Info("partner's gateway changed state",
					"partner", c.Agreement.Partner, "address", address, "from", e.OldState.String(), "to", e.NewState.String())
			}).
			Build(),
	}
	r.dial = func(certs *certificates) (*grpc.ClientConn, error) {
		return grpc.NewClient("dns:///"+address, dialOptions(c, certs)...)
	}
	var err error
	r.link, err = r.newLink()
	return r, err
}

func dialOptions(c Config, certs *certificates) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(&transport{
			TransportCredentials: credentials.NewTLS(certs.present(c.TLS)),
			certificates:         certs,
		}),
		grpc.WithPerRPCCredentials(replierCheck{want: c.Agreement.GatewayID, verify: c.Verify}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxAnswerMessage), grpc.MaxCallSendMsgSize(wire.MaxRequest)),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(), // DNS records don't configure us
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: min(c.BreakerDelay, time.Second), Multiplier: 1.6, Jitter: 0.2, MaxDelay: c.BreakerDelay},
			MinConnectTimeout: c.ConnectTimeout,
		}),
	}
	if c.Count != nil {
		options = append(options, grpc.WithStatsHandler(&wire.Traffic{Count: c.Count, Partner: c.Agreement.Partner}))
	}
	if c.Tracer != nil && c.Propagator != nil {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(c.Tracer),
			otelgrpc.WithPropagators(c.Propagator),
			otelgrpc.WithMeterProvider(noop.NewMeterProvider()))))
	}
	return options
}

const maxHeaderList = 16 << 10

func (r *replica) newLink() (*link, error) {
	certs := &certificates{now: r.now}
	conn, err := r.dial(certs)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", r.address, err)
	}
	return &link{conn: conn, certificates: certs}, nil
}

// acquire returns the link for a question, a new one when the certificates of
// the old one have aged. The caller releases it.
func (r *replica) acquire() (*link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, status.Error(codes.Canceled, "the client is closed")
	}
	if r.link.certificates.aged() {
		if err := r.replace(); err != nil {
			return nil, err
		}
	}
	r.link.users++
	return r.link, nil
}

func (r *replica) release(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.users--
	if l.retired && l.users == 0 {
		_ = l.conn.Close() // already taken out of use; there is nothing left to lose
	}
}

// renew makes later questions use another connection than l.
func (r *replica) renew(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == l && !r.closed {
		_ = r.replace() // on failure l stays, and the next question fails as this one did
	}
}

// replace retires the link. The caller holds mu.
func (r *replica) replace() error {
	next, err := r.newLink()
	if err != nil {
		return err
	}
	old := r.link
	r.link = next
	old.retired = true
	if old.users == 0 {
		_ = old.conn.Close() // nobody uses it
	}
	return nil
}

func (r *replica) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if err := r.link.conn.Close(); err != nil {
		return fmt.Errorf("address %q: %w", r.address, err)
	}
	return nil
}

// health orders replicas: connected, not tried yet, failing.
func (r *replica) health() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.link.conn.GetState() {
	case connectivity.Ready:
		return 0
	case connectivity.Idle, connectivity.Connecting:
		return 1
	}
	return 2
}

// try asks the replica and tells the breaker how the transport did. started
// says whether any of an answer arrived.
func (r *replica) try(ctx context.Context, ask call) (started bool, err error) {
	l, err := r.acquire()
	if err != nil {
		r.breaker.RecordFailure()
		return false, err
	}
	defer r.release(l)
	started, err = ask(ctx, federationv1.NewFederationClient(l.conn))
	if err == nil || started || wire.IsStated(err) || l.conn.GetState() == connectivity.Ready && !isTransport(err) {
		r.breaker.RecordSuccess()
	} else {
		r.breaker.RecordFailure()
	}
	if status.Code(err) == codes.Unauthenticated {
		r.renew(l)
	}
	return started, err
}

// isTransport says whether err is one that gRPC gives for connections that
// fail, or the partner for a gateway that can't serve: another may.
func isTransport(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.Unauthenticated
}
