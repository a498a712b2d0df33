package line

import "bytes"

// findBearer finds JSON Web Tokens, signed or encrypted, by the eyJ their parts
// begin with, and what stands after the words bearer or access_token and looks
// like a token: 20 characters, or 8 with a digit among them.
func findBearer(text []byte, spans []span) []span {
	for i := 0; i < len(text); {
		start, end := -1, 0
		switch text[i] | 0x20 {
		case 'e':
			start, end = jsonWebToken(text, i)
		case 'b':
			start, end = tokenAfter(text, i, "bearer")
		case 'a':
			start, end = tokenAfter(text, i, "access_token")
		}
		if start < 0 {
			i++
			continue
		}
		spans = append(spans, span{start, end})
		i = end
	}
	return spans
}

func jsonWebToken(text []byte, start int) (int, int) {
	if !bytes.HasPrefix(text[start:], []byte("eyJ")) || start > 0 && base64URL(text[start-1]) {
		return -1, 0
	}
	end, parts := start, 0
	for parts < 5 {
		from := end
		for end < len(text) && base64URL(text[end]) {
			end++
		}
		if parts++; parts == 1 && end-from < 8 {
			return -1, 0
		}
		if end == len(text) || text[end] != '.' || parts == 5 {
			break
		}
		end++
	}
	if parts < 2 {
		return -1, 0
	}
	return start, end
}

// tokenAfter is the token after a word.
func tokenAfter(text []byte, start int, word string) (int, int) {
	i := start + len(word)
	if i >= len(text) || start > 0 && alphanumeric(text[start-1]) || !bytes.EqualFold(text[start:i], []byte(word)) {
		return -1, 0
	}
	from := i
	for i < len(text) && bytes.IndexByte([]byte(" \t:=\"'+\\"), text[i]) >= 0 {
		i++
	}
	if i == from {
		return -1, 0
	}
	start, digits := i, 0
	for i < len(text) && tokenByte(text[i]) {
		if isDigit(text[i]) {
			digits++
		}
		i++
	}
	for i > start && text[i-1] == '.' {
		i--
	}
	if n := i - start; n < 8 || n < 20 && digits == 0 {
		return -1, 0
	}
	return start, i
}

func base64URL(c byte) bool { return alphanumeric(c) || c == '-' || c == '_' }

// tokenByte is one of a token68 (RFC 9110, 11.2).
func tokenByte(c byte) bool {
	return base64URL(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}
