package peerfront_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/gateway/peerfront"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// counts are what the door's metrics say of connections.
type counts struct{ *prometheus.Registry }

func (c counts) are(t *testing.T, open, handshake, limit, partner string) bool {
	t.Helper()
	return testutil.GatherAndCompare(c, strings.NewReader(`
# HELP parley_peer_connections Connections that are open at the peer door, those in their TLS handshake included.
# TYPE parley_peer_connections gauge
parley_peer_connections `+open+`
# HELP parley_peer_connections_refused_total Connections refused at the peer door: because the TLS handshake failed (handshake), because there are as many as may be (limit), or as many of one partner (partner-limit).
# TYPE parley_peer_connections_refused_total counter
parley_peer_connections_refused_total{reason="handshake"} `+handshake+`
parley_peer_connections_refused_total{reason="limit"} `+limit+`
parley_peer_connections_refused_total{reason="partner-limit"} `+partner+`
`)) == nil
}

// connects opens a connection as a workload, which is told who is there.
func connects(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	_, err := federationv1.NewFederationClient(conn).Describe(t.Context(), &federationv1.DescribeRequest{})
	if status.Code(err) == codes.PermissionDenied { // it is there, and answers
		return nil
	}
	return err
}

// One partner can't take all connections from the others, and gets new ones
// for those that it closes.
func TestConnectionsOfOnePartner(t *testing.T) {
	metrics := counts{prometheus.NewRegistry()}
	w := newWorld(t, func(c *peerfront.Config) { c.MaxPartnerConnections, c.Registerer = 2, metrics.Registry })
	first, second := w.raw(globexID), w.raw(spiffeid.RequireFromString("spiffe://globex.example/web"))
	for _, conn := range []*grpc.ClientConn{first, second, w.raw(initechID)} {
		if err := connects(t, conn); err != nil {
			t.Fatal(err)
		}
	}
	third := w.raw(globexID)
	if err := connects(t, third); status.Code(err) != codes.Unavailable {
		t.Errorf("a connection too many: %v", err)
	}
	if err := connects(t, first); err != nil {
		t.Errorf("one of those that are open: %v", err)
	}
	if !strings.Contains(w.log.String(), `2 connections of \"globex.example\" are open, which is the most one partner may have`) {
		t.Errorf("logged: %s", w.log.String())
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room for another", func() bool { return connects(t, w.raw(globexID)) == nil })
}

// There is an end to connections, whoever makes them. Those that are closed
// make room.
func TestConnectionsInAll(t *testing.T) {
	metrics := counts{prometheus.NewRegistry()}
	w := newWorld(t, func(c *peerfront.Config) { c.MaxConnections, c.Registerer = 2, metrics.Registry })
	if err := connects(t, w.raw(globexID)); err != nil {
		t.Fatal(err)
	}
	silent := w.dials()
	eventually(t, "both are open", func() bool { return metrics.are(t, "2", "0", "0", "0") })
	if _, err := io.ReadAll(w.dials()); err != nil {
		t.Errorf("a connection too many isn't just closed: %v", err)
	}
	if !metrics.are(t, "2", "0", "1", "0") {
		t.Error("it isn't counted")
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the silent one is forgotten", func() bool { return metrics.are(t, "1", "0", "1", "0") })
	if err := connects(t, w.raw(initechID)); err != nil {
		t.Error(err)
	}
}

// Whoever knocks without being let in is counted; how much is logged is ours
// to say.
func TestFailedHandshakes(t *testing.T) {
	metrics := counts{prometheus.NewRegistry()}
	now := time.Now()
	w := newWorld(t, func(c *peerfront.Config) {
		c.Registerer, c.Now = metrics.Registry, func() time.Time { return now }
	})
	const times = 100
	for range times {
		conn := w.dials()
		if _, err := conn.Write(bytes.Repeat([]byte("x"), 100)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn) // ends, with an alert or a reset
	}
	eventually(t, "all are counted", func() bool { return metrics.are(t, "0", "100", "0", "0") })
	if n := strings.Count(w.log.String(), "connection refused"); n != 10 {
		t.Errorf("%d lines about %d connections", n, times)
	}
}

// dials opens a bare connection.
func (w *world) dials() net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() }) // most are closed already
	return conn
}
