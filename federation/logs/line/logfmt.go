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
		f := fields.child(key)
		text := written
		if escaped && f.rule.Mode != policy.Drop {
			p.fired.value = appendDecoded(p.fired.value[:0], written)
			text = p.fired.value
		}
		p.pair(f, key, text, written, quoted, len(p.out) > before)
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
func (p *pass) pair(f *field, key, text, written []byte, quoted, more bool) {
	hit := true
	switch f.rule.Mode {
	case policy.Keep:
		if text, hit = p.masked(text); !hit {
			text = written
		}
	case policy.Pseudonym:
		text = []byte(p.pseudonym(string(text)))
	case policy.Generalize:
		if text, _ = p.masked([]byte(f.rule.Mapping.Apply(string(text)))); len(text) == 0 {
			p.counts[f.counts]++
			return
		}
	case policy.Drop:
		p.counts[f.counts]++
		return
	}
	if f.rule.Mode != policy.Keep {
		p.counts[f.counts]++
	}
	p.fired.value = append(p.fired.value[:0], text...) // a key is masked in the same memory
	if more {
		p.out = append(p.out, ' ')
	}
	p.out = append(p.logfmtKey(f, key), '=')
	switch {
	case !hit && quoted:
		p.out = append(append(append(p.out, '"'), p.fired.value...), '"')
	case hit && needsQuotes(p.fired.value):
		p.out = appendQuoted(p.out, p.fired.value)
	default:
		p.out = append(p.out, p.fired.value...)
	}
}

// logfmtKey writes a key: one that policy doesn't name is data too.
func (p *pass) logfmtKey(f *field, key []byte) []byte {
	if !f.named && len(p.masks) > 0 {
		key, _ = p.masked(key)
	}
	return append(p.out, key...)
}

// needsQuotes says whether a value would otherwise be more than one, or none.
func needsQuotes(value []byte) bool {
	return len(value) == 0 || !utf8.Valid(value) || bytes.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' })
}
