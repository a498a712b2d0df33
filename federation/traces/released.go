package traces

import (
	"cmp"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// Released is data that went through a view: the only thing that doors, merge
// and fronts accept. Outside this package there are two ways to one: asking a
// Local, which holds a view, and reading what a partner's gateway sent.
type Released struct {
	traces       []Trace
	names        []string
	values       []Value
	operations   []Operation
	dependencies []Dependency
}

// Trace is a trace, or what one organization released of it.
type Trace struct {
	// ID is the one that was asked for, or found, where the trace goes on under
	// others.
	ID pcommon.TraceID
	// Spans are at least one. Every resource has the attribute parley.org. Those
	// of one organization are in order of start and id, each resource and scope
	// once.
	Spans ptrace.Traces
	// Report is what stitching found out; nil of what one organization released.
	Report *Report
}

// Value is one that an attribute has.
type Value struct {
	// Type is as Tempo has it: "string", "int", "float", "bool", "duration", or
	// "keyword" for those that TraceQL writes without quotes: of kind and status.
	Type string
	// Text is the value as TraceQL writes it, without quotes.
	Text string
}

// Operation is what a service does.
type Operation struct {
	Service string
	Name    string
	Kind    ptrace.SpanKind
	// Org is whose service it is.
	Org tenants.OrgID
}

// Dependency is one service calling another, of one organization or two.
type Dependency struct {
	Parent, Child       string
	ParentOrg, ChildOrg tenants.OrgID
	// Calls is how many spans of the child have a parent of the other service.
	Calls uint64
}

// Traces are the traces of the answer; of a search, the latest first.
func (r *Released) Traces() []Trace { return r.traces }

// Names are names of attributes, as TraceQL has them, sorted, each once.
func (r *Released) Names() []string { return r.names }

// Values are those of an attribute, in order of text and type, each once.
func (r *Released) Values() []Value { return r.values }

// Operations are in order of service, name, kind and organization, each once.
func (r *Released) Operations() []Operation { return r.operations }

// Dependencies are in order of parent and child, each pair once.
func (r *Released) Dependencies() []Dependency { return r.dependencies }

// Disclosed is how many spans it holds; names, values, operations and dependencies
// count as series.
func (r *Released) Disclosed() federation.Cost {
	c := federation.Cost{Series: len(r.names) + len(r.values) + len(r.operations) + len(r.dependencies)}
	for _, t := range r.traces {
		c.Spans += t.Spans.SpanCount()
	}
	return c
}

// Bytes is the size of what it holds: spans as OTLP's protobuf has them, and
// names.
func (r *Released) Bytes() int {
	var sizer ptrace.ProtoMarshaler
	total := 0
	for _, t := range r.traces {
		total += sizer.TracesSize(t.Spans)
	}
	for _, name := range r.names {
		total += len(name)
	}
	for _, value := range r.values {
		total += len(value.Type) + len(value.Text)
	}
	for _, o := range r.operations {
		total += len(o.Service) + len(o.Name) + len(o.Org)
	}
	for _, d := range r.dependencies {
		total += len(d.Parent) + len(d.Child) + len(d.ParentOrg) + len(d.ChildOrg)
	}
	return total
}

// Answer is what a Released is made of.
type Answer struct {
	Traces       []Trace
	Names        []string
	Values       []Value
	Operations   []Operation
	Dependencies []Dependency
}

// Received returns what a partner's gateway sent as Released. That everything in
// it is the partner's own, and was asked for, is the caller's to check.
func Received(a Answer) *Released {
	return &Released{traces: a.Traces, names: a.Names, values: a.Values, operations: a.Operations, dependencies: a.Dependencies}
}

// CompareValues is the order of values.
func CompareValues(a, b Value) int {
	return cmp.Or(cmp.Compare(a.Text, b.Text), cmp.Compare(a.Type, b.Type))
}

// CompareOperations is the order of operations.
func CompareOperations(a, b Operation) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Org, b.Org))
}

// CompareDependencies is the order of dependencies, whose calls have no part in it.
func CompareDependencies(a, b Dependency) int {
	return cmp.Or(cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Child, b.Child), cmp.Compare(a.ParentOrg, b.ParentOrg), cmp.Compare(a.ChildOrg, b.ChildOrg))
}
