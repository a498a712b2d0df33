package front

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	apiv3 "github.com/parley-gateway/parley/proto/jaeger/api_v3"
)

// Jaeger's query protocol over gRPC, on the listener of all else and for the same
// users: a request is asked in the name of whom its headers prove, gRPC's metadata.

// isGRPC says whether a request is one of gRPC.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// newJaegerGRPC returns the server of Jaeger's query protocol.
func newJaegerGRPC(f *Front) *grpc.Server {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(int(min(f.config.MaxBody, DefaultMaxBody))),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
			defer func() { err = f.afterGRPC(ctx, recover(), err) }()
			return handle(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
			defer func() { err = f.afterGRPC(stream.Context(), recover(), err) }()
			return handle(srv, stream)
		}),
	)
	apiv3.RegisterQueryServiceServer(s, &jaegerQueries{front: f})
	return s
}

// afterGRPC makes of a panic, and of an error that has no code yet, what the client
// is told.
func (f *Front) afterGRPC(ctx context.Context, cause any, err error) error {
	if cause != nil {
		f.config.Logger.LogAttrs(ctx, slog.LevelError, "panic while serving", slog.String("cause", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
		return status.Error(codes.Internal, unexpected.message)
	}
	var told *federation.Error
	if !errors.As(err, &told) {
		return err
	}
	return status.Error(grpcCodes[told.Kind], render(told).message)
}

var grpcCodes = map[federation.Kind]codes.Code{
	federation.BadQuestion: codes.InvalidArgument, federation.Refused: codes.PermissionDenied, federation.NeedsAggregation: codes.FailedPrecondition,
	federation.OverLimit: codes.ResourceExhausted, federation.DeadlineExceeded: codes.DeadlineExceeded,
	federation.Unavailable: codes.Unavailable, federation.Internal: codes.Internal,
}

// serveGRPC answers a request of gRPC and returns the name of its route.
func (f *Front) serveGRPC(w *response, r *http.Request) string {
	const route = "grpc"
	s, err := f.open(r)
	if err != nil {
		f.refuse(w, r, err)
		return route
	}
	w.session = s
	ctx, cancel := f.bound(s.in(r.Context()))
	defer cancel()
	f.grpc.ServeHTTP(w, r.WithContext(ctx))
	return route
}

// jaegerQueries answers as Jaeger's query service does.
type jaegerQueries struct {
	apiv3.UnimplementedQueryServiceServer

	front *Front
}

// GetTrace implements apiv3.QueryServiceServer.
func (j *jaegerQueries) GetTrace(r *apiv3.GetTraceRequest, stream grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
	q, err := tracesByID([]string{r.GetTraceId()})
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if r.GetStartTime() != nil || r.GetEndTime() != nil {
		q.Start, q.End = time.Unix(0, 0).UTC(), latest
		if err := within(&q, r.GetStartTime(), r.GetEndTime()); err != nil {
			return err
		}
	}
	s := sessionOf(stream.Context())
	released, err := s.askTraces(stream.Context(), q)
	if err != nil {
		return err
	}
	if len(released.Traces()) == 0 {
		c, _ := s.outcome()
		return status.Error(codes.NotFound, strings.TrimSpace("trace not found: nobody shows one of this id. "+missing(c)))
	}
	return sendSpans(stream, released)
}

// within bounds a question by the times that are given.
func within(q *traces.Question, start, end *timestamppb.Timestamp) error {
	for _, t := range []struct {
		given *timestamppb.Timestamp
		to    *time.Time
	}{{start, &q.Start}, {end, &q.End}} {
		if t.given == nil {
			continue
		}
		at := t.given.AsTime()
		if !t.given.IsValid() || at.Before(time.Unix(0, 0)) || at.After(latest) {
			return status.Error(codes.InvalidArgument, "a time that no span can have")
		}
		*t.to = at
	}
	if !q.Start.Before(q.End) {
		return status.Error(codes.InvalidArgument, errStartAfterEnd.Error())
	}
	return nil
}

// FindTraces implements apiv3.QueryServiceServer.
func (j *jaegerQueries) FindTraces(r *apiv3.FindTracesRequest, stream grpc.ServerStreamingServer[apiv3.SpansChunk]) error {
	asked := r.GetQuery()
	if asked.GetStartTimeMin() == nil || asked.GetStartTimeMax() == nil {
		return status.Error(codes.InvalidArgument, "start_time_min and start_time_max are missing")
	}
	search := jaegerSearch{service: asked.GetServiceName(), operation: asked.GetOperationName()}
	for key, value := range asked.GetAttributes() {
		search.tags = append(search.tags, jaegerTag{key, value})
	}
	search.shortest, search.longest = asked.GetDurationMin().AsDuration(), asked.GetDurationMax().AsDuration()
	if search.shortest < 0 || search.longest < 0 || search.longest > 0 && search.longest < search.shortest {
		return status.Error(codes.InvalidArgument, "duration_min and duration_max leave no duration")
	}
	var times traces.Question
	if err := within(&times, asked.GetStartTimeMin(), asked.GetStartTimeMax()); err != nil {
		return err
	}
	limit := ""
	if n := asked.GetSearchDepth(); n != 0 {
		limit = strconv.Itoa(int(n))
	}
	q, err := search.question(times.Start, times.End, limit)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	released, err := sessionOf(stream.Context()).askTraces(stream.Context(), q)
	if err != nil {
		return err
	}
	return sendSpans(stream, released)
}

// GetServices implements apiv3.QueryServiceServer.
func (j *jaegerQueries) GetServices(ctx context.Context, _ *apiv3.GetServicesRequest) (*apiv3.GetServicesResponse, error) {
	released, err := sessionOf(ctx).askTraces(ctx, j.front.jaegerServicesAsked())
	if err != nil {
		return nil, err
	}
	return &apiv3.GetServicesResponse{Services: servicesOf(released)}, nil
}

// GetOperations implements apiv3.QueryServiceServer.
func (j *jaegerQueries) GetOperations(ctx context.Context, r *apiv3.GetOperationsRequest) (*apiv3.GetOperationsResponse, error) {
	q, err := j.front.jaegerOperationsAsked(r.GetService(), r.GetSpanKind())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	released, err := sessionOf(ctx).askTraces(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &apiv3.GetOperationsResponse{}
	for _, o := range operationsOf(released, r.GetSpanKind()) {
		out.Operations = append(out.Operations, &apiv3.Operation{Name: o.Name, SpanKind: o.SpanKind})
	}
	return out, nil
}

// Clients take messages of up to 4 MiB: what is in a chunk is at most so many spans and
// bytes, or a single span that is larger.
const (
	maxSpansInChunk = 500
	maxBytesInChunk = 2 << 20
)

// sendSpans sends traces one after another, those of a trace in pieces.
func sendSpans(stream grpc.ServerStreamingServer[apiv3.SpansChunk], released *traces.Released) error {
	for _, t := range released.Traces() {
		for piece := range piecesOf(t.Spans) {
			chunk, err := chunkOf(piece)
			if err != nil {
				return err
			}
			if err := stream.Send(chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// piecesOf yields the spans of a trace in pieces of no more than a chunk has, each with
// what they are of.
func piecesOf(td ptrace.Traces) iter.Seq[ptrace.Traces] {
	return func(yield func(ptrace.Traces) bool) {
		p := newPiece()
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				p.begin(rs, ss)
				for _, span := range ss.Spans().All() {
					if p.isFull(span) {
						if !yield(p.traces) {
							return
						}
						p = newPiece()
						p.begin(rs, ss)
					}
					p.add(span)
				}
			}
		}
		if p.spans > 0 {
			yield(p.traces)
		}
	}
}

// piece is a part of a trace, in the making.
type piece struct {
	traces ptrace.Traces
	spans  int
	bytes  int // about
	sizer  ptrace.ProtoMarshaler
	// resource and scope are what the next span is of, and to is where it goes, nil
	// before the first.
	resource ptrace.ResourceSpans
	scope    ptrace.ScopeSpans
	to       *ptrace.SpanSlice
}

func newPiece() *piece { return &piece{traces: ptrace.NewTraces()} }

// begin says what the next spans are of.
func (p *piece) begin(resource ptrace.ResourceSpans, scope ptrace.ScopeSpans) {
	p.resource, p.scope, p.to = resource, scope, nil
}

// isFull says whether a span is for the next piece.
func (p *piece) isFull(span ptrace.Span) bool {
	return p.spans == maxSpansInChunk || p.spans > 0 && p.bytes+p.sizer.SpanSize(span) > maxBytesInChunk
}

func (p *piece) add(span ptrace.Span) {
	if p.to == nil {
		to := p.emptied()
		p.to = &to
	}
	span.CopyTo(p.to.AppendEmpty())
	p.spans++
	p.bytes += p.sizer.SpanSize(span)
}

// emptied adds the resource and the scope, without their spans.
func (p *piece) emptied() ptrace.SpanSlice {
	resource := p.traces.ResourceSpans().AppendEmpty()
	p.resource.Resource().CopyTo(resource.Resource())
	resource.SetSchemaUrl(p.resource.SchemaUrl())
	scope := resource.ScopeSpans().AppendEmpty()
	p.scope.Scope().CopyTo(scope.Scope())
	scope.SetSchemaUrl(p.scope.SchemaUrl())
	p.bytes += p.sizer.ResourceSpansSize(resource)
	return scope.Spans()
}

var errNotOTLP = errors.New("spans aren't written as OTLP has them")

// chunkOf is OTLP's TracesData, with each resource as it is written.
func chunkOf(td ptrace.Traces) (*apiv3.SpansChunk, error) {
	var marshaler ptrace.ProtoMarshaler
	text, err := marshaler.MarshalTraces(td)
	if err != nil {
		return nil, err
	}
	chunk := &apiv3.SpansChunk{}
	for len(text) > 0 {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 || number != 1 || kind != protowire.BytesType {
			return nil, errNotOTLP
		}
		resource, m := protowire.ConsumeBytes(text[n:])
		if m < 0 {
			return nil, errNotOTLP
		}
		chunk.ResourceSpans = append(chunk.ResourceSpans, slices.Clone(resource))
		text = text[n+m:]
	}
	return chunk, nil
}
