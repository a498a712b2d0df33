package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
)

// Line is one line of a journal and where it is.
type Line struct {
	// File is the name within the directory, Number counts from 1.
	File   string
	Number int
	// Text is without the newline. It is valid until the next line is asked for.
	Text []byte
}

// Lines yields the lines of the journal in fsys in the order in which they were
// appended. The journal may be open and growing: an unfinished line at the very
// end is left out. An error, which names the file, ends what is read of that
// file; the next file follows. It is ErrLine where the line is bad, and of the
// file where that can't be read.
func Lines(fsys fs.FS) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		entries, err := fs.ReadDir(fsys, ".")
		if err != nil {
			yield(Line{}, fmt.Errorf("journal: %w", err))
			return
		}
		names := make([]string, 0, len(entries))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		seqs := sequences(names)
		var lastWritten string // an empty one after it is still to be used
		for _, seq := range seqs {
			if info, err := fs.Stat(fsys, fileName(seq)); err == nil && info.Size() > 0 {
				lastWritten = fileName(seq)
			}
		}
		for _, seq := range seqs {
			name := fileName(seq)
			if !readFile(fsys, name, name == lastWritten, yield) {
				return
			}
		}
	}
}

// ErrLine is what the errors of lines are that were not written whole, or not
// by a journal.
var ErrLine = errors.New("a bad line")

// badLine is why a line is bad.
type badLine string

const (
	errTorn badLine = "the file ends in a torn line"
	errLong badLine = "it is longer than a line can be"
)

func (b badLine) Error() string { return string(b) }

// Is makes it an ErrLine.
func (badLine) Is(target error) bool { return target == ErrLine }

// readFile yields the lines of one file and returns whether more is wanted. A
// file that grows may end in an unfinished line.
func readFile(fsys fs.FS, name string, grows bool, yield func(Line, error) bool) (more bool) {
	f, err := fsys.Open(name)
	if err != nil {
		return yield(Line{File: name}, fmt.Errorf("journal: %w", err))
	}
	more = true
	line := Line{File: name}
	for text, err := range Split(f) {
		if errors.Is(err, errTorn) && grows {
			break
		}
		line.Number++
		line.Text = text
		if err != nil {
			err = fmt.Errorf("journal: %s, line %d: %w", name, line.Number, err)
		}
		if more = yield(line, err); !more {
			break
		}
	}
	if err := f.Close(); err != nil && more {
		return yield(line, fmt.Errorf("journal: %w", err))
	}
	return more
}

// Split yields the lines of r, without newline, each valid until the next one
// is asked for. An error is the last thing it yields; a torn line at the end,
// one without a newline or with a NUL byte, is an error that says so.
func Split(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(make([]byte, 0, 64<<10), MaxLine+1)
		s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
			end := bytes.IndexByte(data, '\n')
			switch {
			case end >= 0 && bytes.IndexByte(data[:end], 0) >= 0:
				return 0, nil, errTorn
			case end >= 0:
				return end + 1, data[:end], nil
			case atEOF && len(data) > 0:
				return 0, nil, errTorn
			}
			return 0, nil, nil
		})
		for s.Scan() {
			if !yield(s.Bytes(), nil) {
				return
			}
		}
		switch err := s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, errLong)
		case err != nil:
			yield(nil, err)
		}
	}
}
