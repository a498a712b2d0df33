package rego

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// parse reads every file; what it returns is complete only without problems.
func parse(src *sources) (modules map[string]*ast.Module, data map[string]any, found problems) {
	modules, data = map[string]*ast.Module{}, map[string]any{}
	for _, f := range src.files {
		switch {
		case isSample(f):
		case path.Ext(f.path) == ".rego":
			module, err := ast.ParseModuleWithOpts(f.name, string(f.text), ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				found = append(found, asProblems(f.name, err)...)
				continue
			}
			found = append(found, checkPackage(f, module.Package)...)
			modules[f.name] = module
		default:
			if problem, ok := addData(data, f); !ok {
				found = append(found, problem)
			}
		}
	}
	agreements, err := roundTrip(src.agreed())
	if err != nil {
		return nil, nil, append(found, Problem{Text: err.Error()})
	}
	if !merge(data, map[string]any{"parley": map[string]any{"agreements": agreements}}) {
		found = append(found, Problem{Text: "data.parley.agreements is what the gateway knows of the agreements; name the data otherwise"})
	}
	return modules, data, found
}

// checkPackage refuses what would stand for another package.
func checkPackage(f file, p *ast.Package) problems {
	name := packageName(p.Path)
	problem := func(text string) problems {
		return problems{{File: f.name, Line: p.Location.Row, Column: p.Location.Col, Text: text}}
	}
	for _, term := range p.Path[1:] {
		if s, ok := term.Value.(ast.String); !ok || strings.Contains(string(s), ".") {
			return problem(fmt.Sprintf("package %s: the parts of a package's name can't hold dots", name))
		}
	}
	if !f.library && reserved(name) {
		return problem(fmt.Sprintf("package %s belongs to the embedded library; to decide for our own users write %s or %s, for a partner a package that its agreement names", name, own, ask))
	}
	return nil
}

// addData merges a data file under the names of its folders.
func addData(data map[string]any, f file) (Problem, bool) {
	var value any
	unmarshal := util.Unmarshal
	if path.Ext(f.path) == ".json" {
		unmarshal = util.UnmarshalJSON
	}
	if err := unmarshal(f.text, &value); err != nil {
		return Problem{File: f.name, Line: lineOf(f.text, err), Text: err.Error()}, false
	}
	if dir := path.Dir(f.path); dir != "." {
		parts := strings.Split(dir, "/")
		for _, part := range slices.Backward(parts) {
			value = map[string]any{part: value}
		}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return Problem{File: f.name, Text: "want an object at the top"}, false
	}
	if !merge(data, object) {
		return Problem{File: f.name, Text: "a value is given here and in another data file"}, false
	}
	return Problem{}, true
}

// merge adds b to a, object by object; false if both have a value at one place.
func merge(a, b map[string]any) bool {
	for key, value := range b {
		existing, ok := a[key]
		if !ok {
			a[key] = value
			continue
		}
		left, isLeft := existing.(map[string]any)
		right, isRight := value.(map[string]any)
		if !isLeft || !isRight || !merge(left, right) {
			return false
		}
	}
	return true
}

// conflicts tells the compiler where data has a value, so that no rule can be
// defined over it.
func conflicts(data map[string]any) func([]string) (bool, error) {
	return func(at []string) (bool, error) {
		ref := make(ast.Ref, len(at))
		for i, part := range at {
			ref[i] = ast.StringTerm(part)
		}
		return has(data, ref), nil
	}
}

// unknownData finds references to data that no file has and no rule defines: a
// condition on one is undefined, and under a not even true. A key may be missing
// from an object that is there.
func unknownData(compiler *ast.Compiler, data map[string]any) problems {
	var found problems
	for _, module := range compiler.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.DefaultRootRef) || ref.Equal(module.Package.Path) {
				return false
			}
			prefix := ref.ConstantPrefix()
			if len(prefix) < 2 || len(compiler.GetRules(prefix)) > 0 || len(compiler.GetRulesWithPrefix(prefix)) > 0 {
				return false
			}
			at := prefix[1:max(2, len(prefix)-1)]
			if !has(data, at) {
				p := Problem{Text: "nothing is at " + prefix.String() + ": no rule and no data file defines it" + helpers(prefix.String())}
				if location := locationOf(module, ref); location != nil {
					p.File, p.Line, p.Column = location.File, location.Row, location.Col
				}
				found = append(found, p)
			}
			return false
		})
	}
	slices.SortFunc(found, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return slices.CompactFunc(found, sameLine)
}

// locationOf is where a reference is written. Compiling gives the terms that
// come from an import the place of another reference through it, or leaves them
// that of the import.
func locationOf(module *ast.Module, ref ast.Ref) *ast.Location {
	last := ref[len(ref)-1].Location
	if last == nil || slices.ContainsFunc(module.Imports, func(i *ast.Import) bool { return i.Location != nil && i.Location.Row == last.Row }) {
		return ref[0].Location
	}
	return last
}

// has says whether there is something at a path, which whatever is inside
// anything but an object counts for.
func has(data map[string]any, at ast.Ref) bool {
	var value any = data
	for _, term := range at {
		object, isObject := value.(map[string]any)
		key, isString := term.Value.(ast.String)
		if !isObject || !isString {
			return true
		}
		var found bool
		if value, found = object[string(key)]; !found {
			return false
		}
	}
	return true
}

func roundTrip(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, util.UnmarshalJSON(text, &out)
}
