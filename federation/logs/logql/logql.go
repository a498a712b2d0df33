// Package logql is LogQL, the query language of Loki 3, in our own words: its
// parser, the pipeline that a line goes through, and the range aggregations
// that make series of lines.
//
//	expr, err := logql.Parse(`sum by (level) (rate({service="checkout"} |= "timeout" | json [5m]))`)
//
// What is above range aggregations (vector aggregations, binary operations) is
// parsed and printed here and evaluated elsewhere, as PromQL.
//
// Nothing here does I/O, and nothing is of Loki: what a query means is what a
// real Loki 3 answers, which e2e compares.
package logql

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Expr is a parsed query: *LogSelector, or one that yields numbers:
// *RangeAggregation, *VectorAggregation, *BinaryOperation, *Literal,
// *LabelReplace or *Vector.
type Expr interface {
	// String is the canonical text. It parses to an equal expression.
	String() string
	expr()
}

// LogSelector is a log query: streams, and what their lines go through.
type LogSelector struct {
	Matchers []*labels.Matcher // at least one that doesn't match the empty value
	Stages   []Stage           // in order
}

// RangeOp is a range aggregation's name.
type RangeOp string

// The range aggregations. Those from SumOverTime on are of unwrapped values,
// and so may be Rate and AbsentOverTime.
const (
	Rate             RangeOp = "rate"
	CountOverTime    RangeOp = "count_over_time"
	BytesRate        RangeOp = "bytes_rate"
	BytesOverTime    RangeOp = "bytes_over_time"
	AbsentOverTime   RangeOp = "absent_over_time"
	RateCounter      RangeOp = "rate_counter"
	SumOverTime      RangeOp = "sum_over_time"
	AvgOverTime      RangeOp = "avg_over_time"
	MinOverTime      RangeOp = "min_over_time"
	MaxOverTime      RangeOp = "max_over_time"
	StdvarOverTime   RangeOp = "stdvar_over_time"
	StddevOverTime   RangeOp = "stddev_over_time"
	QuantileOverTime RangeOp = "quantile_over_time"
	FirstOverTime    RangeOp = "first_over_time"
	LastOverTime     RangeOp = "last_over_time"
)

// RangeAggregation makes series of the lines of a window of time.
type RangeAggregation struct {
	Op        RangeOp
	Parameter float64 // the quantile of QuantileOverTime; else 0
	Selector  *LogSelector
	Unwrap    *Unwrap       // nil: lines or bytes are counted
	Range     time.Duration // more than 0
	Offset    time.Duration // may be negative
	Grouping  *Grouping     // nil: none
}

// Unwrap is where the numbers of a range aggregation come from.
type Unwrap struct {
	Label      string
	Conversion Conversion
	Filters    []LabelFilter // of what was unwrapped, in order
}

// Conversion is how a label's value becomes a number.
type Conversion string

// The conversions. Both of durations yield seconds.
const (
	Number          Conversion = ""
	Duration        Conversion = "duration"
	DurationSeconds Conversion = "duration_seconds"
	Bytes           Conversion = "bytes"
)

// Grouping is by or without labels.
type Grouping struct {
	Without bool
	Labels  []string // as written
}

// VectorOp is a vector aggregation's name.
type VectorOp string

// The vector aggregations. The last three have a parameter.
const (
	Sum        VectorOp = "sum"
	Avg        VectorOp = "avg"
	Min        VectorOp = "min"
	Max        VectorOp = "max"
	Count      VectorOp = "count"
	Stddev     VectorOp = "stddev"
	Stdvar     VectorOp = "stdvar"
	Sort       VectorOp = "sort"
	SortDesc   VectorOp = "sort_desc"
	TopK       VectorOp = "topk"
	BottomK    VectorOp = "bottomk"
	ApproxTopK VectorOp = "approx_topk"
)

// VectorAggregation aggregates the series of an expression.
type VectorAggregation struct {
	Op        VectorOp
	Parameter int // of TopK, BottomK and ApproxTopK, at least 1; else 0
	Grouping  *Grouping
	Expr      Expr
}

// BinaryOp is a binary operator.
type BinaryOp string

// BinaryOperation combines two expressions, of which at most one is a Literal.
type BinaryOperation struct {
	Op       BinaryOp // + - * / % ^ == != > >= < <= and or unless
	LHS, RHS Expr
	Bool     bool            // a comparison yields 0 or 1 and filters nothing
	Matching *VectorMatching // nil: as if nothing was written
}

// VectorMatching is how series of both sides find each other.
type VectorMatching struct {
	On     bool // Labels are those that have to be equal; else those that needn't
	Labels []string
	Group  GroupModifier
	// Include are labels of the "one" side that the result gets. Only with a Group.
	Include []string
}

// GroupModifier says which side has many series to one of the other.
type GroupModifier string

// The group modifiers.
const (
	OneToOne   GroupModifier = ""
	GroupLeft  GroupModifier = "group_left"
	GroupRight GroupModifier = "group_right"
)

// Literal is a number.
type Literal struct{ Value float64 }

// Vector is vector(number).
type Vector struct{ Value float64 }

// LabelReplace is label_replace.
type LabelReplace struct {
	Expr                            Expr
	Target, Replacement, Source, Re string // Re is anchored RE2
}

func (*LogSelector) expr()       {}
func (*RangeAggregation) expr()  {}
func (*VectorAggregation) expr() {}
func (*BinaryOperation) expr()   {}
func (*Literal) expr()           {}
func (*Vector) expr()            {}
func (*LabelReplace) expr()      {}

// ParseError says why a text isn't LogQL that we accept. Its message holds
// nothing but parts of the text.
type ParseError struct {
	Line, Column int // from 1; columns are characters
	Message      string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}
