package traceql

import (
	"math"
	"slices"
	"strings"
)

// condition reads the inside of a filter. As in Tempo && and || bind equally
// strongly, from left to right.
func (p *parser) condition() condition {
	left := p.unary()
	for {
		op := p.peek()
		if !op.is("&&") && !op.is("||") {
			return left
		}
		p.next()
		p.countOperator(op)
		left = &logical{op: op.text, left: left, right: p.unary()}
	}
}

// unary reads a comparison, a negation, or what stands in parentheses.
func (p *parser) unary() condition {
	t := p.peek()
	switch {
	case p.accept("!"):
		defer p.deeper(t)()
		p.countOperator(t)
		begin := p.peek()
		inner := p.unary()
		if c, ok := inner.(*comparison); ok && !begin.is("(") && !c.alone {
			p.fail(t, "! binds more strongly than %s does: write !(...)", c.op)
		}
		return &negation{inner}
	case p.accept("("):
		defer p.deeper(t)()
		c := p.condition()
		p.expect(")", "to end what the parenthesis began")
		if op := p.peek(); isComparison(op) || isArithmetic(op) {
			p.fail(op, "what stands in parentheses is true or false and can't be in a comparison or a computation, as with %s", op)
		}
		return c
	}
	return p.comparison()
}

// operand is what is compared: an attribute or a value.
type operand struct {
	token     token
	attribute *Attribute
	value     Value
	isNil     bool
}

func (p *parser) comparison() condition {
	left := p.operand()
	op := p.peek()
	if !isComparison(op) {
		return p.alone(left)
	}
	p.next()
	p.countOperator(op)
	right := p.operand()
	if next := p.peek(); isComparison(next) {
		p.fail(next, "expected && or || or the end of the condition, not another %s", next)
	}
	return p.compared(left, op, right)
}

func isComparison(t token) bool {
	return t.kind == mark && slices.Contains([]string{"=", "!=", "<", "<=", ">", ">=", "=~", "!~"}, t.text)
}

func isRegexp(op string) bool { return op == "=~" || op == "!~" }

func isOrder(op string) bool { return op == "<" || op == "<=" || op == ">" || op == ">=" }

func isArithmetic(t token) bool {
	return t.kind == mark && slices.Contains([]string{"+", "-", "*", "/", "%", "^"}, t.text)
}

// operand reads one. After it there can't be arithmetic.
func (p *parser) operand() operand {
	o := operand{token: p.peek()}
	switch t := o.token; {
	case t.kind == literal:
		p.next()
		o.value = t.value
	case t.is("-"):
		p.next()
		o.value = p.negative(t)
	case t.isWord("nil"):
		p.next()
		o.isNil = true
	case t.kind == word && isValueWord(t.text):
		p.next()
		o.value = wordValue(t.text)
	default:
		a := p.attribute("to compare, such as .http.route or name")
		o.attribute = &a
	}
	if t := p.peek(); isArithmetic(t) {
		p.fail(t, "arithmetic, as with %s, isn't supported: compare an attribute with a value", t)
	}
	return o
}

// negative reads the number after a minus.
func (p *parser) negative(minus token) Value {
	t := p.next()
	v := t.value
	switch {
	case t.kind == literal && v.kind != StringValue:
		v.number, v.float = -v.number, -v.float
	case t.kind == attribute || t.kind == word:
		p.fail(minus, "arithmetic, as with -, isn't supported: compare an attribute with a value")
	default:
		p.fail(t, "expected a number after -, not %s", t)
	}
	return v
}

func isValueWord(text string) bool {
	return slices.Contains(statusWords, text) || slices.Contains(kindWords, text) || text == "true" || text == "false" || text == "minInt" || text == "maxInt"
}

func wordValue(text string) Value {
	switch text {
	case "true", "false":
		return boolValue(text == "true")
	case "minInt":
		return Value{kind: IntValue, number: math.MinInt64}
	case "maxInt":
		return Value{kind: IntValue, number: math.MaxInt64}
	}
	if code := slices.Index(statusWords, text); code >= 0 {
		return Value{kind: StatusValue, number: int64(code)}
	}
	return Value{kind: KindValue, number: int64(slices.Index(kindWords, text))}
}

// alone is what an operand means that isn't compared.
func (p *parser) alone(o operand) condition {
	switch {
	case o.attribute != nil && o.attribute.Scope != ScopeIntrinsic:
		return &comparison{left: *o.attribute, op: "=", value: boolValue(true), alone: true}
	case o.attribute == nil && !o.isNil && o.value.kind == BoolValue:
		return constant(o.value.number != 0)
	}
	p.fail(p.peek(), "expected a comparison of %s, such as = or >, not %s", o.token, p.peek())
	return constant(false)
}

// swapped are the comparisons with their sides exchanged.
var swapped = map[string]string{"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// compared checks a comparison and brings its attribute to the left.
func (p *parser) compared(left operand, op token, right operand) condition {
	c := &comparison{op: op.text}
	if left.attribute == nil {
		switch {
		case isRegexp(c.op):
			p.fail(left.token, "%s has an attribute on its left and a regular expression on its right", op)
			return c
		case right.attribute == nil:
			p.fail(left.token, "a comparison has an attribute or an intrinsic on at least one side, and %s %s %s has none", left.token, op, right.token)
			return c
		}
		left, right, c.op = right, left, swapped[c.op]
	}
	c.left = *left.attribute
	switch {
	case isRegexp(c.op):
		p.matched(c, left, right)
	case right.attribute != nil:
		c.other = right.attribute
		p.checkTypes(c, left, op, right)
	case right.isNil:
		c.isNil = true
		if isOrder(c.op) {
			p.fail(op, "nil is compared with = and != only, not with %s", op)
		}
	default:
		c.value = right.value
		p.checkTypes(c, left, op, right)
		c.value = withDigits(c)
	}
	return c
}

// matched checks a comparison with a regular expression.
func (p *parser) matched(c *comparison, left, right operand) {
	if right.attribute != nil || right.isNil || right.token.kind != literal || right.value.kind != StringValue {
		p.fail(right.token, "%s has a regular expression on its right, as a string, not %s", c.op, right.token)
		return
	}
	if t, ok := c.left.valueType(); ok && t != StringValue {
		p.fail(left.token, "%s is of type %s, and regular expressions are of strings", left.token, t)
		return
	}
	c.value, c.re = right.value, p.checkRe(right.token)
}

// checkTypes refuses comparisons that can't be true of anything.
func (p *parser) checkTypes(c *comparison, left operand, op token, right operand) {
	l, hasLeft := left.valueType()
	r, hasRight := right.valueType()
	switch {
	case hasLeft && hasRight && !areComparable(l, r):
		p.fail(op, "%s is of type %s and %s of type %s: they can't be compared", left.token, l, right.token, r)
	case isOrder(c.op) && (hasLeft && !l.isOrdered() || hasRight && !r.isOrdered()):
		p.fail(op, "%s orders strings, numbers and durations only", op)
	case !hasLeft && hasRight && isEnum(r), hasLeft && isEnum(l) && !hasRight:
		p.fail(op, "a status or a kind can be compared with the intrinsic alone, and no attribute is one; put quotes around a string")
	}
}

func isEnum(t ValueType) bool { return t == StatusValue || t == KindValue }

func (o operand) valueType() (ValueType, bool) {
	if o.attribute != nil {
		return o.attribute.valueType()
	}
	return o.value.kind, true
}

// withDigits is the value of a comparison, an id in the digits that ids have.
func withDigits(c *comparison) Value {
	digits := c.left.idDigits()
	if digits == 0 || isOrder(c.op) || c.value.text == "" || len(c.value.text) > digits || strings.Trim(c.value.text, "0123456789abcdefABCDEF") != "" {
		return c.value
	}
	return Value{kind: StringValue, text: strings.Repeat("0", digits-len(c.value.text)) + strings.ToLower(c.value.text)}
}
