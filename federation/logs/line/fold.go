package line

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// traced is a text made of another one.
type traced struct {
	text []byte
	// from and to are, for each byte, where what it was made of begins and ends.
	from, to []int
}

func (t *traced) reset() { t.text, t.from, t.to = t.text[:0], t.from[:0], t.to[:0] }

// add appends what a part of the other text has become.
func (t *traced) add(text []byte, from, to int) {
	t.text = append(t.text, text...)
	for range text {
		t.from, t.to = append(t.from, from), append(t.to, to)
	}
}

// reading is a text step by step as it reads.
type reading struct {
	written, decoded, folded traced
	one                      []byte // of a step
}

// unescape reads the content of a string of JSON.
func (r *reading) unescape(content []byte) *traced {
	t := &r.written
	t.reset()
	for i := 0; i < len(content); {
		size := 1
		if content[i] == '\\' {
			size = escapeSize(content[i:])
		}
		r.one = appendDecoded(r.one[:0], content[i:i+size])
		t.add(r.one, i, i+size)
		i += size
	}
	return t
}

// plain is a text as it stands.
func (r *reading) plain(text []byte) *traced {
	t := &r.written
	t.reset()
	t.text = append(t.text, text...)
	for i := range text {
		t.from, t.to = append(t.from, i), append(t.to, i+1)
	}
	return t
}

// fold reads a text as somebody would: percent-encoding, \u escapes and numeric
// entities of HTML decoded, letters of other widths and styles in their usual form
// (NFKC), digits of other scripts as ASCII, what is invisible left out.
func (r *reading) fold(in *traced) *traced {
	decoded := r.decode(in)
	t := &r.folded
	t.reset()
	for i := 0; i < len(decoded.text); {
		c, size := utf8.DecodeRune(decoded.text[i:])
		one := decoded.text[i : i+size]
		switch {
		case c < utf8.RuneSelf || c == utf8.RuneError:
		case unicode.In(c, unicode.Cf, unicode.Variation_Selector):
			one = nil
		case unicode.Is(unicode.Nd, c):
			r.one = append(r.one[:0], '0'+digitValue(c))
			one = r.one
		default:
			r.one = norm.NFKC.Append(r.one[:0], one...)
			one = r.one
		}
		t.add(one, decoded.from[i], decoded.to[i+size-1])
		i += size
	}
	return t
}

// digitValue is what a decimal digit of any script counts. Ranges of digits begin
// with a zero and have tens of them.
func digitValue(r rune) byte {
	for _, in := range unicode.Nd.R16 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return byte((r - rune(in.Lo)) % 10)
		}
	}
	for _, in := range unicode.Nd.R32 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return byte((r - rune(in.Lo)) % 10)
		}
	}
	return 0
}

// decode undoes what else a byte or a rune can be written as.
func (r *reading) decode(in *traced) *traced {
	t := &r.decoded
	t.reset()
	for i := 0; i < len(in.text); {
		size := 0
		switch in.text[i] {
		case '%':
			r.one, size = appendPercentDecoded(r.one[:0], in.text[i:])
		case '\\':
			r.one, size = appendUnescaped(r.one[:0], in.text[i:])
		case '&':
			r.one, size = appendEntity(r.one[:0], in.text[i:])
		}
		if size == 0 {
			r.one, size = append(r.one[:0], in.text[i]), 1
		}
		t.add(r.one, in.from[i], in.to[i+size-1])
		i += size
	}
	return t
}

// spells says whether a text has anything that decode would undo.
func spells(text []byte) bool {
	for i := range text {
		switch text[i] {
		case '%':
			if i+2 < len(text) && hexDigit(text[i+1]) >= 0 && hexDigit(text[i+2]) >= 0 {
				return true
			}
		case '\\':
			if i+1 < len(text) && text[i+1] == 'u' {
				return true
			}
		case '&':
			if i+1 < len(text) && text[i+1] == '#' {
				return true
			}
		}
	}
	return false
}

// appendPercentDecoded decodes %40, and %2540 that was encoded again, however
// often. Size zero: there is no such thing at the start of text.
func appendPercentDecoded(dst, text []byte) (out []byte, size int) {
	i := 1
	for i+3 < len(text) && text[i] == '2' && text[i+1] == '5' && hexDigit(text[i+2]) >= 0 && hexDigit(text[i+3]) >= 0 {
		i += 2
	}
	if i+1 >= len(text) || hexDigit(text[i]) < 0 || hexDigit(text[i+1]) < 0 {
		return dst, 0
	}
	return append(dst, byte(hexDigit(text[i])<<4|hexDigit(text[i+1]))), i + 2
}

// mostBackslashes is how many there may be where an escape was escaped again.
const mostBackslashes = 16

// appendUnescaped decodes \u0040, with as many backslashes as it has.
func appendUnescaped(dst, text []byte) (out []byte, size int) {
	i := 1
	for i < len(text) && i < mostBackslashes && text[i] == '\\' {
		i++
	}
	if i == len(text) || text[i] != 'u' {
		return dst, 0
	}
	r, ok := hex4(text[i+1:])
	if !ok {
		return dst, 0
	}
	return utf8.AppendRune(dst, r), i + len("u0000")
}

// appendEntity decodes &#64; and &#x40;.
func appendEntity(dst, text []byte) (out []byte, size int) {
	end := bytes.IndexByte(text[:min(len(text), len("&#x10ffff;"))], ';')
	if end < len("&#0") || text[1] != '#' {
		return dst, 0
	}
	number, base := text[2:end], 10
	if number[0]|0x20 == 'x' {
		number, base = number[1:], 16
	}
	r, err := strconv.ParseUint(string(number), base, 21)
	if err != nil {
		return dst, 0
	}
	return utf8.AppendRune(dst, rune(r)), end + 1
}
