package metrics

import (
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/repetition"
)

// The bounds of a question's text. They are far beyond what people and
// dashboards write, and keep what does the reading from being the attack: the
// parser's time and a text's printing grow with the square of the depth of the
// tree and worse, neither can be cancelled, and a few bytes of regular
// expression can be a program of a hundred megabytes.
const (
	// maxNesting is how many brackets may be open at once.
	maxNesting = 500
	// maxOperators counts operators outside braces, and ranges: a chain of them
	// is a tree as deep as it is long.
	maxOperators = 1000
	// maxRepetitions is by how many instructions counted repetitions may make
	// regular expressions longer than they are written.
	maxRepetitions = 10_000
)

// CheckText refuses PromQL, an expression or a selector, that is out of bounds,
// without parsing it. That it is PromQL at all is the parser's to say. The error
// is a BadQuestion.
func CheckText(text string) error {
	var (
		lexer                         = parser.Lex(text)
		item, before                  parser.Item
		open, braces, operators, more int
	)
	for {
		lexer.NextItem(&item)
		switch {
		case item.Typ == parser.EOF, item.Typ == parser.ERROR:
			return nil
		case item.Typ == parser.LEFT_PAREN, item.Typ == parser.LEFT_BRACKET, item.Typ == parser.LEFT_BRACE:
			open++
		case item.Typ == parser.RIGHT_PAREN, item.Typ == parser.RIGHT_BRACKET, item.Typ == parser.RIGHT_BRACE:
			open--
		case item.Typ == parser.STRING && (braces == 0 || before.Typ == parser.EQL_REGEX || before.Typ == parser.NEQ_REGEX):
			more += repetitions(item.Val) // outside braces it may be label_replace's
		}
		switch {
		case item.Typ == parser.LEFT_BRACE:
			braces++
		case item.Typ == parser.RIGHT_BRACE:
			braces--
		case item.Typ == parser.LEFT_BRACKET, item.Typ.IsOperator() && braces == 0:
			operators++
		}
		switch {
		case open > maxNesting:
			return federation.Errorf(federation.BadQuestion, "the expression is nested deeper than the %d levels accepted", maxNesting)
		case operators > maxOperators:
			return federation.Errorf(federation.BadQuestion, "the expression has more than the %d operators and ranges accepted", maxOperators)
		case more > maxRepetitions:
			return federation.Errorf(federation.BadQuestion, "the regular expressions repeat too much: written out they would have more than %d parts more", maxRepetitions)
		}
		before = item
	}
}

// repetitions is how many instructions a regular expression, given as PromQL
// quotes it, has because of counted repetitions. What isn't one is refused
// later, or not an expression.
func repetitions(quoted string) int {
	text, err := strutil.Unquote(quoted)
	if err != nil {
		return 0
	}
	return repetition.Added(text)
}
