package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// reads are the parts of the input that differ from one refresh of a dashboard
// to the next and that a policy refers to, itself or through what it calls. A
// policy that reads none of them decides once for all refreshes.
type reads struct{ window, step, now bool }

// everything is what a policy reads that does not say which.
var everything = reads{window: true, step: true, now: true}

// readsOf walks the rules and everything they depend on.
func readsOf(compiler *ast.Compiler, rules []*ast.Rule) reads {
	var out reads
	seen := map[*ast.Rule]bool{}
	for len(rules) > 0 {
		rule := rules[len(rules)-1]
		rules = rules[:len(rules)-1]
		if seen[rule] {
			continue
		}
		seen[rule] = true
		out.add(rule)
		for dependency := range compiler.Graph.Dependencies(rule) {
			rule, ok := dependency.(*ast.Rule)
			if !ok {
				return everything
			}
			rules = append(rules, rule)
		}
	}
	return out
}

// add adds what x, a rule or a term of one, refers to.
func (r *reads) add(x any) {
	ast.WalkTerms(x, func(t *ast.Term) bool {
		if t.Value.Compare(ast.InputRootDocument.Value) == 0 {
			r.addRef(ast.InputRootRef)
		}
		ref, ok := t.Value.(ast.Ref)
		if !ok {
			return false
		}
		if ref.HasPrefix(ast.InputRootRef) {
			r.addRef(ref)
		}
		for _, operand := range ref[1:] {
			r.add(operand)
		}
		return true
	})
}

// addRef adds a reference to input; one that does not say to what reads all.
func (r *reads) addRef(ref ast.Ref) {
	if len(ref) == 1 {
		*r = everything
		return
	}
	name, ok := ref[1].Value.(ast.String)
	switch {
	case !ok:
		*r = everything
	case name == "window":
		r.window = true
	case name == "step_seconds":
		r.step = true
	case name == "now":
		r.now = true
	}
}
