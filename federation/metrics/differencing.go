package metrics

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/differencing"
	"github.com/parley-gateway/parley/policy"
)

// checkDifferencing refuses, or flags, one of too many questions about a metric.
// The question has a text, and selects by some selectors.
func (l *Local) checkDifferencing(ctx context.Context, q Question, text string, selectors [][]*labels.Matcher, o policy.Obligations, by Asking) error {
	kind := q.Kind
	if kind == policy.Range {
		kind = policy.Instant // the same at other times
	}
	asked := differencing.Question{By: by.Org, ExchangeID: by.ExchangeID, Text: fmt.Sprintf("%s\xff%t\xff%s\xff%s", kind, q.LabelsOnly, q.Lookback, text)}
	for _, s := range selectors {
		asked.About = append(asked.About, differencing.Subject{Name: metricOf(s), Selector: FormatSelector(s)})
	}
	return l.differencing.Check(ctx, l.config.Logger, asked, o.Differencing, l.config.Now())
}

// checkListing is checkDifferencing of a question that has no expression.
func (l *Local) checkListing(ctx context.Context, q Question, o policy.Obligations, by Asking) error {
	text := q.Label
	var selectors [][]*labels.Matcher
	for _, s := range q.Selectors {
		text += "\xff" + FormatSelector(s)
		selectors = append(selectors, s)
	}
	switch {
	case len(selectors) > 0:
	case q.Kind == policy.Metadata:
		selectors = [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, q.Label)}}
	default:
		selectors = [][]*labels.Matcher{nil}
	}
	return l.checkDifferencing(ctx, q, text, selectors, o, by)
}

// metricOf is the name in a selector; those that name none have one together.
func metricOf(selector []*labels.Matcher) string {
	for _, m := range selector {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}
