package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// FilesConfig names the files of our identity. All three are required.
type FilesConfig struct {
	// TrustDomain is ours; the certificate must be of it.
	TrustDomain spiffeid.TrustDomain
	// ID is whose certificate it must be. Zero: anyone's of our trust domain.
	ID spiffeid.ID
	// CertFile holds our SVID in PEM, the leaf first, then intermediates.
	CertFile string
	// KeyFile holds the private key of the leaf, in PEM.
	KeyFile string
	// BundleFile holds our trust domain's bundle: a SPIFFE bundle (JSON) or
	// root certificates in PEM.
	BundleFile string
	// Every is how often the files are looked at. Zero: 5 seconds.
	Every time.Duration
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// Files is a Source that reads files and reads them again when they change.
// The three are taken together or not at all: while one of them is bad, or
// they don't fit, what was there before is kept.
type Files struct {
	current
	config FilesConfig
	// seen is the digest of what was read last, and bad whether it could not
	// be used. Owned by the goroutine of run once NewFiles returned.
	seen   [sha256.Size]byte
	bad    bool
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewFiles reads the files for the first time and begins to watch them. That
// they are missing or bad is no error here but in Ready: they may come.
func NewFiles(config FilesConfig) (*Files, error) {
	if config.TrustDomain.IsZero() {
		return nil, errors.New("identity from files: our trust domain is not given")
	}
	if config.CertFile == "" || config.KeyFile == "" || config.BundleFile == "" {
		return nil, errors.New("identity from files: name all three: the certificate, its key and our bundle")
	}
	config.Every = durationOr(config.Every, 5*time.Second)
	config.Logger = loggerOr(config.Logger)
	ctx, cancel := context.WithCancel(context.Background())
	f := &Files{
		current: current{trustDomain: config.TrustDomain, clock: clockOr(config.Clock)},
		config:  config,
		cancel:  cancel,
	}
	f.reread()
	f.done.Go(func() { f.run(ctx) })
	return f, nil
}

// Close stops watching.
func (f *Files) Close() error {
	f.cancel()
	f.done.Wait()
	return nil
}

func (f *Files) run(ctx context.Context) {
	ticker := time.NewTicker(f.config.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.reread()
		}
	}
}

func (f *Files) reread() {
	var content [3][]byte
	digest := sha256.New()
	var unreadable error
	for i, path := range []string{f.config.CertFile, f.config.KeyFile, f.config.BundleFile} {
		data, err := readFile(path)
		unreadable = errors.Join(unreadable, err)
		content[i] = data
		digest.Write(fmt.Appendf(nil, "%d %v\n", len(data), err))
		digest.Write(data)
	}
	sum := [sha256.Size]byte(digest.Sum(nil))
	news := sum != f.seen
	if !news && !f.bad {
		return
	}
	f.seen = sum
	svid, bundle, err := (*x509svid.SVID)(nil), (*spiffebundle.Bundle)(nil), unreadable
	if err == nil {
		svid, bundle, err = f.parse(content[0], content[1], content[2])
	}
	// What is bad is tried again: it may be a certificate that begins later.
	f.bad = err != nil
	if err != nil {
		f.fail(err)
		if !news {
			return
		}
		f.config.Logger.Error("the files of our identity can't be used; what was read before is kept", "error", err)
		return
	}
	f.set(svid, bundle)
	f.config.Logger.Info("SVID read from files", "id", svid.ID, "not_after", svid.Certificates[0].NotAfter)
}

func (f *Files) parse(cert, key, bundleData []byte) (*x509svid.SVID, *spiffebundle.Bundle, error) {
	svid, err := x509svid.Parse(cert, key)
	if err != nil {
		return nil, nil, fmt.Errorf("%s with the key %s: %w", f.config.CertFile, f.config.KeyFile, err)
	}
	if !svid.ID.MemberOf(f.trustDomain) {
		return nil, nil, fmt.Errorf("%s is the certificate of %s, which is not in our trust domain %s", f.config.CertFile, svid.ID, f.trustDomain)
	}
	if !f.config.ID.IsZero() && svid.ID != f.config.ID {
		return nil, nil, fmt.Errorf("%s is the certificate of %s, want that of %s", f.config.CertFile, svid.ID, f.config.ID)
	}
	bundle, err := ParseBundle(f.trustDomain, bundleData)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.config.BundleFile, err)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, bundle, x509svid.WithTime(f.clock())); err != nil {
		return nil, nil, fmt.Errorf("the certificate in %s is not valid by the bundle in %s: %w", f.config.CertFile, f.config.BundleFile, err)
	}
	return svid, bundle, nil
}

// readFile reads a regular file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // a pipe would keep us waiting
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	return readLimited(path, file)
}

func readLimited(what string, r io.Reader) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(r, maxFile+1)); err != nil {
		return nil, err
	}
	if buf.Len() > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", what, maxFile)
	}
	return buf.Bytes(), nil
}
