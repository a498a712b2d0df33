package traces

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
)

// JaegerConfig says where a Jaeger is: GRPC or URL.
type JaegerConfig struct {
	// GRPC is a connection to the port of its query service, credentials and
	// tenant included. It is the caller's to close.
	GRPC grpc.ClientConnInterface
	// URL is the base under which /api/v3 is found, where GRPC is nil.
	URL *url.URL
	// Client sends the requests to URL, credentials and tenant header included.
	Client *http.Client
	// SearchDepth is how many traces are asked for at once, no more than a Jaeger
	// that keeps them in memory keeps; default 500.
	SearchDepth int
}

const defaultSearchDepth = 500

// Jaeger is a Source on a real Jaeger, 1.76 or 2, over its api_v3: see
// https://www.jaegertracing.io/docs/latest/architecture/apis/.
//
// Traces are as Jaeger holds them. Version 1 keeps values that are lists or maps
// as JSON, and the tracestate as an attribute. Not all of its stores can tell
// that there is more than they were asked for: of a window with more than three
// times SearchDepth spans of a service, one over Cassandra may leave out traces.
type Jaeger struct {
	api   jaegerAPI
	where string
	depth int
}

// jaegerAPI is what is asked of a Jaeger, over gRPC or HTTP.
type jaegerAPI interface {
	// trace calls take with the spans of a trace, in pieces; with none when it
	// isn't there.
	trace(ctx context.Context, id pcommon.TraceID, take func(ptrace.Traces) error) error
	// find calls take with the spans of traces, in pieces.
	find(ctx context.Context, q jaegerQuery, take func(ptrace.Traces) error) error
	// services are the names of all services that have spans.
	services(ctx context.Context) ([]string, error)
}

// jaegerQuery finds traces with a span that begins from start to end, both
// included, and is of the service and, unless it is empty, operation.
type jaegerQuery struct {
	service, operation string
	start, end         time.Time
	depth              int // traces
}

// NewJaeger returns a source. Nothing is asked of the server yet.
func NewJaeger(c JaegerConfig) (*Jaeger, error) {
	if c.SearchDepth < 0 {
		return nil, fmt.Errorf("a Jaeger source can't ask for %d traces at once", c.SearchDepth)
	}
	if c.SearchDepth == 0 {
		c.SearchDepth = defaultSearchDepth
	}
	switch {
	case (c.GRPC == nil) == (c.URL == nil):
		return nil, errors.New("a Jaeger source needs a gRPC connection or a URL, and not both")
	case c.GRPC != nil:
		return &Jaeger{api: newJaegerGRPC(c.GRPC), where: "its query port", depth: c.SearchDepth}, nil
	}
	return &Jaeger{api: &jaegerHTTP{newHTTPAPI(c.URL, c.Client)}, where: c.URL.Redacted(), depth: c.SearchDepth}, nil
}

func (j *Jaeger) tracesRaw(ctx context.Context, ids []pcommon.TraceID) iter.Seq2[ptrace.Traces, error] {
	return oneByOne(ctx, ids, func(id pcommon.TraceID) (ptrace.Traces, error) {
		var h haul
		if err := j.api.trace(ctx, id, h.take); err != nil {
			return ptrace.Traces{}, unavailable("read a trace", j.where, err)
		}
		return h.only(id)
	})
}

func (j *Jaeger) searchRaw(ctx context.Context, s selection, seen func(start int64) bool) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		services, err := j.servicesOf(ctx, s)
		if err != nil {
			yield(ptrace.Traces{}, unavailable("list services", j.where, err))
			return
		}
		b := backward{
			selection: s,
			within:    func(w window) (haul, error) { return j.within(ctx, s, w, services) },
			fails:     func(err error) error { return unavailable("search traces", j.where, err) },
		}
		b.search(seen, yield)
	}
}

func (j *Jaeger) servicesRaw(ctx context.Context) ([]string, error) {
	services, err := j.api.services(ctx)
	if err != nil {
		return nil, unavailable("list services", j.where, err)
	}
	return services, nil
}

// someRaw asks for a single trace.
func (j *Jaeger) someRaw(ctx context.Context, s selection) ([]ptrace.Traces, error) {
	var out []ptrace.Traces
	for _, service := range s.services {
		var h haul
		if err := j.api.find(ctx, s.query(service, 1), h.take); err != nil {
			return nil, unavailable("search traces", j.where, err)
		}
		for id := range h.traces {
			out = append(out, h.traces[id])
		}
	}
	return out, nil
}

// query asks for traces of a service. Some stores have microseconds.
func (s selection) query(service string, depth int) jaegerQuery {
	return jaegerQuery{
		service: service, operation: s.operation, depth: depth,
		start: time.Unix(0, s.start).Truncate(time.Microsecond), end: time.Unix(0, s.end),
	}
}

// servicesOf are those that have to be asked for. Jaeger's stores don't all
// search without.
func (j *Jaeger) servicesOf(ctx context.Context, s selection) ([]string, error) {
	if len(s.services) > 0 {
		return s.services, nil
	}
	return j.api.services(ctx)
}

func (j *Jaeger) within(ctx context.Context, s selection, w window, services []string) (haul, error) {
	all := haul{}
	for _, service := range services {
		var h haul
		s.start, s.end = w.start, w.end
		err := j.api.find(ctx, s.query(service, j.depth), h.take)
		if err != nil {
			return haul{}, err
		}
		if len(h.traces) >= j.depth {
			return haul{}, errTooMuch
		}
		if err := all.add(h); err != nil {
			return haul{}, err
		}
	}
	return all, nil
}
