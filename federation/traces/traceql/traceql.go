// Package traceql is TraceQL, the query language of Tempo, in our own words: its
// parser, and what it selects of a trace.
//
//	expr, err := traceql.Parse(`{ resource.service.name = "checkout" } >> { status = error }`)
//	for _, i := range expr.Select(traceql.NewTrace(spans)) { ... }
//
// What is supported is written in TRACEQL.md; the rest is refused by name.
// Nothing here does I/O, and nothing is of Tempo.
package traceql

import (
	"fmt"
	"strings"
)

// Expr is a parsed query.
type Expr struct {
	spans  spanset
	stages []stage // in order
}

// spanset selects spans of a trace: *Filter or *operation.
type spanset interface {
	String() string
	// selected says of each span whether it is selected.
	selected(t *Trace) []bool
}

// Filter is what stands in braces. It is true of a span or not.
type Filter struct {
	condition condition // nil: true of all
}

// operation combines the spans of two spansets.
type operation struct {
	op          string // a key of relations, && or ||
	left, right spanset
}

// stage is a step of the pipeline: *selectStage or *countStage.
type stage interface {
	String() string
	// keeps says whether the trace stays, of which so many spans are selected.
	keeps(selected int) bool
}

// selectStage names attributes that are wanted of the selected spans.
type selectStage struct{ attributes []Attribute }

// countStage compares how many spans are selected.
type countStage struct {
	op    string
	count int64
}

// String is the canonical text. It parses to an equal expression.
func (e *Expr) String() string {
	var b strings.Builder
	b.WriteString(e.spans.String())
	for _, s := range e.stages {
		b.WriteString(" | ")
		b.WriteString(s.String())
	}
	return b.String()
}

// String is the filter's canonical text, which is a query by itself.
func (f *Filter) String() string {
	if f.condition == nil {
		return "{ }"
	}
	return "{ " + f.condition.String() + " }"
}

// String has parentheses wherever another reading would be possible.
func (o *operation) String() string {
	left, right := o.left.String(), o.right.String()
	if l, ok := o.left.(*operation); ok && l.op != o.op {
		left = "(" + left + ")"
	}
	if _, ok := o.right.(*operation); ok {
		right = "(" + right + ")"
	}
	return left + " " + o.op + " " + right
}

func (s *selectStage) String() string {
	names := make([]string, len(s.attributes))
	for i, a := range s.attributes {
		names[i] = a.String()
	}
	return "select(" + strings.Join(names, ", ") + ")"
}

func (s *countStage) String() string { return fmt.Sprintf("count() %s %d", s.op, s.count) }

// ParseError says why a text isn't TraceQL that we accept. Its message holds
// nothing but parts of the text.
type ParseError struct {
	Line, Column int // from 1; columns are characters
	Message      string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}
