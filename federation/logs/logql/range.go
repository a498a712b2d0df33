package logql

import (
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// Range evaluates a range aggregation. It is not safe for concurrent use.
type Range struct{}

// NewRange evaluates r at start, and every step until end; once, at start, if
// the step is 0. Times are Unix nanoseconds. At t it is of the entries in
// (t-offset-range, t-offset].
func NewRange(r *RangeAggregation, start, end int64, step time.Duration) (*Range, error) {
	return nil, errors.ErrUnsupported
}

// Add takes an entry, none of which may be earlier than the one before.
func (*Range) Add(at int64, line string, stream, metadata labels.Labels) {}

// Matrix is the result: the series sorted by labels, times in milliseconds.
func (*Range) Matrix() (promql.Matrix, error) { return nil, errors.ErrUnsupported }
