package e2e

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv3 "github.com/parley-gateway/parley/proto/jaeger/api_v3"
)

// overGRPC asks both for the same as Jaeger's query protocol has it.
func (d jaegerDoorV3) overGRPC(t *testing.T) {
	theirs, ours := queries(t, d.jaeger.QueryGRPC), queries(t, d.o.front)
	start, end := timestamppb.New(d.start), timestamppb.New(d.start.Add(time.Minute))
	for name, c := range map[string]struct {
		ask  func(context.Context, apiv3.QueryServiceClient) ([]string, error)
		want int // how many; none: it isn't found
	}{
		"services": {func(ctx context.Context, q apiv3.QueryServiceClient) ([]string, error) {
			answer, err := q.GetServices(ctx, &apiv3.GetServicesRequest{})
			return answer.GetServices(), err
		}, 3},
		"operations": {func(ctx context.Context, q apiv3.QueryServiceClient) (out []string, err error) {
			answer, err := q.GetOperations(ctx, &apiv3.GetOperationsRequest{Service: "web"})
			for _, o := range answer.GetOperations() {
				out = append(out, o.GetName()+" "+o.GetSpanKind())
			}
			return out, err
		}, 2},
		"a trace": {func(ctx context.Context, q apiv3.QueryServiceClient) ([]string, error) {
			stream, err := q.GetTrace(ctx, &apiv3.GetTraceRequest{TraceId: "ab000000000000000000000000000301"})
			return spansFrom(stream, err)
		}, 5},
		"a trace that isn't there": {func(ctx context.Context, q apiv3.QueryServiceClient) ([]string, error) {
			stream, err := q.GetTrace(ctx, &apiv3.GetTraceRequest{TraceId: "00000000000000000000000000000001"})
			return spansFrom(stream, err)
		}, 0},
		"a search": {func(ctx context.Context, q apiv3.QueryServiceClient) ([]string, error) {
			stream, err := q.FindTraces(ctx, &apiv3.FindTracesRequest{Query: &apiv3.TraceQueryParameters{
				ServiceName: "web", OperationName: "GET /checkout", StartTimeMin: start, StartTimeMax: end, DurationMin: durationpb.New(35 * time.Millisecond), SearchDepth: 20,
				Attributes: map[string]string{"http.response.status_code": "300"},
			}})
			return spansFrom(stream, err)
		}, 15},
	} {
		want, wantErr := c.ask(t.Context(), theirs)
		got, err := c.ask(t.Context(), ours)
		slices.Sort(want)
		slices.Sort(got)
		// Of what isn't there a Jaeger says nothing, and a gateway who could have it.
		notThere := c.want == 0 && wantErr == nil && status.Code(err) == codes.NotFound
		if diff := cmp.Diff(want, got); diff != "" || len(got) != c.want || !notThere && (err != nil || wantErr != nil) {
			t.Errorf("%s over gRPC: %d, Jaeger's error %v, ours %v (-Jaeger +ours):\n%s", name, len(got), wantErr, err, diff)
		}
	}
}

func queries(t *testing.T, address string) apiv3.QueryServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return apiv3.NewQueryServiceClient(conn)
}

// spansFrom are the spans of a stream in words.
func spansFrom(stream grpc.ServerStreamingClient[apiv3.SpansChunk], err error) (out []string, _ error) {
	for err == nil {
		var chunk *apiv3.SpansChunk
		if chunk, err = stream.Recv(); errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			break
		}
		// On the wire it is what OTLP's message is.
		text, err := proto.Marshal(chunk)
		if err != nil {
			return nil, err
		}
		var u ptrace.ProtoUnmarshaler
		spans, err := u.UnmarshalTraces(text)
		if err != nil {
			return nil, err
		}
		out = append(out, otlpLines(spans)...)
	}
	return nil, err
}
