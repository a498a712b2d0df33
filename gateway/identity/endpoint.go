package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// BundleEndpointConfig is our own bundle endpoint, from which partners get our
// bundle (SPIFFE_Federation, section 5).
type BundleEndpointConfig struct {
	TrustDomain spiffeid.TrustDomain
	// Own is our Source.
	Own spiffebundle.Source
	// RefreshHint is how often partners should ask. Zero: 5 minutes.
	RefreshHint time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// NewBundleHandler serves our bundle, at whatever path it is mounted, to
// whoever asks: a bundle is public. Serve it with BundleTLS, or with a WebCert
// for https_web.
func NewBundleHandler(config BundleEndpointConfig) http.Handler {
	hint := durationOr(config.RefreshHint, 5*time.Minute)
	logger := loggerOr(config.Logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the bundle endpoint answers GET and HEAD only", http.StatusMethodNotAllowed)
			return
		}
		data, err := ownBundle(config, hint)
		if err != nil {
			logger.Error("our bundle can't be served", "error", err)
			http.Error(w, "the bundle is not available now; ask again later", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(data); err != nil {
			logger.Debug("our bundle was not read to its end", "error", err)
		}
	})
}

func ownBundle(config BundleEndpointConfig, hint time.Duration) ([]byte, error) {
	bundle, err := config.Own.GetBundleForTrustDomain(config.TrustDomain)
	if err != nil {
		return nil, err
	}
	bundle = bundle.Clone()
	bundle.SetRefreshHint(hint)
	return bundle.Marshal()
}

// BundleTLS is for a bundle endpoint of the profile https_spiffe: it shows our
// SVID and asks the client for nothing.
func BundleTLS(svid x509svid.Source) *tls.Config { return WebTLS(CertOf(svid)) }

// WebTLS is TLS 1.3 with the certificate that is current at each handshake,
// such as that of a WebCert: for a bundle endpoint of the profile https_web.
func WebTLS(certificate func() (*tls.Certificate, error)) *tls.Config { return serve(certificate) }

// WebCert is a server certificate of the Web PKI in files, read again when
// they change. While what is there is bad, the last good one is used.
type WebCert struct {
	certFile, keyFile string
	clock             func() time.Time
	logger            *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	seen   [sha256.Size]byte
	looked time.Time
}

// webCertEvery is how often, at most, the files are looked at.
const webCertEvery = time.Second

// NewWebCert reads the files, which must be good at the start. A nil clock is
// time.Now; logger may be nil.
func NewWebCert(certFile, keyFile string, clock func() time.Time, logger *slog.Logger) (*WebCert, error) {
	w := &WebCert{certFile: certFile, keyFile: keyFile, clock: clockOr(clock), logger: loggerOr(logger)}
	if err := w.reread(); err != nil {
		return nil, err
	}
	return w, nil
}

// Get returns the certificate as it is now.
func (w *WebCert) Get() (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.clock(); now.Sub(w.looked) >= webCertEvery {
		w.looked = now
		if err := w.reread(); err != nil {
			w.logger.Error("the server certificate can't be read again; the last one is used", "error", err)
		}
	}
	return w.cert, nil
}

// reread is called with mu held, or before there is anyone to hold it from.
func (w *WebCert) reread() error {
	certPEM, certErr := readFile(w.certFile)
	keyPEM, keyErr := readFile(w.keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	sum := sha256.Sum256(append(append([]byte{}, certPEM...), keyPEM...))
	if sum == w.seen {
		return nil
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("server certificate %s with the key %s: %w", w.certFile, w.keyFile, err)
	}
	w.cert, w.seen = &cert, sum
	return nil
}
