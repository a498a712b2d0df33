package traces

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// list answers what there is, from the spans of the view that begin within the
// question's time: never from what a store says there is, which is of the raw
// ones.
func (l *Local) list(ctx context.Context, q Question, v *view, limits tenants.Limits) (*Released, error) {
	if from, ok := l.config.Source.(lister); ok && asksForServices(q) {
		if released, err := l.listServices(ctx, q, v, from, limits); !errors.Is(err, errNotListed) {
			return released, err
		}
	}
	list, err := newListing(q, limits)
	if err != nil {
		return nil, err
	}
	err = v.read(ctx, l.config.Source, v.selection(q, list.filters), list.add, func(int64) bool { return true })
	if err != nil {
		return nil, err
	}
	return list.released(q.Limit), nil
}

// listing is what there is, in the making.
type listing struct {
	q            Question
	most         int
	filters      []*traceql.Filter // one, or none where all spans are asked about
	attribute    traceql.Attribute
	scope        string
	names        map[string]bool
	values       map[Value]bool
	operations   map[Operation]bool
	dependencies map[Dependency]uint64
}

func newListing(q Question, limits tenants.Limits) (*listing, error) {
	l := &listing{
		q: q, most: limits.Series, names: map[string]bool{}, values: map[Value]bool{},
		operations: map[Operation]bool{}, dependencies: map[Dependency]uint64{},
	}
	if q.Expression != "" {
		expr, err := parse(q.Expression)
		if err != nil {
			return nil, err
		}
		if l.filters = expr.Filters(); len(l.filters) != 1 {
			return nil, federation.Errorf(federation.BadQuestion, "%s: want a single filter of spans, such as {resource.service.name=\"checkout\"}", q.Kind)
		}
	}
	switch q.Kind {
	case policy.LabelNames:
		l.scope = q.Label
	case policy.LabelValues:
		var err error
		if l.attribute, err = traceql.ParseAttribute(q.Label); err != nil {
			return nil, federation.Errorf(federation.BadQuestion, "%v", err)
		}
	}
	return l, nil
}

// add takes a trace of the view.
func (l *listing) add(trace ptrace.Traces) error {
	t := traceql.NewTrace(trace)
	for i := range t.Len() {
		if !begins(t.Span(i).Span, l.q) || len(l.filters) == 1 && !l.filters[0].Matches(t, i) {
			continue
		}
		switch l.q.Kind {
		case policy.LabelNames:
			for _, a := range t.Attributes(i) {
				if l.scope == "" || string(a.Scope) == l.scope {
					l.names[a.String()] = true
				}
			}
		case policy.LabelValues:
			for _, value := range t.Values(i, l.attribute) {
				l.values[valueOf(value)] = true
			}
		case policy.Operations:
			if o := operationOf(t.Span(i)); l.q.Label == "" || o.Service == l.q.Label {
				l.operations[o] = true
			}
		case policy.Dependencies:
			l.depends(t, i)
		}
	}
	if len(l.names)+len(l.values)+len(l.operations)+len(l.dependencies) > l.most {
		return federation.Errorf(federation.OverLimit, "the answer has more than %d names, values, operations or dependencies; select fewer spans, or ask for less time", l.most)
	}
	return nil
}

// operationOf is what a span is one of.
func operationOf(s traceql.Span) Operation {
	return Operation{Service: serviceOf(s.Resource.Resource()), Name: s.Span.Name(), Kind: s.Span.Kind(), Org: orgOf(s)}
}

// valueOf is a value of TraceQL as it is told.
func valueOf(v traceql.Value) Value {
	out := Value{Type: v.Type().String(), Text: v.String()}
	if v.Type() == traceql.StatusValue || v.Type() == traceql.KindValue {
		out.Type = "keyword"
	}
	return out
}

func orgOf(s traceql.Span) tenants.OrgID {
	return tenants.OrgID(text(s.Resource.Resource().Attributes(), OrgAttribute))
}

// depends counts a span that another service's called.
func (l *listing) depends(t *traceql.Trace, i int) {
	up := t.Parent(i)
	if up < 0 {
		return
	}
	child, parent := t.Span(i), t.Span(up)
	d := Dependency{Parent: serviceOf(parent.Resource.Resource()), Child: serviceOf(child.Resource.Resource()), ParentOrg: orgOf(parent), ChildOrg: orgOf(child)}
	if d.Parent != d.Child || d.ParentOrg != d.ChildOrg {
		l.dependencies[d]++
	}
}

// released is the answer, with no more than a limit of names, values and
// operations; 0 is all.
func (l *listing) released(limit int) *Released {
	out := &Released{}
	for name := range l.names {
		out.names = append(out.names, name)
	}
	for value := range l.values {
		out.values = append(out.values, value)
	}
	for o := range l.operations {
		out.operations = append(out.operations, o)
	}
	for d, calls := range l.dependencies {
		d.Calls = calls
		out.dependencies = append(out.dependencies, d)
	}
	slices.Sort(out.names)
	slices.SortFunc(out.values, CompareValues)
	slices.SortFunc(out.operations, CompareOperations)
	slices.SortFunc(out.dependencies, CompareDependencies)
	out.names, out.values, out.operations = limited(out.names, limit), limited(out.values, limit), limited(out.operations, limit)
	return out
}

func limited[T any](all []T, limit int) []T {
	if limit > 0 && len(all) > limit {
		return all[:limit]
	}
	return all
}
