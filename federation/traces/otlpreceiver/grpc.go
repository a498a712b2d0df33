package otlpreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // exporters compress
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-gateway/parley/federation/traces"
)

// maxStreams is how many requests one connection has at once.
const maxStreams = 16

// bytesCodec leaves messages as they are on the wire: spans are looked at before
// they are read.
type bytesCodec struct{}

// rawMessage is a message as it is on the wire.
type rawMessage struct{ text []byte }

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*rawMessage)
	if !ok {
		return nil, fmt.Errorf("a message of another kind: %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.text)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*rawMessage)
	if !ok {
		return fmt.Errorf("a message of another kind: %T", v)
	}
	m.text = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}

// traceService is that of opentelemetry/proto/collector/trace/v1/trace_service.proto.
var traceService = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(server any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			r, ok := server.(*Receiver)
			if !ok {
				return nil, status.Error(codes.Internal, "no receiver")
			}
			return r.export(ctx, read)
		},
	}},
	Metadata: "opentelemetry/proto/collector/trace/v1/trace_service.proto",
}

func (r *Receiver) newGRPC() *grpc.Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(bytesCodec{}), grpc.MaxRecvMsgSize(r.config.MaxRequest), grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute}),
	)
	server.RegisterService(&traceService, r)
	return server
}

// ServeGRPC serves until Shutdown.
func (r *Receiver) ServeGRPC(l net.Listener) error {
	if err := r.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("take spans at %s: %w", l.Addr(), err)
	}
	return nil
}

func (r *Receiver) export(ctx context.Context, read func(any) error) (*rawMessage, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var request rawMessage
	if err := read(&request); err != nil {
		return nil, err
	}
	spans, err := traces.Decode(request.text)
	if err != nil {
		return nil, malformed(err)
	}
	response, err := r.take(ctx, spans)
	if err != nil || response == nil {
		return &rawMessage{}, err
	}
	text, err := response.MarshalProto()
	if err != nil {
		return nil, status.Error(codes.Internal, "the response could not be written")
	}
	return &rawMessage{text}, nil
}

// busy is the error of a request that is to be sent again.
func busy() error {
	s, err := status.New(codes.ResourceExhausted, "more is being taken than can be held at once; try again").
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	if err != nil {
		return status.Error(codes.Unavailable, "try again") // of which a sender thinks the same
	}
	return s.Err()
}
