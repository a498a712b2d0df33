package traces

import (
	"slices"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Recorded is what a policy was told of a question, from the text that is kept
// of it: all of its Request that is read from the text. The rest is as it was
// recorded, and the caller's to add. The error is a BadQuestion.
func Recorded(kind policy.Kind, text string) (policy.Request, error) {
	if !slices.Contains(policy.Kinds(tenants.Traces), kind) {
		return policy.Request{}, federation.Errorf(federation.BadQuestion, "%q is not a kind of question about traces", kind)
	}
	return policy.Request{Signal: tenants.Traces, Kind: kind, Query: text}, nil
}
