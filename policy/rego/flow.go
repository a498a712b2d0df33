package rego

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// OPA's partial evaluation says less than the rule in a few places, where it
// takes what is not known yet for what is not there. This file keeps rules from
// getting there: it looks at those that a series can flow through. A stream and
// its labels, or a span and its attributes, flow as a series and its labels do.

// nothing is what no value is equal to.
var nothing = ast.SetTerm(ast.StringTerm("parley: no value is equal to this set"))

// definedLabels is a stage of the compiler. Where a variable stands for a label
// of a series, it says once more that the label is there:
//
//	not startswith(input.series.env, "dev")
//
// is compiled to
//
//	x = input.series.env; x != nothing; not startswith(x, "dev")
//
// which changes nothing, but partial evaluation writes the first expression into
// the last one, and would forget that env has to be there.
func definedLabels(compiler *ast.Compiler) *ast.Error {
	var rules []*ast.Rule
	for _, module := range compiler.Modules {
		ast.WalkRules(module, func(rule *ast.Rule) bool {
			rules = append(rules, rule)
			return false
		})
	}
	for rule := range flowing(compiler, rules) {
		rule.Body = withDefinedLabels(rule.Body)
		ast.NewGenericVisitor(func(x any) bool {
			switch x := x.(type) {
			case *ast.ArrayComprehension:
				x.Body = withDefinedLabels(x.Body)
			case *ast.SetComprehension:
				x.Body = withDefinedLabels(x.Body)
			case *ast.ObjectComprehension:
				x.Body = withDefinedLabels(x.Body)
			case *ast.Every:
				x.Body = withDefinedLabels(x.Body)
			case *ast.Not:
				x.Body = withDefinedLabels(x.Body)
			}
			return false
		}).Walk(rule.Body)
	}
	return nil
}

func withDefinedLabels(body ast.Body) ast.Body {
	var out ast.Body
	for _, expr := range body {
		out.Append(expr)
		if expr.Negated || len(expr.With) > 0 || !expr.IsEquality() {
			continue
		}
		variable, ref := expr.Operand(0), expr.Operand(1)
		if _, isRef := variable.Value.(ast.Ref); isRef {
			variable, ref = ref, variable
		}
		_, isVar := variable.Value.(ast.Var)
		if path, isRef := ref.Value.(ast.Ref); !isVar || !isRef || isElement(path) {
			continue // a series is always there
		}
		defined := ast.NotEqual.Expr(variable.Copy(), nothing).SetLocation(expr.Location)
		defined.Generated = true
		out.Append(defined)
	}
	return out
}

// flow checks rules, which are all that an include rule depends on. fallible are
// those of them without a series that could fail: partial evaluation passes over
// an error below a not.
func flow(compiler *ast.Compiler, of *element, rules []*ast.Rule) (found problems, fallible []ast.Ref) {
	flows := flowing(compiler, rules)
	named := map[string][]*ast.Rule{}
	risk := false
	for _, rule := range rules {
		if flows[rule] {
			found = append(found, flowProblems(of, rule)...)
		}
		if !rule.Default {
			named[rule.Ref().String()] = append(named[rule.Ref().String()], rule)
		}
		risk = risk || buildsObject(rule)
	}
	for name, rules := range named {
		slices.SortFunc(rules, func(a, b *ast.Rule) int { return before(a.Location, b.Location) })
		rule := conflicting(rules)
		switch {
		case rule == nil:
		case flows[rule]:
			found = append(found, refusal(rule.Location, "%s has several values, and for one %s more than one could hold, which is an error in Rego; let each of the values have a rule of its own", name, of.name))
		default:
			risk = true
		}
	}
	if risk {
		for _, rule := range rules {
			if !flows[rule] && len(rule.Head.Args) == 0 {
				fallible = append(fallible, rule.Ref().GroundPrefix())
			}
		}
	}
	slices.SortFunc(fallible, func(a, b ast.Ref) int { return a.Compare(b) })
	slices.SortFunc(found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(found, sameLine), slices.CompactFunc(fallible, func(a, b ast.Ref) bool { return a.Equal(b) })
}

// buildsObject says whether a rule builds an object key by key, which fails
// where a key has two values.
func buildsObject(rule *ast.Rule) bool {
	found := rule.Head.RuleKind() == ast.SingleValue && !rule.Head.Ref().IsGround()
	ast.WalkTerms(rule, func(t *ast.Term) bool {
		_, ok := t.Value.(*ast.ObjectComprehension)
		found = found || ok
		return found
	})
	return found
}

func refusal(at *ast.Location, format string, args ...any) Problem {
	p := Problem{Text: fmt.Sprintf(format, args...)}
	if at != nil {
		p.File, p.Line, p.Column = at.File, at.Row, at.Col
	}
	return p
}

// flowing are the rules whose value may depend on a series, and the functions
// that may be given what does.
func flowing(compiler *ast.Compiler, rules []*ast.Rule) map[*ast.Rule]bool {
	flows, known := map[*ast.Rule]bool{}, map[*ast.Rule]bool{}
	for _, rule := range rules {
		known[rule] = true
	}
	var up func(rule *ast.Rule)
	up = func(rule *ast.Rule) {
		if flows[rule] {
			return
		}
		flows[rule] = true
		for dependent := range compiler.Graph.Dependents(rule) {
			if dependent, ok := dependent.(*ast.Rule); ok && known[dependent] {
				up(dependent)
			}
		}
	}
	for _, rule := range rules {
		if in := inputsOf([]*ast.Rule{rule}); len(in.elements) > 0 || in.whole != nil {
			up(rule)
		}
	}
	var down func(rule *ast.Rule)
	down = func(rule *ast.Rule) {
		for dependency := range compiler.Graph.Dependencies(rule) {
			if f, ok := dependency.(*ast.Rule); ok && len(f.Head.Args) > 0 && !flows[f] {
				flows[f] = true
				down(f)
			}
		}
	}
	for _, rule := range rules {
		if flows[rule] {
			down(rule)
		}
	}
	return flows
}

// flowProblems are the parts of a rule in which what depends on a series gets
// lost.
func flowProblems(of *element, rule *ast.Rule) problems {
	var out problems
	if in := inputsOf([]*ast.Rule{rule}); in.whole != nil {
		out = append(out, refusal(in.whole, "input as a whole, or a part of it that only a variable names, can't be translated; name the %s, as %s", of.part, of.example))
	}
	if rule.Else != nil {
		out = append(out, refusal(rule.Else.Location, "else can't be translated; write a second rule, which says with not that the first doesn't hold"))
	}
	if rule.Head.RuleKind() == ast.MultiValue || !rule.Head.Ref().IsGround() {
		out = append(out, refusal(rule.Location, "a set or an object that depends on a %s can't be translated; ask for its members one by one", of.name))
	}
	at := rule.Location
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if x.Location != nil {
				at = x.Location
			}
			if len(x.With) > 0 {
				out = append(out, refusal(at, "with can't be translated"))
			}
		case *ast.Term:
			if _, ok := x.Value.(*ast.ObjectComprehension); ok {
				out = append(out, refusal(at, "%v: an object comprehension here can't be translated; let it have a rule of its own", x))
			}
			if hidesMembers(x.Value) {
				out = append(out, refusal(at, "%v: a set or the keys of an object that may depend on a %s can't be translated; compare the %s with each member", x, of.name, of.part))
			}
		}
		return false
	}).Walk(rule)
	return out
}

// hidesMembers says whether v is a set, or has keys, that are not all known.
func hidesMembers(v ast.Value) bool {
	unknown := func(t *ast.Term) bool { return !ast.IsConstant(t.Value) }
	switch v := v.(type) {
	case ast.Set:
		return slices.ContainsFunc(v.Slice(), unknown)
	case ast.Object:
		return slices.ContainsFunc(v.Keys(), unknown)
	}
	return false
}

// conflicting is a rule that may hold together with another one and have
// another value; nil if there is none.
func conflicting(rules []*ast.Rule) *ast.Rule {
	same := func(a, b *ast.Rule) bool {
		return ast.IsConstant(a.Head.Value.Value) && a.Head.Value.Equal(b.Head.Value)
	}
	apart := func(a, b *ast.Rule) bool {
		for i, arg := range a.Head.Args {
			if other := b.Head.Args[i]; ast.IsConstant(arg.Value) && ast.IsConstant(other.Value) && !arg.Equal(other) {
				return true
			}
		}
		return false
	}
	for i, a := range rules {
		for _, b := range rules[:i] {
			if !same(a, b) && !apart(a, b) {
				return a
			}
		}
	}
	return nil
}
