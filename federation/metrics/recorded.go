package metrics

import (
	"strings"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Recorded is what a policy was told of a question, from the text that is kept
// of it: the kind and the Query of its Request. The rest is as it was recorded,
// and the caller's to add. The error is a BadQuestion.
func Recorded(kind policy.Kind, text string) (policy.Request, error) {
	q := Question{Kind: kind}
	switch kind {
	case policy.Instant, policy.Range, policy.Exemplars:
		q.Expression = text
	case policy.Series, policy.LabelNames, policy.LabelValues, policy.Metadata:
		for line := range strings.Lines(text) {
			selector, err := ParseSelector(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return policy.Request{}, err
			}
			q.Selectors = append(q.Selectors, selector)
		}
	default:
		return policy.Request{}, federation.Errorf(federation.BadQuestion, "%q is not a kind of metrics question", kind)
	}
	r, err := q.Request()
	r.Window = policy.Window{}
	return r, err
}
