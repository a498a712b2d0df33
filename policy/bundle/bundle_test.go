package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	opa "github.com/open-policy-agent/opa/v1/bundle"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var files = map[string]string{
	".manifest":              `{"revision": "v7", "roots": ["partners", "shifts", "lib"]}`,
	"partners/globex.rego":   "package partners.globex\n\ndecision := {\"allow\": false}\n",
	"partners/x_test.rego":   "package partners.x_test\n\ntest_x if true\n",
	"shifts/data.yaml":       "day: {from: 8}\n",
	"lib/data.json":          `{"a": 1}`,
	"lib/other.json":         `{"not": "data"}`,
	"samples/globex.json":    `{"package": "partners.globex", "input": {"side": "answer"}}`,
	"README.md":              "read me",
	"samples/deep/more.json": `{}`,
}

func keysOf(keys ...bundletest.Key) bundle.Keys {
	out := bundle.Keys{Algorithm: bundletest.Algorithm}
	for _, k := range keys {
		out.PEM = append(out.PEM, k.Public)
	}
	return out
}

func TestABundleIsItsPolicies(t *testing.T) {
	key := bundletest.NewKey(t)
	for name, read := range map[string]func() (*bundle.Bundle, error){
		"unsigned": func() (*bundle.Bundle, error) { return bundle.Read(bundletest.Pack(t, files), bundle.Keys{}) },
		"signed":   func() (*bundle.Bundle, error) { return bundle.Read(key.Sign(t, files), keysOf(key)) },
		"one of two": func() (*bundle.Bundle, error) {
			return bundle.Read(key.Sign(t, files), keysOf(bundletest.NewKey(t), key))
		},
		"for a scope": func() (*bundle.Bundle, error) {
			keys := keysOf(key)
			keys.Scope = "policies"
			return bundle.Read(key.SignFor(t, "policies", files), keys)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := read()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range b.Files {
				got = append(got, f.Path)
				if string(f.Text) != files[f.Path] {
					t.Errorf("%s: %q", f.Path, f.Text)
				}
			}
			want := []string{"lib/data.json", "partners/globex.rego", "samples/deep/more.json", "samples/globex.json", "shifts/data.yaml"}
			if diff := cmp.Diff(want, got); diff != "" || b.Revision != "v7" {
				t.Errorf("revision %q\n%s", b.Revision, diff)
			}
		})
	}
}

// What OPA's own tools build and sign is taken.
func TestABundleThatOPAWrote(t *testing.T) {
	for algorithm, pair := range map[string]func() (private, public any){
		"RS256": func() (any, any) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			return key, &key.PublicKey
		},
		"EdDSA": func() (any, any) {
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return private, public
		},
	} {
		t.Run(algorithm, func(t *testing.T) {
			private, public := pair()
			privateDER, err := x509.MarshalPKCS8PrivateKey(private)
			if err != nil {
				t.Fatal(err)
			}
			publicDER, err := x509.MarshalPKIXPublicKey(public)
			if err != nil {
				t.Fatal(err)
			}
			b, err := opa.NewReader(bytes.NewReader(bundletest.Pack(t, files))).Read()
			if err != nil {
				t.Fatal(err)
			}
			sign := opa.NewSigningConfig(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})), algorithm, "")
			if err := b.GenerateSignature(sign, "a key id", false); err != nil {
				t.Fatal(err)
			}
			var archive bytes.Buffer
			if err := opa.NewWriter(&archive).Write(b); err != nil {
				t.Fatal(err)
			}
			got, err := bundle.Read(archive.Bytes(), bundle.Keys{
				PEM: []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}))}, Algorithm: algorithm,
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Files) != 2 || got.Revision != "v7" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func with(more ...string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = text
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// A bundle is taken as a whole, or not at all.
func TestWhatIsNoBundle(t *testing.T) {
	key, other := bundletest.NewKey(t), bundletest.NewKey(t)
	good := key.Sign(t, files)
	unzipped := func(f func(w *tar.Writer)) []byte {
		var out bytes.Buffer
		zipped := gzip.NewWriter(&out)
		w := tar.NewWriter(zipped)
		f(w)
		if err := zipped.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	scoped := keysOf(key)
	scoped.Scope = "policies"
	for name, test := range map[string]struct {
		archive []byte
		keys    bundle.Keys
		want    string
	}{
		"nothing":              {nil, bundle.Keys{}, "no gzip archive"},
		"text":                 {[]byte("package x"), bundle.Keys{}, "no gzip archive"},
		"truncated":            {good[:len(good)/2], keysOf(key), "no whole"},
		"truncated at its end": {good[:len(good)-4], keysOf(key), "no whole gzip archive"},
		"unsigned":             {bundletest.Pack(t, files), keysOf(key), "nobody has signed it"},
		"signed by another":    {other.Sign(t, files), keysOf(key), "none of the keys (1, ES256) has signed it"},
		"signed, and no key":   {good, bundle.Keys{}, "it is signed, and no key is configured"},
		"another algorithm":    {good, bundle.Keys{PEM: []string{key.Public}, Algorithm: "RS256"}, "none of the keys"},
		"for another scope":    {key.SignFor(t, "bundles", files), scoped, "scope mismatch"},
		"for no scope":         {good, scoped, "scope mismatch"},
		"a file changed":       {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", files), "partners/globex.rego", "package partners.globex\n\ndecision := {\"allow\": true}\n")), keysOf(key), "digest mismatch"},
		"a file more":          {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", files), "partners/more.rego", "package partners.more")), keysOf(key), "not included in bundle signature"},
		"a sample more":        {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", files), "samples/more.json", "{}")), keysOf(key), "not included in bundle signature"},
		"a file less":          {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", with("partners/more.rego", "package partners.more")))), keysOf(key), "not found in the target bundle"},
		"data merged in YAML":  {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", files), "lib/data.json", `{"<<": {"a": 1}}`)), keysOf(key), "digest mismatch"},
		"a plugin verifies":    {bundletest.Pack(t, with(".signatures.json", `{"signatures": ["x"], "plugin": "mine"}`)), keysOf(key), `for OPA's plugin "mine"`},
		"no signature in it":   {bundletest.Pack(t, with(".signatures.json", `{}`)), keysOf(key), "none of the keys"},
		"signatures twice":     {bundletest.Pack(t, with(".signatures.json", key.Signatures(t, "", files), "zsignatures.json", other.Signatures(t, "", files))), keysOf(key), "more than one file of signatures"},
		"a delta":              {bundletest.Pack(t, map[string]string{"patch.json": `{"data": [{"op": "upsert", "path": "/x", "value": 1}]}`}), bundle.Keys{}, "delta bundle"},
		"a delta, unsigned":    {bundletest.Pack(t, map[string]string{"patch.json": `{"data": [{"op": "upsert", "path": "/x", "value": 1}]}`}), keysOf(key), "nobody has signed it"},
		"a delta, wrongly":     {bundletest.Pack(t, map[string]string{"patch.json": `{"data": []}`, ".signatures.json": other.Signatures(t, "", files)}), keysOf(key), "none of the keys"},
		"compiled":             {bundletest.Pack(t, map[string]string{"policy.wasm": "\x00asm"}), bundle.Keys{}, "it is compiled"},
		"Rego v0":              {bundletest.Pack(t, map[string]string{".manifest": `{"rego_version": 0}`, "a.rego": "package a"}), bundle.Keys{}, "Rego v0"},
		"a file in Rego v0":    {bundletest.Pack(t, map[string]string{".manifest": `{"rego_version": 1, "file_rego_versions": {"/lib/*.rego": 0}}`, "a.rego": "package a"}), bundle.Keys{}, "Rego v0"},
		"syntax":               {bundletest.Pack(t, with("a.rego", "package a\nx := {")), bundle.Keys{}, "a.rego:2"},
		"out of its roots":     {bundletest.Pack(t, with("elsewhere/data.json", `{"a": 1}`)), bundle.Keys{}, "manifest roots"},
		"a path out of it":     {bundletest.Pack(t, map[string]string{"../../etc/passwd": "x"}), bundle.Keys{}, "no path of a file"},
		"too large":            {make([]byte, bundle.MaxBytes+1), bundle.Keys{}, "larger than 64 MiB"},
		"a file too large":     {bundletest.Pack(t, map[string]string{"data.json": strings.Repeat(" ", bundle.MaxFileBytes+1)}), bundle.Keys{}, "data.json is larger than 16 MiB"},
		"too large when it's unpacked": {unzipped(func(w *tar.Writer) {
			for _, name := range strings.Split("abcdefghi", "") {
				_ = w.WriteHeader(&tar.Header{Name: name, Size: bundle.MaxFileBytes, Typeflag: tar.TypeReg})
				_, _ = w.Write(make([]byte, bundle.MaxFileBytes))
			}
		}), bundle.Keys{}, "larger than 128 MiB together"},
		"too large in what is passed over": {unzipped(func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: "x", Size: bundle.MaxUnpacked + 1, Typeflag: tar.TypeCont})
			_, _ = w.Write(make([]byte, bundle.MaxUnpacked+1))
		}), bundle.Keys{}, "larger than 128 MiB together"},
		"the same file twice": {unzipped(func(w *tar.Writer) {
			for _, name := range []string{"a.rego", "./a.rego"} {
				_ = w.WriteHeader(&tar.Header{Name: name, Size: 9, Typeflag: tar.TypeReg})
				_, _ = w.Write([]byte("package a"))
			}
			_ = w.Close()
		}), bundle.Keys{}, "a.rego is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bundle.Read(test.archive, test.keys)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			if b != nil {
				t.Errorf("and yet: %+v", b)
			}
		})
	}
}

func TestKeysAreThePublicOnes(t *testing.T) {
	key := bundletest.NewKey(t)
	keys, err := bundle.ReadKeys([]string{key.File(t)}, bundletest.Algorithm, "s")
	if diff := cmp.Diff(bundle.Keys{PEM: []string{key.Public}, Algorithm: bundletest.Algorithm, Scope: "s"}, keys); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for text, want := range map[string]string{
		"":      "want a public key in PEM",
		"hello": "want a public key in PEM",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "want a public key or a certificate, not a private key",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n":   "key.pem: ",
	} {
		file := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.ReadKeys([]string{file}, "", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
	if _, err := bundle.ReadKeys([]string{"nowhere.pem"}, "", ""); err == nil || !strings.Contains(err.Error(), "nowhere.pem") {
		t.Error(err)
	}
}

func TestAKeptBundleIsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy", "kept.tar.gz")
	for _, archive := range []string{"one", "another"} {
		if err := bundle.Keep(file, []byte(archive)); err != nil {
			t.Fatal(err)
		}
		if got, err := bundle.ReadFile(file); err != nil || string(got) != archive {
			t.Errorf("%q %v", got, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	if err := bundle.Keep(filepath.Join(file, "below"), nil); err == nil {
		t.Error("kept below a file")
	}
}
