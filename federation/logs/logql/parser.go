package logql

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/repetition"
)

// Parse reads a query. An error is a *ParseError. Expressions that a real Loki
// refuses when it parses them are refused.
func Parse(query string) (Expr, error) {
	all, err := tokens(query)
	if err != nil {
		return nil, err
	}
	p := &parser{query: query, tokens: all}
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

	nesting, operators, stages, repetitions int
}

func (p *parser) parse() Expr {
	expr := p.expression(0)
	if t := p.peek(); t.kind != end {
		p.fail(t, "expected an operator or the end, not %s", t)
	}
	if p.err == nil {
		if s, ok := expr.(*LogSelector); ok {
			p.checkSelector(s, p.tokens[0])
		}
	}
	return expr
}

func (p *parser) peek() token { return p.tokens[0] }

// second is the token after the next.
func (p *parser) second() token { return p.tokens[min(1, len(p.tokens)-1)] }

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

func (p *parser) acceptWord(w string) bool {
	if p.peek().isWord(w) {
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

func (p *parser) text(why string) string {
	t := p.next()
	if t.kind != text {
		p.fail(t, "expected a string, %s, not %s", why, t)
	}
	return t.value
}

func (p *parser) label(why string) string {
	t := p.next()
	switch {
	case t.kind != word:
		p.fail(t, "expected a label, %s, not %s", why, t)
	case keywords[t.lower]:
		p.fail(t, "expected a label, %s, not %s, which is a word of LogQL", why, t)
	}
	return t.value
}

// deeper is to be called with the token that opens a level, and its result
// when the level is read.
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

// checkRe refuses what isn't a regular expression within bounds.
func (p *parser) checkRe(t token, re string) *regexp.Regexp {
	p.repetitions += repetition.Added(re)
	if p.repetitions > maxRepetitions {
		p.fail(t, "the regular expressions repeat too much: written out they would have more than %d parts more", maxRepetitions)
		return nil
	}
	compiled, err := regexp.Compile(re)
	if err != nil {
		p.fail(t, "%s is not a regular expression: %s", t, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return compiled
}

// binaryOps are how strongly operators bind.
var binaryOps = map[string]int{
	"or": 1, "and": 2, "unless": 2,
	"==": 3, "!=": 3, ">": 3, ">=": 3, "<": 3, "<=": 3,
	"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6,
}

// expression reads operands and the operators that bind more strongly than
// floor.
func (p *parser) expression(floor int) Expr {
	start := p.peek()
	defer p.deeper(start)()
	left := p.operand()
	for {
		op := p.peek()
		binds := binaryOps[op.lower]
		if binds <= floor || op.kind != mark && op.kind != word {
			return left
		}
		p.next()
		p.countOperator(op)
		b := &BinaryOperation{Op: BinaryOp(op.lower), LHS: left}
		p.modifiers(b, op)
		right := p.peek()
		if op.value == "^" {
			binds-- // 2^3^2 is 2^(3^2)
		}
		b.RHS = p.expression(binds)
		p.checkOperand(b.Op, left, start, "left")
		p.checkOperand(b.Op, b.RHS, right, "right")
		left = folded(b)
	}
}

// folded is the number that an operation on two numbers yields, as in Loki; a
// comparison yields 1 or 0.
func folded(b *BinaryOperation) Expr {
	l, ok := b.LHS.(*Literal)
	r, also := b.RHS.(*Literal)
	if !ok || !also || isSetOp(b.Op) {
		return b
	}
	return &Literal{Value: computed(b.Op, l.Value, r.Value)}
}

func computed(op BinaryOp, l, r float64) float64 {
	is := false
	switch op {
	case "+":
		return l + r
	case "-":
		return l - r
	case "*":
		return l * r
	case "/":
		if r == 0 {
			return math.NaN()
		}
		return l / r
	case "%":
		return math.Mod(l, r)
	case "^":
		return math.Pow(l, r)
	case "==":
		is = l == r
	case "!=":
		is = l != r
	case ">":
		is = l > r
	case ">=":
		is = l >= r
	case "<":
		is = l < r
	case "<=":
		is = l <= r
	}
	if is {
		return 1
	}
	return 0
}

func (p *parser) checkOperand(op BinaryOp, operand Expr, at token, side string) {
	switch operand.(type) {
	case *LogSelector:
		p.fail(at, "lines can't be on the %s of %s, only what yields numbers can", side, op)
	case *Literal:
		if isSetOp(op) {
			p.fail(at, "a number can't be on the %s of %s, only series can", side, op)
		}
	}
}

func isSetOp(op BinaryOp) bool { return op == "and" || op == "or" || op == "unless" }

func isComparison(op BinaryOp) bool { return binaryOps[string(op)] == 3 }

// modifiers reads what may follow a binary operator.
func (p *parser) modifiers(b *BinaryOperation, op token) {
	if t := p.peek(); p.acceptWord("bool") {
		b.Bool = true
		if !isComparison(b.Op) {
			p.fail(t, "bool can follow comparisons only, not %s", op)
		}
	}
	on := p.acceptWord("on")
	if !on && !p.acceptWord("ignoring") {
		return
	}
	m := &VectorMatching{On: on, Labels: p.labelList()}
	b.Matching = m
	t := p.peek()
	switch {
	case p.acceptWord("group_left"):
		m.Group = GroupLeft
	case p.acceptWord("group_right"):
		m.Group = GroupRight
	default:
		return
	}
	if isSetOp(b.Op) {
		p.fail(t, "%s can't follow %s", t, op)
	}
	if p.peek().is("(") { // which can't be the right side's
		if included := p.labelList(); len(included) > 0 {
			m.Include = included
		}
	}
}

// labelList reads labels in parentheses.
func (p *parser) labelList() []string {
	p.expect("(", "before labels")
	names := []string{}
	if p.accept(")") {
		return names
	}
	for p.err == nil {
		names = append(names, p.label("of those in parentheses"))
		if !p.accept(",") {
			break
		}
	}
	p.expect(")", "after labels")
	return names
}

// operand reads what isn't a binary operation.
func (p *parser) operand() Expr {
	t := p.peek()
	switch {
	case t.is("("):
		p.next()
		expr := p.expression(0)
		p.expect(")", "to close the parenthesis")
		return expr
	case t.is("{"):
		return p.logSelector()
	case t.is("-"), t.is("+"), t.kind == number:
		return &Literal{Value: p.signed()}
	case t.kind == word:
		return p.function()
	default:
		p.fail(t, "expected a log selector such as {app=\"x\"}, a function or a number, not %s", t)
		return &Literal{}
	}
}

// signed reads a number that may have a sign.
func (p *parser) signed() float64 {
	if p.accept("-") {
		return -p.number("after the minus")
	}
	p.accept("+")
	return p.number("in an expression")
}

func (p *parser) number(why string) float64 {
	t := p.next()
	if t.kind != number {
		p.fail(t, "expected a number %s, not %s", why, t)
	}
	return t.number
}

var (
	rangeOps = []RangeOp{
		Rate, CountOverTime, BytesRate, BytesOverTime, AbsentOverTime, RateCounter, SumOverTime, AvgOverTime, MinOverTime, MaxOverTime,
		StdvarOverTime, StddevOverTime, QuantileOverTime, FirstOverTime, LastOverTime,
	}
	vectorOps = []VectorOp{Sum, Avg, Min, Max, Count, Stddev, Stdvar, Sort, SortDesc, TopK, BottomK, ApproxTopK}
)

func (p *parser) function() Expr {
	t := p.next()
	switch {
	case slices.Contains(rangeOps, RangeOp(t.lower)):
		return p.rangeAggregation(t)
	case slices.Contains(vectorOps, VectorOp(t.lower)):
		return p.vectorAggregation(t)
	}
	switch t.lower {
	case "label_replace":
		return p.labelReplace()
	case "vector":
		p.expect("(", "after vector")
		v := &Vector{Value: p.number("in vector()")}
		p.expect(")", "after the number of vector")
		return v
	case "variants":
		p.fail(t, "variants, of several aggregations in one query, isn't supported; ask one query for each")
	default:
		p.fail(t, "%s is not a function of LogQL that is supported", t)
	}
	return &Literal{}
}

func (p *parser) grouping() *Grouping {
	switch {
	case p.acceptWord("by"):
		return &Grouping{Labels: p.labelList()}
	case p.acceptWord("without"):
		return &Grouping{Without: true, Labels: p.labelList()}
	}
	return nil
}

func (p *parser) vectorAggregation(t token) Expr {
	v := &VectorAggregation{Op: VectorOp(t.lower), Grouping: p.grouping()}
	before := v.Grouping != nil
	p.expect("(", "after "+t.value)
	if k := p.peek(); v.Op == TopK || v.Op == BottomK || v.Op == ApproxTopK {
		n := p.number("of series as the first parameter of " + t.value)
		p.expect(",", "after the number of series")
		if n < 1 || n != math.Trunc(n) || n > math.MaxInt32 {
			p.fail(k, "the first parameter of %s is how many series are wanted: a whole number from 1", t)
			return v
		}
		v.Parameter = int(n)
	} else if k.kind == number && p.second().is(",") {
		p.fail(k, "%s has no parameter before the expression", t)
	}
	start := p.peek()
	v.Expr = p.expression(0)
	if _, lines := v.Expr.(*LogSelector); lines {
		p.fail(start, "%s is of series, not of lines; rate or count_over_time make series of lines", t)
	}
	p.expect(")", "to close "+t.value)
	if g := p.peek(); !before {
		v.Grouping = p.grouping()
		t = g
	}
	switch {
	case v.Grouping == nil:
	case v.Op == Sort, v.Op == SortDesc, v.Op == ApproxTopK:
		p.fail(t, "%s can't be grouped", v.Op)
	}
	return v
}

func (p *parser) labelReplace() Expr {
	p.expect("(", "after label_replace")
	l := &LabelReplace{}
	start := p.peek()
	l.Expr = p.expression(0)
	if _, lines := l.Expr.(*LogSelector); lines {
		p.fail(start, "label_replace is of series, not of lines")
	}
	var re token
	for _, s := range []*string{&l.Target, &l.Replacement, &l.Source, &l.Re} {
		p.expect(",", "between the parameters of label_replace")
		re = p.peek()
		*s = p.text("a parameter of label_replace")
	}
	p.expect(")", "to close label_replace")
	if p.err == nil {
		p.checkRe(re, l.Re)
	}
	return l
}

func (p *parser) rangeAggregation(t token) Expr {
	r := &RangeAggregation{Op: RangeOp(t.lower)}
	p.expect("(", "after "+t.value)
	switch k := p.peek(); {
	case r.Op == QuantileOverTime:
		r.Parameter = p.number("as the first parameter of " + t.value)
		p.expect(",", "after the quantile")
	case k.kind == number:
		p.fail(k, "%s has no parameter before the log selector", t)
	}
	start := p.peek()
	p.logRange(r)
	if last := p.peek(); r.Range == 0 {
		p.fail(last, "expected a range such as [5m], not %s", last)
	}
	p.expect(")", "to close "+t.value)
	g := p.peek()
	r.Grouping = p.grouping()
	if p.err == nil {
		p.checkRange(r, t, g)
		p.checkSelector(r.Selector, start)
	}
	return r
}

// checkRange refuses what isn't an aggregation of what is unwrapped, or not.
func (p *parser) checkRange(r *RangeAggregation, op, grouping token) {
	switch {
	case r.Op == Rate, r.Op == AbsentOverTime:
	case r.Op == CountOverTime, r.Op == BytesRate, r.Op == BytesOverTime:
		if r.Unwrap != nil {
			p.fail(op, "%s is of lines: it can't be of what is unwrapped", op)
		}
	case r.Unwrap == nil:
		p.fail(op, "%s is of numbers: say which label has them, with | unwrap label", op)
	}
	if r.Grouping == nil {
		return
	}
	switch r.Op {
	case AvgOverTime, MinOverTime, MaxOverTime, StdvarOverTime, StddevOverTime, QuantileOverTime, FirstOverTime, LastOverTime:
	default:
		p.fail(grouping, "%s can't be grouped; write sum by (...) (%s(...))", op, op)
	}
}

// logRange reads a selector with a range, the parts of which may stand in
// several orders, and in parentheses.
func (p *parser) logRange(r *RangeAggregation) {
	t := p.peek()
	if p.accept("(") {
		leave := p.deeper(t)
		p.logRange(r)
		leave()
		p.expect(")", "to close the parenthesis")
		if r.Range == 0 {
			p.window(r)
			if r.Range != 0 && r.Unwrap == nil {
				p.unwrap(r)
			}
		}
		p.requireRange(r)
		return
	}
	r.Selector = p.logSelector()
	bare := len(r.Selector.Stages) == 0
	p.unwrap(r)
	p.window(r)
	if bare && r.Range != 0 && r.Unwrap == nil {
		r.Selector.Stages = p.pipeline()
		p.unwrap(r)
	}
	p.requireRange(r)
}

// requireRange fails if there is none where none can follow.
func (p *parser) requireRange(r *RangeAggregation) {
	if t := p.peek(); r.Range == 0 && !t.is(")") {
		p.fail(t, "expected a range such as [5m], not %s", t)
	}
}

// window reads a range and its offset, if they are next.
func (p *parser) window(r *RangeAggregation) {
	if !p.accept("[") {
		return
	}
	t := p.next()
	d, err := model.ParseDuration(t.value)
	if err != nil || t.kind == text || d <= 0 {
		p.fail(t, "expected a duration such as 5m, 1h30m or 500ms that is more than 0, not %s", t)
		return
	}
	r.Range = time.Duration(d)
	p.expect("]", "after the range")
	if !p.acceptWord("offset") {
		return
	}
	negative := p.accept("-")
	t = p.next()
	if t.kind != duration {
		p.fail(t, "expected a duration such as 5m after offset, not %s", t)
	}
	if r.Offset = t.duration; negative {
		r.Offset = -r.Offset
	}
}

// unwrap reads | unwrap and the label filters after it, if it is next.
func (p *parser) unwrap(r *RangeAggregation) {
	if !p.atUnwrap() {
		return
	}
	p.next()
	p.next()
	u := &Unwrap{}
	r.Unwrap = u
	if t := p.peek(); p.second().is("(") {
		u.Conversion = Conversion(p.next().lower)
		switch u.Conversion {
		case Duration, DurationSeconds, Bytes:
		default:
			p.fail(t, "%s is not a conversion; duration, duration_seconds and bytes are", t)
		}
		p.next()
		u.Label = p.label("which is unwrapped")
		p.expect(")", "after the label")
	} else {
		u.Label = p.label("which is unwrapped")
	}
	for p.peek().is("|") {
		p.countStage(p.next())
		u.Filters = append(u.Filters, p.labelFilter())
	}
}

func (p *parser) atUnwrap() bool {
	s := p.second()
	return p.peek().is("|") && s.isWord("unwrap")
}

// checkSelector refuses a selector that every stream satisfies.
func (p *parser) checkSelector(s *LogSelector, at token) {
	if !slices.ContainsFunc(s.Matchers, func(m *labels.Matcher) bool { return !m.Matches("") }) {
		p.fail(at, "the log selector needs at least one matcher that the empty value doesn't satisfy, such as {app=\"x\"} or {app=~\".+\"}")
	}
}

func (p *parser) logSelector() *LogSelector {
	p.expect("{", "to begin a log selector")
	s := &LogSelector{}
	for more := !p.peek().is("}"); more && p.err == nil; more = p.accept(",") {
		s.Matchers = append(s.Matchers, p.matcher())
	}
	p.expect("}", "to end the log selector")
	s.Stages = p.pipeline()
	return s
}

var matchTypes = map[string]labels.MatchType{
	"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp,
}

func (p *parser) matcher() *labels.Matcher {
	name := p.label("to select streams by")
	op := p.next()
	typ, ok := matchTypes[op.value]
	if !ok || op.kind != mark {
		p.fail(op, "expected =, !=, =~ or !~, not %s", op)
	}
	value := p.peek()
	return p.newMatcher(typ, name, p.text("to compare the label with"), value)
}

// newMatcher is one within bounds.
func (p *parser) newMatcher(typ labels.MatchType, name, value string, at token) *labels.Matcher {
	if p.err == nil && (typ == labels.MatchRegexp || typ == labels.MatchNotRegexp) {
		p.checkRe(at, value)
	}
	if p.err != nil {
		return &labels.Matcher{}
	}
	m, err := labels.NewMatcher(typ, name, value)
	if err != nil {
		p.fail(at, "%s is not a regular expression", at)
	}
	return m
}
