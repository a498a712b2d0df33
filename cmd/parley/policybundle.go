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
	const key = "policy.bundle."
	out := &rego.BundleConfig{File: b.File, Key: key + "file"}
	if out.Keys, err = bundle.ReadKeys(b.KeyFiles, string(b.Algorithm), b.Scope); err != nil {
		return nil, nil, fmt.Errorf("%skey_files: %w", key, err)
	}
	if b.File != "" {
		return out, func() {}, nil
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
	if b.CAFile != "" {
		pem, err := os.ReadFile(b.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("%sca_file: %w", key, err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%sca_file: %s holds no certificate in PEM", key, b.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	asked := bundle.HTTPConfig{TokenFile: b.BearerTokenFile, Timeout: b.Timeout, Client: &http.Client{Transport: transport}}
	if b.URL != nil {
		out.Key, out.Server = key+"url", bundle.NewHTTPServer(b.URL, asked)
	} else {
		out.Key = key + "oci"
		if out.Server, err = bundle.NewRegistry(b.OCI, asked); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", out.Key, err)
		}
	}
	// What another server gave is not kept for this one.
	sum := sha256.Sum256([]byte(out.Server.String()))
	out.Kept = filepath.Join(c.State.Dir, "policy", hex.EncodeToString(sum[:8])+".tar.gz")
	return out, transport.CloseIdleConnections, nil
}
