package line

import (
	"bytes"
	_ "embed"
	"strings"
	"unicode/utf8"
)

//go:embed words.txt
var wordList string

// words are those that a template may have: what programs log, in English,
// without what people and places are usually called. That the list is closed is
// what makes a template safe: whatever a word stands for in a line, nothing
// leaves of it but that it is one of these.
var words = func() map[string]bool {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(wordList) {
		out[word] = true
	}
	return out
}()

// longestWord bounds what is looked up.
const longestWord = 24

// placeholder stands for what varies, however much of it there is.
const placeholder = "<_>"

// appendShape appends a line's template. It is made of the words of a closed
// list, and of little punctuation between them; everything else is a
// placeholder: numbers, identifiers, addresses, times, names, what is within
// quotes. Of a JSON object, it is an object of the fields whose keys are such
// words, with the templates of texts in it and placeholders for all else.
func appendShape(dst, line []byte, fired *Fired) []byte {
	if looksLikeJSON(line) && utf8.Valid(line) {
		p := pass{scanner: scanner{in: line}, out: dst, fired: fired}
		p.space()
		if ok := p.shapeOfObject(1); ok {
			if p.space(); p.at == len(p.in) {
				return p.out
			}
		}
	}
	return appendTemplate(dst, line)
}

func (p *pass) shapeOfObject(depth int) bool {
	p.at++
	p.out = append(p.out, '{')
	empty := true
	for first := true; !p.punctuation('}'); first = false {
		if !first && !p.punctuation(',') || p.next() != '"' {
			return false
		}
		key, _, ok := p.text()
		if !ok || !p.punctuation(':') {
			return false
		}
		if !known(key) {
			if _, ok := p.skip(depth); !ok {
				return false
			}
			continue
		}
		if !empty {
			p.out = append(p.out, ',')
		}
		empty = false
		p.out = append(append(append(p.out, '"'), key...), '"', ':')
		if !p.shapeOfValue(depth) {
			return false
		}
	}
	p.out = append(p.out, '}')
	return true
}

func (p *pass) shapeOfValue(depth int) bool {
	switch p.next() {
	case '{':
		return depth < MaxDepth && p.shapeOfObject(depth+1)
	case '"':
		content, _, ok := p.text()
		p.fired.value = appendDecoded(p.fired.value[:0], content)
		p.fired.key = appendTemplate(p.fired.key[:0], p.fired.value)
		p.out = appendQuoted(p.out, p.fired.key)
		return ok
	}
	p.out = append(p.out, `"`+placeholder+`"`...)
	_, ok := p.skip(depth)
	return ok
}

// appendTemplate appends the template of a text.
func appendTemplate(dst, text []byte) []byte {
	start := len(dst)
	wordEnd := 0           // of the last word, in text
	variable := false      // whether anything has been since
	var follows byte = ' ' // what is right after the last word
	for i := 0; i < len(text); {
		c := text[i]
		if separates(c) {
			i++
			continue
		}
		if c == '"' || c == '\'' || c == '`' {
			i++
			if closing := bytes.IndexByte(text[i:], c); closing >= 0 {
				i += closing + 1
			}
			variable = true
			continue
		}
		end := i
		for end < len(text) && !separates(text[end]) && text[end] != '"' && text[end] != '`' {
			end++
		}
		token := text[i:end]
		word := bytes.TrimRight(token, ".")
		if !known(word) {
			variable = true
			i = end
			continue
		}
		between := text[wordEnd:i]
		switch {
		case !variable && len(dst) == start && len(between) == 0:
		case !variable && len(dst) > start && plain[string(between)]:
			dst = append(dst, between...)
		case len(dst) == start:
			dst = append(append(dst, placeholder...), ' ')
		default:
			dst = append(appendVariable(dst, follows), ' ')
		}
		dst = append(dst, word...)
		i, wordEnd, variable = end, end, false
		if follows = ' '; end < len(text) {
			follows = text[end]
		}
	}
	switch rest := bytes.TrimLeft(text[wordEnd:], " \t\r\n"); {
	case len(rest) == 0:
	case len(dst) == start:
		return append(dst, placeholder...)
	default:
		return appendVariable(dst, follows)
	}
	return dst
}

// appendVariable appends a placeholder after a word, given what follows that.
func appendVariable(dst []byte, follows byte) []byte {
	switch follows {
	case '=':
		dst = append(dst, '=')
	case ':':
		dst = append(dst, ':', ' ')
	default:
		dst = append(dst, ' ')
	}
	return append(dst, placeholder...)
}

// separates says whether a byte is between tokens.
func separates(c byte) bool {
	return c <= ' ' || strings.IndexByte("=:,;()[]{}<>!?|", c) >= 0
}

// plain is what may be between two words without being a placeholder.
var plain = map[string]bool{
	" ": true, "=": true, ":": true, ": ": true, ",": true, ", ": true, ";": true, "; ": true,
	" (": true, ") ": true, " [": true, "] ": true, "): ": true, "]: ": true, "! ": true, "? ": true,
}

// known says whether a token is words of the list, with _, -, . and / between:
// in lower case, or each with a capital, or from three letters on in capitals.
func known(token []byte) bool {
	for len(token) > 0 {
		end := bytes.IndexAny(token, "_-./")
		part := token
		if end >= 0 {
			part, token = token[:end], token[end+1:]
			if len(token) == 0 {
				return false
			}
		} else {
			token = nil
		}
		if !knownWord(part) {
			return false
		}
		if token == nil {
			return true
		}
	}
	return false
}

func knownWord(word []byte) bool {
	if len(word) == 0 || len(word) > longestWord {
		return false
	}
	var lower [longestWord]byte
	capitals := 0
	for i, c := range word {
		if !isLetter(c) {
			return false
		}
		if c&0x20 == 0 {
			capitals++
		}
		lower[i] = c | 0x20
	}
	switch {
	case capitals == 0, capitals == 1 && word[0]&0x20 == 0 && len(word) > 1, capitals == len(word) && len(word) > 2:
		return words[string(lower[:len(word)])]
	}
	return false
}
