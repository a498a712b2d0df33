package peerfront

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
)

// recoverStream makes a panic an internal error of one call: a defect that one
// partner's question met is not an outage for the others.
func (s *service) recoverStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.failure(stream.Context(), s.panicked(stream.Context(), info.FullMethod, p))
		}
	}()
	return handle(srv, stream)
}

func (s *service) recoverUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (response any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.failure(ctx, s.panicked(ctx, info.FullMethod, p))
		}
	}()
	return handle(ctx, request)
}

// panicked logs where, and returns a panic as an error.
func (s *service) panicked(ctx context.Context, method string, p any) error {
	s.config.Log.ErrorContext(ctx, "panic at the peer door", "method", method, "stack", string(debug.Stack()))
	return fmt.Errorf("panic: %v", p)
}
