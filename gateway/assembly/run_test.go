package assembly

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What hangs is named and left behind: the doors are shut beside it, and what
// is closed last, the audit log, still is.
func TestWhatHangsIsLeftBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	forever := make(chan struct{})
	defer close(forever)
	hangs := func() error { <-forever; return nil }
	var ended []string
	ends := func(what string) ending {
		return ending{what, time.Minute, func() error { ended = append(ended, what); return nil }}
	}
	broken := errors.New("a disk that is full")

	err := together([]ending{{"the front door", time.Millisecond, hangs}, ends("the peer door")})
	if err == nil || err.Error() != "the front door did not end within 1ms and was left behind" {
		t.Errorf("got %v", err)
	}
	err = backwards([]ending{
		ends("the audit log"),
		{"the bundles", time.Millisecond, hangs},
		{"the pool", time.Minute, func() error { return broken }},
		ends("authentication"),
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "the bundles did not end within 1ms") {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(ended, ", "); got != "the peer door, authentication, the audit log" {
		t.Errorf("ended: %s", got)
	}
}

// A request that doesn't end keeps nobody from stopping: it is cut off.
func TestShutdownCutsOff(t *testing.T) {
	defer goleak.VerifyNone(t)
	arrived, cutOff := make(chan struct{}), make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(cutOff)
	})}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- serveHTTP(server, l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			asked <- err
			return
		}
		response, err := client.Do(request)
		if err == nil {
			err = errors.Join(errors.New("an answer"), response.Body.Close())
		}
		asked <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := shutdown(ctx, server); err != nil {
		t.Error(err)
	}
	<-cutOff
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("the request that was cut off has no error")
	}
}
