// Package bundletest makes OPA bundles for tests, signed as `opa sign` does:
//
//	key := bundletest.NewKey(t)
//	archive := key.Sign(t, map[string]string{"globex.rego": "package ..."})
package bundletest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	opa "github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Algorithm is that of a Key's signatures.
const Algorithm = "ES256"

// Key signs bundles.
type Key struct{ private, Public string }

// NewKey makes a key.
func NewKey(t testing.TB) Key {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return Key{
		private: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		Public:  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}
}

// File is a file with the public key.
func (k Key) File(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, []byte(k.Public), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Sign makes a bundle of files by their paths, and signs each.
func (k Key) Sign(t testing.TB, files map[string]string) []byte {
	t.Helper()
	return k.SignFor(t, "", files)
}

// SignFor makes one whose signature is for a scope.
func (k Key) SignFor(t testing.TB, scope string, files map[string]string) []byte {
	t.Helper()
	signed := maps.Clone(files)
	signed["."+opa.SignaturesFile] = k.Signatures(t, scope, files)
	return Pack(t, signed)
}

// Signatures is the file .signatures.json of a bundle.
func (k Key) Signatures(t testing.TB, scope string, files map[string]string) string {
	t.Helper()
	hasher, err := opa.NewSignatureHasher(opa.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var infos []opa.FileInfo
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var value any = []byte(files[name])
		if opa.IsStructuredDoc(name) {
			if err := util.Unmarshal([]byte(files[name]), &value); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := hasher.HashFile(value)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, opa.NewFile(name, hex.EncodeToString(sum), string(opa.SHA256)))
	}
	claims := filepath.Join(t.TempDir(), "claims.json")
	if err := os.WriteFile(claims, []byte(`{"scope": "`+scope+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := opa.GenerateSignedToken(infos, opa.NewSigningConfig(k.private, Algorithm, claims), "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(opa.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Pack makes an archive of files by their paths.
func Pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
