package rego

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// element is what a dataset is a set of: a series, a stream or a span. An include
// rule is of one of them, which it finds in its input.
type element struct {
	signal tenants.Signal
	// name is what it is called, in the input too, and key what a dataset that
	// selects it has.
	name, key string
	// part is what it has, onePart that with its article, and example one of it as rules
	// write it.
	part, onePart, example string
	// ref is where a rule finds it.
	ref ast.Ref
	// asked says why a rule can't ask for a part of that name, and equal why the part
	// is never equal to a value.
	asked func(part string) error
	equal func(part, value string) error
}

func (e *element) String() string { return e.ref.String() }

// elements are all there are. A rule that asks for none of them is of the first.
var elements = []*element{
	{
		signal: tenants.Metrics, name: "series", key: "series", part: "label", onePart: "a label", example: "input.series.env", ref: inputRef("series"),
		asked: func(string) error { return nil },
		equal: func(_, _ string) error { return nil },
	},
	{
		signal: tenants.Logs, name: "stream", key: "streams", part: "label", onePart: "a label", example: "input.stream.service", ref: inputRef("stream"),
		asked: asksStreams,
		equal: func(_, _ string) error { return nil },
	},
	{
		signal: tenants.Traces, name: "span", key: "spans", part: "attribute", onePart: "an attribute", example: `input.span["resource.service.name"]`, ref: inputRef("span"),
		asked: asksSpans,
		equal: equalOfSpan,
	},
}

func isElement(ref ast.Ref) bool {
	return slices.ContainsFunc(elements, func(e *element) bool { return ref.Equal(e.ref) })
}

func inputRef(name string) ast.Ref { return ast.InputRootRef.Append(ast.StringTerm(name)) }

// elementAt is the one that a reference leads to, or into.
func elementAt(ref ast.Ref) (*element, bool) {
	i := slices.IndexFunc(elements, func(e *element) bool { return ref.HasPrefix(e.ref) })
	if i < 0 {
		return nil, false
	}
	return elements[i], true
}

// asksStreams says why streams have no label of a name.
func asksStreams(name string) error {
	if name == labels.MetricName {
		return fmt.Errorf("streams have no %s: it is the name of metrics", name)
	}
	return nil
}

// asksSpans says why spans can't be asked for what is called by a name.
func asksSpans(name string) error {
	if !slices.Contains(selectedNames, name) && !isAttribute(name, selectedPrefixes) {
		return fmt.Errorf("spans aren't selected by %q%s want %s, or an attribute as %s", name, meant(name), words(selectedNames), examples(selectedPrefixes))
	}
	return nil
}

// equalOfSpan says why no span has a value.
func equalOfSpan(name, value string) error {
	if values := spanValues[name]; values != nil && !slices.Contains(values, value) {
		return fmt.Errorf("no span has the %s %q; want %s", name, value, words(values))
	}
	return nil
}

// set says which elements a dataset is of.
func (e *element) set(d *policy.Dataset, selectors []policy.Selector) {
	switch e.signal {
	case tenants.Logs:
		d.Streams = selectors
	case tenants.Traces:
		d.Spans = selectors
	default:
		d.Series = selectors
	}
}
