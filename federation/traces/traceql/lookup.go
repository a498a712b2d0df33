package traceql

import (
	"encoding/hex"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// serviceName is the resource attribute that names a service (OpenTelemetry
// semantic conventions).
const serviceName = "service.name"

// Values are those that an attribute has in a span: none if it isn't there, and
// several of an array, of events and of links. Maps and bytes have none.
func (t *Trace) Values(i int, a Attribute) []Value {
	values, _ := t.values(i, a, nil)
	return values
}

// values appends them to a buffer that is empty, and says whether the attribute
// exists.
func (t *Trace) values(i int, a Attribute, to []Value) ([]Value, bool) {
	if a.Parent {
		if i = t.parents[i]; i < 0 {
			return to, false
		}
	}
	s := t.spans[i]
	switch a.Scope {
	case ScopeNone:
		if to, ok := valuesIn(s.Span.Attributes(), a.Name, to); ok {
			return to, true
		}
		return valuesIn(s.Resource.Resource().Attributes(), a.Name, to)
	case ScopeSpan:
		return valuesIn(s.Span.Attributes(), a.Name, to)
	case ScopeResource:
		return valuesIn(s.Resource.Resource().Attributes(), a.Name, to)
	case ScopeInstrumentation:
		return valuesIn(s.Scope.Scope().Attributes(), a.Name, to)
	case ScopeEvent:
		return valuesOfAll(s.Span.Events().All(), a.Name, to)
	case ScopeLink:
		return valuesOfAll(s.Span.Links().All(), a.Name, to)
	default:
		return t.intrinsic(i, a.Name, to)
	}
}

func valuesOfAll[T interface{ Attributes() pcommon.Map }](all func(func(int, T) bool), name string, to []Value) ([]Value, bool) {
	exists := false
	for _, one := range all {
		var ok bool
		to, ok = valuesIn(one.Attributes(), name, to)
		exists = exists || ok
	}
	return to, exists
}

func valuesIn(attributes pcommon.Map, name string, to []Value) ([]Value, bool) {
	v, ok := attributes.Get(name)
	if !ok || v.Type() == pcommon.ValueTypeEmpty {
		return to, false
	}
	if v.Type() != pcommon.ValueTypeSlice {
		return scalar(v, to), true
	}
	for _, element := range v.Slice().All() {
		to = scalar(element, to)
	}
	return to, true
}

// scalar appends a value that is one.
func scalar(v pcommon.Value, to []Value) []Value {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return append(to, Value{kind: StringValue, text: v.Str()})
	case pcommon.ValueTypeInt:
		return append(to, Value{kind: IntValue, number: v.Int()})
	case pcommon.ValueTypeDouble:
		return append(to, Value{kind: FloatValue, float: v.Double()})
	case pcommon.ValueTypeBool:
		return append(to, boolValue(v.Bool()))
	}
	return to
}

func (t *Trace) intrinsic(i int, name string, to []Value) ([]Value, bool) {
	s := t.spans[i]
	switch name {
	case Name:
		return text(to, s.Span.Name())
	case Duration:
		return number(to, DurationValue, between(s.Span.StartTimestamp(), s.Span.EndTimestamp()))
	case Status:
		return number(to, StatusValue, int64(s.Span.Status().Code()))
	case StatusMessage:
		return text(to, s.Span.Status().Message())
	case Kind:
		return number(to, KindValue, int64(s.Span.Kind()))
	case ScopeName:
		return text(to, s.Scope.Scope().Name())
	case ScopeVersion:
		return text(to, s.Scope.Scope().Version())
	case SpanID, ParentID, TraceID:
		return text(to, spanID(s.Span, name))
	case EventName, EventTimeSinceStart, LinkTraceID, LinkSpanID:
		return inside(s.Span, name, to)
	}
	return t.ofTrace(i, name, to)
}

func text(to []Value, s string) ([]Value, bool) {
	return append(to, Value{kind: StringValue, text: s}), true
}

func number(to []Value, kind ValueType, n int64) ([]Value, bool) {
	return append(to, Value{kind: kind, number: n}), true
}

func spanID(s ptrace.Span, name string) string {
	switch name {
	case SpanID:
		return s.SpanID().String()
	case ParentID:
		return s.ParentSpanID().String()
	default:
		return s.TraceID().String()
	}
}

// inside are intrinsics of events and links.
func inside(s ptrace.Span, name string, to []Value) ([]Value, bool) {
	switch name {
	case EventName:
		for _, e := range s.Events().All() {
			to, _ = text(to, e.Name())
		}
	case EventTimeSinceStart:
		for _, e := range s.Events().All() {
			to, _ = number(to, DurationValue, sinceStart(s, e))
		}
	case LinkTraceID:
		for _, l := range s.Links().All() {
			id := l.TraceID()
			to, _ = text(to, hex.EncodeToString(id[:]))
		}
	default:
		for _, l := range s.Links().All() {
			id := l.SpanID()
			to, _ = text(to, hex.EncodeToString(id[:]))
		}
	}
	return to, len(to) > 0
}

// sinceStart is how long after its span's start an event is, which may be before.
func sinceStart(s ptrace.Span, e ptrace.SpanEvent) int64 {
	if e.Timestamp() < s.StartTimestamp() {
		return -between(e.Timestamp(), s.StartTimestamp())
	}
	return between(s.StartTimestamp(), e.Timestamp())
}

// ofTrace are intrinsics that other spans decide.
func (t *Trace) ofTrace(i int, name string, to []Value) ([]Value, bool) {
	root := t.spans[t.root]
	switch name {
	case ChildCount:
		return number(to, IntValue, int64(t.children[i]))
	case TraceDuration:
		return number(to, DurationValue, t.duration)
	case RootName:
		return text(to, root.Span.Name())
	default:
		return valuesIn(root.Resource.Resource().Attributes(), serviceName, to)
	}
}

// Attributes are those that a span has in all scopes, each once; intrinsics
// aren't among them.
func (t *Trace) Attributes(i int) []Attribute {
	s := t.spans[i]
	out := namesIn(s.Resource.Resource().Attributes(), ScopeResource, nil)
	out = namesIn(s.Scope.Scope().Attributes(), ScopeInstrumentation, out)
	out = namesIn(s.Span.Attributes(), ScopeSpan, out)
	for _, e := range s.Span.Events().All() {
		out = namesIn(e.Attributes(), ScopeEvent, out)
	}
	for _, l := range s.Span.Links().All() {
		out = namesIn(l.Attributes(), ScopeLink, out)
	}
	seen := make(map[Attribute]bool, len(out))
	unique := out[:0]
	for _, a := range out {
		if !seen[a] {
			seen[a] = true
			unique = append(unique, a)
		}
	}
	return unique
}

func namesIn(attributes pcommon.Map, scope Scope, to []Attribute) []Attribute {
	for name := range attributes.All() {
		to = append(to, Attribute{Scope: scope, Name: name})
	}
	return to
}
