package peerfront

import (
	"errors"
	"io"
	"net"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/credentials"
)

// handshakes tells of the connections that fail before there is a request: of
// workloads of trust domains we don't know, or with SVIDs that don't verify.
// They leave no other trace, since nothing was asked.
type handshakes struct {
	credentials.TransportCredentials
	connections *connections
}

func (h handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a load balancer's probe says nothing
			h.connections.refuse(conn, refusedHandshake, err)
		}
		return nil, nil, err
	}
	if c, ok := conn.(*connection); ok {
		if err := c.isOf(trustDomain(info)); err != nil {
			h.connections.refuse(conn, refusedPartner, err)
			return nil, nil, err
		}
	}
	return secured, info, nil
}

// trustDomain is that of the certificate at the other end, which the handshake
// has verified; zero for one that names none.
func trustDomain(info credentials.AuthInfo) spiffeid.TrustDomain {
	tls, ok := info.(credentials.TLSInfo)
	if !ok || len(tls.State.PeerCertificates) == 0 {
		return spiffeid.TrustDomain{}
	}
	id, err := x509svid.IDFromCert(tls.State.PeerCertificates[0])
	if err != nil {
		return spiffeid.TrustDomain{}
	}
	return id.TrustDomain()
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.connections}
}
