package rego

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Inventory is what the policy that decides was loaded from.
type Inventory struct {
	Revision policy.Revision `json:"revision"`
	// Packages are those of the folder and of the library, sorted by name.
	Packages []Package `json:"packages"`
	// Samples is how many questions of the folder were tried.
	Samples int `json:"samples"`
	// Strings are those written in the folder's Rego, sorted, each once.
	Strings []string `json:"-"`
	// Asked are the signals of whose series, streams or spans its rules ask, sorted.
	Asked []tenants.Signal `json:"-"`
	// Comments are those of the folder's Rego, each where it is.
	Comments []Comment `json:"-"`
}

// Comment is one line of comment in a policy.
type Comment struct {
	Place Place
	// Text is without the # that it begins with.
	Text string
}

// Package is a Rego package.
type Package struct {
	Name string `json:"name"`
	// Place is where it decides first, or else begins.
	Place Place `json:"place"`
	// Decides says whether it has a rule named decision.
	Decides bool `json:"decides"`
	// Answers says whether an agreement may name it.
	Answers bool `json:"answers"`
	// Library says whether it is one of parley's own.
	Library bool `json:"library"`
	// Purposes are those its own files speak of, sorted.
	Purposes []tenants.Purpose `json:"purposes,omitempty"`
	// Reads are the parts of the input that its decisions depend on, itself or
	// through what it calls: names of input.schema.json, such as kind or
	// principal.case, sorted. One is "input" if it does not say which.
	Reads []string `json:"reads,omitempty"`
}

// DependsOn says whether a package's decisions depend on one of these parts of
// the input.
func (p Package) DependsOn(parts ...string) bool {
	return slices.ContainsFunc(p.Reads, func(read string) bool { return read == wholeInput || slices.Contains(parts, read) })
}

const wholeInput = "input"

// Place is a line of a file as the operator knows it.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Inventory returns what was loaded.
func (p *Policies) Inventory() Inventory {
	rev := p.current.Load()
	modules, _, _ := parse(rev.src) // they have been parsed before
	out := Inventory{Revision: rev.id}
	for _, name := range slices.Sorted(maps.Keys(rev.declared)) {
		at := rev.declared[name]
		pkg := Package{Name: name, Place: Place{File: at.file, Line: at.line}, Decides: rev.packages[name] != nil, Library: reserved(name)}
		pkg.Answers = pkg.Decides && !pkg.Library && answers(name)
		for _, module := range modules {
			if packageName(module.Package.Path) == name {
				pkg.speaksOf(module)
			}
		}
		if pkg.Decides {
			ref := ast.DefaultRootRef.Concat(pathOf(name)).Append(ast.StringTerm(decisionRule))
			pkg.Reads = partsRead(rev.compiler, rev.compiler.GetRulesWithPrefix(ref))
		}
		pkg.Purposes = sorted(pkg.Purposes)
		out.Packages = append(out.Packages, pkg)
	}
	for _, f := range rev.src.files {
		if isSample(f) {
			out.Samples++
		}
		if module := modules[f.name]; module != nil && !f.library {
			out.Strings = append(out.Strings, stringsIn(module)...)
			ast.WalkRefs(module, func(ref ast.Ref) bool {
				if e, ok := elementAt(ref); ok {
					out.Asked = append(out.Asked, e.signal)
				}
				return false
			})
			for _, c := range module.Comments {
				out.Comments = append(out.Comments, Comment{Place: placeOf(c.Location), Text: strings.TrimSpace(string(c.Text))})
			}
		}
	}
	out.Strings, out.Asked = sorted(out.Strings), sorted(out.Asked)
	return out
}

// Unreached returns the rules of the folder that no decision depends on and no
// dataset includes, in the order of their places.
func (p *Policies) Unreached() []Rule {
	rev := p.current.Load()
	var roots []*ast.Rule
	for _, pkg := range rev.packages {
		path := ast.DefaultRootRef.Concat(pathOf(pkg.name))
		roots = append(roots, rev.compiler.GetRulesWithPrefix(path.Append(ast.StringTerm(decisionRule)))...)
		for name := range pkg.named {
			if included := pkg.includes[name]; included != nil {
				roots = append(roots, rev.compiler.GetRulesExact(included.ref)...)
			}
		}
	}
	used, _ := reached(rev.compiler, roots)
	var out []Rule
	for _, module := range rev.compiler.Modules {
		for _, rule := range module.Rules {
			if rev.own(rule.Location) && !slices.Contains(used, rule) {
				name := packageName(module.Package.Path) + "." + rule.Head.Ref().String()
				out = append(out, Rule{Name: name, Place: placeOf(rule.Location), Default: rule.Default})
			}
		}
	}
	slices.SortFunc(out, func(a, b Rule) int {
		return cmp.Or(strings.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line))
	})
	return slices.Compact(out)
}

func sorted[T ~string](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

// pathOf is the inverse of packageName.
func pathOf(name string) []*ast.Term {
	var out []*ast.Term
	for part := range strings.SplitSeq(name, ".") {
		out = append(out, ast.StringTerm(part))
	}
	return out
}

// Package returns one by name.
func (i Inventory) Package(name string) (Package, bool) {
	at := slices.IndexFunc(i.Packages, func(p Package) bool { return p.Name == name })
	if at < 0 {
		return Package{}, false
	}
	return i.Packages[at], true
}

var (
	purposeRef  = ast.MustParseRef("input.principal.purpose")
	purposesRef = ast.MustParseRef("input.principal.purposes")
)

// speaksOf adds the purposes that a module compares the question's with.
func (p *Package) speaksOf(module *ast.Module) {
	ast.WalkExprs(module, func(e *ast.Expr) bool {
		found := false
		ast.WalkRefs(e, func(ref ast.Ref) bool {
			found = found || ref.HasPrefix(purposeRef) || ref.HasPrefix(purposesRef)
			return found
		})
		if !found {
			return false
		}
		for _, s := range stringsIn(e) {
			if purpose, err := tenants.ParsePurpose(s); err == nil {
				p.Purposes = append(p.Purposes, purpose)
			}
		}
		return false
	})
}

// stringsIn are the strings written in Rego, those of references aside.
func stringsIn(x any) []string {
	var out []string
	ast.WalkTerms(x, func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Ref:
			for _, part := range v[1:] {
				if _, isString := part.Value.(ast.String); !isString {
					out = append(out, stringsIn(part)...)
				}
			}
			return true
		case ast.String:
			out = append(out, string(v))
		}
		return false
	})
	return out
}

// partsRead are the parts of the input that rules and all they depend on refer
// to, sorted.
func partsRead(compiler *ast.Compiler, rules []*ast.Rule) []string {
	all, ok := reached(compiler, rules)
	in := inputsOf(all)
	var out []string
	if !ok || in.whole != nil {
		out = append(out, wholeInput)
	}
	for _, path := range in.paths {
		out = append(out, part(path))
	}
	return sorted(out)
}

// part is what a reference to the input is to, the principal's parts by name.
func part(ref ast.Ref) string {
	var names []string
	for _, term := range ref[1:min(len(ref), 3)] {
		name, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		if names = append(names, string(name)); name != "principal" {
			break
		}
	}
	if len(names) == 0 || len(names) == 1 && names[0] == "principal" {
		return wholeInput
	}
	return strings.Join(names, ".")
}
