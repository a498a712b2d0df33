package line

import "strings"

// AppendPattern appends what a line has in common with others like it, as LogQL
// writes it after |>: what varies is <_>. Words of the closed list that shape
// goes by stand as they are, and so does what is between them. What else there
// is varies: numbers, names, identifiers. A line matches its own pattern, unless
// all of it varies.
func AppendPattern(dst []byte, line string) []byte {
	variable := false // whether what was appended last is a placeholder
	begin := 0        // of it: where in line what it stands for begins
	pending := 0      // where what may be between two variables begins in line
	for i := 0; i < len(line); {
		end := patternToken(line, i)
		token := line[i:end]
		switch {
		case isWordByte(line[i]) && knownWord([]byte(token)):
			dst = append(append(dst, line[pending:i]...), token...)
			variable, pending = false, end
		case isWordByte(line[i]) || !between(line[i]):
			if !variable {
				dst = append(append(dst, line[pending:i]...), placeholder...)
				begin = i
			}
			variable, pending = true, end // with what was between two of them
		}
		i = end
	}
	if variable && strings.Contains(line[begin:pending], line[pending:]) {
		return dst // LogQL would find the end of the line too early
	}
	return append(dst, line[pending:]...)
}

// patternToken is where what begins here ends: letters and digits, the name of a
// mask, or one byte.
func patternToken(line string, start int) int {
	end := start + 1
	if !isWordByte(line[start]) && line[start] != '<' {
		return end
	}
	for end < len(line) && (isWordByte(line[end]) || line[start] == '<' && strings.IndexByte("_-", line[end]) >= 0) {
		end++
	}
	if line[start] == '<' && end < len(line) && line[end] == '>' {
		return end + 1
	}
	if line[start] == '<' {
		return start + 1
	}
	return end
}

// isWordByte says so of letters and digits, and of all that isn't ASCII.
func isWordByte(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c >= 0x80 }

// between says whether a byte may stand in a pattern between words: what has no
// meaning there.
func between(c byte) bool { return c >= ' ' && c < 0x7f && c != '<' && c != '>' }
