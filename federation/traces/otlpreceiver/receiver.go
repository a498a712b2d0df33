// Package otlpreceiver takes spans as OpenTelemetry's SDKs and collectors send
// them, over gRPC and HTTP, for an embedded store:
//
//	receiver := otlpreceiver.New(otlpreceiver.Config{Store: traces.NewStore(traces.StoreConfig{})})
//	go receiver.ServeGRPC(grpcListener)
//	go receiver.ServeHTTP(httpListener) // POST /v1/traces
//	defer receiver.Shutdown(ctx)
//
// What the store doesn't take is told as a partial success; what comes while as
// much is read as can be held is to be sent again later. See
// https://opentelemetry.io/docs/specs/otlp/. Nobody is asked who they are.
package otlpreceiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation/traces"
)

// Store is what spans are written to: a traces.Store. Those that it doesn't take
// are in a *traces.Rejected; it keeps nothing of what it is given.
type Store interface {
	Append(spans ptrace.Traces) error
}

// Config says where spans go and how many are taken.
type Config struct {
	Store Store
	// MaxRequest is how many bytes a request has, decompressed; default 16 MiB.
	MaxRequest int
	// MaxConcurrent is how many requests are read at once; default 8.
	MaxConcurrent int
	// Logger is told of what wasn't taken; nil: nobody is.
	Logger *slog.Logger
}

const (
	defaultMaxRequest    = 16 << 20
	defaultMaxConcurrent = 8
	// retryAfter is when a sender that has to wait tries again.
	retryAfter = time.Second
)

// Receiver takes spans.
type Receiver struct {
	config Config
	places chan struct{} // one for each request that is read
	grpc   *grpc.Server
	http   *http.Server
}

// New returns a receiver that doesn't listen yet.
func New(c Config) *Receiver {
	if c.MaxRequest == 0 {
		c.MaxRequest = defaultMaxRequest
	}
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = defaultMaxConcurrent
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{config: c, places: make(chan struct{}, c.MaxConcurrent)}
	r.grpc = r.newGRPC()
	r.http = r.newHTTP()
	return r
}

// Shutdown ends both servers; requests that are under way are finished until ctx
// ends.
func (r *Receiver) Shutdown(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.grpc.GracefulStop()
	}()
	err := r.http.Shutdown(ctx)
	select {
	case <-stopped:
	case <-ctx.Done():
		r.grpc.Stop()
		<-stopped
	}
	if err != nil {
		err = errors.Join(err, r.http.Close())
	}
	return err
}

// enter takes a place, and says how it is given back; the error is that of a
// sender that has to wait.
func (r *Receiver) enter() (leave func(), err error) {
	select {
	case r.places <- struct{}{}:
		return func() { <-r.places }, nil
	default:
		return nil, busy()
	}
}

// take writes spans, and returns what the sender is told of those that weren't
// taken; nil when all were.
func (r *Receiver) take(ctx context.Context, spans ptrace.Traces) (*ptraceotlp.ExportResponse, error) {
	err := r.config.Store.Append(spans)
	var rejected *traces.Rejected
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &rejected):
		r.config.Logger.WarnContext(ctx, "spans were not taken", "spans", rejected.Spans, "reason", rejected.Reason)
		response := ptraceotlp.NewExportResponse()
		response.PartialSuccess().SetRejectedSpans(int64(rejected.Spans))
		response.PartialSuccess().SetErrorMessage(rejected.Reason)
		return &response, nil
	}
	r.config.Logger.ErrorContext(ctx, "spans could not be written", "error", err)
	return nil, status.Error(codes.Internal, "the spans could not be written")
}

// malformed is the error of a request that will never be taken.
func malformed(err error) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf("not an export of traces: %v", err))
}
