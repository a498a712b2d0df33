package gatewaytest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/parley-gateway/parley/federation/metrics"
)

// Backend is a Prometheus that takes every question and answers none until it
// is released; then it has no series.
type Backend struct {
	t        testing.TB
	url      *url.URL
	client   *http.Client
	released chan struct{}
	release  func()

	mu        sync.Mutex
	waiting   int // guarded by mu
	abandoned int // guarded by mu
}

// NewBackend returns a backend that runs until the test ends.
func NewBackend(t testing.TB) *Backend {
	t.Helper()
	b := &Backend{t: t, released: make(chan struct{})}
	b.release = sync.OnceFunc(func() { close(b.released) })
	server := httptest.NewServer(http.HandlerFunc(b.serve))
	b.client = server.Client()
	t.Cleanup(func() { b.Release(); server.Close() })
	var err error
	if b.url, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return b
}

// Source reads from the backend.
func (b *Backend) Source() metrics.Source {
	b.t.Helper()
	source, err := metrics.NewPrometheus(metrics.PrometheusConfig{URL: b.url, Client: b.client, NoPushDown: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return source
}

// Release answers the questions that wait and all later ones.
func (b *Backend) Release() { b.release() }

// Waiting is how many questions wait now.
func (b *Backend) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Abandoned is how many questions were given up by who asked.
func (b *Backend) Abandoned() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.abandoned
}

func (b *Backend) serve(w http.ResponseWriter, r *http.Request) {
	// The server notices that a client has left only when the body was read.
	_, _ = io.Copy(io.Discard, r.Body)
	b.count(&b.waiting, 1)
	defer b.count(&b.waiting, -1)
	select {
	case <-b.released:
		w.Header().Set("Content-Type", "application/x-streamed-protobuf")
	case <-r.Context().Done():
		b.count(&b.abandoned, 1)
	}
}

func (b *Backend) count(what *int, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*what += n
}
