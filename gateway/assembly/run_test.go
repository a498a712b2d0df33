package assembly

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

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
