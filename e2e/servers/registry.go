package servers

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// Registry is a running registry of OCI artifacts, over https.
type Registry struct {
	*Server
	Host   string // host:port of its API
	CAFile string // what its certificate is checked with, in PEM
}

// StartRegistry starts a registry that is empty and lets everybody push.
func StartRegistry(t testing.TB) Registry {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatalf("writing the registry's files: %v", err)
		}
		return file
	}
	certificate, key := loopbackCertificate(t)
	r := Registry{Host: freeAddress(t), CAFile: write("ca.pem", certificate)}
	keyFile := write("key.pem", key)
	r.Server = launch{
		name:    "registry",
		program: Program(t, "registry", "registry"),
		ready:   "/debug/health",
		// It would export traces to where nobody takes them.
		environment: []string{"OTEL_TRACES_EXPORTER=none"},
		arguments: func(debug string) []string {
			return []string{"serve", write("config.yml", fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http:
  addr: %s
  debug: {addr: %s}
  tls: {certificate: %q, key: %q}
`, filepath.Join(dir, "storage"), r.Host, debug, r.CAFile, keyFile))}
		},
	}.start(t)
	return r
}

// loopbackCertificate is one for 127.0.0.1, and its key, in PEM.
func loopbackCertificate(t testing.TB) (certificate, key string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatalf("the key of the test server: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
