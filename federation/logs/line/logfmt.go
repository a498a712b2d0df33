package line

import (
	"bytes"
	"unicode/utf8"

	"github.com/parley-gateway/parley/policy"
)

// pairs writes what fields leave of a line that is logfmt: key=value with space
// between, values with quotes as strings of JSON. A word by itself is no field,
// and a line with one not logfmt: it may be the rest of a value that should have
// had quotes.
func (p *pass) pairs(fields *field) bool {
	if !utf8.Valid(p.in) {
		return false
	}
	p.scanner = scanner{in: p.in}
	before := len(p.out)
	for p.space(); p.at < len(p.in); p.space() {
		start := p.at
		for p.at < len(p.in) && p.in[p.at] > ' ' && p.in[p.at] != '=' && p.in[p.at] != '"' {
			p.at++
		}
		key := p.in[start:p.at]
		if len(key) == 0 || p.at == len(p.in) || p.in[p.at] != '=' {
			return false
		}
		p.at++
		written, escaped, quoted, ok := p.logfmtValue()
		if !ok {
			return false
		}
		p.pair(fields.child(key), key, written, quoted, escaped, len(p.out) > before)
	}
	return true
}

// logfmtValue reads a value up to the space after it.
func (p *pass) logfmtValue() (written []byte, escaped, quoted, ok bool) {
	if p.at < len(p.in) && p.in[p.at] == '"' {
		written, escaped, ok = p.text()
		return written, escaped, true, ok && (p.at == len(p.in) || p.in[p.at] <= ' ')
	}
	start := p.at
	for p.at < len(p.in) && p.in[p.at] > ' ' {
		if p.in[p.at] == '"' {
			return nil, false, false, false
		}
		p.at++
	}
	return p.in[start:p.at], false, false, p.at == len(p.in) || bytes.IndexByte([]byte(" \t\r\n"), p.in[p.at]) >= 0
}

// pair writes what is left of a pair.
func (p *pass) pair(f *field, key, written []byte, quoted, escaped, more bool) {
	value := written
	switch f.rule.Mode {
	case policy.Keep:
		value, _ = p.maskedString(written, escaped)
	case policy.Drop:
		p.counts[f.counts]++
		return
	case policy.Pseudonym, policy.Generalize:
		p.counts[f.counts]++
		if escaped {
			p.fired.value = appendDecoded(p.fired.value[:0], written)
			value = p.fired.value
		}
		if f.rule.Mode == policy.Pseudonym {
			value = []byte(p.pseudonym(string(value)))
		} else if value, _ = p.masked([]byte(f.rule.Mapping.Apply(string(value)))); len(value) == 0 {
			return
		}
		quoted = false
	}
	p.fired.value = append(p.fired.value[:0], value...) // a key is masked in the same memory
	if more {
		p.out = append(p.out, ' ')
	}
	if !f.named {
		key, _ = p.masked(key)
	}
	p.out = append(append(p.out, key...), '=')
	switch {
	case quoted:
		p.out = append(append(append(p.out, '"'), p.fired.value...), '"')
	case f.rule.Mode != policy.Keep && needsQuotes(p.fired.value):
		p.out = appendQuoted(p.out, p.fired.value)
	default:
		p.out = append(p.out, p.fired.value...)
	}
}

// needsQuotes says whether a value would otherwise be more than one, or none.
func needsQuotes(value []byte) bool {
	return len(value) == 0 || !utf8.Valid(value) || bytes.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' })
}
