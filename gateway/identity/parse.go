package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxFile bounds what is read of a bundle, a JWKS, a certificate or a key:
// a bundle of a hundred authorities is under 200 KiB.
const maxFile = 1 << 20

// ParseBundle reads the bundle of a trust domain: a SPIFFE bundle (JSON; see
// SPIFFE_Trust_Domain_and_Bundle, section 4) or root certificates in PEM.
func ParseBundle(td spiffeid.TrustDomain, data []byte) (*spiffebundle.Bundle, error) {
	trimmed := bytes.TrimSpace(data)
	var (
		bundle *spiffebundle.Bundle
		err    error
	)
	switch {
	case len(trimmed) == 0:
		return nil, fmt.Errorf("the bundle of %s is empty; want a SPIFFE bundle (JSON) or PEM certificates", td)
	case trimmed[0] == '{':
		bundle, err = parseSPIFFEBundle(td, trimmed)
	default:
		bundle, err = parsePEMBundle(td, trimmed)
	}
	if err != nil {
		return nil, fmt.Errorf("the bundle of %s: %w", td, err)
	}
	for _, authority := range bundle.X509Authorities() {
		if err := checkAuthority(td, authority); err != nil {
			return nil, fmt.Errorf("the bundle of %s: %w", td, err)
		}
	}
	return bundle, nil
}

// parseSPIFFEBundle tells a bundle without keys, with which a trust domain
// revokes all it had, from a document that isn't a bundle, such as an OpenID
// provider's JWKS.
func parseSPIFFEBundle(td spiffeid.TrustDomain, data []byte) (*spiffebundle.Bundle, error) {
	bundle, err := spiffebundle.Parse(td, data)
	if err != nil || !bundle.Empty() {
		return bundle, err
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Keys) > 0 {
		return nil, errors.New("is a JWKS but no SPIFFE bundle: none of its keys has the use x509-svid")
	}
	return bundle, nil
}

func parsePEMBundle(td spiffeid.TrustDomain, data []byte) (*spiffebundle.Bundle, error) {
	bundle := spiffebundle.New(td)
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %q; only certificates belong in a bundle", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		bundle.AddX509Authority(cert)
		data = rest
	}
	if len(bundle.X509Authorities()) == 0 {
		return nil, errors.New("holds neither a SPIFFE bundle (JSON) nor a PEM certificate")
	}
	return bundle, nil
}

// checkAuthority refuses a certificate that can't be an authority of td. A
// bundle doesn't say whose it is; an authority that carries a SPIFFE ID does
// (X509-SVID, section 3).
func checkAuthority(td spiffeid.TrustDomain, authority *x509.Certificate) error {
	if !authority.IsCA {
		return errors.New("one of its certificates is not a CA's")
	}
	for _, uri := range authority.URIs {
		if uri.Scheme != "spiffe" {
			continue
		}
		id, err := spiffeid.FromURI(uri)
		if err != nil {
			return fmt.Errorf("one of its authorities has a malformed SPIFFE ID: %w", err)
		}
		if !id.MemberOf(td) {
			return fmt.Errorf("one of its authorities belongs to the trust domain %s", id.TrustDomain())
		}
	}
	return nil
}
