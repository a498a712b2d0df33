package logs

import (
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Recorded is what a policy was told of a question, from the text that is kept
// of it: all of its Request that is read from the text. The rest is as it was
// recorded, and the caller's to add. The error is a BadQuestion.
func Recorded(kind policy.Kind, text string) (policy.Request, error) {
	// How many lines, and at which step, was refused where it isn't asked for, and
	// is nothing that policy is told of a text.
	q := Question{Kind: kind, Limit: 1, Step: time.Second}
	switch kind {
	case policy.Instant, policy.Range, policy.Tail, policy.DetectedFields:
		q.Expression = text
	case policy.Series, policy.LabelNames, policy.LabelValues, policy.Stats, policy.Volume, policy.DetectedLabels, policy.Patterns:
		for line := range strings.Lines(text) {
			selector, err := ParseSelector(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return policy.Request{}, err
			}
			q.Selectors = append(q.Selectors, selector)
		}
	default:
		return policy.Request{}, federation.Errorf(federation.BadQuestion, "%q is not a kind of question about logs", kind)
	}
	r, err := q.Request()
	r.Window, r.Step = policy.Window{}, 0
	return r, err
}
