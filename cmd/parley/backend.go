package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// backend is what is sent with every request to a store of ours.
type backend struct{ signal, tenantHeader, tenant, tokenFile, caFile string }

// The headers in which stores expect the tenant.
const (
	grafanaTenant = "X-Scope-OrgID"
	jaegerTenant  = "x-tenant"
)

func (b backend) client() (*http.Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}
	var err error
	if transport.TLSClientConfig, err = b.tls(); err != nil {
		return nil, err
	}
	return &http.Client{Transport: backendTransport{next: transport, backend: b}}, nil
}

// tls is nil where the system's root certificates do.
func (b backend) tls() (*tls.Config, error) {
	if b.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(b.caFile)
	if err != nil {
		return nil, fmt.Errorf("read the %s backend's root certificates: %w", b.signal, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", b.caFile)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// headers are read for every request: tokens change.
func (b backend) headers() (map[string]string, error) {
	out := map[string]string{}
	if b.tenant != "" {
		out[b.tenantHeader] = b.tenant
	}
	if b.tokenFile != "" {
		token, err := os.ReadFile(b.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the %s backend's bearer token: %w", b.signal, err)
		}
		out["authorization"] = "Bearer " + strings.TrimSpace(string(token))
	}
	return out, nil
}

// backendCredentials are the same over gRPC. That a token isn't sent in the clear
// to another machine is the configuration's to check.
type backendCredentials struct{ backend }

// GetRequestMetadata is credentials.PerRPCCredentials.
func (c backendCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return c.headers()
}

// RequireTransportSecurity is credentials.PerRPCCredentials.
func (backendCredentials) RequireTransportSecurity() bool { return false }

type backendTransport struct {
	next *http.Transport
	backend
}

func (t backendTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	headers, err := t.headers()
	if err != nil {
		if r.Body != nil {
			err = errors.Join(err, r.Body.Close()) // as http.RoundTripper must
		}
		return nil, err
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return t.next.RoundTrip(r)
}

func (t backendTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }
