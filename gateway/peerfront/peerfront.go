// Package peerfront is the door for partners: the gRPC service of
// parley.federation.v1 over SPIFFE mTLS.
//
//	door, err := peerfront.New(peerfront.Config{
//		Org: "acme", TLS: tlsConfig, Identify: verifier.Verify, Agreement: directory.ByWorkload,
//		Gateway: peerfront.Of(gateway), Log: log,
//	})
//	go door.Serve(listener)
//	defer door.Shutdown(ctx)
//
// Who asks is taken from the connection's X.509-SVID on every request, so that
// what was revoked or expired a second ago is refused now, on connections that
// are open already. A question is answered from our own data and never
// relayed. Every refusal is recorded before it is told, and all refusals look
// the same from outside.
package peerfront

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what the door needs. Fields without "default" are required.
type Config struct {
	// Org is ours; Version is the gateway's, for people.
	Org     tenants.OrgID
	Version string
	// TLS presents our X.509-SVID and asks for one. It may let in workloads
	// that Identify or Agreement then refuse.
	TLS *tls.Config
	// Identify returns the SPIFFE ID at the other end of a connection, checked
	// against the bundles of now and the time of now.
	Identify func(tls.ConnectionState) (spiffeid.ID, error)
	// Agreement returns the agreement whose gateway has the SPIFFE ID.
	Agreement func(spiffeid.ID) (tenants.Agreement, error)
	Gateway   Gateway
	// Log gets panics and what can't be recorded otherwise. No data.
	Log *slog.Logger

	// Health and Reflection serve gRPC's health checks (grpc.health.v1) and
	// its reflection to whoever can connect; default: neither.
	Health, Reflection bool
	// MaxDuration bounds one question whatever deadline it came with; default 2m.
	MaxDuration time.Duration
	// MaxStreams bounds the questions under way on one connection; default 64.
	MaxStreams uint32
	// MaxConnections bounds the connections that are open at once, and
	// MaxPartnerConnections those of one trust domain: one for each replica of a
	// partner's gateway, and a new one now and then before the old one ends.
	// Default 1024 and 64. What is one too many is closed.
	MaxConnections, MaxPartnerConnections int
	// MaxConnectionAge is after how long a connection is asked to end, give or
	// take a tenth; default 30m. Questions under way may finish.
	MaxConnectionAge time.Duration
	// Count is told of the bytes on the wire; default: nobody is. A caller that
	// was not recognized has the empty name.
	Count func(partner tenants.OrgID, flow wire.Flow, n int)
	// Registerer gets the metrics of connections; default: there are none.
	Registerer prometheus.Registerer
	// Tracer and Propagator trace questions across gateways; default: no traces.
	Tracer     trace.TracerProvider
	Propagator propagation.TextMapPropagator
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server is the door.
type Server struct {
	grpc        *grpc.Server
	connections *connections
	end         context.CancelCauseFunc // ends all tails
}

// New returns the door, closed until Serve.
func New(c Config) (*Server, error) {
	switch {
	case c.Org == "":
		return nil, errors.New("peer door: the name of our organization is required")
	case c.TLS == nil, c.Identify == nil, c.Agreement == nil, c.Gateway == nil, c.Log == nil:
		return nil, errors.New("peer door: TLS, Identify, Agreement, Gateway and Log are required")
	case c.TLS.ClientAuth < tls.RequireAnyClientCert:
		return nil, errors.New("peer door: TLS must require a client certificate")
	}
	c.MaxDuration = cmp.Or(c.MaxDuration, 2*time.Minute)
	c.MaxStreams = cmp.Or(c.MaxStreams, 64)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxPartnerConnections = cmp.Or(c.MaxPartnerConnections, 64)
	c.MaxConnectionAge = cmp.Or(c.MaxConnectionAge, 30*time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	open, err := newConnections(c)
	if err != nil {
		return nil, err
	}
	ending, end := context.WithCancelCause(context.Background())
	s := &service{config: c, describes: newSparing(c.Now), ending: ending}
	server := grpc.NewServer(serverOptions(c, s, open)...)
	federationv1.RegisterFederationServer(server, s)
	if c.Health {
		healthv1.RegisterHealthServer(server, health.NewServer())
	}
	if c.Reflection {
		reflection.Register(server)
	}
	return &Server{grpc: server, connections: open, end: end}, nil
}

func serverOptions(c Config, s *service, open *connections) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.Creds(handshakes{credentials.NewTLS(c.TLS), open}),
		grpc.ChainStreamInterceptor(s.recoverStream, s.recordUnreadable),
		grpc.ChainUnaryInterceptor(s.recoverUnary),
		grpc.MaxRecvMsgSize(wire.MaxRequest),
		grpc.MaxSendMsgSize(wire.MaxAnswerMessage),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.MaxConcurrentStreams(c.MaxStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     15 * time.Minute,
			MaxConnectionAge:      c.MaxConnectionAge,
			MaxConnectionAgeGrace: c.MaxDuration,
			Time:                  time.Minute,
			Timeout:               20 * time.Second,
		}),
	}
	if c.Count != nil {
		options = append(options, grpc.StatsHandler(&wire.Traffic{Count: c.Count}))
	}
	if c.Tracer != nil && c.Propagator != nil {
		options = append(options, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(c.Tracer),
			otelgrpc.WithPropagators(c.Propagator),
			otelgrpc.WithMeterProvider(noop.NewMeterProvider()))))
	}
	return options
}

const maxHeaderList = 16 << 10

// Serve opens the door on the listener, which it closes at the end. It returns
// when the listener fails, or nil after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(bounded{l, s.connections}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("peer door: %w", err)
	}
	return nil
}

// Shutdown closes the door to new questions, ends tails and waits for the
// questions under way; when ctx ends they are cut off.
func (s *Server) Shutdown(ctx context.Context) {
	s.end(errGoing)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}
