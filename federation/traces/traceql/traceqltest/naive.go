package traceqltest

import (
	"bytes"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Statuses and kinds are values of types of their own.
type (
	status string
	kind   string
)

// flat is a span as a table: what it has under each name, be it nothing.
type flat struct {
	fields map[string][]any
	has    map[string]bool
	parent int
	span   ptrace.Span
}

func flatten(td ptrace.Traces) []*flat {
	var all []*flat
	for _, resource := range td.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				f := &flat{fields: map[string][]any{}, has: map[string]bool{}, parent: -1, span: span}
				f.addAll("resource.", resource.Resource().Attributes())
				f.addAll("instrumentation.", scope.Scope().Attributes())
				f.add("instrumentation:name", scope.Scope().Name())
				f.add("instrumentation:version", scope.Scope().Version())
				f.addSpan()
				all = append(all, f)
			}
		}
	}
	parents(all)
	ofTrace(all)
	return all
}

func (f *flat) add(name string, value any) {
	f.has[name] = true
	f.fields[name] = append(f.fields[name], value)
}

func (f *flat) addAll(prefix string, attributes pcommon.Map) {
	for name, v := range attributes.All() {
		if v.Type() == pcommon.ValueTypeEmpty {
			continue
		}
		f.has[prefix+name] = true
		elements := []any{v.AsRaw()}
		if array, ok := v.AsRaw().([]any); ok {
			elements = array
		}
		for _, e := range elements {
			switch e.(type) {
			case string, int64, float64, bool:
				f.add(prefix+name, e)
			}
		}
	}
}

func (f *flat) addSpan() {
	s := f.span
	f.addAll("span.", s.Attributes())
	f.add("name", s.Name())
	f.add("status", status([]string{"unset", "ok", "error"}[s.Status().Code()]))
	f.add("statusMessage", s.Status().Message())
	f.add("kind", kind([]string{"unspecified", "internal", "server", "client", "producer", "consumer"}[s.Kind()]))
	f.add("duration", max(0, time.Duration(s.EndTimestamp())-time.Duration(s.StartTimestamp())))
	f.add("span:id", s.SpanID().String())
	f.add("span:parentID", s.ParentSpanID().String())
	f.add("trace:id", s.TraceID().String())
	for _, e := range s.Events().All() {
		f.addAll("event.", e.Attributes())
		f.add("event:name", e.Name())
		f.add("event:timeSinceStart", time.Duration(e.Timestamp())-time.Duration(s.StartTimestamp()))
	}
	for _, l := range s.Links().All() {
		f.addAll("link.", l.Attributes())
		trace, span := l.TraceID(), l.SpanID()
		f.add("link:traceID", hexOf(trace[:]))
		f.add("link:spanID", hexOf(span[:]))
	}
}

func hexOf(id []byte) string {
	const digits = "0123456789abcdef"
	var b []byte
	for _, c := range id {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return string(b)
}

// parents finds them, and opens circles at their earliest span.
func parents(all []*flat) {
	for _, f := range all {
		for j, other := range all {
			if !f.span.ParentSpanID().IsEmpty() && f.span.ParentSpanID() == other.span.SpanID() {
				f.parent = j
				break
			}
		}
	}
	var cut []int
	for i := range all {
		circle := above(all, i)
		if slices.Contains(circle, i) && !slices.ContainsFunc(circle, func(j int) bool { return earlier(all, j, i) }) {
			cut = append(cut, i)
		}
	}
	for _, i := range cut {
		all[i].parent = -1
	}
}

// above are a span's ancestors, itself among them if it is in a circle.
func above(all []*flat, i int) []int {
	var out []int
	for at := all[i].parent; at >= 0 && !slices.Contains(out, at); at = all[at].parent {
		out = append(out, at)
	}
	return out
}

func earlier(all []*flat, i, j int) bool {
	a, b := all[i].span, all[j].span
	if a.StartTimestamp() != b.StartTimestamp() {
		return a.StartTimestamp() < b.StartTimestamp()
	}
	x, y := a.SpanID(), b.SpanID()
	if c := bytes.Compare(x[:], y[:]); c != 0 {
		return c < 0
	}
	return i < j
}

func ofTrace(all []*flat) {
	var root *flat
	var first, last time.Duration
	for i, f := range all {
		start, end := time.Duration(f.span.StartTimestamp()), time.Duration(f.span.EndTimestamp())
		if i == 0 || start < first {
			first = start
		}
		last = max(last, end)
		if f.parent < 0 && (root == nil || earlier(all, i, slices.Index(all, root))) {
			root = f
		}
	}
	for i, f := range all {
		f.add("traceDuration", max(0, last-first))
		f.add("rootName", root.span.Name())
		if root.has["resource.service.name"] {
			f.has["rootServiceName"] = true
			f.fields["rootServiceName"] = root.fields["resource.service.name"]
		}
		children := 0
		for _, other := range all {
			if other.parent == i {
				children++
			}
		}
		f.add("span:childCount", int64(children))
	}
}

// get is what a field of a query has: .x is the span's, or else the resource's.
func get(all []*flat, i int, field string) ([]any, bool) {
	if rest, ok := bytes.CutPrefix([]byte(field), []byte("parent.")); ok {
		if all[i].parent < 0 {
			return nil, false
		}
		name := string(rest)
		if !bytes.HasPrefix(rest, []byte("span.")) && !bytes.HasPrefix(rest, []byte("resource.")) {
			name = "." + name
		}
		return get(all, all[i].parent, name)
	}
	f := all[i]
	if field[0] == '.' {
		if f.has["span"+field] {
			return f.fields["span"+field], true
		}
		field = "resource" + field
	}
	return f.fields[field], f.has[field]
}

// related says how the span r of the right side is to l of the left one.
func related(all []*flat, op string, l, r int) bool {
	switch op {
	case ">":
		return all[r].parent == l
	case ">>":
		return slices.Contains(above(all, r), l)
	case "<":
		return all[l].parent == r
	case "<<":
		return slices.Contains(above(all, l), r)
	default: // ~
		return l != r && all[l].parent >= 0 && all[l].parent == all[r].parent
	}
}

func compareOne(a any, op string, b any) (result, ok bool) {
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return ordered(op, x < y, x == y), ok
	case bool:
		y, ok := b.(bool)
		return ordered(op, false, x == y), ok && (op == "=" || op == "!=")
	case status:
		y, ok := b.(status)
		return ordered(op, false, x == y), ok
	case kind:
		y, ok := b.(kind)
		return ordered(op, false, x == y), ok
	}
	x, isNumber := numeric(a)
	y, also := numeric(b)
	return ordered(op, x < y, x == y), isNumber && also
}

func numeric(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case time.Duration:
		return float64(v), true
	}
	return 0, false
}

func ordered(op string, less, equal bool) bool {
	switch op {
	case "=":
		return equal
	case "!=":
		return !equal
	case "<":
		return less
	case "<=":
		return less || equal
	case ">":
		return !less && !equal
	default:
		return !less
	}
}

// compareAll needs one of several that is so, or, of !=, that none is equal.
func compareAll(left []any, op string, right []any) bool {
	some, every := false, true
	for _, l := range left {
		for _, r := range right {
			if result, ok := compareOne(l, op, r); ok {
				some = some || result
				every = every && result
			}
		}
	}
	if op == "!=" {
		return some && every
	}
	return some
}
