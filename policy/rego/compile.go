package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/parley-gateway/parley/policy"
)

// The packages that decide where no agreement names one.
const (
	defaultAnswer = "parley.default.answer"
	defaultOwn    = "parley.default.own"
	defaultAsk    = "parley.default.ask"
	own           = "parley.own"
	ask           = "parley.ask"
)

// decisionRule is the rule of a package that decides.
const decisionRule = "decision"

// revision is one compiled set of sources. Nothing in it changes but the cache.
type revision struct {
	id       policy.Revision
	packages map[string]*prepared
	// declared are all packages, each with where it decides or else begins.
	declared map[string]place
	shape    shape
	timeout  time.Duration
	// cache is of this revision alone, so that a new one starts empty.
	cache *lru.Cache[string, verdict]
}

// prepared is one package that can decide.
type prepared struct {
	name  string
	query opa.PreparedEvalQuery
	reads reads
	// place is where it decides, for messages.
	place place
}

// place is a line of a source file.
type place struct {
	file string
	line int
}

func (p place) problem(format string, args ...any) Problem {
	return Problem{File: p.file, Line: p.line, Text: fmt.Sprintf(format, args...)}
}

// capabilities are OPA's without what reaches the network, reads the process
// or differs from call to call: a decision depends on its input alone.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		// The schema functions can load a schema from a URL.
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "net.lookup") ||
			b.Name == "json.match_schema" || b.Name == "json.verify_schema"
	})
	c.AllowNet = []string{}
	return c
}

func compile(ctx context.Context, src *sources, config Config) (*revision, error) {
	modules, data, problems := parse(src)
	if len(problems) > 0 {
		return nil, problems
	}
	// Compiling moves the locations of rules to what they call.
	places := declared(modules)
	schemas, err := inputSchemas()
	if err != nil {
		return nil, err
	}
	allowed := capabilities()
	compiler := ast.NewCompiler().
		WithCapabilities(allowed).
		WithSchemas(schemas).
		WithUseTypeCheckAnnotations(true).
		WithStrict(true).
		WithPathConflictsCheck(conflicts(data))
	if compiler.Compile(modules); compiler.Failed() {
		return nil, astProblems("", compiler.Errors)
	}
	if problems := unknownData(compiler, data); len(problems) > 0 {
		return nil, problems
	}
	rev := &revision{id: src.sum(), packages: map[string]*prepared{}, declared: places, timeout: config.Timeout}
	if rev.shape, err = newShape(); err != nil {
		return nil, err
	}
	if rev.cache, err = lru.New[string, verdict](config.CacheEntries); err != nil {
		return nil, fmt.Errorf("decision cache: %w", err)
	}
	store := inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	for _, module := range modules {
		ref := module.Package.Path.Append(ast.StringTerm(decisionRule))
		rules := compiler.GetRulesWithPrefix(ref)
		name := packageName(module.Package.Path)
		if len(rules) == 0 || rev.packages[name] != nil {
			continue
		}
		p, err := prepare(ctx, name, ref, compiler, store, allowed)
		if err != nil {
			return nil, err
		}
		p.reads, p.place = readsOf(compiler, rules), places[name]
		rev.packages[name] = p
	}
	return rev, nil
}

func prepare(ctx context.Context, name string, ref ast.Ref, compiler *ast.Compiler, store storage.Store, allowed *ast.Capabilities) (*prepared, error) {
	query, err := opa.New(
		opa.Query(ref.String()),
		opa.Compiler(compiler),
		opa.Store(store),
		opa.Capabilities(allowed),
		opa.StrictBuiltinErrors(true),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare policy package %s: %w", name, err)
	}
	return &prepared{name: name, query: query}, nil
}

// declared returns every package with a place in its sources: that of its first
// decision, or if it has none of the package clause.
func declared(modules map[string]*ast.Module) map[string]place {
	out, decides := map[string]place{}, map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		module := modules[file]
		name := packageName(module.Package.Path)
		if _, ok := out[name]; !ok {
			out[name] = place{file: file, line: module.Package.Location.Row}
		}
		for _, rule := range module.Rules {
			if !decides[name] && rule.Head.Ref()[0].Value.Compare(ast.Var(decisionRule)) == 0 {
				out[name], decides[name] = place{file: file, line: rule.Location.Row}, true
			}
		}
	}
	return out
}

// packageName is a package as agreements write it: its path joined by dots,
// without data.
func packageName(ref ast.Ref) string {
	parts := make([]string, 0, len(ref))
	for _, term := range ref[1:] {
		if s, ok := term.Value.(ast.String); ok {
			parts = append(parts, string(s))
		}
	}
	return strings.Join(parts, ".")
}

// reserved says whether a package belongs to the embedded library.
func reserved(name string) bool {
	return within(name, "parley.default") || within(name, "parley.lib")
}

func within(name, parent string) bool {
	return name == parent || strings.HasPrefix(name, parent+".")
}

// parse reads every file; what it returns is complete only without problems.
func parse(src *sources) (modules map[string]*ast.Module, data map[string]any, problems Problems) {
	modules, data = map[string]*ast.Module{}, map[string]any{}
	for _, f := range src.files {
		switch {
		case isSample(f):
		case path.Ext(f.path) == ".rego":
			module, err := ast.ParseModuleWithOpts(f.name, string(f.text), ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				problems = append(problems, asProblems(f.name, err)...)
				continue
			}
			problems = append(problems, checkPackage(f, module.Package)...)
			modules[f.name] = module
		default:
			if problem, ok := addData(data, f); !ok {
				problems = append(problems, problem)
			}
		}
	}
	agreements, err := roundTrip(src.agreed())
	if err != nil {
		return nil, nil, append(problems, Problem{Text: err.Error()})
	}
	if !merge(data, map[string]any{"parley": map[string]any{"agreements": agreements}}) {
		problems = append(problems, Problem{Text: "data.parley.agreements is what the gateway knows of the agreements; name the data otherwise"})
	}
	return modules, data, problems
}

// checkPackage refuses what would stand for another package.
func checkPackage(f file, p *ast.Package) Problems {
	name := packageName(p.Path)
	problem := func(text string) Problems {
		return Problems{{File: f.name, Line: p.Location.Row, Text: text}}
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

// lineOf is the line a JSON error is about; YAML's say theirs themselves.
func lineOf(text []byte, err error) int {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return 0
	}
	return 1 + strings.Count(string(text[:min(int(syntax.Offset), len(text))]), "\n")
}

// conflicts tells the compiler where data has a value, so that no rule can be
// defined over it.
func conflicts(data map[string]any) func([]string) (bool, error) {
	return func(at []string) (bool, error) {
		ref := make(ast.Ref, len(at))
		for i, part := range at {
			ref[i] = ast.StringTerm(part)
		}
		_, found := lookup(data, ref)
		return found, nil
	}
}

// unknownData finds references to data that no file has and no rule defines: a
// condition on one is undefined, and under a not even true. A key may be missing
// from an object that is there.
func unknownData(compiler *ast.Compiler, data map[string]any) Problems {
	var problems Problems
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
			if _, found := lookup(data, at); !found {
				p := Problem{Text: "nothing is at " + prefix.String() + ": no rule and no data file defines it"}
				if location := ref[0].Location; location != nil {
					p.File, p.Line = location.File, location.Row
				}
				problems = append(problems, p)
			}
			return false
		})
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Error(), b.Error()) })
	return slices.Compact(problems)
}

// lookup finds what is at a path; what is inside anything but an object counts
// as found.
func lookup(data map[string]any, at ast.Ref) (any, bool) {
	var value any = data
	for _, term := range at {
		object, isObject := value.(map[string]any)
		key, isString := term.Value.(ast.String)
		if !isObject || !isString {
			return value, true
		}
		var found bool
		if value, found = object[string(key)]; !found {
			return nil, false
		}
	}
	return value, true
}

func asProblems(file string, err error) Problems {
	var list ast.Errors
	if errors.As(err, &list) {
		return astProblems(file, list)
	}
	return Problems{{File: file, Text: err.Error()}}
}

func astProblems(file string, list ast.Errors) Problems {
	problems := make(Problems, 0, len(list))
	for _, e := range list {
		p := Problem{File: file, Text: e.Message}
		if e.Location != nil && e.Location.File != "" {
			p.File, p.Line = e.Location.File, e.Location.Row
		}
		if e.Details != nil {
			for _, line := range e.Details.Lines() {
				p.Text += "\n\t" + line
			}
		}
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok && isBuiltin(name) {
			p.Text += " (policies can't use what reaches the network, reads the process or gives another value at each call; the time of the question is input.now)"
		}
		problems = append(problems, p)
	}
	return problems
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
}

func roundTrip(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, util.UnmarshalJSON(text, &out)
}

// quote is a package or file name in a message.
func quote(s string) string { return strconv.Quote(s) }
