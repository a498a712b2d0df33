package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// replierCheck verifies, before a question leaves, that the other end of the
// connection still is who was dialled. gRPC asks it for credentials to send
// with each call, of which there are none.
type replierCheck struct {
	want   spiffeid.ID
	verify func(tls.ConnectionState) (spiffeid.ID, error)
}

func (c replierCheck) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	tlsInfo, ok := info.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "the connection is not TLS")
	}
	note(ctx, tlsInfo.State)
	return nil, c.is(tlsInfo.State)
}

// is returns an error when the other end of a connection isn't who is wanted.
func (c replierCheck) is(state tls.ConnectionState) error {
	id, err := c.verify(state)
	if err == nil && id != c.want {
		err = fmt.Errorf("the other end is %s, want %s", id, c.want)
	}
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	return nil
}

func (replierCheck) RequireTransportSecurity() bool { return true }

// certificates notes how long those of a connection last, ours and theirs. A
// connection is renewed when half of what they had left has passed, so that
// neither expires under it.
type certificates struct {
	now func() time.Time

	mu      sync.Mutex
	ours    time.Time // NotAfter of what we presented last
	renewAt time.Time // zero before the first handshake
}

// minRenewal keeps a partner whose certificate is about to expire and isn't
// renewed from being dialled for every question.
const minRenewal = 200 * time.Millisecond

// present wraps the config so that our own certificates are noted.
func (c *certificates) present(config *tls.Config) *tls.Config {
	config = config.Clone()
	get := config.GetClientCertificate
	if get == nil {
		return config
	}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := get(request)
		if err != nil || cert == nil || len(cert.Certificate) == 0 {
			return cert, err
		}
		leaf := cert.Leaf
		if leaf == nil {
			if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
				return nil, fmt.Errorf("our own certificate: %w", err)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ours = leaf.NotAfter
		return cert, nil
	}
	return config
}

func (c *certificates) connected(state tls.ConnectionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.ours
	if len(state.PeerCertificates) > 0 {
		if theirs := state.PeerCertificates[0].NotAfter; end.IsZero() || theirs.Before(end) {
			end = theirs
		}
	}
	if now := c.now(); !end.IsZero() {
		c.renewAt = now.Add(max(end.Sub(now)/2, minRenewal))
	}
}

// aged says whether the connection should be renewed.
func (c *certificates) aged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.renewAt.IsZero() && !c.now().Before(c.renewAt)
}

// transport is TLS that notes the certificates of each connection.
type transport struct {
	credentials.TransportCredentials
	certificates *certificates
}

func (t *transport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, errors.Join(errors.New("the connection is not TLS"), secured.Close())
	}
	t.certificates.connected(tlsInfo.State)
	return secured, info, nil
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{TransportCredentials: t.TransportCredentials.Clone(), certificates: t.certificates}
}
