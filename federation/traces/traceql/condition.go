package traceql

import (
	"github.com/prometheus/prometheus/model/labels"
)

// condition is true of a span or not: *comparison, *logical, *negation or
// constant.
type condition interface {
	String() string
	holds(t *Trace, i int) bool
	// each calls f with all attributes that it looks at.
	each(f func(Attribute))
	// equal is what Filter.Equal says.
	equal(a Attribute) (values []string, ok bool)
}

// comparison is of an attribute with a value, with nothing, or with another
// attribute.
type comparison struct {
	left  Attribute
	op    string
	value Value      // of a regular expression its text
	re    *pattern   // of =~ and !~
	other *Attribute // nil: it is compared with value
	isNil bool       // it is compared with nil
	// alone says that the attribute was written alone, where true was meant.
	alone bool
}

// logical is both or at least one of two conditions.
type logical struct {
	op          string // && or ||
	left, right condition
}

type negation struct{ of condition }

type constant bool

// pattern is a regular expression that all of a text has to satisfy.
type pattern struct{ matcher *labels.FastRegexMatcher }

func newPattern(re string) (*pattern, error) {
	m, err := labels.NewFastRegexMatcher(re)
	if err != nil {
		return nil, err
	}
	return &pattern{matcher: m}, nil
}

func (c *comparison) String() string {
	switch {
	case c.isNil:
		return c.left.String() + " " + c.op + " nil"
	case c.other != nil:
		return c.left.String() + " " + c.op + " " + c.other.String()
	case c.alone:
		return c.left.String()
	default:
		return c.left.String() + " " + c.op + " " + c.value.literal()
	}
}

// String has parentheses wherever another reading would be possible.
func (l *logical) String() string {
	left, right := l.left.String(), l.right.String()
	if inner, ok := l.left.(*logical); ok && inner.op != l.op {
		left = "(" + left + ")"
	}
	if _, ok := l.right.(*logical); ok {
		right = "(" + right + ")"
	}
	return left + " " + l.op + " " + right
}

func (n *negation) String() string { return "!(" + n.of.String() + ")" }

func (c constant) String() string { return boolValue(bool(c)).String() }

func (l *logical) holds(t *Trace, i int) bool {
	if l.op == "&&" {
		return l.left.holds(t, i) && l.right.holds(t, i)
	}
	return l.left.holds(t, i) || l.right.holds(t, i)
}

func (n *negation) holds(t *Trace, i int) bool { return !n.of.holds(t, i) }

func (c constant) holds(*Trace, int) bool { return bool(c) }

// few is how many values most attributes have at most; more are allocated.
const few = 2

// holds compares. What isn't there, or is of another type, is nothing's equal and
// nothing's unequal. Of several values, such as those of an array or of all
// events, = and the like need one that is so, and != and !~ that none is equal.
func (c *comparison) holds(t *Trace, i int) bool {
	var buffer [few]Value
	left, exists := t.values(i, c.left, buffer[:0])
	switch {
	case c.isNil:
		return exists == (c.op == "!=")
	case c.re != nil:
		return c.matches(left)
	case c.other != nil:
		var others [few]Value
		right, _ := t.values(i, *c.other, others[:0])
		return compareAll(left, c.op, right)
	default:
		return compareAll(left, c.op, []Value{c.value})
	}
}

func (c *comparison) matches(values []Value) bool {
	hasString, matched := false, false
	for _, v := range values {
		if v.kind == StringValue {
			hasString = true
			matched = matched || c.re.matcher.MatchString(v.text)
		}
	}
	return hasString && matched == (c.op == "=~")
}

// maxCompared is how many values of one attribute are compared with how many of
// another, the first ones: arrays can be of any length.
const maxCompared = 1000

func compareAll(left []Value, op string, right []Value) bool {
	if len(right) > 1 {
		left, right = left[:min(len(left), maxCompared)], right[:min(len(right), maxCompared)]
	}
	compared, equal := false, false
	for _, l := range left {
		for _, r := range right {
			if !areComparable(l.kind, r.kind) || isOrder(op) && !l.kind.isOrdered() {
				continue
			}
			relation := relate(l, r)
			if op != "!=" && relation.holds(op) {
				return true
			}
			compared, equal = true, equal || relation.equal
		}
	}
	return op == "!=" && compared && !equal
}

func (c *comparison) each(f func(Attribute)) {
	f(c.left)
	if c.other != nil {
		f(*c.other)
	}
}

func (l *logical) each(f func(Attribute)) {
	l.left.each(f)
	l.right.each(f)
}

func (n *negation) each(f func(Attribute)) { n.of.each(f) }

func (c constant) each(func(Attribute)) {}

func (c *comparison) equal(a Attribute) ([]string, bool) {
	switch {
	case c.left != a || c.isNil || c.other != nil:
		return nil, false
	case c.op == "=":
		return []string{c.value.String()}, !c.value.kind.isNumber()
	case c.op == "=~":
		values := c.re.matcher.SetMatches()
		return values, len(values) > 0
	}
	return nil, false
}

func (l *logical) equal(a Attribute) ([]string, bool) {
	left, inLeft := l.left.equal(a)
	right, inRight := l.right.equal(a)
	switch {
	case l.op == "||":
		return append(left[:len(left):len(left)], right...), inLeft && inRight
	case !inLeft || inRight && len(right) < len(left):
		return right, inRight
	}
	return left, inLeft
}

func (n *negation) equal(Attribute) ([]string, bool) { return nil, false }

// equal: of no span is false true.
func (c constant) equal(Attribute) ([]string, bool) { return nil, !bool(c) }
