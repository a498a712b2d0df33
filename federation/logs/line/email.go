package line

import "bytes"

// findEmail finds what looks like a mailbox: a name, @, and a domain of at least
// two parts, of which the last doesn't begin with a digit, or of letters that aren't
// ASCII, or an address in brackets. Names and
// domains may have letters of any script. What is after :, =, <, quotes or space
// isn't part of a name.
func findEmail(text []byte, spans []span) []span {
	done := 0
	for i := 0; ; i++ {
		next := bytes.IndexByte(text[i:], '@')
		if next < 0 {
			return spans
		}
		i += next
		start, end := mailboxName(text, i, done), domainEnd(text, i+1)
		if start < i && end > i+1 {
			spans = append(spans, span{start, end})
			done, i = end, end-1
		}
	}
}

// mailboxName is where the name before an @ begins.
func mailboxName(text []byte, at, done int) int {
	start := at
	if at > done && text[at-1] == '"' {
		if open := bytes.LastIndexByte(text[done:at-1], '"'); open >= 0 {
			return done + open
		}
		return at
	}
	for start > done && nameBytes[text[start-1]] {
		start--
	}
	for start < at && (text[start] == '.' || text[start] == '/') {
		start++
	}
	return start
}

var nameBytes = func() (out [256]bool) {
	for c := range out {
		out[c] = alphanumeric(byte(c)) || c >= 0x80
	}
	for _, c := range "._%+-!#$&*^~/{}|'`?" {
		out[c] = true
	}
	return out
}()

// domainEnd is where the domain that starts here ends; here, if there is none.
func domainEnd(text []byte, start int) int {
	if start < len(text) && text[start] == '[' {
		if closing := bytes.IndexByte(text[start:min(len(text), start+64)], ']'); closing > 1 {
			return start + closing + 1
		}
		return start
	}
	end, foreign, last := start, false, start
	for ; end < len(text); end++ {
		c := text[end]
		switch {
		case c >= 0x80:
			foreign = true
		case c == '.':
			if end == start || text[end-1] == '.' {
				return start
			}
			if end+1 == len(text) || !alphanumeric(text[end+1]) && text[end+1] < 0x80 {
				return domainIf(text, start, last, end, foreign)
			}
			last = end + 1
		case c != '-' && !alphanumeric(c):
			return domainIf(text, start, last, end, foreign)
		}
	}
	return domainIf(text, start, last, end, foreign)
}

// domainIf is where a domain ends whose last part begins at last, if it is one.
func domainIf(text []byte, start, last, end int, foreign bool) int {
	if end == start || !foreign && (last == start || last == end || isDigit(text[last])) {
		return start
	}
	return end
}

func alphanumeric(c byte) bool { return isDigit(c) || isLetter(c) }

func isDigit(c byte) bool { return c-'0' <= 9 }

func isLetter(c byte) bool { return (c|0x20)-'a' <= 'z'-'a' }
