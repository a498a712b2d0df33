package main

import (
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
type backend struct{ signal, tenant, tokenFile, caFile string }

func (b backend) client() (*http.Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}
	if b.caFile != "" {
		pem, err := os.ReadFile(b.caFile)
		if err != nil {
			return nil, fmt.Errorf("read the %s backend's root certificates: %w", b.signal, err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", b.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: backendTransport{next: transport, backend: b}}, nil
}

type backendTransport struct {
	next *http.Transport
	backend
}

func (t backendTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if t.tenant != "" {
		r.Header.Set("X-Scope-OrgID", t.tenant)
	}
	if t.tokenFile != "" {
		token, err := os.ReadFile(t.tokenFile)
		if err != nil {
			if r.Body != nil {
				err = errors.Join(err, r.Body.Close()) // as http.RoundTripper must
			}
			return nil, fmt.Errorf("read the %s backend's bearer token: %w", t.signal, err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	return t.next.RoundTrip(r)
}

func (t backendTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }
