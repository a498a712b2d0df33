package line

import (
	"bytes"
	"net/netip"
)

// findIPv4 finds four numbers up to 255 with dots between, that no digit, dot with
// a digit, or v of a version is next to.
func findIPv4(text []byte, spans []span) []span {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			i++
			continue
		}
		start := i
		end, parts := numbersWithDots(text, start)
		i = end
		if parts != 4 || start > 0 && (text[start-1]|0x20 == 'v' || text[start-1] == '.') {
			continue
		}
		spans = append(spans, span{start, end})
	}
	return spans
}

// numbersWithDots is where a run of numbers with dots between ends, and how many
// there are, 0 if one of them is above 255.
func numbersWithDots(text []byte, start int) (end, parts int) {
	i, valid := start, true
	for {
		n, from := 0, i
		for i < len(text) && isDigit(text[i]) {
			n = min(n*10+int(text[i]-'0'), 1000)
			i++
		}
		valid = valid && n <= 255 && i-from <= 3
		parts++
		if i+1 >= len(text) || text[i] != '.' || !isDigit(text[i+1]) {
			break
		}
		i++
	}
	if !valid {
		return i, 0
	}
	return i, parts
}

// findIPv6 finds addresses as net/netip reads them that have at least two colons
// and a digit, with their zone: not the times and hardware addresses that look
// alike, and not the a::b of programs.
func findIPv6(text []byte, spans []span) []span {
	for i := 0; i < len(text); i++ {
		next := bytes.IndexByte(text[i:], ':')
		if next < 0 {
			return spans
		}
		colon := i + next
		start := colon
		for start > i && addressByte(text[start-1]) {
			start--
		}
		end, colons, digits := start, 0, 0
		for end < len(text) && addressByte(text[end]) {
			switch {
			case text[end] == ':':
				colons++
			case isDigit(text[end]):
				digits++
			}
			end++
		}
		i = end - 1
		if colons < 2 || digits == 0 {
			continue
		}
		if s, ok := ipv6Within(text, start, end); ok {
			spans = append(spans, s)
			i = s.end - 1
		}
	}
	return spans
}

// ipv6Within is the address in a run of hexadecimal digits, colons and dots, whose
// first group can be the end of a word and whose last characters punctuation.
func ipv6Within(text []byte, start, end int) (span, bool) {
	if start > 0 && (alphanumeric(text[start-1]) || text[start-1] == '_') {
		start += bytes.IndexByte(text[start:end], ':') + 1
	}
	for end > start && (text[end-1] == '.' || text[end-1] == ':' && (end-start < 2 || text[end-2] != ':')) {
		end--
	}
	word := end < len(text) && (isLetter(text[end]) || text[end] == '_')
	// A colon before, as in addr:2001:db8::1, and none of :: itself.
	for begin := start; begin < end && !word; {
		run := text[begin:end]
		colon := bytes.IndexByte(run, ':')
		if colon < 0 {
			break
		}
		if len(run) <= longestIPv6 && bytes.ContainsAny(run, "0123456789") {
			if a, err := netip.ParseAddr(string(run)); err == nil && a.Is6() {
				return span{begin, zoneEnd(text, end)}, true
			}
		}
		begin += colon + 1
	}
	return span{}, false
}

// longestIPv6 is how long an address is that is written in full, with IPv4.
const longestIPv6 = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

func zoneEnd(text []byte, end int) int {
	if end+1 >= len(text) || text[end] != '%' || !alphanumeric(text[end+1]) {
		return end
	}
	for end++; end < len(text) && alphanumeric(text[end]); end++ {
	}
	return end
}

func addressByte(c byte) bool { return hexDigit(c) >= 0 || c == ':' || c == '.' }
