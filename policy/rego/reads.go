package rego

import (
	"cmp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reads are the parts of the input that differ from one refresh of a dashboard
// to the next and that a policy refers to, itself or through what it calls. A
// policy that reads none of them decides once for all refreshes.
type reads struct{ window, step, now bool }

// everything is what a policy reads that does not say which.
var everything = reads{window: true, step: true, now: true}

func (r reads) and(o reads) reads {
	return reads{window: r.window || o.window, step: r.step || o.step, now: r.now || o.now}
}

// reached are rules and everything they depend on. ok is false where that is
// more than rules.
func reached(compiler *ast.Compiler, rules []*ast.Rule) (all []*ast.Rule, ok bool) {
	ok = true
	seen := map[*ast.Rule]bool{}
	rules = slices.Clone(rules)
	for len(rules) > 0 {
		rule := rules[len(rules)-1]
		rules = rules[:len(rules)-1]
		if seen[rule] {
			continue
		}
		seen[rule] = true
		all = append(all, rule)
		for dependency := range compiler.Graph.Dependencies(rule) {
			if dependency, isRule := dependency.(*ast.Rule); isRule {
				rules = append(rules, dependency)
			} else {
				ok = false
			}
		}
	}
	return all, ok
}

// inputs are the references of rules to the input.
type inputs struct {
	// paths are as much of each reference as is constant, sorted, each once.
	paths []ast.Ref
	// whole is where the input is referred to without saying to what of it; nil:
	// nowhere.
	whole *ast.Location
	// elements are where each of those is referred to that is.
	elements map[*element]*ast.Location
}

func inputsOf(rules []*ast.Rule) inputs {
	in := inputs{elements: map[*element]*ast.Location{}}
	for _, rule := range rules {
		in.add(rule, rule.Location)
	}
	slices.SortFunc(in.paths, func(a, b ast.Ref) int { return a.Compare(b) })
	in.paths = slices.CompactFunc(in.paths, func(a, b ast.Ref) bool { return a.Equal(b) })
	return in
}

// add adds what x, a rule or a term of one, refers to.
func (in *inputs) add(x any, at *ast.Location) {
	ast.WalkTerms(x, func(t *ast.Term) bool {
		at := at
		if t.Location != nil && t.Location.File != "" {
			at = t.Location
		}
		if t.Value.Compare(ast.InputRootDocument.Value) == 0 {
			in.addRef(ast.InputRootRef, at)
		}
		ref, ok := t.Value.(ast.Ref)
		if !ok {
			return false
		}
		if ref.HasPrefix(ast.InputRootRef) {
			in.addRef(ref, at)
		}
		for _, operand := range ref[1:] {
			in.add(operand, at)
		}
		return true
	})
}

func (in *inputs) addRef(ref ast.Ref, at *ast.Location) {
	if len(ref) == 1 {
		in.whole = first(in.whole, at)
		return
	}
	if _, named := ref[1].Value.(ast.String); !named {
		in.whole = first(in.whole, at)
		return
	}
	if e, ok := elementAt(ref); ok {
		in.elements[e] = first(in.elements[e], at)
		return
	}
	in.paths = append(in.paths, ref.ConstantPrefix())
}

// first is the location that comes first.
func first(a, b *ast.Location) *ast.Location {
	if a == nil || before(b, a) < 0 {
		return b
	}
	return a
}

// before orders locations by file and line.
func before(a, b *ast.Location) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Col, b.Col))
}

func (in inputs) reads() reads {
	if in.whole != nil {
		return everything
	}
	var out reads
	for _, path := range in.paths {
		switch name, _ := path[1].Value.(ast.String); name {
		case "window":
			out.window = true
		case "step_seconds":
			out.step = true
		case "now":
			out.now = true
		}
	}
	return out
}
