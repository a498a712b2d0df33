package line

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folded is a text as it reads: percent-encoding and \u escapes decoded, letters
// and digits of other widths and styles in their usual form (NFKC), what is
// invisible left out.
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

// decode undoes percent-encoding and \u escapes, once.
func (f *folded) decode(text []byte) {
	f.decoded, f.decodedFrom, f.decodeTo = f.decoded[:0], f.decodedFrom[:0], f.decodeTo[:0]
	for i := 0; i < len(text); {
		size, from := 1, len(f.decoded)
		switch text[i] {
		case '%':
			if i+2 < len(text) && hexDigit(text[i+1]) >= 0 && hexDigit(text[i+2]) >= 0 {
				size = 3
				f.decoded = append(f.decoded, byte(hexDigit(text[i+1])<<4|hexDigit(text[i+2])))
			}
		case '\\':
			// However often it was escaped itself.
			n := 1
			for i+n < len(text) && text[i+n] == '\\' {
				n++
			}
			if i+n < len(text) && text[i+n] == 'u' {
				if r, ok := hex4(text[i+n+1:]); ok {
					size = n + len("u0000")
					f.decoded = utf8.AppendRune(f.decoded, r)
				}
			}
		}
		if size == 1 {
			f.decoded = append(f.decoded, text[i])
		}
		for range len(f.decoded) - from {
			f.decodedFrom, f.decodeTo = append(f.decodedFrom, i), append(f.decodeTo, i+size)
		}
		i += size
	}
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
