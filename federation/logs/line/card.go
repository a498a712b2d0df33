package line

import "strings"

// run is digits with separators between.
type run struct{ start, end, n int }

// enough digits say that a run is longer than any card.
const enough = 20

// runAt is the run of digits from start with at most one separator between two,
// as far as it matters.
func runAt(text []byte, start int, separators string) run {
	r := run{start: start, end: start}
	for i := start; i < len(text) && r.n < enough; i++ {
		switch c := text[i]; {
		case isDigit(c):
			r.n++
			r.end = i + 1
		case i != r.end || strings.IndexByte(separators, c) < 0:
			return r
		}
	}
	return r
}

// findCard finds 13 to 19 digits, alone or with single spaces or hyphens between,
// that begin as numbers of payment cards do and have their check digit (ISO/IEC
// 7812-1). A fraction of a decimal number is none, nor is part of a hexadecimal one.
func findCard(text []byte, spans []span) []span {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			i++
			continue
		}
		r := runAt(text, i, " -")
		if r.n < 13 {
			i = r.end
			continue
		}
		s, ok := cardIn(text, r)
		if !ok {
			// A card may come after another number: try behind its separator.
			for i < len(text) && isDigit(text[i]) {
				i++
			}
			continue
		}
		spans = append(spans, s)
		i = s.end
	}
	return spans
}

// cardIn is a card that begins where a run of digits does.
func cardIn(text []byte, r run) (span, bool) {
	if r.start > 1 && text[r.start-1] == '.' && isDigit(text[r.start-2]) || withinHexadecimal(text, r.start) {
		return span{}, false
	}
	var digits [19]byte
	n, best := 0, 0
	for i := r.start; i < r.end && n < len(digits); i++ {
		if !isDigit(text[i]) {
			continue
		}
		digits[n] = text[i]
		n++
		// Only where a group ends.
		if n >= 13 && (i+1 == len(text) || !isDigit(text[i+1])) && cardPrefix(digits[:n]) && luhn(digits[:n]) {
			best = i + 1
		}
	}
	if best == 0 || best < len(text) && text[best] == '.' && best+1 < len(text) && isDigit(text[best+1]) {
		return span{}, false
	}
	return span{r.start, best}, true
}

// withinHexadecimal says whether the word that a digit is in is a hexadecimal
// number with letters.
func withinHexadecimal(text []byte, at int) bool {
	start, end := at, at
	for start > 0 && alphanumeric(text[start-1]) {
		start--
	}
	for end < len(text) && alphanumeric(text[end]) {
		end++
	}
	letters := false
	for _, c := range text[start:end] {
		if hexDigit(c) < 0 {
			return false
		}
		letters = letters || !isDigit(c)
	}
	return letters
}

// cardPrefix says whether issuers of cards have numbers that begin so, with so
// many digits.
func cardPrefix(digits []byte) bool {
	number := func(n int) (out int) {
		for _, c := range digits[:n] {
			out = out*10 + int(c-'0')
		}
		return out
	}
	two, three, four := number(2), number(3), number(4)
	switch n := len(digits); {
	case digits[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39: // Diners Club
		return n >= 14 && n <= 19
	case four >= 3528 && four <= 3589: // JCB
		return n >= 16
	case four == 6011, three >= 644 && three <= 649, two == 65: // Discover
		return n >= 16
	case two == 62, two == 81: // UnionPay
		return n >= 16
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16
	case two == 50, two >= 56 && two <= 69: // Maestro and others
		return n >= 13
	}
	return false
}

// luhn says whether the last digit is the check digit of the others.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		v := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
