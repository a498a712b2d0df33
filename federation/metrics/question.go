package metrics

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Question is one metrics question, as it arrives at either door.
type Question struct {
	Kind policy.Kind
	// Expression is PromQL, for Instant, Range and Exemplars.
	Expression string
	// Start and End are inclusive. An Instant question has Start equal to End.
	Start, End time.Time
	// Step is the resolution, for Range alone.
	Step time.Duration
	// Lookback is how far an instant selector looks back; zero is the
	// gateway's default.
	Lookback time.Duration
	// Selectors choose series, any of them matching, for Series, LabelNames,
	// LabelValues and Metadata. Empty chooses everything visible; for Series
	// that is refused.
	Selectors []policy.Selector
	// Label is the label whose values are asked for, or for Metadata the metric
	// name; empty is all metrics.
	Label string
	// Limit is how many values, names, metrics or series are wanted; zero is all.
	Limit int
	// LabelsOnly asks, for Series, for labels without samples.
	LabelsOnly bool
}

// Signal is metrics.
func (q Question) Signal() tenants.Signal { return tenants.Metrics }

// Asked is the question as it arrived.
func (q Question) Asked() policy.Request {
	return policy.Request{
		Signal: tenants.Metrics, Kind: q.Kind, Query: q.Expression, Label: q.Label, Step: q.Step,
		Window: policy.Window{Start: q.Start, End: q.End},
	}
}

// Request returns the question as a policy sees it; the caller adds who asks
// whom. The error is a BadQuestion.
func (q Question) Request() (policy.Request, error) {
	return describe(q)
}

// Listing says whether it asks for names, values, metadata or the labels of
// series.
func (q Question) Listing() bool {
	return q.Kind == policy.LabelNames || q.Kind == policy.LabelValues || q.Kind == policy.Metadata || q.LabelsOnly
}

// Within returns a listing for no more than a time before its end.
func (q Question) Within(now time.Time, most time.Duration) (federation.Question, bool) {
	if !q.Listing() {
		return q, false
	}
	if q.End.After(now) {
		q.End = now
	}
	if q.End.Sub(q.Start) <= most {
		return q, false
	}
	q.Start = q.End.Add(-most)
	return q, true
}

// ParseSelector parses a series selector such as up{job="api"}.
func ParseSelector(s string) (policy.Selector, error) {
	if err := CheckText(s); err != nil {
		return nil, err
	}
	matchers, err := parser.ParseMetricSelector(s)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "selector %q: %v", s, err)
	}
	return matchers, nil
}

// FormatSelector is the inverse of ParseSelector.
func FormatSelector(s policy.Selector) string {
	v := parser.VectorSelector{LabelMatchers: []*labels.Matcher(s)}
	return v.String()
}
