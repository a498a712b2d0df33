package rego

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"

	"github.com/parley-gateway/parley/policy"
)

// includeRule is a rule that a dataset may name as its include: it is asked of
// each series, stream or span, which it finds in its input, without being
// evaluated for any. OPA evaluates it once as far as it goes without, and what is
// left is translated to selectors, exactly or not at all.
type includeRule struct {
	ref   ast.Ref
	place place
	// of is what it is asked of.
	of *element
	// inputs are what it reads of the input besides that: what it becomes
	// depends on nothing else.
	inputs inputs
	// refused is why it can't be translated, whatever is asked.
	refused problems
	// fallible are rules that it depends on and that could fail.
	fallible []ast.Ref
}

// includeError is why an include rule gives no selectors.
type includeError struct{ Problem }

func (e *includeError) Error() string { return e.String() }

// includes are the rules of a package that give true or false, by name.
func includes(compiler *ast.Compiler, module *ast.Module) map[string]*includeRule {
	out := map[string]*includeRule{}
	for _, rule := range module.Rules {
		name, ref := rule.Head.Ref()[0].String(), rule.Ref()
		if len(rule.Head.Ref()) != 1 || name == decisionRule || len(rule.Head.Args) > 0 || out[name] != nil {
			continue
		}
		if t := compiler.TypeEnv.GetByRef(ref); t == nil || types.Compare(t, types.B) != 0 {
			continue
		}
		all, ok := reached(compiler, compiler.GetRulesExact(ref))
		included := &includeRule{
			ref:    ref,
			place:  place{file: rule.Location.File, line: rule.Location.Row, column: rule.Location.Col},
			inputs: inputsOf(all),
		}
		of := included.inputs.askedOf()
		included.of = of[0]
		included.refused, included.fallible = flow(compiler, included.of, all)
		if len(of) > 1 {
			at := included.inputs.elements[of[1]]
			included.refused = append(problems{refusal(at, "it is asked of %v and of %v, and a dataset is of one of them; write a rule for each", of[0], of[1])}, included.refused...)
		}
		if !ok {
			included.refused = append(included.refused, included.place.problem("it depends on more than rules"))
		}
		out[name] = included
	}
	return out
}

// askedOf are the elements that are referred to; of a rule that refers to none it
// is the first.
func (in inputs) askedOf() []*element {
	out := slices.DeleteFunc(slices.Clone(elements), func(e *element) bool { return in.elements[e] == nil })
	if len(out) == 0 {
		return elements[:1]
	}
	return out
}

// named are the include rules that a decision names in so many words, each with
// where.
func named(rules []*ast.Rule) map[string]place {
	out := map[string]place{}
	for _, rule := range rules {
		ast.WalkTerms(rule, func(t *ast.Term) bool {
			object, ok := t.Value.(ast.Object)
			if !ok {
				return false
			}
			value := object.Get(ast.StringTerm("include"))
			if value == nil {
				return false
			}
			if name, ok := value.Value.(ast.String); ok && value.Location != nil {
				out[string(name)] = place{file: value.Location.File, line: value.Location.Row, column: value.Location.Col}
			}
			return false
		})
	}
	return out
}

// included is what an include rule has become.
type included struct {
	selectors []policy.Selector
	err       error
}

func (is included) bytes() int {
	size := selectorBytes(is.selectors)
	if is.err != nil {
		size += len(is.err.Error())
	}
	return size
}

// include is what a rule of the package says of each element, as selectors of
// which one has to match it. An error is an *includeError unless e has ended.
func (rev *revision) include(e *evaluation, p *prepared, name string, input ast.Value) ([]policy.Selector, error) {
	rule := p.includes[name]
	if rule == nil {
		return nil, p.lacks(name)
	}
	if len(rule.refused) > 0 {
		return nil, rule.refusal(name)
	}
	key := p.name + "\n" + name + "\n" + rule.inputs.of(input)
	cacheable := !rule.inputs.reads().now && len(key) <= maxKeyBytes
	if cacheable {
		if is, ok := rev.included.get(key); ok {
			return is.selectors, is.err
		}
	}
	var is included
	is.selectors, is.err = rev.translate(e, rule, input)
	if cause := context.Cause(e.ctx); cause != nil {
		return nil, fmt.Errorf("include rule %s: %w", name, cause)
	}
	if is.err != nil {
		is.err = rev.explain(rule, name, is.err)
	}
	if cacheable {
		rev.included.add(key, is)
	}
	return is.selectors, is.err
}

// elementOf is what an include rule is of. Of one that can't be translated nobody
// knows: it may ask for all of its input. One that asks for none of them doesn't
// say what it denies.
func (p *prepared) elementOf(name string, release policy.Release) (*element, error) {
	rule := p.includes[name]
	switch {
	case rule == nil:
		return nil, p.lacks(name)
	case len(rule.refused) > 0:
		return nil, rule.refusal(name)
	case release == policy.Deny && len(rule.inputs.elements) == 0:
		return nil, &includeError{rule.place.problem("include rule %s asks for none of input.series, input.stream and input.span, so that it doesn't say what a dataset denies: name selectors, as \"streams\": [\"{}\"], or let the decision not allow", name)}
	}
	return rule.of, nil
}

// refusal is why a rule can't be translated, whatever is asked.
func (rule *includeRule) refusal(name string) error {
	refused := rule.refused[0]
	refused.Text = fmt.Sprintf("include rule %s: %s", name, refused.Text)
	return &includeError{refused}
}

// lacks says that there is no such include rule.
func (p *prepared) lacks(name string) error {
	at, ok := p.named[name]
	if !ok {
		at = p.place
	}
	there := "none"
	if len(p.includes) > 0 {
		there = strings.Join(slices.Sorted(maps.Keys(p.includes)), ", ")
	}
	return &includeError{at.problem("include %s: package %s has no rule of this name that gives true or false and nothing else; those it has: %s", quote(name), p.name, there)}
}

// of tells inputs apart by what is read of them.
func (in inputs) of(input ast.Value) string {
	var b strings.Builder
	for _, path := range in.paths {
		if v, err := input.Find(path[1:]); err == nil {
			b.WriteString(v.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// translate evaluates a rule as far as it goes without an element, and turns the
// rest into selectors.
func (rev *revision) translate(e *evaluation, rule *includeRule, input ast.Value) ([]policy.Selector, error) {
	for _, ref := range rule.fallible {
		query, err := opa.New(append(rev.options(ast.NewTerm(ref)), opa.StrictBuiltinErrors(false))...).PrepareForEval(e.ctx)
		if err != nil {
			return nil, err
		}
		if _, err := query.Eval(e.ctx, opa.EvalExternalCancel(e), opa.EvalParsedInput(input)); err != nil {
			return nil, err
		}
	}
	query, err := opa.New(rev.options(ast.Equality.Expr(ast.NewTerm(rule.ref), ast.BooleanTerm(true)).Terms)...).PrepareForPartial(e.ctx)
	if err != nil {
		return nil, err
	}
	left, err := query.Partial(e.ctx, opa.EvalExternalCancel(e), opa.EvalParsedInput(input), opa.EvalParsedUnknowns([]*ast.Term{ast.NewTerm(rule.of.ref)}))
	if err != nil {
		return nil, err
	}
	c, err := holds(rule.of, left)
	if err != nil {
		return nil, err
	}
	list, err := alternatives(c)
	if err != nil {
		return nil, err
	}
	s, err := selectors(list)
	if err != nil {
		return nil, err
	}
	return s, rev.probe(e, rule, input, list)
}

// options are those of a query about the policies.
func (rev *revision) options(terms any) []func(*opa.Rego) {
	return []func(*opa.Rego){
		opa.ParsedQuery(ast.NewBody(ast.NewExpr(terms))),
		opa.Compiler(rev.compiler),
		opa.Store(rev.store),
		opa.Capabilities(rev.compiler.Capabilities()),
		opa.StrictBuiltinErrors(true),
	}
}

// explain says where err comes from and what can be written instead.
func (rev *revision) explain(rule *includeRule, name string, err error) error {
	at := rule.place
	var part *untranslatable
	if !errors.As(err, &part) {
		return &includeError{at.problem("include rule %s: %v", name, err)}
	}
	if l := location(part.expr); l != nil {
		at = place{file: l.File, line: l.Row, column: l.Col}
	}
	return &includeError{at.problem("include rule %s can't be translated to selectors: %v; of %s can be asked: %s", name, rev.withNames(part.Error()), rule.of.onePart, acceptedNames())}
}

// local is a variable as OPA calls it.
var local = regexp.MustCompile(`(__local\d+__)\d*`)

// withNames is a text with variables as the policy calls them.
func (rev *revision) withNames(text string) string {
	return local.ReplaceAllStringFunc(text, func(v string) string {
		if name, ok := rev.compiler.RewrittenVars[ast.Var(local.FindStringSubmatch(v)[1])]; ok {
			return string(name)
		}
		return v
	})
}

// location is where an expression comes from, as far as OPA still knows.
func location(expr *ast.Expr) *ast.Location {
	if expr.Location != nil && expr.Location.File != "" {
		return expr.Location
	}
	var out *ast.Location
	ast.WalkTerms(expr, func(t *ast.Term) bool {
		if out == nil && t.Location != nil && t.Location.File != "" {
			out = t.Location
		}
		return out != nil
	})
	return out
}
