package logql

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// logfmtStep makes labels of key=value. go-logfmt's decoder ends at the first
// error of a line, and reads through a buffer of its own; Loki's goes on, which
// is why reading is here.
type logfmtStep struct {
	strict, keepEmpty bool
	names             labelNames
	labels, keys      []string // extracted ones; none: all
	found             []bool   // by label, in the line
}

func newLogfmtStep(s *LogfmtParser) step {
	l := &logfmtStep{strict: s.Strict, keepEmpty: s.KeepEmpty}
	for _, x := range s.Extract {
		l.labels, l.keys = append(l.labels, x.Label), append(l.keys, x.Expression)
	}
	l.found = make([]bool, len(l.labels))
	return l
}

func (s *logfmtStep) process(e *entry) bool {
	if e.hasEnough() {
		return true
	}
	d := logfmtReader{rest: e.line, strict: s.strict}
	if len(s.labels) > 0 {
		s.extractFrom(e, &d)
		return true
	}
	for d.next() {
		value := withoutInvalid(d.value)
		if value == "" && !s.keepEmpty {
			continue
		}
		if err := e.extract(s.names.name("", viewed(d.key)), value); err != nil {
			return !errors.Is(err, errGone)
		}
	}
	s.judge(e, &d)
	return d.err == nil || !s.strict || !e.needed.gone(e.fields, ErrorLabel)
}

func (s *logfmtStep) judge(e *entry, d *logfmtReader) {
	if d.err != nil && s.strict {
		e.problemOf(logfmtProblem, d.err.Error())
	}
}

// extractFrom sets the labels that were asked for.
func (s *logfmtStep) extractFrom(e *entry, d *logfmtReader) {
	clear(s.found)
	before := e.parsed
	for d.next() {
		i := slices.Index(s.keys, d.key)
		if own := slices.Index(s.labels, d.key); own >= 0 && i < 0 {
			i = own // as Loki has it, a key is also the label that is called so
		} else if own < 0 && (slices.Contains(before, d.key) || !e.needed.has(d.key)) {
			continue // nor is a key looked at that is a label already, or as one isn't needed
		}
		if i < 0 {
			continue
		}
		name := s.labels[i]
		if e.taken(name) {
			name += extractedSuffix
			if slices.Contains(e.parsed, name) || !e.needed.has(name) {
				break
			}
		}
		s.found[i] = true
		e.set(name, withoutInvalid(d.value))
	}
	s.judge(e, d)
	for i, name := range s.labels {
		if !s.found[i] && !e.taken(name) {
			e.set(name, "")
		}
	}
}

// logfmtReader reads key=value, one after the other.
type logfmtReader struct {
	rest       string
	strict     bool // the first error ends reading; else its word is passed
	key, value string
	err        error
}

var (
	errNoKey      = errors.New("a value has no key")
	errBadKey     = errors.New("a key has a quote or isn't UTF-8")
	errOpenQuote  = errors.New("a quoted value isn't closed")
	errBadEscape  = errors.New("a quoted value has an escape that isn't one")
	errAfterValue = errors.New("a value has an = or a quote")
)

func (d *logfmtReader) next() bool {
	for !d.strict || d.err == nil {
		d.rest = strings.TrimLeftFunc(d.rest, isSpace)
		if d.rest == "" {
			return false
		}
		if err := d.pair(); err != nil {
			d.err = err
			d.rest = d.rest[run(d.rest, func(r rune) bool { return !isSpace(r) }):]
			continue
		}
		return true
	}
	return false
}

// isSpace is what stands between pairs: all of ASCII up to the space.
func isSpace(r rune) bool { return r <= ' ' }

// pair reads one from the beginning of the rest, which isn't empty.
func (d *logfmtReader) pair() error {
	n := 0
	for n < len(d.rest) && d.rest[n] > ' ' && d.rest[n] != '=' {
		if d.rest[n] == '"' {
			return errBadKey
		}
		n++
	}
	d.key, d.value = d.rest[:n], ""
	switch {
	case n == 0:
		return errNoKey
	case !utf8.ValidString(d.key):
		return errBadKey
	}
	d.rest = d.rest[n:]
	if d.rest == "" || d.rest[0] != '=' {
		return nil
	}
	d.rest = d.rest[1:]
	if strings.HasPrefix(d.rest, `"`) {
		return d.quoted()
	}
	n = 0
	for n < len(d.rest) && d.rest[n] > ' ' {
		if c := d.rest[n]; c == '=' || c == '"' {
			return errAfterValue
		}
		n++
	}
	d.value, d.rest = d.rest[:n], d.rest[n:]
	return nil
}

func (d *logfmtReader) quoted() error {
	escaped := false
	for i := 1; i < len(d.rest); i++ {
		switch d.rest[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value := d.rest[1:i]
			if escaped {
				var err error
				if value, err = strconv.Unquote(d.rest[:i+1]); err != nil {
					return errBadEscape
				}
			}
			d.value, d.rest = value, d.rest[i+1:]
			return nil
		}
	}
	d.rest = ""
	return errOpenQuote
}
