package traces

import (
	"context"
	"errors"
	"io"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv3 "github.com/parley-gateway/parley/proto/jaeger/api_v3"
)

// maxAnswer bounds what is read of one answer, or one message of it, in bytes.
const maxAnswer = 128 << 20

// jaegerGRPC is jaeger.api_v3.QueryService.
type jaegerGRPC struct {
	client apiv3.QueryServiceClient
}

func newJaegerGRPC(conn grpc.ClientConnInterface) *jaegerGRPC {
	return &jaegerGRPC{apiv3.NewQueryServiceClient(conn)}
}

// ofAnswers are the options of each call.
var ofAnswers = grpc.MaxCallRecvMsgSize(maxAnswer)

func (j *jaegerGRPC) trace(ctx context.Context, id pcommon.TraceID, take func(ptrace.Traces) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream with this function
	defer cancel()
	stream, err := j.client.GetTrace(ctx, &apiv3.GetTraceRequest{TraceId: id.String(), RawTraces: true}, ofAnswers)
	if err == nil {
		err = receive(stream, take)
	}
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return ended(ctx, err)
}

func (j *jaegerGRPC) find(ctx context.Context, q jaegerQuery, take func(ptrace.Traces) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := j.client.FindTraces(ctx, &apiv3.FindTracesRequest{Query: &apiv3.TraceQueryParameters{
		ServiceName: q.service, OperationName: q.operation, SearchDepth: int32(q.depth), RawTraces: true,
		StartTimeMin: timestamppb.New(q.start), StartTimeMax: timestamppb.New(q.end),
	}}, ofAnswers)
	if err == nil {
		err = receive(stream, take)
	}
	return ended(ctx, err)
}

func (j *jaegerGRPC) services(ctx context.Context) ([]string, error) {
	response, err := j.client.GetServices(ctx, &apiv3.GetServicesRequest{}, ofAnswers)
	return response.GetServices(), ended(ctx, err)
}

// ended is the context's error, if it has one, in the place of a status of it.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func receive(stream grpc.ServerStreamingClient[apiv3.SpansChunk], take func(ptrace.Traces) error) error {
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// As a message of OTLP it has the same bytes.
		text, err := proto.Marshal(chunk)
		if err != nil {
			return err
		}
		spans, err := Decode(text)
		if err != nil {
			return err
		}
		if err := take(spans); err != nil {
			return err
		}
	}
}
