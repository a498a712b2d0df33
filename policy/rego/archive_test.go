package rego

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
	"github.com/parley-gateway/parley/tenants"
)

// shop is a bundle server, which has one archive and counts how often it gave it.
type shop struct {
	*httptest.Server
	archive atomic.Pointer[[]byte]
	given   atomic.Int64
	key     bundletest.Key
}

func newShop(t testing.TB, archive []byte, key bundletest.Key) *shop {
	t.Helper()
	s := &shop{key: key}
	s.archive.Store(&archive)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		archive := *s.archive.Load()
		etag := fmt.Sprintf(`"%x"`, archive[max(0, len(archive)-64):])
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.given.Add(1)
		_, _ = w.Write(archive)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) has(archive []byte) { s.archive.Store(&archive) }

func (s *shop) config(t testing.TB, kept string) *BundleConfig {
	t.Helper()
	at, err := url.Parse(s.URL + "/acme.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	return &BundleConfig{
		Server: bundle.NewHTTPServer(at, bundle.HTTPConfig{Client: s.Client(), Timeout: time.Minute}),
		Keys:   bundle.Keys{PEM: []string{s.key.Public}, Algorithm: bundletest.Algorithm},
		Kept:   kept,
	}
}

// bundled is a world whose policies come from a bundle.
func bundled(t testing.TB, c *BundleConfig) (*world, error) {
	t.Helper()
	w := mustOpen(t, "", agreements[2])
	w.agreements = agreements[:1]
	config := w.config()
	config.Dir, config.Bundle = "", c
	var err error
	w.Policies, err = New(t.Context(), config)
	return w, err
}

// says is a bundle whose policy for globex denies with a reason.
func says(reason string) map[string]string {
	return map[string]string{
		".manifest":            `{"revision": "` + reason + `", "roots": ["parley", "words"]}`,
		"partners/globex.rego": "package parley.partners.globex\n\ndecision := {\"allow\": false, \"reasons\": [data.words.reason]}\n",
		"words/data.json":      `{"reason": "` + reason + `"}`,
		"samples/a.json":       `{"package": "parley.partners.globex", "input": {"side": "answer"}, "allow": false}`,
	}
}

func TestPoliciesFromABundleServer(t *testing.T) {
	key := bundletest.NewKey(t)
	s := newShop(t, key.Sign(t, says("first")), key)
	kept := filepath.Join(t.TempDir(), "policy", "bundle.tar.gz")
	w, err := bundled(t, s.config(t, kept))
	if err != nil {
		t.Fatal(err)
	}

	// A start doesn't wait for the server: until there is a policy, nobody is answered.
	for _, r := range []struct{ org, pkg string }{{"globex", "parley.partners.globex"}, {"acme", ""}} {
		denies(t, w.decide(t, asks(r.org, r.pkg, "slo-review", "up")), "there is no policy yet: "+s.URL+"/acme.tar.gz: no bundle has been fetched yet")
	}
	if st := w.Status(); st.Err == nil || st.Revision != "" || !st.Loaded.IsZero() {
		t.Errorf("%+v", st)
	}
	w.look(t.Context(), w.look(t.Context(), ""))

	if err := w.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "first")
	if st := w.Status(); st.Err != nil || st.Revision == "" || !st.Loaded.Equal(noon) {
		t.Errorf("%+v", st)
	}

	// Nothing new: nothing is fetched.
	if err := w.Fetch(t.Context()); err != nil || s.given.Load() != 1 {
		t.Errorf("%v, given %d times", err, s.given.Load())
	}
	s.has(key.Sign(t, says("second")))
	if err := w.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "second")

	// An agreement changes while the bundle stays.
	before := w.Status().Revision
	w.agreements = []tenants.Agreement{agreement("globex", "parley.partners.globex", "audit")}
	w.look(t.Context(), w.look(t.Context(), ""))
	if st := w.Status(); st.Err != nil || st.Revision == before {
		t.Errorf("%+v", st)
	}

	// The server is down at the next start.
	s.Close()
	again, err := bundled(t, s.config(t, kept))
	if err != nil {
		t.Fatal(err)
	}
	denies(t, again.decide(t, globexAsks("slo-review")), "second")
	if err := again.Fetch(t.Context()); err == nil {
		t.Error("fetched from nowhere")
	}
	if st := again.Status(); st.Err == nil || !strings.Contains(st.Err.Error(), "connection refused") || st.Revision == "" {
		t.Errorf("%+v", st)
	}
	denies(t, again.decide(t, globexAsks("slo-review")), "second")
	again.look(t.Context(), again.look(t.Context(), ""))
	if st := again.Status(); st.Err == nil {
		t.Error("the server is down, and a look at the agreements says that all is well")
	}
}

// What can't be used leaves the previous policy, and is loud.
func TestABundleThatIsRefused(t *testing.T) {
	key := bundletest.NewKey(t)
	good := key.Sign(t, says("good"))
	broken := says("broken")
	broken["partners/globex.rego"] = "package parley.partners.globex\n\ndecision := {\"allow\": 1}\n"
	sampled := says("sampled")
	sampled["samples/a.json"] = `{"package": "parley.partners.globex", "input": {"side": "answer"}, "allow": true}`
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"unsigned":          {bundletest.Pack(t, says("evil")), "/acme.tar.gz: the bundle is refused: nobody has signed it"},
		"signed by another": {bundletest.NewKey(t).Sign(t, says("evil")), "/acme.tar.gz: the bundle is refused: none of the keys (1, ES256) has signed it"},
		"truncated":         {key.Sign(t, says("evil"))[:300], "/acme.tar.gz: the bundle is refused: it is no whole"},
		"a wrong policy":    {key.Sign(t, broken), "/acme.tar.gz/partners/globex.rego:3: decision: allow is 1; want true or false"},
		"a wrong sample":    {key.Sign(t, sampled), "/acme.tar.gz/samples/a.json: package parley.partners.globex: expected allow to be true"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, good, key)
			kept := filepath.Join(t.TempDir(), "bundle.tar.gz")
			w, err := bundled(t, s.config(t, kept))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := w.Status()
			s.has(test.archive)
			w.now = noon.Add(time.Minute)
			for range 3 {
				_ = w.Fetch(t.Context())
				w.look(t.Context(), w.look(t.Context(), ""))
			}
			st := w.Status()
			if st.Err == nil || !strings.Contains(st.Err.Error(), s.URL+test.want) || st.Revision != before.Revision || !st.Failed.Equal(w.now) {
				t.Errorf("%+v", st)
			}
			if got := strings.Count(w.log.String(), "level=ERROR"); got != 1 {
				t.Errorf("it is logged %d times:\n%s", got, w.log)
			}
			denies(t, w.decide(t, globexAsks("slo-review")), "good")
			if archive, err := os.ReadFile(kept); err != nil || string(archive) != string(good) {
				t.Errorf("another bundle is kept: %v", err)
			}
			s.has(key.Sign(t, says("mended")))
			if err := w.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			denies(t, w.decide(t, globexAsks("slo-review")), "mended")
			if st := w.Status(); st.Err != nil {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A bundle that is refused when it is fetched may decide later, when there is the
// agreement that it is for: then it is kept, though the server says that it is known.
func TestWhatDecidesLaterIsKept(t *testing.T) {
	key := bundletest.NewKey(t)
	s := newShop(t, key.Sign(t, says("good")), key)
	kept := filepath.Join(t.TempDir(), "state", "bundle.tar.gz")
	w, err := bundled(t, s.config(t, kept))
	if err != nil {
		t.Fatal(err)
	}
	agreed := w.agreements
	w.agreements = []tenants.Agreement{agreement("globex", "parley.partners.globex_2", "slo-review")}
	if err := w.Fetch(t.Context()); err == nil {
		t.Fatal("a bundle without the package that the agreement names is taken")
	}
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what doesn't decide is kept: %v", err)
	}
	w.agreements = agreed
	// Where it can't be kept, that is tried again.
	if err := os.WriteFile(filepath.Dir(kept), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.look(t.Context(), w.look(t.Context(), ""))
		if err := w.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "good")
	if got := strings.Count(w.log.String(), "can't be kept for the next start"); got != 1 || s.given.Load() != 1 {
		t.Errorf("given %d times; that it can't be kept is logged %d times:\n%s", s.given.Load(), got, w.log)
	}
	if err := os.Remove(filepath.Dir(kept)); err != nil {
		t.Fatal(err)
	}
	w.look(t.Context(), w.look(t.Context(), ""))

	s.Close()
	again, err := bundled(t, s.config(t, kept))
	if err != nil {
		t.Fatal(err)
	}
	denies(t, again.decide(t, globexAsks("slo-review")), "good")
}

// What is kept is verified again, and not used where it isn't ours any more.
func TestWhatIsKeptHasToProveItselfAgain(t *testing.T) {
	key := bundletest.NewKey(t)
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"unsigned":  {bundletest.Pack(t, says("evil")), "nobody has signed it"},
		"by an old": {bundletest.NewKey(t).Sign(t, says("old")), "none of the keys"},
		"half":      {key.Sign(t, says("half"))[:200], "it is no whole"},
		"broken":    {key.Sign(t, map[string]string{"a.rego": "package a"}), "the policy folder has no such package"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, key.Sign(t, says("new")), key)
			kept := filepath.Join(t.TempDir(), "bundle.tar.gz")
			if err := bundle.Keep(kept, test.archive); err != nil {
				t.Fatal(err)
			}
			w, err := bundled(t, s.config(t, kept))
			if err != nil {
				t.Fatal(err)
			}
			denies(t, w.decide(t, globexAsks("slo-review")), "there is no policy yet")
			if !strings.Contains(w.log.String(), "kept from before the restart is not used") || !strings.Contains(w.log.String(), test.want) {
				t.Error(w.log)
			}
			if err := w.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			denies(t, w.decide(t, globexAsks("slo-review")), "new")
		})
	}
}

func TestPoliciesFromABundleFile(t *testing.T) {
	key := bundletest.NewKey(t)
	file := filepath.Join(t.TempDir(), "acme.tar.gz")
	put := func(archive []byte) {
		if err := bundle.Keep(file, archive); err != nil {
			t.Fatal(err)
		}
	}
	c := &BundleConfig{File: file, Keys: bundle.Keys{PEM: []string{key.Public}, Algorithm: bundletest.Algorithm}}
	if _, err := bundled(t, c); err == nil || !strings.Contains(err.Error(), file+": no such file") {
		t.Errorf("there is no file: %v", err)
	}
	put(bundletest.Pack(t, says("unsigned")))
	var failed *LoadError
	if _, err := bundled(t, c); !errors.As(err, &failed) || !strings.Contains(err.Error(), file+": nobody has signed it") {
		t.Errorf("unsigned: %v", err)
	}
	put(key.Sign(t, says("first")))
	w, err := bundled(t, c)
	if err != nil {
		t.Fatal(err)
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "first")
	put(key.Sign(t, says("second")))
	w.look(t.Context(), w.look(t.Context(), ""))
	denies(t, w.decide(t, globexAsks("slo-review")), "second")
	put([]byte("broken"))
	w.look(t.Context(), w.look(t.Context(), ""))
	denies(t, w.decide(t, globexAsks("slo-review")), "second")
	if st := w.Status(); st.Err == nil || !strings.Contains(st.Err.Error(), "no gzip archive") {
		t.Errorf("%+v", st)
	}
	if err := w.Fetch(t.Context()); err != nil {
		t.Errorf("there is no server to fetch from, and yet: %v", err)
	}
	w.Poll(t.Context(), time.Hour) // nor to poll
}

// Decisions go on, each of one revision, while bundles come in.
func TestDecisionsWhileBundlesChange(t *testing.T) {
	key := bundletest.NewKey(t)
	s := newShop(t, key.Sign(t, says("0")), key)
	w, err := bundled(t, s.config(t, filepath.Join(t.TempDir(), "bundle.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 2 {
		go func() {
			last := 0
			for ctx.Err() == nil {
				d, err := w.Decide(t.Context(), globexAsks("slo-review"))
				var reason int
				if err == nil {
					_, err = fmt.Sscan(strings.Join(d.Reasons, ""), &reason)
				}
				if err != nil || reason < last {
					done <- fmt.Errorf("%+v after %d: %w", d, last, err)
					return
				}
				last = reason
			}
			done <- nil
		}()
	}
	ticks, watched, polled := make(chan time.Time), make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); w.Watch(ctx, ticks) }()
	go func() { defer close(polled); w.Poll(ctx, time.Millisecond) }()
	for i := range 6 {
		s.has(key.Sign(t, says(fmt.Sprint(i))))
		for {
			ticks <- noon
			d, err := w.Decide(t.Context(), globexAsks("slo-review"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(d.Reasons, "") == fmt.Sprint(i) {
				break
			}
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	<-watched
	<-polled
}

// Poll comes back soon to a server that was down.
func TestAServerThatComesBack(t *testing.T) {
	key := bundletest.NewKey(t)
	archive := key.Sign(t, says("there"))
	asked := make(chan struct{})
	failing := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = w.Write(archive)
		}
	}))
	t.Cleanup(failing.Close)
	s := &shop{Server: failing, key: key}
	w, err := bundled(t, s.config(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	polled := make(chan struct{})
	go func() { defer close(polled); w.Poll(ctx, time.Hour) }()
	<-asked
	for w.Status().Revision == "" { // until Poll has asked once more
		if d, err := w.Decide(t.Context(), globexAsks("slo-review")); err != nil || d.Allow {
			t.Fatalf("%+v %v", d, err)
		}
	}
	denies(t, w.decide(t, globexAsks("slo-review")), "there")
	cancel()
	<-polled
}

// What goes wrong with a bundle is said with the key of the config that it is of.
func TestErrorsOfBundlesNameTheKey(t *testing.T) {
	c := &BundleConfig{Key: "policy.bundle.file", File: filepath.Join(t.TempDir(), "nowhere.tar.gz")}
	if _, err := bundled(t, c); err == nil || !strings.Contains(err.Error(), "nowhere.tar.gz: policy.bundle.file: ") {
		t.Errorf("of a file that isn't there: %v", err)
	}
	key := bundletest.NewKey(t)
	s := newShop(t, []byte("nothing"), key)
	c = s.config(t, "")
	c.Key = "policy.bundle.url"
	w, err := bundled(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if text := w.Status().Err.Error(); !strings.HasPrefix(text, "there is no policy yet: policy.bundle.url: https://") {
		t.Errorf("before the first one: %s", text)
	}
	if err := w.Fetch(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "policy.bundle.url: https://") || !strings.Contains(err.Error(), "the bundle is refused") {
		t.Errorf("of one that is none: %v", err)
	}
	s.has(key.Sign(t, says("first")))
	for range 2 { // the second one is the one that is known
		if err := w.Fetch(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
