package line

// findIBAN finds account numbers (ISO 13616): the letters of a country that has
// them, check digits that are right, and as many letters and digits as that
// country's have, with single spaces or hyphens between or none.
func findIBAN(text []byte, spans []span) []span {
	for i := 0; i+4 < len(text); i++ {
		if !isLetter(text[i]) || !isLetter(text[i+1]) || !isDigit(text[i+2]) || !isDigit(text[i+3]) || i > 0 && alphanumeric(text[i-1]) {
			continue
		}
		size := ibanSizes[country{text[i] &^ 0x20, text[i+1] &^ 0x20}]
		if size == 0 {
			continue
		}
		if end := ibanEnd(text, i, size); end > 0 {
			spans = append(spans, span{i, end})
			i = end - 1
		}
	}
	return spans
}

// ibanEnd is where so many letters and digits end whose check digits are right;
// zero: they aren't, or there are more or fewer of them.
func ibanEnd(text []byte, start, size int) int {
	var compact [34]byte
	n, i := 0, start
	for ; n < size; i++ {
		if i == len(text) {
			return 0
		}
		switch c := text[i]; {
		case isDigit(c):
			compact[n] = c
			n++
		case isLetter(c):
			compact[n] = c &^ 0x20
			n++
		case c != ' ' && c != '-' || !alphanumeric(text[i-1]):
			return 0
		}
	}
	if i < len(text) && alphanumeric(text[i]) {
		return 0
	}
	// ISO 7064, MOD 97-10, over the rest and then the first four, letters as two
	// digits.
	rest := 0
	for k := range size {
		c := compact[(k+4)%size]
		if isDigit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	if rest != 1 {
		return 0
	}
	return i
}

type country [2]byte

// ibanSizes are the lengths by country, after the IBAN registry of SWIFT.
var ibanSizes = func() map[country]int {
	out := map[country]int{}
	for size, countries := range map[int]string{
		15: "NO", 16: "BE", 18: "DKFIFKFOGLNLSD", 19: "MKSI", 20: "ATBAEEKZLTLUMNXK", 21: "CHHRLILV",
		22: "BGBHCRDEGBGEIEMERSVA", 23: "AEGIILIQOMSOTL", 24: "ADCZESMDPKROSASESKTNVG", 25: "LYPTST", 26: "ISTR",
		27: "BIDJFRGRITMCMRSM", 28: "ALAZBYCYDOGTHNHULBNIPLSV", 29: "BREGPSQAUA", 30: "JOKWMUYE", 31: "MTSC", 32: "LC", 33: "RU",
	} {
		for i := 0; i < len(countries); i += 2 {
			out[country{countries[i], countries[i+1]}] = size
		}
	}
	return out
}()
