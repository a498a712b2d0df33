package bundle_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy/bundle"
)

func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, bundle.HTTPConfig) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server, bundle.HTTPConfig{Client: server.Client(), Timeout: time.Minute}
}

func at(t *testing.T, server *httptest.Server, path string, c bundle.HTTPConfig) *bundle.HTTPServer {
	t.Helper()
	u, err := url.Parse(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return bundle.NewHTTPServer(u, c)
}

func token(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestABundleServerIsAskedForWhatIsNew(t *testing.T) {
	etag := `"one"`
	server, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, "archive "+etag)
	})
	s := at(t, server, "/parley.tar.gz", c)
	if _, _, err := s.Fetch(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "/parley.tar.gz: it answers 401 Unauthorized") {
		t.Errorf("without a token: %v", err)
	}
	c.TokenFile = token(t, "secret\n")
	s = at(t, server, "/parley.tar.gz", c)
	archive, tag, err := s.Fetch(t.Context(), "")
	if err != nil || string(archive) != `archive "one"` || tag != `"one"` {
		t.Fatalf("%q %s %v", archive, tag, err)
	}
	if _, _, err := s.Fetch(t.Context(), tag); !errors.Is(err, bundle.ErrNotModified) {
		t.Errorf("nothing is new, and yet: %v", err)
	}
	etag = `"two"`
	if archive, tag, err = s.Fetch(t.Context(), tag); err != nil || string(archive) != `archive "two"` || tag != `"two"` {
		t.Fatalf("%q %s %v", archive, tag, err)
	}
}

func TestAServerThatIsInNoState(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "archive") }))
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"an error":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "it answers 502 Bad Gateway"},
		"nothing at all":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "it answers 204"},
		"not modified what": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, "it answers 304"},
		"part of it":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) }, "it answers 206"},
		"too much, it says": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(bundle.MaxBytes+1))
		}, "it has more than 67108864 bytes"},
		"it breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
		}, "it breaks off: unexpected EOF"},
		"a redirect to http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, plain.URL+"/?secret=1", http.StatusFound)
		}, "it redirects to what is not https"},
		"redirects for ever": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again?secret=1", http.StatusFound) }, "it redirects too often"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			for range bundle.MaxBytes>>20 + 1 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "it has more than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			server, c := serve(t, test.handler)
			_, _, err := at(t, server, "/parley.tar.gz", c).Fetch(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), server.URL+"/parley.tar.gz: "+test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds what a redirect said: %v", err)
			}
		})
	}
	for name, handler := range map[string]http.HandlerFunc{
		"it doesn't answer": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		},
		"it dribbles": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, c := serve(t, handler)
			c.Timeout = 50 * time.Millisecond
			_, _, err := at(t, server, "/parley.tar.gz", c).Fetch(t.Context(), "")
			if err == nil || !strings.HasSuffix(err.Error(), "/parley.tar.gz: it takes longer than 50ms") {
				t.Error(err)
			}
		})
	}
	t.Run("it isn't there", func(t *testing.T) {
		server, c := serve(t, nil)
		s := at(t, server, "/parley.tar.gz", c)
		server.Close()
		if _, _, err := s.Fetch(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Error(err)
		}
	})
	t.Run("it is another", func(t *testing.T) {
		server, c := serve(t, nil)
		c.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if _, _, err := at(t, server, "/parley.tar.gz", c).Fetch(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	})
	t.Run("nobody waits", func(t *testing.T) {
		server, c := serve(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := at(t, server, "/parley.tar.gz", c).Fetch(ctx, ""); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// ended is the body of a response that a server ends when it sees that nobody
// waits any more, and that still arrives.
type ended struct{ asked context.Context }

func (e ended) Read([]byte) (int, error) {
	<-e.asked.Done()
	return 0, io.EOF
}

func (ended) Close() error { return nil }

// RoundTrip answers with the beginning of an archive.
func (ended) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, ContentLength: -1, Request: r,
		Body: struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader("a"), ended{r.Context()}), ended{}},
	}, nil
}

// Over TLS a client says that it leaves, and then leaves: in between it may hear
// a server say that this was all.
func TestWhatEndsAfterItsTimeIsNoArchive(t *testing.T) {
	u, err := url.Parse("https://bundles.example/parley.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	s := bundle.NewHTTPServer(u, bundle.HTTPConfig{Client: &http.Client{Transport: ended{}}, Timeout: time.Millisecond})
	if archive, _, err := s.Fetch(t.Context(), ""); err == nil || !strings.HasSuffix(err.Error(), "/parley.tar.gz: it takes longer than 1ms") {
		t.Errorf("%q, %v", archive, err)
	}
}

// registry is the pulling half of the OCI Distribution Specification, as
// registries of the public have it: a token for everybody.
type registry struct {
	manifest, blob   string
	manifests, blobs int
	open             bool
	manifestStatus   int
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(s[:])
}

func manifestOf(layers ...string) string {
	return `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "` + sum("{}") + `", "size": 2},
		"layers": [` + strings.Join(layers, ", ") + `]}`
}

func layer(digest string) string {
	return `{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "` + digest + `", "size": 7}`
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := "https://" + r.Host
	switch {
	case r.URL.Path == "/token":
		if r.URL.Query().Get("scope") != "repository:policies/parley:pull" || r.URL.Query().Get("service") != "registry" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"token": "anybody's"}`)
	case !g.open && r.Header.Get("Authorization") != "Bearer anybody's":
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+host+`/token",service="registry",scope="repository:policies/parley:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/v2/policies/parley/manifests/v1" || r.URL.Path == "/v2/policies/parley/manifests/"+sum(g.manifest):
		g.manifests++
		if !strings.Contains(r.Header.Get("Accept"), "application/vnd.oci.image.manifest.v1+json") {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		if g.manifestStatus != 0 {
			w.WriteHeader(g.manifestStatus)
		}
		_, _ = io.WriteString(w, g.manifest)
	case strings.HasPrefix(r.URL.Path, "/v2/policies/parley/blobs/"):
		g.blobs++
		// Registries keep blobs elsewhere.
		http.Redirect(w, r, "/elsewhere?secret=1", http.StatusTemporaryRedirect)
	case r.URL.Path == "/elsewhere":
		_, _ = io.WriteString(w, g.blob)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestABundleInARegistry(t *testing.T) {
	const archive = "archive"
	g := &registry{manifest: manifestOf(`{"mediaType": "text/plain", "digest": "`+sum("readme")+`", "size": 6}`, layer(sum(archive))), blob: archive}
	server, c := serve(t, g.ServeHTTP)
	host := strings.TrimPrefix(server.URL, "https://")
	for _, reference := range []string{"policies/parley:v1", "policies/parley@" + sum(g.manifest)} {
		s, err := bundle.NewRegistry(host+"/"+reference, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.String(); got != "oci://"+host+"/"+reference {
			t.Errorf("it is called %s", got)
		}
		got, tag, err := s.Fetch(t.Context(), "")
		if err != nil || string(got) != archive || tag != sum(g.manifest) {
			t.Fatalf("%q %s %v", got, tag, err)
		}
		before := g.blobs
		if _, _, err := s.Fetch(t.Context(), tag); !errors.Is(err, bundle.ErrNotModified) || g.blobs != before {
			t.Errorf("nothing is new, and yet: %v, %d blobs", err, g.blobs-before)
		}
	}
}

func TestARegistryWithoutABundle(t *testing.T) {
	good := manifestOf(layer(sum("archive")))
	for name, test := range map[string]struct {
		g         registry
		reference string
		want      string
	}{
		"no such tag":       {registry{manifest: good}, "policies/parley:v2", "manifest: it answers 404 Not Found"},
		"another digest":    {registry{manifest: good}, "policies/parley@" + sum("x"), "manifest: it answers 404"},
		"no manifest":       {registry{manifest: "{"}, "policies/parley:v1", "manifest: unexpected end"},
		"no layer":          {registry{manifest: manifestOf()}, "policies/parley:v1", "manifest: it has 0 layers of type"},
		"two layers":        {registry{manifest: manifestOf(layer(sum("a")), layer(sum("b")))}, "policies/parley:v1", "manifest: it has 2 layers of type"},
		"a weak digest":     {registry{manifest: manifestOf(layer("md5:00"))}, "policies/parley:v1", `manifest: its layer's digest "md5:00" isn't SHA-256`},
		"a path as digest":  {registry{manifest: manifestOf(layer("../../x"))}, "policies/parley:v1", "isn't SHA-256"},
		"too large":         {registry{manifest: strings.Replace(good, `"size": 7`, `"size": 700000000`, 1)}, "policies/parley:v1", "its layer is larger than 64 MiB"},
		"a large manifest":  {registry{manifest: strings.Repeat(" ", 4<<20+1)}, "policies/parley:v1", "manifest: it has more than 4194304 bytes"},
		"another layer":     {registry{manifest: good, blob: "another"}, "policies/parley:v1", "layer: its digest is " + sum("another")},
		"an error":          {registry{manifest: good, manifestStatus: http.StatusInternalServerError}, "policies/parley:v1", "manifest: it answers 500"},
		"not for everybody": {registry{manifest: good}, "policies/secret:v1", "manifest: token of "},
	} {
		t.Run(name, func(t *testing.T) {
			server, c := serve(t, test.g.ServeHTTP)
			s, err := bundle.NewRegistry(strings.TrimPrefix(server.URL, "https://")+"/"+test.reference, c)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Fetch(t.Context(), ""); err == nil || !strings.HasPrefix(err.Error(), s.String()+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	for _, challenge := range []string{``, `Basic realm="x"`, `Bearer realm="http://127.0.0.1/token"`, `Bearer realm=":"`} {
		server, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		})
		s, err := bundle.NewRegistry(strings.TrimPrefix(server.URL, "https://")+"/policies/parley:v1", c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Fetch(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "configure a bearer token") {
			t.Errorf("%s: %v", challenge, err)
		}
	}
}

// A token of our own is sent, and nobody is asked for another.
func TestARegistryThatKnowsUs(t *testing.T) {
	g := &registry{manifest: manifestOf(layer(sum("archive"))), blob: "archive"}
	server, c := serve(t, g.ServeHTTP)
	for text, want := range map[string]string{"anybody's": "", "nobody's": "it answers 401"} {
		c.TokenFile = token(t, text)
		s, err := bundle.NewRegistry(strings.TrimPrefix(server.URL, "https://")+"/policies/parley:v1", c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Fetch(t.Context(), ""); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatIsNoReference(t *testing.T) {
	for _, reference := range []string{"", "parley", "host/parley", "host/Parley:v1", "https://host/parley:v1", "host/parley:v1@sha256:00", "host/../x:v1", "host/a:b/c", "user@host/a:b"} {
		if s, err := bundle.NewRegistry(reference, bundle.HTTPConfig{}); err == nil {
			t.Errorf("%q is %s", reference, s)
		}
	}
}
