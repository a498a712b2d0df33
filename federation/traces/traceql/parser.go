package traceql

import (
	"strings"

	"github.com/parley-gateway/parley/federation/repetition"
)

// Parse reads a query. An error is a *ParseError.
func Parse(text string) (*Expr, error) {
	all, err := tokens(text)
	if err != nil {
		return nil, err
	}
	p := &parser{query: text, tokens: all}
	expr := p.parse()
	if p.err != nil {
		return nil, p.err
	}
	return expr, nil
}

// parser is a recursive descent. After the first error every token is the end,
// so that whoever reads on comes back.
type parser struct {
	query  string
	tokens []token
	err    *ParseError

	nesting, operators, repetitions int
}

func (p *parser) parse() *Expr {
	e := &Expr{spans: p.spanset(0)}
	for p.accept("|") {
		e.stages = append(e.stages, p.stage())
	}
	switch t := p.peek(); {
	case t.isWord("with"):
		p.fail(t, "hints, as in with (...), aren't supported; the latest traces come first without one")
	case t.kind != end:
		p.fail(t, "expected an operator such as && or >>, a | or the end, not %s", t)
	}
	return e
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) fail(t token, format string, args ...any) {
	if p.err == nil {
		p.err = errorAt(p.query, t.at, format, args...)
		p.tokens = []token{{kind: end, at: t.at}}
	}
}

// accept takes the mark if it is the next token.
func (p *parser) accept(m string) bool {
	if p.peek().is(m) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(m, why string) {
	if t := p.peek(); !p.accept(m) {
		p.fail(t, "expected %s %s, not %s", m, why, t)
	}
}

// deeper is to be called with the token that opens a level, and its result when
// the level is read.
func (p *parser) deeper(t token) func() {
	p.nesting++
	if p.nesting > maxNesting {
		p.fail(t, "the query is nested deeper than the %d levels accepted", maxNesting)
	}
	return func() { p.nesting-- }
}

func (p *parser) countOperator(t token) {
	p.operators++
	if p.operators > maxOperators {
		p.fail(t, "the query has more than the %d operators accepted", maxOperators)
	}
}

// spanset reads filters and the operators between them that bind more strongly
// than floor: as in Tempo && and || the same, those of structure more, and all
// of them from left to right.
func (p *parser) spanset(floor int) spanset {
	left := p.filters()
	for {
		op := p.peek()
		binds := bindsSpansets(op)
		if binds <= floor {
			return left
		}
		p.next()
		p.countOperator(op)
		left = &operation{op: op.text, left: left, right: p.spanset(binds)}
	}
}

// bindsSpansets is how strongly an operator does; 0: it is none.
func bindsSpansets(op token) int {
	if op.kind != mark {
		return 0
	}
	if op.text == "&&" || op.text == "||" {
		return 1
	}
	if _, ok := relations[op.text]; ok {
		return 2
	}
	return 0
}

// filters reads a filter, or what stands in parentheses.
func (p *parser) filters() spanset {
	t := p.next()
	switch {
	case t.is("{"):
		f := &Filter{}
		if !p.peek().is("}") {
			f.condition = p.condition()
		}
		p.expect("}", "to end the filter")
		return f
	case t.is("("):
		defer p.deeper(t)()
		s := p.spanset(0)
		if bar := p.peek(); bar.is("|") {
			p.fail(bar, "a pipeline in parentheses isn't supported, only one at the end of the query")
		}
		p.expect(")", "to end what the parenthesis began")
		return s
	case t.kind == word && stages[t.text] != nil:
		p.fail(t, "%s has to stand after a filter, as in { status = error } | %s", t, t)
	case t.kind == word && refusedStages[t.text] != "":
		p.fail(t, "%s", refusedStages[t.text])
	default:
		p.fail(t, "expected a filter, such as { status = error }, not %s", t)
	}
	return &Filter{}
}

// stages read what follows the name of a stage.
var stages = map[string]func(*parser) stage{
	"select": (*parser).selectStage,
	"count":  (*parser).countStage,
}

const supportedStages = "supported are | select(...) and | count() compared with a number"

// refusedStages are the other functions of TraceQL, and what is said of them.
var refusedStages = map[string]string{
	"by":       "by() isn't supported: spans can't be grouped; " + supportedStages,
	"coalesce": "coalesce() isn't supported: there are no groups to bring together; " + supportedStages,
	"avg":      "avg() isn't supported: spans can be counted only; " + supportedStages,
	"max":      "max() isn't supported: spans can be counted only; " + supportedStages,
	"min":      "min() isn't supported: spans can be counted only; " + supportedStages,
	"sum":      "sum() isn't supported: spans can be counted only; " + supportedStages,
	"topk":     metricsOf("topk"), "bottomk": metricsOf("bottomk"),
	"rate": metricsOf("rate"), "compare": metricsOf("compare"),
	"count_over_time": metricsOf("count_over_time"), "min_over_time": metricsOf("min_over_time"),
	"max_over_time": metricsOf("max_over_time"), "avg_over_time": metricsOf("avg_over_time"),
	"sum_over_time": metricsOf("sum_over_time"), "quantile_over_time": metricsOf("quantile_over_time"),
	"histogram_over_time": metricsOf("histogram_over_time"),
}

func metricsOf(function string) string {
	return function + "() isn't supported: no metrics are made of traces; " + supportedStages
}

func (p *parser) stage() stage {
	t := p.next()
	switch read := stages[t.text]; {
	case t.kind == word && read != nil:
		p.expect("(", "after "+t.text)
		return read(p)
	case t.kind == word && refusedStages[t.text] != "":
		p.fail(t, "%s", refusedStages[t.text])
	case t.is("{"), t.is("("):
		p.fail(t, "a filter after | isn't supported: write its conditions into the first, with &&")
	default:
		p.fail(t, "%s is no stage of a pipeline; %s", t, supportedStages)
	}
	return &selectStage{}
}

func (p *parser) selectStage() stage {
	s := &selectStage{}
	for {
		s.attributes = append(s.attributes, p.attribute("to select"))
		if !p.accept(",") {
			p.expect(")", "to end the attributes")
			return s
		}
	}
}

func (p *parser) countStage() stage {
	p.expect(")", "since count() has no argument")
	op := p.next()
	if !isComparison(op) || isRegexp(op.text) {
		p.fail(op, "expected a comparison of count(), such as > 2, not %s", op)
	}
	t := p.next()
	if t.kind != literal || t.value.kind != IntValue {
		p.fail(t, "count() is compared with a whole number, not %s", t)
	}
	return &countStage{op: op.text, count: t.value.number}
}

// attribute reads one, or an intrinsic.
func (p *parser) attribute(why string) Attribute {
	t := p.next()
	switch name, ok := intrinsics[t.text]; {
	case t.kind == attribute:
		return t.attribute
	case t.kind == word && ok:
		return Attribute{Scope: ScopeIntrinsic, Name: name}
	case t.kind == word:
		p.fail(t, "%s", unknownWord(t.text))
	default:
		p.fail(t, "expected an attribute or an intrinsic, %s, not %s", why, t)
	}
	return Attribute{}
}

// unknownWord says what is to be said of a word that is no intrinsic.
func unknownWord(text string) string {
	switch {
	case strings.Contains(text, "nestedSet"):
		return shortened(text) + ` isn't supported: which spans are below others is asked with > and >>, and { span:parentID = "" } are those without a parent`
	case text == "parent":
		return `the intrinsic parent isn't supported: { span:parentID = "" } are spans without one, and parent.foo is an attribute of a span's parent`
	default:
		return shortened(text) + " is no intrinsic; attributes have a dot before their name, such as ." + shortened(text) + " or span." + shortened(text)
	}
}

// checkRe refuses what isn't a regular expression within bounds.
func (p *parser) checkRe(t token) *pattern {
	re := t.value.text
	p.repetitions += repetition.Added(re)
	if p.repetitions > maxRepetitions {
		p.fail(t, "the regular expressions repeat too much: written out they would have more than %d parts more", maxRepetitions)
		return nil
	}
	compiled, err := newPattern(re)
	if err != nil {
		p.fail(t, "%s is not a regular expression: %s", t, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return compiled
}
