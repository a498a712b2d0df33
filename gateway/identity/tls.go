package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// ServerTLS is the configuration of a door for workloads: TLS 1.3, our current
// SVID, and a client certificate that is a valid SVID of a trust domain in
// bundles. Which of these workloads may do what is asked per request; see
// Verifier. The caller sets NextProtos.
func ServerTLS(svid x509svid.Source, bundles x509bundle.Source, clock func() time.Time) *tls.Config {
	config := serve(func() (*tls.Certificate, error) { return certificateOf(svid) })
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = verifyPeer(bundles, clockOr(clock))
	return config
}

// UsersTLS is the configuration of the door for our own users. A client
// certificate is asked for but not required; one that is given must be a valid
// SVID, as for ServerTLS. certificate is asked at every handshake: CertOf of a
// Source, or Get of a WebCert.
func UsersTLS(certificate func() (*tls.Certificate, error), bundles x509bundle.Source, clock func() time.Time) *tls.Config {
	config := serve(certificate)
	config.ClientAuth = tls.RequestClientCert
	verify := verifyPeer(bundles, clockOr(clock))
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		return verify(state)
	}
	return config
}

// ClientTLS is the configuration of a connection to a workload: TLS 1.3, our
// current SVID, and a server whose SVID is valid and is that of expected.
func ClientTLS(svid x509svid.Source, bundles x509bundle.Source, clock func() time.Time, expected spiffeid.ID) *tls.Config {
	config := expectPeer(bundles, clockOr(clock), expected)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return certificateOf(svid)
	}
	return config
}

// CertOf returns a function that gives the source's current SVID.
func CertOf(svid x509svid.Source) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) { return certificateOf(svid) }
}

func serve(certificate func() (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// A resumed session would outlive the SVIDs it began with.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate()
		},
	}
}

// expectPeer is the client's side without a certificate of our own.
func expectPeer(bundles x509bundle.Source, clock func() time.Time, expected spiffeid.ID) *tls.Config {
	verify := verifyPeer(bundles, clock)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// An SVID has no host name to check; VerifyConnection does all.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(state tls.ConnectionState) error {
			if expected.IsZero() {
				return errors.New("the SPIFFE ID to expect of the server is not given")
			}
			if err := verify(state); err != nil {
				return err
			}
			if id, err := x509svid.IDFromCert(state.PeerCertificates[0]); err != nil || id != expected {
				return fmt.Errorf("the server is %s; we dialled %s", id, expected)
			}
			return nil
		},
	}
}

// verifyPeer is for VerifyConnection, which Go calls for resumed sessions too.
func verifyPeer(bundles x509bundle.Source, clock func() time.Time) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		_, _, err := verify(state.PeerCertificates, bundles, clock())
		return err
	}
}

func certificateOf(source x509svid.Source) (*tls.Certificate, error) {
	svid, err := source.GetX509SVID()
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}
