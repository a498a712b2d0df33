package traceql

import "slices"

// Filters are the query's filters, in the order in which they are written.
func (e *Expr) Filters() []*Filter { return filtersOf(e.spans, nil) }

func filtersOf(s spanset, before []*Filter) []*Filter {
	switch s := s.(type) {
	case *Filter:
		return append(before, s)
	case *operation:
		return filtersOf(s.right, filtersOf(s.left, before))
	}
	return before
}

// OneFilter says whether the query selects the spans of which at least one of
// its filters is true, and none of these looks beyond a span: then the spans of
// one organization decide for themselves.
func (e *Expr) OneFilter() bool {
	for _, s := range e.stages {
		if _, ok := s.(*countStage); ok {
			return false
		}
	}
	return isUnion(e.spans) && !slices.ContainsFunc(e.Filters(), (*Filter).OnTrace)
}

func isUnion(s spanset) bool {
	o, ok := s.(*operation)
	return !ok || o.op == "||" && isUnion(o.left) && isUnion(o.right)
}

// OnTrace says whether the filter looks at what other spans of the trace decide:
// its root, its duration, or a span's parent.
func (f *Filter) OnTrace() bool {
	return slices.ContainsFunc(f.Attributes(), Attribute.OnTrace)
}

// Attributes are all that the filter looks at, as often as it does.
func (f *Filter) Attributes() []Attribute {
	var all []Attribute
	if f.condition != nil {
		f.condition.each(func(a Attribute) { all = append(all, a) })
	}
	return all
}

// Equal returns values one of which the attribute has, as a string, in every span
// of which the filter is true. Not ok: nothing is known. No values: it is true of
// none.
func (f *Filter) Equal(a Attribute) (values []string, ok bool) {
	if f.condition == nil {
		return nil, false
	}
	values, ok = f.condition.equal(a)
	if !ok {
		return nil, false
	}
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values), true
}

// Attributes are all that the query looks at or selects, in the order in which
// they are written, each once.
func Attributes(e *Expr) []Attribute {
	var all []Attribute
	for _, f := range e.Filters() {
		all = append(all, f.Attributes()...)
	}
	for _, s := range e.stages {
		if s, ok := s.(*selectStage); ok {
			all = append(all, s.attributes...)
		}
	}
	seen := map[Attribute]bool{}
	return slices.DeleteFunc(all, func(a Attribute) bool {
		again := seen[a]
		seen[a] = true
		return again
	})
}
