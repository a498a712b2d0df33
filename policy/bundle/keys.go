package bundle

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/bundle"
)

// Keys are whose bundles are taken. Without any, only those are that nobody
// signed.
type Keys struct {
	// PEM are the public keys or certificates; one of them has to have signed.
	PEM []string
	// Algorithm is that of the signatures, such as RS256 (RFC 7518).
	Algorithm string
	// Scope is what a signature has to be for; empty: nothing in particular.
	Scope string
}

// ReadKeys reads public keys from files.
func ReadKeys(files []string, algorithm, scope string) (Keys, error) {
	keys := Keys{Algorithm: algorithm, Scope: scope}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return Keys{}, fmt.Errorf("read a key of policy bundles: %w", err)
		}
		if err := checkKey(text); err != nil {
			return Keys{}, fmt.Errorf("%s: %w", name, err)
		}
		keys.PEM = append(keys.PEM, string(text))
	}
	return keys, nil
}

// checkKey says what keeps a PEM file from being a public key.
func checkKey(text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("want a public key in PEM")
	}
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		_, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		_, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		_, err = x509.ParseCertificate(block.Bytes)
	default:
		return fmt.Errorf("want a public key or a certificate, not a %s", strings.ToLower(block.Type))
	}
	return err
}

// keyID is what we call a key: which one signed is found by trying.
const keyID = "key"

// verify reads a bundle with OPA, which checks its signature and the digest of
// every file, and that it keeps to its manifest.
func (k Keys) verify(archive []byte, files []File) (opa.Bundle, error) {
	// OPA reads, and does not verify, whatever has a name that ends like this.
	signed := func(f File) bool { return strings.HasSuffix(f.Path, opa.SignaturesFile) }
	at := slices.IndexFunc(files, signed)
	switch {
	case at >= 0 && slices.ContainsFunc(files[at+1:], signed):
		return opa.Bundle{}, errors.New("it has more than one file of signatures")
	case len(k.PEM) == 0 && at >= 0:
		return opa.Bundle{}, errors.New("it is signed, and no key is configured to check that with")
	case len(k.PEM) == 0:
		return read(archive, nil)
	case at < 0:
		return opa.Bundle{}, errors.New("nobody has signed it")
	}
	var signatures opa.SignaturesConfig
	if err := json.Unmarshal(files[at].Text, &signatures); err != nil {
		return opa.Bundle{}, fmt.Errorf("%s: %w", opa.SignaturesFile, err)
	}
	// Which implementation verifies is not for the bundle to say.
	if signatures.Plugin != "" && signatures.Plugin != "_default" {
		return opa.Bundle{}, fmt.Errorf("its signature is for OPA's plugin %q", signatures.Plugin)
	}
	var err error
	for _, key := range k.PEM {
		config := opa.NewVerificationConfig(map[string]*opa.KeyConfig{keyID: {Key: key, Algorithm: k.Algorithm}}, keyID, k.Scope, nil)
		if _, err = opa.VerifyBundleSignature(signatures, config); err == nil {
			return read(archive, config)
		}
	}
	return opa.Bundle{}, fmt.Errorf("none of the keys (%d, %s) has signed it: %w", len(k.PEM), k.Algorithm, err)
}

func read(archive []byte, verification *opa.VerificationConfig) (opa.Bundle, error) {
	return opa.NewCustomReader(opa.NewTarballLoader(bytes.NewReader(archive))).
		WithBundleVerificationConfig(verification).
		WithSizeLimitBytes(MaxFileBytes).
		WithLazyLoadingMode(false).
		WithRegoVersion(ast.RegoV1).
		Read()
}
