package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/rego"
)

// newPolicyBundle is where policies come from, unless it is a folder; then it
// is nil.
func newPolicyBundle(c *config.Config) (_ *rego.BundleConfig, stop func(), err error) {
	b := c.Policy.Bundle
	if b == nil {
		return nil, func() {}, nil
	}
	out := &rego.BundleConfig{File: b.File}
	if out.Keys, err = bundle.ReadKeys(b.KeyFiles, string(b.Algorithm), b.Scope); err != nil {
		return nil, nil, err
	}
	if b.File != "" {
		return out, func() {}, nil
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
	if b.CAFile != "" {
		pem, err := os.ReadFile(b.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("read the policy bundle server's root certificates: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s holds no certificate in PEM", b.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	asked := bundle.HTTPConfig{TokenFile: b.BearerTokenFile, Timeout: b.Timeout, Client: &http.Client{Transport: transport}}
	if b.URL != nil {
		out.Server = bundle.NewHTTPServer(b.URL, asked)
	} else if out.Server, err = bundle.NewRegistry(b.OCI, asked); err != nil {
		return nil, nil, err
	}
	// What another server gave is not kept for this one.
	sum := sha256.Sum256([]byte(out.Server.String()))
	out.Kept = filepath.Join(c.State.Dir, "policy", hex.EncodeToString(sum[:8])+".tar.gz")
	return out, transport.CloseIdleConnections, nil
}
