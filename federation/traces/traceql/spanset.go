package traceql

import "slices"

// relations are the operators of structure: what of the right side's spans they
// select, by how these are to the left side's.
var relations = map[string]struct {
	of      func(t *Trace, to []bool) []bool
	inverse func(t *Trace, to []bool) []bool
	not     bool // the spans that aren't so
	both    bool // and the spans of the left side to which they are
}{
	">":   {of: children},
	">>":  {of: descendants},
	"<":   {of: parents},
	"<<":  {of: ancestors},
	"~":   {of: siblings},
	"!>":  {of: children, not: true},
	"!>>": {of: descendants, not: true},
	"!<":  {of: parents, not: true},
	"!<<": {of: ancestors, not: true},
	"!~":  {of: siblings, not: true},
	"&>":  {of: children, inverse: parents, both: true},
	"&>>": {of: descendants, inverse: ancestors, both: true},
	"&<":  {of: parents, inverse: children, both: true},
	"&<<": {of: ancestors, inverse: descendants, both: true},
	"&~":  {of: siblings, inverse: siblings, both: true},
}

func children(t *Trace, of []bool) []bool {
	out := make([]bool, len(of))
	for i, parent := range t.parents {
		out[i] = parent >= 0 && of[parent]
	}
	return out
}

func descendants(t *Trace, of []bool) []bool {
	out := make([]bool, len(of))
	for _, i := range t.order {
		parent := t.parents[i]
		out[i] = parent >= 0 && (of[parent] || out[parent])
	}
	return out
}

func parents(t *Trace, of []bool) []bool {
	out := make([]bool, len(of))
	for i, parent := range t.parents {
		if parent >= 0 && of[i] {
			out[parent] = true
		}
	}
	return out
}

func ancestors(t *Trace, of []bool) []bool {
	out := make([]bool, len(of))
	for _, i := range slices.Backward(t.order) {
		if parent := t.parents[i]; parent >= 0 && (of[i] || out[i]) {
			out[parent] = true
		}
	}
	return out
}

// siblings have another of a parent's children beside them.
func siblings(t *Trace, of []bool) []bool {
	children := make([]int, len(of))
	for i, parent := range t.parents {
		if parent >= 0 && of[i] {
			children[parent]++
		}
	}
	out := make([]bool, len(of))
	for i, parent := range t.parents {
		if parent >= 0 {
			out[i] = children[parent] > 1 || children[parent] == 1 && !of[i]
		}
	}
	return out
}

func (f *Filter) selected(t *Trace) []bool {
	out := make([]bool, t.Len())
	for i := range out {
		out[i] = f.Matches(t, i)
	}
	return out
}

// Matches says whether the filter is true of a span of the trace.
func (f *Filter) Matches(t *Trace, i int) bool {
	return f.condition == nil || f.condition.holds(t, i)
}

func (o *operation) selected(t *Trace) []bool {
	left, right := o.left.selected(t), o.right.selected(t)
	switch o.op {
	case "&&":
		if !slices.Contains(left, true) || !slices.Contains(right, true) {
			return make([]bool, t.Len())
		}
		return either(left, right)
	case "||":
		return either(left, right)
	}
	relation := relations[o.op]
	related := relation.of(t, left)
	out := make([]bool, t.Len())
	for i := range out {
		out[i] = right[i] && related[i] != relation.not
	}
	if relation.both {
		for i, related := range relation.inverse(t, right) {
			out[i] = out[i] || left[i] && related
		}
	}
	return out
}

func either(a, b []bool) []bool {
	out := make([]bool, len(a))
	for i := range out {
		out[i] = a[i] || b[i]
	}
	return out
}

// Select returns which spans of the trace the query selects, ascending. If none,
// the query doesn't find the trace.
func (e *Expr) Select(t *Trace) []int {
	var out []int
	for i, selected := range e.spans.selected(t) {
		if selected {
			out = append(out, i)
		}
	}
	for _, s := range e.stages {
		if !s.keeps(len(out)) {
			return nil
		}
	}
	return out
}

func (s *selectStage) keeps(int) bool { return true }

func (s *countStage) keeps(selected int) bool {
	return relate(Value{kind: IntValue, number: int64(selected)}, Value{kind: IntValue, number: s.count}).holds(s.op)
}
