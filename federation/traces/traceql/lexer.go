package traceql

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// kind tells tokens apart.
type kind int

const (
	end       kind = iota
	word           // an intrinsic, a function, a word such as true
	attribute      // a scope and a name
	literal        // a string, a number or a duration
	mark           // punctuation and operators
)

// token is one of a query. Where it starts is a byte offset.
type token struct {
	kind      kind
	at        int
	text      string // as written
	attribute Attribute
	value     Value
}

func (t token) is(m string) bool { return t.kind == mark && t.text == m }

// isWord says whether it is the word, or any of several.
func (t token) isWord(words ...string) bool {
	return t.kind == word && slices.Contains(words, t.text)
}

// String is how an error names the token.
func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return shortened(t.text)
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
	"&>>", "&<<", "!>>", "!<<",
	"&&", "||", "&>", "&<", "&~", "!>", "!<", "!=", "!~", "=~", ">=", "<=", ">>", "<<",
	"{", "}", "(", ")", ",", "|", "=", ">", "<", "~", "!", "+", "-", "*", "/", "%", "^",
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
		if err := l.skip(); err != nil {
			return nil, err
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		t.text = query[t.at:l.at]
		all = append(all, t)
		if t.kind == end {
			return all, nil
		}
	}
}

// skip passes white space and comments.
func (l *lexer) skip() error {
	for {
		rest := l.query[l.at:]
		switch {
		case strings.HasPrefix(rest, "//"):
			l.at += run(rest, func(r rune) bool { return r != '\n' })
		case strings.HasPrefix(rest, "/*"):
			length := strings.Index(rest, "*/")
			if length < 0 {
				return errorAt(l.query, l.at, "the comment isn't closed")
			}
			l.at += length + len("*/")
		default:
			n := run(rest, unicode.IsSpace)
			if n == 0 {
				return nil
			}
			l.at += n
		}
	}
}

func (l *lexer) next() (token, error) {
	rest := l.query[l.at:]
	if rest == "" {
		return token{at: l.at}, nil
	}
	switch c := rest[0]; {
	case c == '"', c == '`':
		return l.text()
	case isDigit(c), c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number()
	case c == '.':
		return l.attribute(Attribute{}, 1)
	case isWord(rune(c)):
		return l.word()
	}
	t := token{kind: mark, at: l.at}
	for _, m := range marks {
		if strings.HasPrefix(rest, m) {
			l.at += len(m)
			return t, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return t, errorAt(l.query, l.at, "%q has no meaning here", r)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isWord is of words and of intrinsics such as span:name.
func isWord(r rune) bool {
	return r == '_' || r == ':' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// run is how long the beginning of s is whose runes all are such.
func run(s string, such func(rune) bool) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return !such(r) }); i >= 0 {
		return i
	}
	return len(s)
}

// word reads a word, or an attribute if it is a scope.
func (l *lexer) word() (token, error) {
	rest := l.query[l.at:]
	n := run(rest, isWord)
	scope, hasName := Scope(rest[:n]), strings.HasPrefix(rest[n:], ".")
	switch {
	case hasName && scope == "parent":
		a := Attribute{Parent: true}
		for _, of := range []Scope{ScopeSpan, ScopeResource} {
			if strings.HasPrefix(rest[n+1:], string(of)+".") {
				a.Scope = of
				n += len(of) + 1
				break
			}
		}
		return l.attribute(a, n+1)
	case hasName && slices.Contains(scopes, scope):
		return l.attribute(Attribute{Scope: scope}, n+1)
	case hasName:
		return token{}, errorAt(l.query, l.at, "%s is no scope: want span, resource, event, link, instrumentation or parent, or nothing before the dot", shortened(rest[:n]))
	}
	t := token{kind: word, at: l.at}
	l.at += n
	return t, nil
}

// attribute reads the name of an attribute whose scope and dot are so many
// bytes. Parts of it may be quoted.
func (l *lexer) attribute(a Attribute, prefix int) (token, error) {
	t := token{kind: attribute, at: l.at}
	begin := l.at + prefix
	var name strings.Builder
	for l.at = begin; ; {
		rest := l.query[l.at:]
		if strings.HasPrefix(rest, `"`) {
			if err := l.quotedName(&name); err != nil {
				return t, err
			}
			continue
		}
		n := run(rest, isAttributeRune)
		if n == 0 {
			break
		}
		name.WriteString(rest[:n])
		l.at += n
	}
	if l.at == begin {
		return t, errorAt(l.query, t.at, "expected the name of an attribute after the dot")
	}
	a.Name = name.String()
	t.attribute = a
	return t, nil
}

// quotedName reads a quoted part of a name, in which \" and \\ are escapes.
func (l *lexer) quotedName(name *strings.Builder) error {
	begin := l.at
	for l.at++; l.at < len(l.query); l.at++ {
		switch c := l.query[l.at]; c {
		case '"':
			l.at++
			return nil
		case '\\':
			l.at++
			if l.at == len(l.query) || l.query[l.at] != '"' && l.query[l.at] != '\\' {
				return errorAt(l.query, l.at-1, `the escapes of an attribute's name are \" and \\`)
			}
			name.WriteByte(l.query[l.at])
		default:
			name.WriteByte(c)
		}
	}
	return errorAt(l.query, begin, "the name isn't closed")
}

// text reads a string: "..." with escapes as Go's, or `...` as it is.
func (l *lexer) text() (token, error) {
	t := token{kind: literal, at: l.at}
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
			l.at, t.value = i+1, Value{kind: StringValue, text: value}
			return t, nil
		}
	}
	return t, errorAt(l.query, l.at, "the string isn't closed")
}

// number reads a whole number, one with a fraction, or a duration.
func (l *lexer) number() (token, error) {
	t := token{kind: literal, at: l.at}
	rest := l.query[l.at:]
	n := run(rest, func(r rune) bool { return r == '.' || r == 'µ' || r == 'μ' || r != ':' && isWord(r) })
	if signed := n + 1; (rest[n-1] == 'e' || rest[n-1] == 'E') && signed < len(rest) && (rest[n] == '+' || rest[n] == '-') {
		if digits := run(rest[signed:], unicode.IsDigit); digits > 0 {
			n = signed + digits
		}
	}
	l.at += n
	value, ok := numberValue(rest[:n])
	if !ok {
		return t, errorAt(l.query, t.at, "%s is not a number or a duration such as 100ms", shortened(rest[:n]))
	}
	t.value = value
	return t, nil
}

func numberValue(text string) (Value, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Value{kind: IntValue, number: n}, true
	}
	if !strings.ContainsAny(text, "_xXpP") {
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) {
			return Value{kind: FloatValue, float: f}, true
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return Value{kind: DurationValue, number: int64(d)}, true
	}
	d, err := model.ParseDuration(text) // which has days
	return Value{kind: DurationValue, number: int64(d)}, err == nil
}

// errorAt is a ParseError at a byte of the query.
func errorAt(query string, at int, format string, args ...any) *ParseError {
	before := query[:min(at, len(query))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &ParseError{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}
