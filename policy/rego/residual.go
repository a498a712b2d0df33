package rego

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
)

// What OPA leaves of a rule when all but the series, stream or span is known is
// Rego of a small kind: comparisons of its labels or attributes with constants.
// This file says when such a residual holds; what it doesn't know it refuses.

// untranslatable is an expression of a residual that has no equal in matchers.
type untranslatable struct {
	expr *ast.Expr
	err  error
}

func (e *untranslatable) Error() string { return "`" + written(e.expr) + "`: " + e.err.Error() }
func (e *untranslatable) Unwrap() error { return e.err }

// errUnbound is a variable that another expression of the body has yet to bind.
var errUnbound = errors.New("it has a variable that stands for no label and no constant")

// maxSteps bounds how much of a residual is looked at.
const maxSteps = 100_000

// residual is what is left of a rule, being translated.
type residual struct {
	// of is what the rule is asked of.
	of *element
	// support are the rules that OPA made for parts that it can't write inline,
	// by what they are called.
	support map[string][]*ast.Rule
	// worked are the values of those without arguments.
	worked map[string]value
	steps  int
}

// value is what a term is for an element: the one of the cases that holds, and
// undefined where none does.
type value []valueCase

// valueCase is one of: a constant, the value of a label, where when implies that
// the element has it (an attribute is a label here), the element itself.
type valueCase struct {
	when     condition
	constant ast.Value
	label    string
	element  *element
}

// scope are the variables of a body.
type scope map[ast.Var]value

// holds says when one of the queries that OPA left is true.
func holds(of *element, left *opa.PartialQueries) (condition, error) {
	r := &residual{of: of, support: map[string][]*ast.Rule{}, worked: map[string]value{}}
	for _, module := range left.Support {
		for _, rule := range module.Rules {
			name := rule.Ref().String()
			r.support[name] = append(r.support[name], rule)
		}
	}
	out := anyOf{}
	for _, body := range left.Queries {
		c, err := r.body(body, scope{})
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// body says when a body is true, and binds its variables in s. OPA leaves its
// expressions in an order in which a variable may be used before it is bound.
func (r *residual) body(body ast.Body, s scope) (condition, error) {
	out := allOf{}
	for len(body) > 0 {
		var waiting ast.Body
		var unbound error
		for _, expr := range body {
			c, err := r.expr(expr, s)
			if errors.Is(err, errUnbound) {
				unbound = err
				waiting = append(waiting, expr)
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		if len(waiting) == len(body) {
			return nil, unbound
		}
		body = waiting
	}
	return out, nil
}

func (r *residual) expr(expr *ast.Expr, s scope) (condition, error) {
	if r.steps++; r.steps > maxSteps {
		return nil, errTooLarge
	}
	c, err := r.holds(expr, s)
	var inner *untranslatable
	switch {
	case errors.As(err, &inner) || errors.Is(err, errTooLarge):
		return nil, err
	case err != nil:
		return nil, &untranslatable{expr, err}
	case expr.Negated:
		return c.not(), nil
	}
	return c, nil
}

// holds says when expr is true, leaving aside that it may be negated.
func (r *residual) holds(expr *ast.Expr, s scope) (condition, error) {
	if len(expr.With) > 0 {
		return nil, errors.New("with can't be translated")
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		v, err := r.term(terms, s)
		return v.truth(), err
	case []*ast.Term:
		operator, operands := terms[0].String(), terms[1:]
		if isEquality(operator) && len(operands) == 2 {
			return r.unify(operands[0], operands[1], s, !expr.Negated)
		}
		arity, ok := r.arity(operator)
		if !ok || len(operands) < arity {
			return nil, fmt.Errorf("%s can't be translated", operator)
		}
		v, err := r.call(operator, operands[:arity], s)
		if err != nil || len(operands) == arity {
			return v.truth(), err
		}
		return r.bind(operands[arity], v, s, !expr.Negated)
	case *ast.Not:
		c, err := r.body(terms.Body, maps.Clone(s))
		if err != nil {
			return nil, err
		}
		return c.not(), nil
	case *ast.Every:
		return nil, fmt.Errorf("every over what depends on a %s can't be translated; write a rule for the opposite, with some, and put not before its name", r.of.name)
	}
	return nil, errors.New("this can't be translated")
}

// unify says when two terms are equal.
func (r *residual) unify(a, b *ast.Term, s scope, binds bool) (condition, error) {
	v, err := r.term(b, s)
	if errors.Is(err, errUnbound) {
		a, b = b, a
		v, err = r.term(b, s)
	}
	if err != nil {
		return nil, err
	}
	return r.bind(a, v, s, binds)
}

// bind says when a term is v; a variable that is nothing yet becomes v.
func (r *residual) bind(t *ast.Term, v value, s scope, binds bool) (condition, error) {
	if name, ok := t.Value.(ast.Var); ok && binds {
		if _, bound := s[name]; !bound {
			s[name] = v
			return v.defined(), nil
		}
	}
	w, err := r.term(t, s)
	if err != nil {
		return nil, err
	}
	equal, err := r.apply(ast.Equal.Name, []value{w, v})
	return equal.truth(), err
}

// term is what a term is.
func (r *residual) term(t *ast.Term, s scope) (value, error) {
	switch v := t.Value.(type) {
	case ast.Var:
		if bound, ok := s[v]; ok {
			return bound, nil
		}
		return nil, errUnbound
	case ast.Ref:
		return r.ref(v, s)
	case ast.Call:
		return r.call(v[0].String(), v[1:], s)
	}
	if ast.IsConstant(t.Value) {
		return constantly(t.Value), nil
	}
	return nil, fmt.Errorf("%v is neither a label nor a constant", t)
}

func constantly(v ast.Value) value { return value{{when: always, constant: v}} }

// whole says that rules can't ask about all of an element.
func (e *element) whole() error {
	return fmt.Errorf("only single %ss can be translated, as %s; not %v as a whole", e.part, e.example, e)
}

func (r *residual) ref(ref ast.Ref, s scope) (value, error) {
	head, isVar := ref[0].Value.(ast.Var)
	switch {
	case ref.HasPrefix(r.of.ref):
		return r.at(valueCase{when: always, element: r.of}, ref[len(r.of.ref):])
	case len(r.support[ref.String()]) > 0:
		return r.rule(ref.String())
	case ref.HasPrefix(ast.DefaultRootRef):
		return nil, fmt.Errorf("%v depends on a %s in a way that can't be translated", ref, r.of.name)
	case !isVar || s[head] == nil:
		return nil, errUnbound
	}
	var out value
	for _, one := range s[head] {
		v, err := r.at(one, ref[1:])
		if err != nil {
			return nil, err
		}
		out = append(out, v...)
	}
	return out, nil
}

// at is what there is at a path below a value.
func (r *residual) at(c valueCase, path ast.Ref) (value, error) {
	switch {
	case len(path) == 0:
		return value{c}, nil
	case c.constant != nil && path.IsGround():
		if found, err := c.constant.Find(path); err == nil {
			c.constant = found
			return value{c}, nil
		}
		return nil, nil // undefined
	case c.element == nil || len(path) > 1:
		return nil, r.of.whole()
	}
	name, ok := path[0].Value.(ast.String)
	if !ok {
		return nil, fmt.Errorf("which %s it is has to be known without the %s: no iteration over %v", r.of.part, r.of.name, r.of)
	}
	if name == "" {
		return nil, fmt.Errorf("no %s is called by the empty string", r.of.part)
	}
	if err := r.of.asked(string(name)); err != nil {
		return nil, err
	}
	return value{{when: allOf{c.when, present(string(name))}, label: string(name)}}, nil
}

// rule is the value of a rule that OPA made.
func (r *residual) rule(name string) (value, error) {
	if v, ok := r.worked[name]; ok {
		return v, nil
	}
	v, err := r.defined(name, nil)
	if err == nil {
		r.worked[name] = v
	}
	return v, err
}

// defined is the value of a rule or function that OPA made, for arguments.
func (r *residual) defined(name string, args []value) (value, error) {
	var out, byDefault value
	for _, rule := range r.support[name] {
		if rule.Head.Key != nil || len(rule.Head.Args) != len(args) || rule.Else != nil {
			return nil, fmt.Errorf("%s depends on a %s in a way that can't be translated", name, r.of.name)
		}
		s := scope{}
		when := allOf{}
		for i, arg := range rule.Head.Args {
			c, err := r.bind(arg, args[i], s, true)
			if err != nil {
				return nil, err
			}
			when = append(when, c)
		}
		c, err := r.body(rule.Body, s)
		if err != nil {
			return nil, err
		}
		v, err := r.term(rule.Head.Value, s)
		if err != nil {
			return nil, err
		}
		v = v.under(append(when, c))
		if rule.Default {
			byDefault = v
		} else {
			out = append(out, v...)
		}
	}
	return append(out, byDefault.under(out.defined().not())...), nil
}

// under is v where c holds.
func (v value) under(c condition) value {
	out := make(value, len(v))
	for i, one := range v {
		one.when = allOf{c, one.when}
		out[i] = one
	}
	return out
}

func (v value) defined() condition {
	out := make(anyOf, len(v))
	for i, one := range v {
		out[i] = one.when
	}
	return out
}

// truth is where v is defined and not false, which is what Rego calls true.
func (v value) truth() condition {
	out := anyOf{}
	for _, one := range v {
		if one.constant == nil || one.constant.Compare(ast.Boolean(false)) != 0 {
			out = append(out, one.when)
		}
	}
	return out
}

func (r *residual) arity(operator string) (int, bool) {
	if rules := r.support[operator]; len(rules) > 0 {
		return len(rules[0].Head.Args), true
	}
	if b, ok := ast.BuiltinMap[operator]; ok {
		return b.Decl.Arity(), true
	}
	return 0, false
}

// call is the value of a function.
func (r *residual) call(operator string, operands []*ast.Term, s scope) (value, error) {
	args := make([]value, len(operands))
	for i, operand := range operands {
		var err error
		if args[i], err = r.term(operand, s); err != nil {
			return nil, err
		}
	}
	switch {
	case len(r.support[operator]) > 0:
		return r.defined(operator, args)
	case operator == ast.ObjectGet.Name && len(args) == 3 && len(args[0]) == 1 && args[0][0].element != nil:
		return r.labelOr(args[0][0], operands[1].Value, args[2])
	}
	return r.apply(operator, args)
}

// labelOr is object.get of an element.
func (r *residual) labelOr(of valueCase, name ast.Value, otherwise value) (value, error) {
	if path, ok := name.(*ast.Array); ok && path.Len() == 1 {
		name = path.Elem(0).Value
	}
	label, err := r.at(of, ast.Ref{ast.NewTerm(name)})
	if err != nil {
		return nil, err
	}
	return append(label.under(otherwise.defined()), otherwise.under(label.defined().not())...), nil
}

// apply is a built-in function of values, a boolean.
func (r *residual) apply(operator string, args []value) (value, error) {
	accepts, known := accepted[operator]
	if !known {
		if slices.ContainsFunc(args, func(v value) bool { return slices.ContainsFunc(v, func(c valueCase) bool { return c.element != nil }) }) {
			return nil, r.of.whole()
		}
		return nil, fmt.Errorf("%s of %s can't be translated", asWritten(operator), r.of.onePart)
	}
	var out value
	chosen := make([]valueCase, len(args))
	var choose func(i int) error
	choose = func(i int) error {
		if i < len(args) {
			for _, one := range args[i] {
				chosen[i] = one
				if err := choose(i + 1); err != nil {
					return err
				}
			}
			return nil
		}
		if r.steps++; r.steps > maxSteps {
			return errTooLarge
		}
		when := allOf{}
		for _, one := range chosen {
			when = append(when, one.when)
		}
		c, err := accepts.of(r.of, operator, chosen)
		if err != nil {
			return err
		}
		out = append(out,
			valueCase{when: allOf{when, c}, constant: ast.Boolean(true)},
			valueCase{when: allOf{when, c.not()}, constant: ast.Boolean(false)})
		return nil
	}
	return out, choose(0)
}

// saidToBeThere is the part that an expression of definedLabels is about, nil for
// what a policy says itself.
func saidToBeThere(b *ast.Builtin, operands []*ast.Term) *ast.Term {
	if b.Name != ast.NotEqual.Name {
		return nil
	}
	for i, operand := range operands {
		if operand.Equal(nothing) {
			return operands[1-i]
		}
	}
	return nil
}

// written is an expression as a policy would have it.
func written(expr *ast.Expr) string {
	terms, ok := expr.Terms.([]*ast.Term)
	if !ok || len(expr.With) > 0 {
		return expr.String()
	}
	b, ok := ast.BuiltinMap[terms[0].String()]
	if !ok || len(terms)-1 < b.Decl.Arity() {
		return expr.String()
	}
	operands, not := terms[1:], ""
	if part := saidToBeThere(b, operands); part != nil {
		return part.String()
	}
	if expr.Negated {
		not = "not "
	}
	text := ast.Call(terms[:1+b.Decl.Arity()]).String()
	if b.Infix != "" && b.Decl.Arity() == 2 {
		infix := b.Infix
		if isEquality(b.Name) {
			infix = "=="
		}
		text = fmt.Sprintf("%v %s %v", operands[0], infix, operands[1])
	}
	if len(operands) > b.Decl.Arity() {
		text += fmt.Sprintf(" == %v", operands[b.Decl.Arity()])
	}
	return not + text
}
