// Package line makes of a raw log line what policy lets leave of it:
//
//	r, err := line.New(dataset.Line, pseudonym)
//	var fired line.Fired
//	visible := r.Redact(`{"message":"paid by ada@example.com","user_id":"u-17"}`, &fired)
//	// {"message":"paid by <email>","user_id":"p-..."}
//
// What leaves is a function of the line and the rules alone. Two lines that
// differ only in what rules hide leave the same bytes, pseudonyms up to
// renaming: not even the key of a dropped field is left, nor the space around
// it. A line that should be JSON or logfmt and isn't leaves nothing. Of a line
// with masks alone, what they don't replace stands as it did.
//
// JSON is that of RFC 8259, in UTF-8, nested at most MaxDepth deep, and one
// object with nothing but space around it. Keys are compared decoded. One that
// is there twice is two fields, each under its rule. Numbers are text.
package line

import (
	"bytes"
	"fmt"

	"github.com/parley-gateway/parley/policy"
)

// MaxDepth is how deep objects and arrays may be within one another.
const MaxDepth = 64

// Redactor applies one policy.Line. It is safe for concurrent use, as far as
// pseudonym is.
type Redactor struct {
	mode      policy.LineMode
	json      *field // rules by path; nil: lines aren't JSON
	logfmt    *field // by key
	masks     []mask
	pseudonym func(value string) string
	names     []string // of what is counted, by index
}

// New compiles what policy says of lines. The error says what in it is not as
// policy.Line describes it.
func New(l policy.Line, pseudonym func(value string) string) (*Redactor, error) {
	r := &Redactor{mode: l.Mode, pseudonym: pseudonym, names: []string{unparsable: "unparsable"}}
	if l.Mode > policy.LineKeep {
		return nil, fmt.Errorf("line: %s is not known", l.Mode)
	}
	if (l.Mode == policy.LineByRules) != (len(l.Rules) > 0) {
		return nil, fmt.Errorf("line: %s with %d rules", l.Mode, len(l.Rules))
	}
	for i, rule := range l.Rules {
		fields := rule.JSON != nil || rule.Logfmt != nil
		if fields && (i > 0 || len(rule.Masks) > 0 || rule.JSON != nil && rule.Logfmt != nil) || !fields && len(rule.Masks) == 0 {
			return nil, fmt.Errorf("line: rule %d of %d: want json or logfmt as the first, and masks after it", i+1, len(l.Rules))
		}
		var err error
		switch {
		case rule.JSON != nil:
			r.json, err = r.fields("json", rule.JSON, paths)
		case rule.Logfmt != nil:
			r.logfmt, err = r.fields("logfmt", rule.Logfmt, keys)
		default:
			err = r.addMasks(rule.Masks)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.mode == policy.LineNone || r.mode == policy.LineShape {
		r.counted(r.mode.String())
	}
	return r, nil
}

// unparsable counts lines that are not what the rules say they are.
const unparsable = 0

// counted returns the index under which something is counted.
func (r *Redactor) counted(name string) int {
	r.names = append(r.names, name)
	return len(r.names) - 1
}

// Redact returns what leaves of a line, and adds to fired what was done to it.
func (r *Redactor) Redact(line string, fired *Fired) string {
	if r.mode == policy.LineKeep {
		return line
	}
	fired.out = r.Append(fired.out[:0], line, fired)
	if string(fired.out) == line {
		return line
	}
	return string(fired.out)
}

// Append appends to dst what leaves of a line, and adds to fired what was done
// to it.
func (r *Redactor) Append(dst []byte, line string, fired *Fired) []byte {
	switch r.mode {
	case policy.LineKeep:
		return append(dst, line...)
	case policy.LineByRules:
		fired.in = append(fired.in[:0], line...)
		return r.byRules(dst, fired.in, fired)
	case policy.LineShape:
		fired.of(r)[1]++
		fired.in = append(fired.in[:0], line...)
		return appendShape(dst, fired.in, fired)
	case policy.LineNone:
		fired.of(r)[1]++
	}
	return dst
}

func (r *Redactor) byRules(dst, line []byte, fired *Fired) []byte {
	p := pass{Redactor: r, scanner: scanner{in: line}, out: dst, fired: fired, counts: fired.of(r)}
	before := len(dst)
	var ok bool
	switch {
	case r.json != nil:
		ok = p.document(r.json)
	case r.logfmt != nil:
		ok = p.pairs(r.logfmt)
	default:
		// A line of JSON is masked in its strings, which can spell a text in many
		// ways.
		if looksLikeJSON(line) && p.strings() {
			return p.out
		}
		p.out = p.out[:before]
		text, _ := p.masked(line)
		return append(p.out, text...)
	}
	if !ok {
		p.counts[unparsable]++
		return p.out[:before]
	}
	return p.out
}

func looksLikeJSON(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\n")
	return len(line) > 0 && line[0] == '{'
}
