package line

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folded is a text as it reads: percent-encoding, \u escapes and numeric
// entities of HTML decoded, letters of other widths and styles in their usual form
// (NFKC), digits of other scripts as ASCII, what is invisible left out.
type folded struct {
	text []byte
	// from and to are, for each byte, where what it was made of begins and ends.
	from, to []int

	decoded               []byte
	decodedFrom, decodeTo []int
	rune                  []byte
}

func (f *folded) fold(text []byte) {
	f.decode(text)
	f.text, f.from, f.to = f.text[:0], f.from[:0], f.to[:0]
	for i := 0; i < len(f.decoded); {
		r, size := utf8.DecodeRune(f.decoded[i:])
		from, to := f.decodedFrom[i], f.decodeTo[i+size-1]
		written := f.decoded[i : i+size]
		switch {
		case r < utf8.RuneSelf || r == utf8.RuneError:
		case unicode.In(r, unicode.Cf, unicode.Variation_Selector):
			written = nil
		case unicode.Is(unicode.Nd, r):
			f.rune = append(f.rune[:0], '0'+digitValue(r))
			written = f.rune
		default:
			f.rune = norm.NFKC.Append(f.rune[:0], written...)
			written = f.rune
		}
		for _, c := range written {
			f.text, f.from, f.to = append(f.text, c), append(f.from, from), append(f.to, to)
		}
		i += size
	}
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
func (f *folded) decode(text []byte) {
	f.decoded, f.decodedFrom, f.decodeTo = f.decoded[:0], f.decodedFrom[:0], f.decodeTo[:0]
	for i := 0; i < len(text); {
		from := len(f.decoded)
		var size int
		switch text[i] {
		case '%':
			f.decoded, size = appendPercentDecoded(f.decoded, text[i:])
		case '\\':
			f.decoded, size = appendUnescaped(f.decoded, text[i:])
		case '&':
			f.decoded, size = appendEntity(f.decoded, text[i:])
		}
		if size == 0 {
			f.decoded, size = append(f.decoded, text[i]), 1
		}
		for range len(f.decoded) - from {
			f.decodedFrom, f.decodeTo = append(f.decodedFrom, i), append(f.decodeTo, i+size)
		}
		i += size
	}
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

// appendUnescaped decodes \u0040, with as many backslashes as it has.
func appendUnescaped(dst, text []byte) (out []byte, size int) {
	i := 1
	for i < len(text) && text[i] == '\\' {
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

// maskedFolded returns text with what masks find in it as it reads replaced.
func (p *pass) maskedFolded(text []byte) (out []byte, hit bool) {
	out = text
	f := &p.fired.folded
	f.fold(out)
	for i := range p.masks {
		m := &p.masks[i]
		spans := m.find(f.text, p.fired.spans[:0])
		if p.fired.spans = spans; len(spans) == 0 {
			continue
		}
		done := 0
		for i, s := range spans {
			// What a match was made of may be more than the match.
			spans[i] = span{max(f.from[s.start], done), f.to[s.end-1]}
			done = spans[i].end
		}
		out, hit = p.cut(m, out, spans), true
		f.fold(out)
	}
	return out, hit
}
