package line

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON, and nothing that isn't. What of it is UTF-8 is for its
// user to see to.
type scanner struct {
	in []byte
	at int
}

func (s *scanner) space() {
	for s.at < len(s.in) {
		switch s.in[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next is the next byte after space, or zero at the end.
func (s *scanner) next() byte {
	if s.at < len(s.in) && s.in[s.at] > ' ' {
		return s.in[s.at]
	}
	s.space()
	if s.at == len(s.in) {
		return 0
	}
	return s.in[s.at]
}

// punctuation reads one byte after space, if it is this one.
func (s *scanner) punctuation(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// text reads a string and returns what is between its quotes, and whether that
// has escapes. It starts at the quote.
func (s *scanner) text() (content []byte, escaped, ok bool) {
	const low, high = 0x0101010101010101, 0x8080808080808080
	in, i := s.in, s.at+1
	start := i
	for {
		// Eight bytes at a time, as far as there is neither a quote, a backslash nor
		// a control character. The lowest bit found is always right.
		for i+8 <= len(in) {
			x := binary.LittleEndian.Uint64(in[i:])
			quote, backslash := x^low*'"', x^low*'\\'
			found := ((quote-low)&^quote | (backslash-low)&^backslash | (x-low*0x20)&^x) & high
			if found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(in) {
			return nil, false, false
		}
		switch c := in[i]; {
		case c == '"':
			s.at = i + 1
			return in[start:i], escaped, true
		case c < 0x20:
			return nil, false, false
		case c == '\\':
			size := escapeSize(in[i:])
			if size == 0 {
				return nil, false, false
			}
			escaped = true
			i += size
		default:
			i++
		}
	}
}

// escapeSize is how long the escape is that a text begins with; zero: it is
// none. Half of a surrogate pair is none either.
func escapeSize(in []byte) int {
	if len(in) < 2 {
		return 0
	}
	switch in[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	r, ok := hex4(in[2:])
	if !ok {
		return 0
	}
	if !utf16.IsSurrogate(r) {
		return 6
	}
	if len(in) < 12 || in[6] != '\\' || in[7] != 'u' {
		return 0
	}
	low, ok := hex4(in[8:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0
	}
	return 12
}

func hex4(in []byte) (rune, bool) {
	if len(in) < 4 {
		return 0, false
	}
	var out rune
	for _, c := range in[:4] {
		v := hexDigit(c)
		if v < 0 {
			return 0, false
		}
		out = out<<4 | rune(v)
	}
	return out, true
}

// hexDigit is the value of a digit, -1 if it is none.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendDecoded appends what a string says. content is as text returned it.
func appendDecoded(dst, content []byte) []byte {
	for i := 0; i < len(content); {
		c := content[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		size := escapeSize(content[i:])
		switch c := content[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(content[i+2:])
			if size == 12 {
				low, _ := hex4(content[i+8:])
				r = utf16.DecodeRune(r, low)
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		i += size
	}
	return dst
}

// appendQuoted appends a string that says text; what of it isn't UTF-8 becomes
// U+FFFD.
func appendQuoted(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// scalar reads a number, true, false or null.
func (s *scanner) scalar() (text []byte, ok bool) {
	start := s.at
	switch s.in[start] {
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	case '-':
		s.at++
	}
	switch {
	case s.at < len(s.in) && s.in[s.at] == '0':
		s.at++
	case !s.digits():
		return nil, false
	}
	if s.at < len(s.in) && s.in[s.at] == '.' {
		if s.at++; !s.digits() {
			return nil, false
		}
	}
	if s.at < len(s.in) && s.in[s.at]|0x20 == 'e' {
		if s.at++; s.at < len(s.in) && (s.in[s.at] == '+' || s.in[s.at] == '-') {
			s.at++
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.in[start:s.at], true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.in) && s.in[s.at]-'0' <= 9 {
		s.at++
	}
	return s.at > start
}

func (s *scanner) literal(word string) ([]byte, bool) {
	end := s.at + len(word)
	if end > len(s.in) || string(s.in[s.at:end]) != word {
		return nil, false
	}
	s.at = end
	return s.in[end-len(word) : end], true
}

// skip reads a value and returns its text.
func (s *scanner) skip(depth int) (text []byte, ok bool) {
	c := s.next()
	start := s.at
	switch c {
	case 0:
		return nil, false
	case '"':
		if _, _, ok := s.text(); !ok {
			return nil, false
		}
	case '{', '[':
		if depth == MaxDepth {
			return nil, false
		}
		s.at++
		for first := true; ; first = false {
			if s.punctuation(c + 2) { // } and ] are two after { and [
				break
			}
			if !first && !s.punctuation(',') {
				return nil, false
			}
			if c == '{' {
				if s.next() != '"' {
					return nil, false
				}
				if _, _, ok := s.text(); !ok || !s.punctuation(':') {
					return nil, false
				}
			}
			if _, ok := s.skip(depth + 1); !ok {
				return nil, false
			}
		}
	default:
		return s.scalar()
	}
	return s.in[start:s.at], true
}
