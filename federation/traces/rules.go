package traces

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
)

// The prefixes of the names under which policy knows attributes.
const (
	resourcePrefix = "resource."
	spanPrefix     = "span."
	scopePrefix    = "scope."
	eventPrefix    = "event."
	linkPrefix     = "link."
)

// rules are the datasets of spans of one decision, ready to be applied. They are
// for one question, and not safe for concurrent use.
type rules struct {
	datasets  []policy.Dataset
	selectors []selector
	known     map[string]*membership // by the datasets a span is of
	key       []byte
	of        []uint64 // bits of datasets, of the span that is looked at
}

// selector is one of a dataset, taken apart: what it says of resource and scope
// is decided once for all spans of a scope.
type selector struct {
	dataset int
	shared  []*labels.Matcher // of resource and scope
	own     []*labels.Matcher // of the span
}

// membership is what the datasets that a span is of say together.
type membership struct {
	span policy.Span
	// redacting are those of them that don't release attributes as they are.
	redacting []*policy.Dataset
	named     map[string]policy.LabelRule // what was asked for already
}

func newRules(datasets []policy.Dataset) *rules {
	r := &rules{datasets: datasets, known: map[string]*membership{}, of: make([]uint64, (len(datasets)+63)/64)}
	r.key = make([]byte, 8*len(r.of))
	for i := range datasets {
		for _, s := range datasets[i].Spans {
			split := selector{dataset: i}
			for _, m := range s {
				if strings.HasPrefix(m.Name, resourcePrefix) || strings.HasPrefix(m.Name, scopePrefix) {
					split.shared = append(split.shared, m)
				} else {
					split.own = append(split.own, m)
				}
			}
			r.selectors = append(r.selectors, split)
		}
	}
	return r
}

// within are the selectors that spans of a resource and scope can meet.
func (r *rules) within(resource pcommon.Resource, scope pcommon.InstrumentationScope) []*selector {
	var out []*selector
	for i := range r.selectors {
		s := &r.selectors[i]
		if all(s.shared, func(name string) string { return sharedValue(resource, scope, name) }) {
			out = append(out, s)
		}
	}
	return out
}

// membership is what becomes of a span, of whose resource and scope the selectors
// are; nil: it isn't there.
func (r *rules) membership(within []*selector, span ptrace.Span) *membership {
	clear(r.of)
	found := false
	for _, s := range within {
		if r.of[s.dataset/64]&(1<<(s.dataset%64)) != 0 || !all(s.own, func(name string) string { return ownValue(span, name) }) {
			continue
		}
		if r.datasets[s.dataset].Release != policy.Row {
			return nil
		}
		r.of[s.dataset/64] |= 1 << (s.dataset % 64)
		found = true
	}
	if !found {
		return nil
	}
	for i, word := range r.of {
		binary.LittleEndian.PutUint64(r.key[8*i:], word)
	}
	m, ok := r.known[string(r.key)]
	if !ok {
		m = r.together()
		r.known[string(r.key)] = m
	}
	if m.span.Mode == policy.SpanHidden {
		return nil
	}
	return m
}

// together is what the datasets in r.of say.
func (r *rules) together() *membership {
	var member []*policy.Dataset
	m := &membership{named: map[string]policy.LabelRule{}}
	for i, word := range r.of {
		for ; word != 0; word &= word - 1 {
			d := &r.datasets[64*i+bits.TrailingZeros64(word)]
			member = append(member, d)
			if d.Span.Mode != policy.SpanFull {
				m.redacting = append(m.redacting, d)
			}
		}
	}
	m.span = policy.StrictestSpan(member)
	return m
}

// rule is what becomes of an attribute, by the name policy has for it.
func (m *membership) rule(name string) policy.LabelRule {
	switch m.span.Mode {
	case policy.SpanFull:
		return policy.LabelRule{Mode: policy.Keep}
	case policy.SpanAttributes, policy.SpanBoundary:
	default:
		return policy.LabelRule{}
	}
	rule, ok := m.named[name]
	if !ok {
		rule = policy.Strictest(m.redacting, name)
		if len(m.named) < maxNamed {
			m.named[name] = rule
		}
	}
	return rule
}

// maxNamed bounds how many names of attributes are remembered: a store may have
// any number.
const maxNamed = 10_000

// redaction is what the view says of a span that is left.
func (m *membership) redaction() Redaction {
	switch m.span.Mode {
	case policy.SpanAttributes:
		return Attributes
	case policy.SpanShape:
		return Shape
	case policy.SpanBoundary:
		return Boundary
	}
	return ""
}

// all says whether what has the values meets every matcher. What isn't there is
// empty, as a label that isn't there is.
func all(matchers []*labels.Matcher, value func(name string) string) bool {
	for _, m := range matchers {
		if !m.Matches(value(m.Name)) {
			return false
		}
	}
	return true
}

func sharedValue(resource pcommon.Resource, scope pcommon.InstrumentationScope, name string) string {
	switch name {
	case policy.SpanScopeName:
		return scope.Name()
	case policy.SpanScopeVersion:
		return scope.Version()
	}
	if key, ok := strings.CutPrefix(name, resourcePrefix); ok {
		return text(resource.Attributes(), key)
	}
	return text(scope.Attributes(), strings.TrimPrefix(name, scopePrefix))
}

func ownValue(span ptrace.Span, name string) string {
	switch name {
	case policy.SpanName:
		return span.Name()
	case policy.SpanKind:
		return traceql.KindName(span.Kind())
	case policy.SpanStatus:
		return traceql.StatusName(span.Status().Code())
	}
	return text(span.Attributes(), strings.TrimPrefix(name, spanPrefix))
}

func text(attributes pcommon.Map, key string) string {
	value, ok := attributes.Get(key)
	if !ok {
		return ""
	}
	return value.AsString()
}
