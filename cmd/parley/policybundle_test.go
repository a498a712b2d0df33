package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
)

// A policy bundle is fetched as the config says, and kept by where it is from.
func TestPolicyBundleOfAConfig(t *testing.T) {
	key := bundletest.NewKey(t)
	archive := key.Sign(t, map[string]string{"globex.rego": "package parley.partners.globex\n"})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer secret" {
			_, _ = w.Write(archive)
		}
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	roots := write("roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token := write("token", "secret\n")
	kept := map[string]bool{}
	for _, path := range []string{"/a.tar.gz", "/b.tar.gz"} {
		at, err := url.Parse(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		c := &config.Config{State: config.State{Dir: dir}, Policy: config.Policy{Bundle: &config.PolicyBundle{
			URL: at, Timeout: time.Minute, CAFile: roots, BearerTokenFile: token, KeyFiles: []string{key.File(t)}, Algorithm: bundletest.Algorithm,
		}}}
		b, stop, err := newPolicyBundle(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		if b.Key != "policy.bundle.url" {
			t.Errorf("errors are said to come from %q", b.Key)
		}
		got, _, err := b.Server.Fetch(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Read(got, b.Keys); err != nil {
			t.Error(err)
		}
		if filepath.Dir(b.Kept) != filepath.Join(dir, "policy") || kept[b.Kept] {
			t.Errorf("%s is kept at %s", path, b.Kept)
		}
		kept[b.Kept] = true
	}
	for want, b := range map[string]config.PolicyBundle{
		"policy.bundle.key_files: ":                                 {File: "a.tar.gz", KeyFiles: []string{"nowhere.pem"}},
		"token: want a public key in PEM":                           {File: "a.tar.gz", KeyFiles: []string{token}},
		"policy.bundle.ca_file: " + token + " holds no certificate": {OCI: "registry.example/a:b", CAFile: token},
		"policy.bundle.ca_file: open nowhere.pem: no such file":     {OCI: "registry.example/a:b", CAFile: "nowhere.pem"},
		"policy.bundle.oci: want host/repository":                   {OCI: "registry.example"},
	} {
		if _, _, err := newPolicyBundle(&config.Config{Policy: config.Policy{Bundle: &b}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if b, stop, err := newPolicyBundle(&config.Config{}); b != nil || err != nil {
		t.Errorf("%+v %v", b, err)
	} else {
		stop()
	}
}
