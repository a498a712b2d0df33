package traceql

import (
	"cmp"
	"math"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// ValueType is what sort of value a Value is.
type ValueType uint8

// The types.
const (
	StringValue ValueType = iota
	IntValue
	FloatValue
	DurationValue
	BoolValue
	StatusValue
	KindValue
)

func (t ValueType) String() string {
	return [...]string{"string", "int", "float", "duration", "bool", "status", "kind"}[t]
}

// Value is a value of an attribute, or one that it is compared with. Equal ones
// are ==.
type Value struct {
	kind   ValueType
	text   string
	number int64 // of all but strings and floats
	float  float64
}

// Type is what sort of value it is.
func (v Value) Type() ValueType { return v.kind }

// The words for statuses and kinds, by their numbers.
var (
	statusWords = []string{ptrace.StatusCodeUnset: "unset", ptrace.StatusCodeOk: "ok", ptrace.StatusCodeError: "error"}
	kindWords   = []string{
		ptrace.SpanKindUnspecified: "unspecified", ptrace.SpanKindInternal: "internal", ptrace.SpanKindServer: "server",
		ptrace.SpanKindClient: "client", ptrace.SpanKindProducer: "producer", ptrace.SpanKindConsumer: "consumer",
	}
)

// KindName is the word for a kind. One that no OpenTelemetry knows is unspecified.
func KindName(k ptrace.SpanKind) string { return wordOf(kindWords, int64(k), kindWords[0]) }

// StatusName is the word for a status. One that no OpenTelemetry knows is unset.
func StatusName(c ptrace.StatusCode) string { return wordOf(statusWords, int64(c), statusWords[0]) }

// wordOf is the word for a number, or something else where there is none.
func wordOf(words []string, number int64, otherwise string) string {
	if number < 0 || number >= int64(len(words)) {
		return otherwise
	}
	return words[number]
}

// String is the value itself; strings aren't quoted.
func (v Value) String() string {
	switch v.kind {
	case StringValue:
		return v.text
	case FloatValue:
		return strconv.FormatFloat(v.float, 'g', -1, 64)
	case DurationValue:
		return time.Duration(v.number).String()
	case BoolValue:
		return strconv.FormatBool(v.number != 0)
	case StatusValue:
		return wordOf(statusWords, v.number, strconv.FormatInt(v.number, 10))
	case KindValue:
		return wordOf(kindWords, v.number, strconv.FormatInt(v.number, 10))
	default:
		return strconv.FormatInt(v.number, 10)
	}
}

// literal is the value as a query has it.
func (v Value) literal() string {
	switch v.kind {
	case StringValue:
		return strconv.Quote(v.text)
	case FloatValue:
		text := v.String()
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			text += ".0" // or it would be an int
		}
		return text
	case IntValue:
		if v.number == math.MinInt64 {
			return "minInt" // of which the digits alone aren't an int
		}
	}
	return v.String()
}

func boolValue(b bool) Value {
	if b {
		return Value{kind: BoolValue, number: 1}
	}
	return Value{kind: BoolValue}
}

func (t ValueType) isNumber() bool { return t == IntValue || t == FloatValue || t == DurationValue }

// areComparable says whether values of two types can be compared with = and !=.
func areComparable(a, b ValueType) bool { return a == b || a.isNumber() && b.isNumber() }

// isOrdered says whether values of a type are less or more.
func (t ValueType) isOrdered() bool { return t == StringValue || t.isNumber() }

// relation is how two values are to one another. Those that can't be compared,
// and a NaN to a number, are neither.
type relation struct{ less, equal, more bool }

func relate(a, b Value) relation {
	switch {
	case a.kind == FloatValue || b.kind == FloatValue:
		x, y := a.asFloat(), b.asFloat()
		return relation{x < y, x == y, x > y}
	case a.kind == StringValue:
		return relationOf(cmp.Compare(a.text, b.text))
	default:
		return relationOf(cmp.Compare(a.number, b.number))
	}
}

func relationOf(c int) relation { return relation{c < 0, c == 0, c > 0} }

func (v Value) asFloat() float64 {
	if v.kind == FloatValue {
		return v.float
	}
	return float64(v.number)
}

// holds says whether "a op b" does.
func (r relation) holds(op string) bool {
	switch op {
	case "=":
		return r.equal
	case "!=":
		return !r.equal
	case "<":
		return r.less
	case "<=":
		return r.less || r.equal
	case ">":
		return r.more
	default: // >=
		return r.more || r.equal
	}
}
