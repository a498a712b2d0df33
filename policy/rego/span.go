package rego

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// spanSelector is a selector of spans, by the names that policy has for what is
// in one.
type spanSelector selector

func (s *spanSelector) UnmarshalJSON(text []byte) error {
	if err := (*selector)(s).read(text, `{"resource.service.name"="checkout", status="error"}`); err != nil {
		return err
	}
	for _, m := range *s {
		if err := selectsSpans(m); err != nil {
			return err
		}
	}
	return nil
}

// selectsSpans says why a matcher can't be one of spans.
func selectsSpans(m *labels.Matcher) error {
	if m.Name == labels.MetricName {
		return fmt.Errorf("a selector of spans has braces, {%q=%q}: spans have no metric's name", "resource.service.name", m.Value)
	}
	if err := asksSpans(m.Name); err != nil {
		return err
	}
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		return equalOfSpan(m.Name, m.Value)
	}
	return nil
}

// What selectors see of spans, and what rules are for.
var (
	selectedNames    = []string{policy.SpanName, policy.SpanKind, policy.SpanStatus, policy.SpanScopeName, policy.SpanScopeVersion}
	selectedPrefixes = []string{"resource.", "span.", "scope."}
	ruledNames       = []string{
		policy.SpanName, policy.SpanStatus, policy.SpanStatusMessage, policy.SpanTraceState,
		policy.SpanScopeName, policy.SpanScopeVersion, policy.SpanEventName,
	}
	ruledPrefixes = []string{"resource.", "span.", "scope.", "event.", "link."}
	spanValues    = map[string][]string{
		policy.SpanKind:   {"unspecified", "internal", "server", "client", "producer", "consumer"},
		policy.SpanStatus: {"unset", "ok", "error"},
	}
)

// saidByGateways begins what gateways alone say: what a store has under such names is called
// exported_parley... in the view.
const saidByGateways = "parley."

// isAttribute says whether a name is that of an attribute.
func isAttribute(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		key, ok := strings.CutPrefix(name, prefix)
		return ok && key != "" && !strings.HasPrefix(key, saidByGateways)
	})
}

// meant goes after a name that isn't one: what was probably meant, or why it can't be.
func meant(name string) string {
	for _, prefix := range ruledPrefixes {
		switch {
		case strings.HasPrefix(name, prefix+saidByGateways):
			return ", which only gateways say;"
		case strings.HasPrefix(name, prefix):
			return ";"
		}
	}
	if strings.Contains(name, ".") {
		return "; did you mean " + quote("resource."+name) + " or " + quote("span."+name) + "?"
	}
	if near := yamlstrict.Nearest(name, ruledNames); near != "" && near != name {
		return "; did you mean " + quote(near) + "?"
	}
	return ";"
}

func words(list []string) string {
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

func examples(prefixes []string) string {
	out := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		out[i] = prefix + map[string]string{
			"resource.": "service.name", "span.": "http.route", "scope.": "NAME", "event.": "exception.type", "link.": "NAME",
		}[prefix]
	}
	return words(out)
}

// spanMode is how much of spans leaves.
type spanMode policy.SpanMode

func (m *spanMode) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	for mode := policy.SpanHidden; mode <= policy.SpanFull; mode++ {
		if mode.String() == name {
			*m = spanMode(mode)
			return nil
		}
	}
	return fmt.Errorf("%q; want hidden, boundary, shape, attributes or full", name)
}

// span reads what is said of spans alone, of the dataset at an index.
func (ds datasetDocument) span(out *policy.Dataset, at int) error {
	wrong := func(key, format string, args ...any) error {
		path := append([]string{"datasets", strconv.Itoa(at)}, strings.Split(key, "\x00")...)
		return &contradiction{path: path, text: fmt.Sprintf("dataset %q: ", ds.Name) + fmt.Sprintf(format, args...)}
	}
	mode := policy.SpanMode(ds.Span)
	folds := mode == policy.SpanBoundary || mode == policy.SpanShape
	switch {
	case ds.Release == policy.Deny && mode != policy.SpanHidden:
		return wrong("span", "span is %s, and the release deny lets no spans leave", mode)
	case len(ds.Labels) > 0 && whyNoLabels[mode] != "":
		return wrong("labels", "labels are for the modes attributes and boundary; %s", whyNoLabels[mode])
	case ds.Counts && !folds:
		return wrong("counts", "counts is for the modes boundary and shape: in %s no spans are folded", mode)
	case ds.Durations != "" && !folds:
		return wrong("durations", "durations is for the modes boundary and shape: in %s no spans are folded", mode)
	case ds.Counts && ds.Durations != "":
		return wrong("durations", "counts tells how many spans are folded, and durations withheld that not even whether there are any is told; leave one of them out")
	}
	for _, name := range slices.Sorted(maps.Keys(ds.Labels)) {
		switch {
		case name == policy.SpanKind:
			return wrong("labels\x00"+name, "labels: the kind of a span is always seen, and can't be named")
		case name != "*" && !slices.Contains(ruledNames, name) && !isAttribute(name, ruledPrefixes):
			return wrong("labels\x00"+name, "labels: spans have no %q%s want %s, or an attribute as %s", name, meant(name), words(ruledNames), examples(ruledPrefixes))
		}
	}
	out.Span = policy.Span{Mode: mode, Counts: ds.Counts, WithholdDurations: ds.Durations != ""}
	return nil
}

// whyNoLabels are the modes that leave nothing for rules to decide.
var whyNoLabels = map[policy.SpanMode]string{
	policy.SpanHidden: "hidden spans, as they are without span, have none",
	policy.SpanShape:  "shape leaves no name and no attribute",
	policy.SpanFull:   "full leaves all of them as they are",
}
