package peerfront

import (
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Why a connection is refused, in the metric's words.
const (
	refusedHandshake = "handshake"
	refusedLimit     = "limit"
	refusedPartner   = "partner-limit"
)

// connections are those that are open at the door, each from the moment it is
// accepted until it is closed. Every one costs memory and a file descriptor,
// whoever is at the other end; nobody may take them all.
type connections struct {
	most, mostOfOne int
	refused         *prometheus.CounterVec
	log             *slog.Logger
	lines           map[string]*sparing // by reason; doesn't change

	mu        sync.Mutex
	open      int                          // guarded by mu
	ofPartner map[spiffeid.TrustDomain]int // guarded by mu; zero ones are not there
}

func newConnections(c Config) (*connections, error) {
	all := &connections{
		most: c.MaxConnections, mostOfOne: c.MaxPartnerConnections, ofPartner: map[spiffeid.TrustDomain]int{},
		log: c.Log, lines: map[string]*sparing{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_peer_connections_refused_total",
			Help: "Connections refused at the peer door: because the TLS handshake failed (handshake), because there are as many as may be (limit), or as many of one partner (partner-limit).",
		}, []string{"reason"}),
	}
	for _, reason := range []string{refusedHandshake, refusedLimit, refusedPartner} {
		all.refused.WithLabelValues(reason)
		all.lines[reason] = newSparing(c.Now)
	}
	if c.Registerer == nil {
		return all, nil
	}
	for _, metric := range []prometheus.Collector{all.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "parley_peer_connections",
		Help: "Connections that are open at the peer door, those in their TLS handshake included.",
	}, all.count)} {
		if err := c.Registerer.Register(metric); err != nil {
			return nil, fmt.Errorf("peer door: register metrics: %w", err)
		}
	}
	return all, nil
}

func (c *connections) count() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.open)
}

// refuse counts a connection that is refused, and logs it if that isn't too
// often said.
func (c *connections) refuse(conn net.Conn, reason string, err error) {
	c.refused.WithLabelValues(reason).Inc()
	if leftOut, ok := c.lines[reason].turn(); ok {
		c.log.Warn("connection refused at the peer door", "remote", conn.RemoteAddr().String(), "error", err, "left_out", leftOut)
	}
}

// connection is one of them. It is closed once, however often Close is called.
type connection struct {
	net.Conn
	all *connections
	// The trust domain at the other end, once the handshake says which.
	partner spiffeid.TrustDomain // guarded by all.mu
	counted bool                 // guarded by all.mu; among those of partner
	closed  bool                 // guarded by all.mu
}

// bounded is a listener that closes at once what is one connection too many.
type bounded struct {
	net.Listener
	all *connections
}

func (b bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.all.admit() {
			return &connection{Conn: conn, all: b.all}, nil
		}
		b.all.refuse(conn, refusedLimit, fmt.Errorf("%d connections are open, which is the most there may be", b.all.most))
		_ = conn.Close() // it was never used
	}
}

func (c *connections) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == c.most {
		return false
	}
	c.open++
	return true
}

// isOf counts the connection among those of a trust domain, unless there are
// enough of them.
func (c *connection) isOf(partner spiffeid.TrustDomain) error {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if c.all.ofPartner[partner] == c.all.mostOfOne {
		return fmt.Errorf("%d connections of %q are open, which is the most one partner may have", c.all.mostOfOne, partner.Name())
	}
	c.all.ofPartner[partner]++
	c.partner, c.counted = partner, true
	return nil
}

func (c *connection) Close() error {
	c.all.mu.Lock()
	if !c.closed {
		c.closed = true
		c.all.open--
		if c.counted {
			if c.all.ofPartner[c.partner]--; c.all.ofPartner[c.partner] == 0 {
				delete(c.all.ofPartner, c.partner)
			}
		}
	}
	c.all.mu.Unlock()
	return c.Conn.Close()
}
