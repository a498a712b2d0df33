package wire

import (
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// EncodeFailure returns the gRPC status of a question that failed. It carries
// the kind and the message of the *federation.Error in err, never its cause.
func EncodeFailure(err error) *status.Status {
	e := federation.AsError(err)
	if !slices.Contains(federation.Kinds, e.Kind) {
		e = federation.AsError(errors.New("a kind of error that is not on the list"))
	}
	failure := &federationv1.Failure{Kind: string(e.Kind), Message: e.Message}
	if e.Kind == federation.Refused {
		failure.Message = federation.NotAllowed
	}
	if !plain(failure.Message, maxText) {
		failure.Message = shown(failure.Message)
	}
	st := status.New(code(federation.Kind(failure.Kind)), failure.Message)
	if detailed, err := st.WithDetails(failure); err == nil {
		return detailed
	}
	return st
}

// shown is text with what can't be shown in one line replaced, cut to maxText.
func shown(text string) string {
	out := make([]rune, 0, min(len(text), maxText))
	size := 0
	for _, r := range text {
		if !plain(string(r), maxText) {
			r = ' '
		}
		if size += len(string(r)); size > maxText {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

func code(k federation.Kind) codes.Code {
	switch k {
	case federation.BadQuestion:
		return codes.InvalidArgument
	case federation.Refused:
		return codes.PermissionDenied
	case federation.NeedsAggregation:
		return codes.FailedPrecondition
	case federation.OverLimit:
		return codes.ResourceExhausted
	case federation.Unavailable:
		return codes.Unavailable
	case federation.DeadlineExceeded:
		return codes.DeadlineExceeded
	case federation.Internal:
		return codes.Internal
	}
	return codes.Internal
}

// DecodeFailure returns the failure that org's gateway stated in err, or false
// when err is not its word but the transport's.
func DecodeFailure(org tenants.OrgID, err error) (*federation.Error, bool) {
	st, ok := status.FromError(err)
	if !ok {
		return nil, false
	}
	for _, detail := range st.Details() {
		failure, ok := detail.(*federationv1.Failure)
		if !ok {
			continue
		}
		e := &federation.Error{Kind: federation.Kind(failure.GetKind()), Org: org, Message: failure.GetMessage()}
		if !slices.Contains(federation.Kinds, e.Kind) || hasUnknown(failure) {
			e.Kind = federation.Internal
		}
		if e.Message == "" || !plain(e.Message, maxText) {
			e.Message = "failed without saying why"
		}
		return e, true
	}
	return nil, false
}

// IsStated says whether err is the word of the gateway that was asked, rather
// than the transport's.
func IsStated(err error) bool {
	_, ok := DecodeFailure("", err)
	return ok
}
