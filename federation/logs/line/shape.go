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
// list, with single spaces and little punctuation between them; everything else
// is a placeholder: numbers, identifiers, addresses, times, names, what is within
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

// appendTemplate appends the template of a text. What has a quote in it is
// variable to the end of the quotes; of key=value the key may be words and the
// value too.
func appendTemplate(dst, text []byte) []byte {
	t := template{out: dst, start: len(dst)}
	for i := 0; i < len(text); {
		if text[i] <= ' ' {
			i++
			continue
		}
		end, quoted := tokenEnd(text, i)
		t.token(text[i:end], quoted)
		i = end
	}
	return t.out
}

type template struct {
	out   []byte
	start int
	// variable says that it ends with a placeholder, key that it ends with key=.
	variable, key bool
}

func (t *template) token(token []byte, quoted int) {
	if equals := bytes.IndexByte(token, '='); equals > 0 && equals < quoted && known(token[:equals]) {
		t.separate()
		t.out = append(t.out, token[:equals+1]...)
		t.variable, t.key = false, true
		token, quoted = token[equals+1:], quoted-equals-1
	}
	if quoted < len(token) || !known(withoutPunctuation(token)) {
		t.placeholder()
		return
	}
	t.separate()
	t.out = append(t.out, token...)
	t.variable, t.key = false, false
}

func (t *template) placeholder() {
	if t.variable {
		return
	}
	t.separate()
	t.out = append(t.out, placeholder...)
	t.variable, t.key = true, false
}

func (t *template) separate() {
	if len(t.out) > t.start && !t.key {
		t.out = append(t.out, ' ')
	}
}

// tokenEnd is where what begins here ends: at a space that isn't within quotes.
// quoted is where in it the first quote is, its length if there is none.
func tokenEnd(text []byte, start int) (end, quoted int) {
	quoted = -1
	i := start
	for i < len(text) && text[i] > ' ' {
		c := text[i]
		opens := c == '"' || c == '`' || c == '\'' && (i == start || bytes.IndexByte([]byte("=([{,:"), text[i-1]) >= 0)
		if !opens {
			i++
			continue
		}
		if quoted < 0 {
			quoted = i - start
		}
		i = quoteEnd(text, i)
	}
	if quoted < 0 {
		quoted = i - start
	}
	return i, quoted
}

// quoteEnd is where quotes end that begin here: the text's end, if they don't.
func quoteEnd(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[start]:
			return i + 1
		}
	}
	return len(text)
}

// withoutPunctuation is a token without a bracket before it, and one and a mark
// after it.
func withoutPunctuation(token []byte) []byte {
	if len(token) > 0 && (token[0] == '(' || token[0] == '[') {
		token = token[1:]
	}
	for _, marks := range []string{",;:.!?", ")]"} {
		if n := len(token) - 1; n > 0 && strings.IndexByte(marks, token[n]) >= 0 {
			token = token[:n]
		}
	}
	return token
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
