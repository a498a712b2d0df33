package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// ErrNotModified is what Fetch returns when there is nothing new.
var ErrNotModified = errors.New("the bundle is the one that is known")

// Server is where bundles are fetched: a bundle server or a registry.
type Server interface {
	// Fetch returns the archive and a tag that tells it from others. Given the
	// tag of one that is known it may return ErrNotModified. It reads at most
	// MaxBytes.
	Fetch(ctx context.Context, known string) (archive []byte, tag string, err error)
	// String is where it is, without secrets.
	String() string
}

// HTTPConfig is what a server is asked with.
type HTTPConfig struct {
	// TokenFile holds a bearer token, read for every request; empty: none.
	TokenFile string
	// Timeout bounds one fetch.
	Timeout time.Duration
	// Client asks; nil is http.DefaultClient.
	Client *http.Client
}

// fetcher asks over HTTP.
type fetcher struct{ HTTPConfig }

// HTTPServer is a bundle server, or whatever else has the archive at a URL and
// says with an ETag whether it is new.
type HTTPServer struct {
	url *url.URL
	fetcher
}

// NewHTTPServer returns the server of an archive.
func NewHTTPServer(at *url.URL, c HTTPConfig) *HTTPServer {
	return &HTTPServer{at, fetcher{c}}
}

func (s *HTTPServer) String() string { return s.url.Redacted() }

// Fetch implements Server.
func (s *HTTPServer) Fetch(ctx context.Context, known string) (archive []byte, tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	archive, tag, err = s.fetch(ctx, known)
	return archive, tag, s.explain(ctx, s, err)
}

func (s *HTTPServer) fetch(ctx context.Context, known string) ([]byte, string, error) {
	header := http.Header{"Prefer": {"modes=snapshot"}} // not what has changed since
	if known != "" {
		header.Set("If-None-Match", known)
	}
	r, err := s.get(ctx, s.url.String(), header, MaxBytes)
	switch {
	case err != nil:
		return nil, "", err
	case r.code == http.StatusNotModified && known != "":
		return nil, known, ErrNotModified
	}
	return r.body, r.header.Get("ETag"), r.ok()
}

// reply is what a server answers. Its body is read if it is what was asked for.
type reply struct {
	code   int
	status string
	header http.Header
	body   []byte
}

func (r reply) ok() error {
	if r.code != http.StatusOK {
		return fmt.Errorf("it answers %s", r.status)
	}
	return nil
}

// get asks for what is at a URL, of at most so many bytes. What a redirect leads
// to has to be as safe.
func (f fetcher) get(ctx context.Context, at string, header http.Header, most int64) (_ reply, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	r.Header = header
	// The archive is compressed already, and counted as it comes.
	r.Header.Set("Accept-Encoding", "identity")
	if f.TokenFile != "" && r.Header.Get("Authorization") == "" {
		token, err := os.ReadFile(f.TokenFile)
		if err != nil {
			return reply{}, fmt.Errorf("bearer_token_file: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	client := http.Client{}
	if f.Client != nil {
		client = *f.Client
	}
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= 5:
			return errors.New("it redirects too often")
		case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
			return errors.New("it redirects to what is not https")
		}
		return nil
	}
	response, err := client.Do(r)
	// What it says of the URL may hold a secret that a redirect brought.
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if err != nil {
		return reply{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	out := reply{code: response.StatusCode, status: response.Status, header: response.Header}
	if out.ok() != nil {
		return out, nil
	}
	tooLarge := fmt.Errorf("it has more than %d bytes", most)
	if response.ContentLength > most {
		return reply{}, tooLarge
	}
	out.body, err = io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("it breaks off: %w", err)
	case int64(len(out.body)) > most:
		return reply{}, tooLarge
	case ctx.Err() != nil:
		// A server that sees us leave may end what it had begun, and look as if
		// that were all.
		return reply{}, ctx.Err()
	}
	return out, nil
}

// explain says of an error where it is from.
func (f fetcher) explain(ctx context.Context, where fmt.Stringer, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrNotModified):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: it takes longer than %s", where, f.Timeout)
	}
	return fmt.Errorf("%s: %w", where, err)
}
