package traces

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
)

// notNow is what whoever asks is told of a backend that fails.
const notNow = "the traces store can't be read now"

// unavailable is the error of what couldn't be had from a backend. Its text has
// nothing of what the backend says but the status: that may hold what was asked
// for, or what is hidden.
func unavailable(doing, where string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	var known *federation.Error
	if errors.As(err, &known) {
		return known
	}
	e := &federation.Error{Kind: federation.Unavailable, Message: notNow}
	var (
		code httpStatus
		// The URL of a request holds what was asked for.
		request *url.Error
	)
	switch said, is := status.FromError(err); {
	case errors.As(err, &code):
		if code == http.StatusGatewayTimeout {
			e.Kind = federation.DeadlineExceeded
		}
	case errors.As(err, &request):
		err = request.Err
	case is:
		if said.Code() == codes.DeadlineExceeded {
			e.Kind = federation.DeadlineExceeded
		}
		err = fmt.Errorf("status %s", said.Code())
	}
	if e.Kind == federation.DeadlineExceeded {
		e.Message = "the traces store ran out of time"
	}
	e.Err = fmt.Errorf("%s at %s: %w", doing, where, err)
	return e
}
