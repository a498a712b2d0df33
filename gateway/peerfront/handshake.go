package peerfront

import (
	"errors"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"
)

// handshakes logs the connections that fail before there is a request: of
// workloads of trust domains we don't know, or with SVIDs that don't verify.
// They leave no other trace, since nothing was asked.
type handshakes struct {
	credentials.TransportCredentials
	log *slog.Logger
}

func (h handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ServerHandshake(conn)
	if err != nil && !errors.Is(err, io.EOF) { // a load balancer's probe says nothing
		h.log.Warn("connection refused at the peer door", "remote", conn.RemoteAddr().String(), "error", err)
	}
	return secured, info, err
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.log}
}
