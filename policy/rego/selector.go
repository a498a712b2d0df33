package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/policy"
)

// selector is a selector in a decision: PromQL's text or a list of matchers.
type selector policy.Selector

func (s *selector) UnmarshalJSON(text []byte) error {
	return s.read(text, `http_requests_total{env="prod"} or {__name__=~"http_.*"}`)
}

// read says what selectors are like if text is none.
func (s *selector) read(text []byte, like string) error {
	switch text[0] {
	case '"':
		var expression string
		if err := json.Unmarshal(text, &expression); err != nil {
			return err
		}
		matchers, err := parser.ParseMetricSelector(expression)
		if err != nil {
			return fmt.Errorf("selector %q: %w; want one such as %s", expression, err, like)
		}
		*s = matchers
		return nil
	case '[':
	default:
		return errors.New("selector: want PromQL's text or a list of matchers")
	}
	var list []matcherDocument
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*s = make(selector, 0, len(list))
	for _, m := range list {
		op := slices.Index(operators, m.Op)
		if op < 0 {
			return fmt.Errorf("matcher on %q: operator %q; want =, !=, =~ or !~", m.Name, m.Op)
		}
		matcher, err := labels.NewMatcher(labels.MatchType(op), m.Name, m.Value)
		if err != nil {
			return fmt.Errorf("matcher on %q: %w", m.Name, err)
		}
		*s = append(*s, matcher)
	}
	return nil
}

// streamSelector is a selector of streams, which have no names.
type streamSelector selector

func (s *streamSelector) UnmarshalJSON(text []byte) error {
	if err := (*selector)(s).read(text, `{service="checkout"}`); err != nil {
		return err
	}
	for _, m := range *s {
		if m.Name == labels.MetricName {
			return fmt.Errorf("a selector of streams has braces, {service=%q}: streams have no metric's name", m.Value)
		}
	}
	return nil
}

// operators are PromQL's, in the order of labels.MatchType.
var operators = []string{
	labels.MatchEqual:     "=",
	labels.MatchNotEqual:  "!=",
	labels.MatchRegexp:    "=~",
	labels.MatchNotRegexp: "!~",
}
