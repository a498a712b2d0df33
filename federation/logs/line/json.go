package line

import (
	"unicode/utf8"

	"github.com/parley-gateway/parley/policy"
)

// pass is one way through one line.
type pass struct {
	*Redactor
	scanner

	out    []byte
	fired  *Fired
	counts []uint64
}

// document writes what fields leave of a line that is one JSON object.
func (p *pass) document(fields *field) bool {
	if !utf8.Valid(p.in) {
		return false
	}
	p.scanner = scanner{in: p.in}
	if p.next() != '{' || !p.object(fields, 1) {
		return false
	}
	p.space()
	return p.at == len(p.in)
}

// value writes what is left of a value that rules look into, or of one that
// they hide or leave as a whole. kept is false where nothing is.
func (p *pass) value(f *field, depth int) (kept, ok bool) {
	if f.whole() {
		switch {
		case f.rule.Mode == policy.Drop:
			p.counts[f.counts]++
			_, ok := p.skip(depth)
			return false, ok
		case f.rule.Mode == policy.Keep && len(p.masks) == 0:
			text, ok := p.skip(depth)
			p.out = append(p.out, text...)
			return true, ok
		}
	}
	switch p.next() {
	case 0:
		return false, false
	case '{', '[':
		return p.container(f, depth)
	case '"':
		content, escaped, ok := p.text()
		return ok && p.leaf(f, content, true, escaped), ok
	}
	text, ok := p.scalar()
	return ok && p.leaf(f, text, false, false), ok
}

// container writes an object or an array. One with nothing left in it isn't
// there, unless it is itself kept.
func (p *pass) container(f *field, depth int) (kept, ok bool) {
	if depth == MaxDepth {
		return false, false
	}
	object := p.in[p.at] == '{'
	if object && f.whole() && f.rule.Mode != policy.Keep {
		// Its keys are nobody's to see, and it has no value to map.
		p.counts[f.counts]++
		_, ok := p.skip(depth)
		return false, ok
	}
	if !object {
		kept, ok = p.array(f, depth+1)
	} else if before := len(p.out); !p.object(f, depth+1) {
		return false, false
	} else {
		kept, ok = len(p.out) > before+len("{}"), true
	}
	return kept || f.rule.Mode == policy.Keep, ok
}

// leaf writes what is left of a string, given its content, or of the text of
// anything else.
func (p *pass) leaf(f *field, text []byte, quoted, escaped bool) (kept bool) {
	if f.rule.Mode == policy.Keep {
		p.keep(text, quoted, escaped)
		return true
	}
	p.counts[f.counts]++
	if escaped {
		p.fired.value = appendDecoded(p.fired.value[:0], text)
		text = p.fired.value
	}
	switch f.rule.Mode {
	case policy.Pseudonym:
		p.out = appendQuoted(p.out, []byte(p.pseudonym(string(text))))
		return true
	case policy.Generalize:
		general := f.rule.Mapping.Apply(string(text))
		if general == "" {
			return false
		}
		out, _ := p.masked([]byte(general))
		p.out = appendQuoted(p.out, out)
		return true
	case policy.Drop, policy.Keep:
	}
	return false
}

// keep writes a value with masks applied: what isn't a string becomes one when
// they find something in it.
func (p *pass) keep(text []byte, quoted, escaped bool) {
	text, hit := p.maskedString(text, escaped)
	if quoted || hit {
		p.out = append(append(append(p.out, '"'), text...), '"')
		return
	}
	p.out = append(p.out, text...)
}

// object writes an object, of which what isn't kept isn't there.
func (p *pass) object(f *field, depth int) bool {
	p.at++
	p.out = append(p.out, '{')
	empty := true
	for first := true; !p.punctuation('}'); first = false {
		if !first && !p.punctuation(',') || p.next() != '"' {
			return false
		}
		key, escaped, ok := p.text()
		if !ok || !p.punctuation(':') {
			return false
		}
		name := key
		if escaped {
			p.fired.key = appendDecoded(p.fired.key[:0], key)
			name = p.fired.key
		}
		inner := f.at(name)
		if inner.whole() && inner.rule.Mode == policy.Drop {
			p.counts[inner.counts]++
			if _, ok := p.skip(depth); !ok {
				return false
			}
			continue
		}
		before := len(p.out)
		if !empty {
			p.out = append(p.out, ',')
		}
		p.key(inner, key, escaped)
		kept, ok := p.value(inner, depth)
		switch {
		case !ok:
			return false
		case kept:
			empty = false
		default:
			p.out = p.out[:before]
		}
	}
	p.out = append(p.out, '}')
	return true
}

// key writes the key of a field: one that policy doesn't name is data too.
func (p *pass) key(f *field, key []byte, escaped bool) {
	if !f.named {
		key, _ = p.maskedString(key, escaped)
	}
	p.out = append(p.out, '"')
	p.out = append(p.out, key...)
	p.out = append(p.out, '"', ':')
}

// array writes an array: a rule is one of its elements.
func (p *pass) array(f *field, depth int) (kept, ok bool) {
	p.at++
	p.out = append(p.out, '[')
	for first := true; !p.punctuation(']'); first = false {
		if !first && !p.punctuation(',') {
			return false, false
		}
		before := len(p.out)
		if kept {
			p.out = append(p.out, ',')
		}
		one, ok := p.value(f, depth)
		if !ok {
			return false, false
		}
		if !one {
			p.out = p.out[:before]
		}
		kept = kept || one
	}
	p.out = append(p.out, ']')
	return kept, true
}

// strings writes a line of JSON as it stands, but for what masks find in its
// strings, keys and numbers.
func (p *pass) strings() bool {
	if !utf8.Valid(p.in) || !isObject(p.in) {
		return false
	}
	done := 0
	for p.at < len(p.in) {
		switch c := p.in[p.at]; {
		case c == '"':
			start := p.at
			content, escaped, ok := p.text()
			if !ok {
				return false
			}
			p.out = append(p.out, p.in[done:start]...)
			p.keep(content, true, escaped)
			done = p.at
		case c == '-' || isDigit(c):
			start := p.at
			text, ok := p.scalar()
			if !ok {
				return false
			}
			p.out = append(p.out, p.in[done:start]...)
			p.keep(text, false, false)
			done = p.at
		default:
			p.at++
		}
	}
	p.out = append(p.out, p.in[done:]...)
	return true
}

// isObject says whether a line is one JSON object.
func isObject(line []byte) bool {
	s := scanner{in: line}
	if s.next() != '{' {
		return false
	}
	if _, ok := s.skip(0); !ok {
		return false
	}
	s.space()
	return s.at == len(line)
}
