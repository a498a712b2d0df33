package rego

import (
	"context"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
)

// maxProbes bounds the elements that a translation is tried on.
const maxProbes = 32

// probe asks OPA of a few series, streams or spans what their translation says of
// them: one without labels, one with all the labels that matter, one for each
// alternative. They have been the same so far; where they aren't, OPA is right
// and nothing is released.
func (rev *revision) probe(e *evaluation, rule *includeRule, input ast.Value, list []alternative) error {
	query, err := opa.New(rev.options(ast.NewTerm(rule.ref))...).PrepareForEval(e.ctx)
	if err != nil {
		return err
	}
	for _, probe := range probes(list) {
		results, err := query.Eval(e.ctx, opa.EvalExternalCancel(e), opa.EvalParsedInput(rule.of.in(input, probe)))
		switch {
		case e.ctx.Err() != nil:
			return context.Cause(e.ctx)
		case err != nil:
			return fmt.Errorf("of a %s such as %v: %w", rule.of.name, asObject(probe), err)
		}
		holds := slices.ContainsFunc(list, func(a alternative) bool { return a.holds(probe) })
		if holds != results.Allowed() {
			return fmt.Errorf("OPA says %t of the %s %v and the translation %t; this is a mistake of ours, please report it", results.Allowed(), rule.of.name, asObject(probe), holds)
		}
	}
	return nil
}

// in is the input that a rule would have of an element with these labels.
func (e *element) in(input ast.Value, ls map[string]string) ast.Value {
	out := ast.NewObject()
	if object, ok := input.(ast.Object); ok {
		object.Foreach(out.Insert)
	}
	out.Insert(e.ref[1], ast.NewTerm(asObject(ls)))
	return out
}

func asObject(ls map[string]string) ast.Object {
	out := ast.NewObject()
	for name, value := range ls {
		out.Insert(ast.StringTerm(name), ast.StringTerm(value))
	}
	return out
}

func (a alternative) holds(ls map[string]string) bool {
	return !slices.ContainsFunc(a, func(c constraint) bool { return !c.allows(ls[c.label]) })
}

// probes are the labels of the elements to try.
func probes(list []alternative) []map[string]string {
	every := map[string]string{}
	for _, a := range list {
		for _, c := range a {
			every[c.label] = "any"
		}
	}
	out := []map[string]string{{}, every}
	for _, a := range list {
		ls, ok := a.example()
		if !ok {
			continue
		}
		out = append(out, ls)
		with := maps.Clone(every)
		maps.Copy(with, ls)
		if out = append(out, with); len(out) >= maxProbes {
			break
		}
	}
	return out
}

// example are labels of which the alternative holds, if some can be found.
func (a alternative) example() (map[string]string, bool) {
	out := map[string]string{}
	for _, c := range a {
		candidates := append(slices.Clone(c.oneOf), "", "any", "other")
		for _, m := range c.like {
			candidates = append(candidates, exampleOf(m.GetRegexString()))
		}
		i := slices.IndexFunc(candidates, c.allows)
		if i < 0 {
			return nil, false
		}
		if candidates[i] != "" {
			out[c.label] = candidates[i]
		}
	}
	return out, true
}

// exampleOf is a string that may match an expression.
func exampleOf(expression string) string {
	re, err := syntax.Parse(expression, syntax.Perl|syntax.DotNL)
	if err != nil {
		return ""
	}
	var b strings.Builder
	var write func(*syntax.Regexp)
	write = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpLiteral:
			b.WriteString(string(re.Rune))
		case syntax.OpCharClass:
			if len(re.Rune) > 0 {
				b.WriteRune(re.Rune[0])
			}
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			b.WriteString("x")
		case syntax.OpAlternate:
			write(re.Sub[0])
		case syntax.OpRepeat:
			for range re.Min {
				write(re.Sub[0])
			}
		case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
			for _, sub := range re.Sub {
				write(sub)
			}
		}
	}
	write(re)
	return b.String()
}
