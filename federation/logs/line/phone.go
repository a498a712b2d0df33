package line

import "bytes"

// findPhone finds numbers in international form (+ or 00, then 8 to 15 digits,
// ITU-T E.164), in the form of North America, such as (555) 010-9999, and any 6
// to 15 digits after a word such as phone, tel or mobile.
func findPhone(text []byte, spans []span) []span {
	for i := 0; i < len(text); {
		c := text[i]
		if c != '+' && c != '(' && !isDigit(c) {
			i++
			continue
		}
		if end := phoneAt(text, i); end > 0 {
			spans = append(spans, span{i, end})
			i = end
			continue
		}
		// Not within a run of digits.
		for i++; isDigit(c) && i < len(text) && isDigit(text[i]); i++ {
		}
	}
	return spans
}

// phoneAt is where a telephone number ends that begins here; zero: none does.
func phoneAt(text []byte, start int) int {
	var before byte
	if start > 0 {
		before = text[start-1]
	}
	if isDigit(before) || before == '.' || before == '+' {
		return 0
	}
	first := start
	if text[first] == '+' {
		first++
	}
	if first < len(text) && text[first] == '(' {
		first++
	}
	if first == len(text) || !isDigit(text[first]) {
		return 0
	}
	switch {
	case text[start] == '+':
		if text[first] == '0' {
			return 0 // an offset of time
		}
		return digitGroups(text, first, 8, 15)
	case cued(text, start):
		return digitGroups(text, first, 6, 15)
	case alphanumeric(before) || before == '-' || before == '_' || before == '/':
		return 0
	case internationalPrefix(text, start):
		return digitGroups(text, start, 10, 15)
	}
	return northAmerican(text, start)
}

// internationalPrefix says whether digits begin with 00 and a country, and aren't
// the rest of a longer number in groups.
func internationalPrefix(text []byte, start int) bool {
	rest := start > 1 && bytes.IndexByte([]byte(" -"), text[start-1]) >= 0 && isDigit(text[start-2])
	return !rest && bytes.HasPrefix(text[start:], []byte("00")) && start+2 < len(text) && text[start+2] >= '1' && text[start+2] <= '9'
}

// digitGroups is where groups of digits end that together have so many: the last
// one with which they do. A bracket, hyphen, dot, slash or space or two of them
// stand between groups.
func digitGroups(text []byte, start, least, most int) (end int) {
	for i, n := start, 0; ; {
		for i < len(text) && isDigit(text[i]) {
			i++
			n++
		}
		if n > most {
			return end
		}
		if n >= least && (i == len(text) || !isLetter(text[i])) {
			end = i
		}
		between := i
		for i < len(text) && i < between+2 && bytes.IndexByte([]byte(" -./()"), text[i]) >= 0 {
			i++
		}
		if i == between || i == len(text) || !isDigit(text[i]) {
			return end
		}
	}
}

// northAmerican is where a number ends that is written as 555-010-9999,
// 555.010.9999, 555 010 9999, (555) 010-9999 or so with 1 before.
func northAmerican(text []byte, start int) int {
	i := start
	digits := func(n int) bool {
		if i+n > len(text) {
			return false
		}
		for _, c := range text[i : i+n] {
			if !isDigit(c) {
				return false
			}
		}
		i += n
		return true
	}
	separator := func() bool {
		if i < len(text) && bytes.IndexByte([]byte(" -."), text[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	if i+1 < len(text) && text[i] == '1' && !isDigit(text[i+1]) {
		i++
		separator()
	}
	bracket := i < len(text) && text[i] == '('
	if bracket {
		i++
	}
	if i == len(text) || text[i] < '2' || text[i] > '9' || !digits(3) {
		return 0
	}
	if bracket {
		if i == len(text) || text[i] != ')' {
			return 0
		}
		i++
		separator()
	} else if !separator() {
		return 0
	}
	if !digits(3) || !separator() || !digits(4) {
		return 0
	}
	if i < len(text) && (alphanumeric(text[i]) || text[i] == '_' || text[i] == '-' || text[i] == '.' && i+1 < len(text) && isDigit(text[i+1])) {
		return 0
	}
	return i
}

// cues are words after which a number is one of a telephone.
var cues = [][]byte{[]byte("phone"), []byte("tel"), []byte("mobile"), []byte("msisdn"), []byte("fax"), []byte("cell"), []byte("whatsapp")}

// cued says whether what is before a number says that it is of a telephone.
func cued(text []byte, at int) bool {
	before := text[max(0, at-24):at]
	trim := func(cut string) { before = bytes.TrimRight(before, cut) }
	trim(" \t:=\"'#.(\\")
	for _, word := range []string{"number", "no", "nr"} {
		if n := len(before) - len(word); n > 0 && bytes.EqualFold(before[n:], []byte(word)) {
			before = before[:n]
			trim(" _-.")
			break
		}
	}
	for _, cue := range cues {
		n := len(before) - len(cue)
		if n >= 0 && bytes.EqualFold(before[n:], cue) && (string(cue) == "phone" || n == 0 || !isLetter(before[n-1])) {
			return true
		}
	}
	return false
}
