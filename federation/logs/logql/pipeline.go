package logql

import (
	"errors"

	"github.com/prometheus/prometheus/model/labels"
)

// Entry is a line after its pipeline. Its labels are in the three categories
// that Loki's API tells apart, in none twice.
type Entry struct {
	Line                     string
	Stream, Metadata, Parsed labels.Labels
}

// Pipeline is what lines go through. It is not safe for concurrent use.
type Pipeline struct{}

// NewPipeline makes the pipeline of a log query.
func NewPipeline(*LogSelector) (*Pipeline, error) { return nil, errors.ErrUnsupported }

// Process sends one entry through the pipeline: its time in Unix nanoseconds,
// its line, its stream's labels and its structured metadata. It reports
// whether the entry is still there.
func (*Pipeline) Process(at int64, line string, stream, metadata labels.Labels) (Entry, bool) {
	return Entry{}, false
}
