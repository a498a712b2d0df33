package logql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/common/model"
)

// kind tells tokens apart.
type kind int

const (
	end kind = iota
	word
	text // a quoted string; value is what it holds
	number
	duration
	size // of bytes
	flag // --strict, --keep-empty
	mark // punctuation and operators
)

// token is one of a query. Where it starts is a byte offset.
type token struct {
	kind  kind
	at    int
	value string // as written; what a string holds
	lower string // of a word or mark: keywords and functions may be in any case

	number   float64
	duration time.Duration
	size     uint64
}

func (t token) is(m string) bool { return t.kind == mark && t.value == m }

func (t token) isWord(w string) bool { return t.kind == word && t.lower == w }

// String is how an error names the token.
func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case text:
		return "the string " + shortened(strconv.Quote(t.value))
	default:
		return shortened(t.value)
	}
}

func shortened(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// marks are tried in this order: longer ones before what they begin with.
var marks = []string{
	"|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=",
	"{", "}", "(", ")", "[", "]", ",", "|", "=", ">", "<", "+", "-", "*", "/", "%", "^",
}

// lexer takes a query apart.
type lexer struct {
	query string
	at    int
}

// tokens are all of a query, the last being its end.
func tokens(query string) ([]token, error) {
	if len(query) > maxText {
		return nil, &ParseError{Line: 1, Column: 1, Message: fmt.Sprintf("the query has %d bytes, more than the %d accepted", len(query), maxText)}
	}
	if !utf8.ValidString(query) {
		return nil, &ParseError{Line: 1, Column: 1, Message: "the query isn't UTF-8"}
	}
	l := lexer{query: query}
	var all []token
	for {
		l.skip()
		t, err := l.next(all)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.kind == end {
			return all, nil
		}
	}
}

// skip passes white space and comments.
func (l *lexer) skip() {
	for l.at < len(l.query) {
		switch l.query[l.at] {
		case ' ', '\t', '\n', '\r':
			l.at++
		case '#':
			if i := strings.IndexByte(l.query[l.at:], '\n'); i >= 0 {
				l.at += i
			} else {
				l.at = len(l.query)
			}
		default:
			return
		}
	}
}

func (l *lexer) next(before []token) (token, error) {
	t := token{at: l.at}
	rest := l.query[l.at:]
	if rest == "" {
		return t, nil
	}
	switch c := rest[0]; {
	case c == '"', c == '`':
		return l.text()
	case c >= '0' && c <= '9', c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		return l.number()
	case strings.HasPrefix(rest, "--") && takesFlags(before):
		t.kind, t.value = flag, rest[:2+run(rest[2:], func(r rune) bool { return r == '-' || isWord(r) })]
		l.at += len(t.value)
		return t, nil
	}
	if first, _ := utf8.DecodeRuneInString(rest); isWord(first) {
		t.kind, t.value = word, rest[:run(rest, isWord)]
		t.lower = strings.ToLower(t.value)
		l.at += len(t.value)
		return t, nil
	}
	for _, m := range marks {
		if strings.HasPrefix(rest, m) {
			t.kind, t.value, t.lower = mark, m, m
			l.at += len(m)
			return t, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return t, errorAt(l.query, l.at, "%q has no meaning here", r)
}

// takesFlags says whether flags may follow: a -- elsewhere is two minuses.
func takesFlags(before []token) bool {
	if len(before) == 0 {
		return false
	}
	last := before[len(before)-1]
	return last.kind == flag || last.isWord("logfmt")
}

func isWord(r rune) bool {
	return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// run is how long the beginning of s is whose runes all are such.
func run(s string, such func(rune) bool) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return !such(r) }); i >= 0 {
		return i
	}
	return len(s)
}

// text reads a string: "..." with escapes as Go's, or `...` as it is.
func (l *lexer) text() (token, error) {
	t := token{kind: text, at: l.at}
	quote := l.query[l.at]
	for i := l.at + 1; i < len(l.query); i++ {
		switch c := l.query[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == '\n' && quote == '"':
			return t, errorAt(l.query, l.at, "the string isn't closed before the end of the line")
		case c == quote:
			value, err := strconv.Unquote(l.query[l.at : i+1])
			if err != nil {
				return t, errorAt(l.query, l.at, "the string %s has an escape that isn't one", shortened(l.query[l.at:i+1]))
			}
			l.at, t.value = i+1, value
			return t, nil
		}
	}
	return t, errorAt(l.query, l.at, "the string isn't closed")
}

// number reads a number, a duration or a size.
func (l *lexer) number() (token, error) {
	t := token{at: l.at}
	rest := l.query[l.at:]
	n := run(rest, func(r rune) bool { return r == '.' || r == 'µ' || r == 'μ' || isWord(r) })
	if signed := n + 1; n > 1 && (rest[n-1] == 'e' || rest[n-1] == 'E') && signed < len(rest) && (rest[n] == '+' || rest[n] == '-') {
		if digits := run(rest[signed:], unicode.IsDigit); digits > 0 && isNumber(rest[:signed+digits]) {
			n = signed + digits
		}
	}
	t.value = rest[:n]
	l.at += n
	if isNumber(t.value) {
		t.kind = number
		t.number, _ = strconv.ParseFloat(t.value, 64)
		return t, nil
	}
	if d, ok := parseDuration(t.value); ok {
		t.kind, t.duration = duration, d
		return t, nil
	}
	if digits := strings.TrimRightFunc(t.value, unicode.IsLetter); slices.Contains(sizeUnits, t.value[len(digits):]) {
		if b, err := humanize.ParseBytes(t.value); err == nil {
			t.kind, t.size = size, b
			return t, nil
		}
	}
	return t, errorAt(l.query, t.at, "%s is not a number, a duration such as 5m or a size such as 20KB", shortened(t.value))
}

// sizeUnits are those of LogQL's text. Lines may have others.
var sizeUnits = []string{
	"B", "k", "K", "M", "G", "T", "kB", "KB", "MB", "GB", "TB", "Ki", "Mi", "Gi", "Ti", "KiB", "MiB", "GiB", "TiB",
}

func isNumber(s string) bool {
	if strings.ContainsAny(s, "_xXpP") {
		return false
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f-f == 0
}

// parseDuration reads Go's durations and Prometheus's, which have days, weeks
// and years.
func parseDuration(s string) (time.Duration, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, true
	}
	d, err := model.ParseDuration(s)
	return time.Duration(d), err == nil
}

// errorAt is a ParseError at a byte of the query.
func errorAt(query string, at int, format string, args ...any) *ParseError {
	before := query[:min(at, len(query))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &ParseError{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}
