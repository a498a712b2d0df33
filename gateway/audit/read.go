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
// version yields an error that names the file and the line; the next line
// follows, so whoever breaks at an error has refused the rest.
func Read(fsys fs.FS) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for line, err := range journal.Lines(fsys) {
			var r Record
			if err == nil {
				if r, err = Parse(line.Text); err != nil {
					err = fmt.Errorf("audit: %s, line %d: %w", line.File, line.Number, err)
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

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
