package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// The files of a development CA's folder.
const (
	DevCACertFile   = "ca.pem"
	DevCAKeyFile    = "ca.key"
	DevCABundleFile = "bundle.json"
)

// DevCAConfig is what a new development CA is made of.
type DevCAConfig struct {
	TrustDomain spiffeid.TrustDomain
	// Lifetime of the CA's own certificate. Zero: one year.
	Lifetime time.Duration
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
}

// DevCA is a trust domain's certificate authority for demonstrations and
// tests. Its key lies in a file or in memory, unprotected: it is not for an
// organization that has something to lose.
type DevCA struct {
	trustDomain spiffeid.TrustDomain
	clock       func() time.Time
	cert        *x509.Certificate
	key         crypto.Signer
}

// clockSkew is how far another machine's clock may be behind ours when it
// meets a certificate we just issued.
const clockSkew = time.Minute

// NewDevCA makes a CA that exists in memory only; see Save.
func NewDevCA(config DevCAConfig) (*DevCA, error) {
	if config.TrustDomain.IsZero() {
		return nil, errors.New("development CA: the trust domain is not given")
	}
	clock := clockOr(config.Clock)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	template, err := certificate(config.TrustDomain.ID(), clock(), durationOr(config.Lifetime, 365*24*time.Hour))
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	template.Subject = pkix.Name{Organization: []string{config.TrustDomain.Name()}, CommonName: "parley development CA"}
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.BasicConstraintsValid, template.IsCA = true, true
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	return &DevCA{trustDomain: config.TrustDomain, clock: clock, cert: cert, key: key}, nil
}

// OpenDevCA returns the CA kept in a folder; when the folder holds none, a new
// one is made and saved there. The folder's CA must be of config.TrustDomain.
func OpenDevCA(dir string, config DevCAConfig) (*DevCA, error) {
	ca, err := LoadDevCA(dir, config.Clock)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if ca, err = NewDevCA(config); err != nil {
			return nil, err
		}
		return ca, ca.Save(dir)
	case err != nil:
		return nil, err
	case ca.trustDomain != config.TrustDomain:
		return nil, fmt.Errorf("the development CA in %s is of the trust domain %s, not of %s; name another folder", dir, ca.trustDomain, config.TrustDomain)
	}
	return ca, nil
}

// LoadDevCA reads the CA kept in a folder. The error is fs.ErrNotExist when
// the folder holds nothing of a CA.
func LoadDevCA(dir string, clock func() time.Time) (*DevCA, error) {
	certPEM, certErr := readFile(filepath.Join(dir, DevCACertFile))
	keyPEM, keyErr := readFile(filepath.Join(dir, DevCAKeyFile))
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return nil, fmt.Errorf("no development CA in %s: %w", dir, fs.ErrNotExist)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		// Flattened: half a CA must not look like none, to be made anew.
		return nil, fmt.Errorf("the development CA in %s is not whole: %s", dir, err.Error())
	}
	cert, key, err := parseCA(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the development CA in %s: %w", dir, err)
	}
	id, err := x509svid.IDFromCert(cert)
	if err != nil {
		return nil, fmt.Errorf("the development CA in %s: %w", dir, err)
	}
	ca := &DevCA{trustDomain: id.TrustDomain(), clock: clockOr(clock), cert: cert, key: key}
	if now := ca.clock(); now.After(cert.NotAfter) {
		return nil, fmt.Errorf("the development CA in %s expired at %s; remove the folder to make a new one", dir, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return ca, nil
}

func parseCA(certPEM, keyPEM []byte) (*x509.Certificate, crypto.Signer, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, fmt.Errorf("%s and %s must be PEM files", DevCACertFile, DevCAKeyFile)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("the key in %s is not that of the certificate in %s", DevCAKeyFile, DevCACertFile)
	}
	return cert, key, nil
}

// Save writes the CA to a folder, which it makes if need be: certificate and
// bundle for everybody to read, the key for us alone.
func (ca *DevCA) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("development CA: %w", err)
	}
	bundle, err := ca.Bundle().Marshal()
	if err != nil {
		return fmt.Errorf("development CA: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return fmt.Errorf("development CA: %w", err)
	}
	return errors.Join(
		atomicfile.Write(filepath.Join(dir, DevCAKeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
		atomicfile.Write(filepath.Join(dir, DevCACertFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o644),
		atomicfile.Write(filepath.Join(dir, DevCABundleFile), append(bundle, '\n'), 0o644),
	)
}

// TrustDomain is whose CA this is.
func (ca *DevCA) TrustDomain() spiffeid.TrustDomain { return ca.trustDomain }

// Bundle is the trust domain's bundle: the CA's certificate.
func (ca *DevCA) Bundle() *spiffebundle.Bundle {
	return spiffebundle.FromX509Authorities(ca.trustDomain, []*x509.Certificate{ca.cert})
}

// Issue makes a key and an SVID that is valid from a minute ago until ttl from
// now, rounded up to a whole second, but never longer than the CA itself.
func (ca *DevCA) Issue(id spiffeid.ID, ttl time.Duration) (*x509svid.SVID, error) {
	if !id.MemberOf(ca.trustDomain) || id.Path() == "" {
		return nil, fmt.Errorf("the development CA of %s can't issue %q: want a SPIFFE ID such as spiffe://%s/parley", ca.trustDomain, id, ca.trustDomain)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("issuing %s: %w", id, err)
	}
	template, err := certificate(id, ca.clock(), ttl)
	if err != nil {
		return nil, fmt.Errorf("issuing %s: %w", id, err)
	}
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true
	cert, err := sign(template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("issuing %s: %w", id, err)
	}
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}, nil
}

// SaveSVID writes an SVID as PEM: the chain for everybody to read, the key for
// us alone. Each file appears whole; a Files source that meets the new key
// with the old certificate keeps what it had until it sees both.
func SaveSVID(svid *x509svid.SVID, certFile, keyFile string) error {
	certPEM, keyPEM, err := svid.Marshal()
	if err != nil {
		return fmt.Errorf("writing the SVID %s: %w", svid.ID, err)
	}
	return errors.Join(atomicfile.Write(keyFile, keyPEM, 0o600), atomicfile.Write(certFile, certPEM, 0o644))
}

func certificate(id spiffeid.ID, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		URIs:         []*url.URL{id.URL()},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(lifetime + time.Second - time.Nanosecond).Truncate(time.Second),
	}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
