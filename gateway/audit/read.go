package audit

import (
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/parley-gateway/parley/gateway/audit/journal"
)

// Read yields the records of the log in fsys in the order in which they became
// durable. The log may be open and growing. A line that is no record of this
// version yields an error, an ErrLine, that names the file and the line; the next
// line follows, so whoever breaks at an error has refused the rest. Any other
// error is of a file that can't be read, which it names.
func Read(fsys fs.FS) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for line, err := range journal.Lines(fsys) {
			var r Record
			if err == nil {
				if r, err = Parse(line.Text); err != nil {
					err = badLine{fmt.Errorf("audit: %s, line %d: %w", line.File, line.Number, err)}
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// ErrLine is what the errors of lines are that are no records.
var ErrLine = journal.ErrLine

// badLine is why a line is no record.
type badLine struct{ error }

func (b badLine) Unwrap() error { return b.error }

// Is makes it an ErrLine.
func (badLine) Is(target error) bool { return target == ErrLine }

// ReadFrom yields the records of one file, as Read does. A torn line at its
// end is an error.
func ReadFrom(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		number := 0
		for line, err := range journal.Split(r) {
			number++
			var record Record
			if err == nil {
				record, err = Parse(line)
			}
			if err != nil {
				err = fmt.Errorf("audit: line %d: %w", number, err)
			}
			if !yield(record, err) {
				return
			}
		}
	}
}
