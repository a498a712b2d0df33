package rego

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

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
	id policy.Revision
	// unavailable is why it denies everything, where there is no policy.
	unavailable string
	packages    map[string]*prepared
	// declared are all packages, each with where it decides or else begins.
	declared map[string]place
	shape    shape
	// within is of one decision; again is held by who decides once more, see bounded.
	within allowance
	again  chan struct{}
	// src and compiler are what it was compiled from and by, to explain it.
	src      *sources
	compiler *ast.Compiler
	store    storage.Store
	// The caches are of this revision alone, so that a new one starts empty.
	cache    *cache[verdict]
	included *cache[included]
}

// prepared is one package that can decide.
type prepared struct {
	name  string
	query opa.PreparedEvalQuery
	// reads are the decision's and those of whatever it may include.
	reads    reads
	includes map[string]*includeRule
	// named are the rules that the decision includes in so many words.
	named map[string]place
	// place is where it decides, for messages.
	place place
}

// place is a line of a source file.
type place struct {
	file   string
	line   int
	column int // zero where it isn't known
}

func (p place) problem(format string, args ...any) Problem {
	return Problem{File: p.file, Line: p.line, Column: p.column, Text: fmt.Sprintf(format, args...)}
}

// unbounded are functions of which one call, which can't be ended, takes any
// amount of memory or time for arguments that are small: by loops, by paths, by
// aliases, by repeating a text, by a number of bits, by pairs.
var unbounded = []string{
	"strings.render_template", "graph.reachable_paths", "yaml.unmarshal", "json.marshal_with_options", "bits.lsh",
	"net.cidr_contains_matches", "regex.globs_match",
}

// capabilities are OPA's without what reaches the network, reads the process
// or differs from call to call, since a decision depends on its input alone, and
// without what is unbounded.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		// The schema functions can load a schema from a URL.
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "net.lookup") ||
			b.Name == "json.match_schema" || b.Name == "json.verify_schema" || slices.Contains(unbounded, b.Name)
	})
	c.AllowNet = []string{}
	return c
}

// newCompiler compiles what policies may be, over the data of their folder.
func newCompiler(data map[string]any) (*ast.Compiler, error) {
	schemas, err := inputSchemas()
	if err != nil {
		return nil, err
	}
	return ast.NewCompiler().
		WithCapabilities(capabilities()).
		WithSchemas(schemas).
		WithUseTypeCheckAnnotations(true).
		WithStrict(true).
		WithStageAfterID(ast.StageRewriteDynamicTerms, ast.CompilerStageDefinition{
			Name: "DefinedLabels", MetricName: "compile_stage_defined_labels", Stage: definedLabels,
		}).
		WithPathConflictsCheck(conflicts(data)), nil
}

func compile(ctx context.Context, src *sources, config Config) (*revision, error) {
	modules, data, found := parse(src)
	if err := found.orNil(); err != nil {
		return nil, err
	}
	// Compiling moves the locations of rules to what they call.
	places := declared(modules)
	compiler, err := newCompiler(data)
	if err != nil {
		return nil, err
	}
	if compiler.Compile(modules); compiler.Failed() {
		return nil, astProblems("", compiler.Errors).orNil()
	}
	if err := unknownData(compiler, data).orNil(); err != nil {
		return nil, err
	}
	rev := &revision{
		id: src.sum(), packages: map[string]*prepared{}, declared: places, within: allowance{config.Timeout, cmp.Or(config.memory, maxMemory)}, again: make(chan struct{}, 1), src: src, compiler: compiler,
		store: inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true)),
	}
	if rev.shape, err = newShape(); err != nil {
		return nil, err
	}
	if rev.cache, err = newCache[verdict](config.CacheEntries); err != nil {
		return nil, err
	}
	if rev.included, err = newCache[included](config.CacheEntries); err != nil {
		return nil, err
	}
	for _, module := range compiler.Modules {
		ref := module.Package.Path.Append(ast.StringTerm(decisionRule))
		rules := compiler.GetRulesWithPrefix(ref)
		name := packageName(module.Package.Path)
		if len(rules) == 0 || rev.packages[name] != nil {
			continue
		}
		p, problem := rev.prepare(ctx, name, ref, rules)
		found = append(found, problem...)
		rev.packages[name] = p
	}
	for _, module := range compiler.Modules {
		if p := rev.packages[packageName(module.Package.Path)]; p != nil {
			for name, rule := range includes(compiler, module) {
				p.includes[name] = rule
				p.reads = p.reads.and(rule.inputs.reads())
			}
		}
	}
	return rev, found.orNil()
}

func (rev *revision) prepare(ctx context.Context, name string, ref ast.Ref, rules []*ast.Rule) (*prepared, problems) {
	p := &prepared{name: name, includes: map[string]*includeRule{}, reads: everything, place: rev.declared[name]}
	all, ok := reached(rev.compiler, rules)
	in := inputsOf(all)
	for _, e := range elements {
		if at := in.elements[e]; at != nil {
			return p, problems{refusal(at, "package %s: its decision depends on %v, which only the rules see that a dataset names as its include, in quotes", name, e)}
		}
	}
	if ok {
		p.reads = in.reads()
	}
	p.named = named(all)
	var err error
	p.query, err = opa.New(
		opa.Query(ref.String()),
		opa.Compiler(rev.compiler),
		opa.Store(rev.store),
		opa.Capabilities(rev.compiler.Capabilities()),
		opa.StrictBuiltinErrors(true),
	).PrepareForEval(ctx)
	if err != nil {
		return p, problems{p.place.problem("package %s: %v", name, err)}
	}
	return p, nil
}

// declared returns every package with a place in its sources: that of its first
// decision, or if it has none of the package clause.
func declared(modules map[string]*ast.Module) map[string]place {
	out, decides := map[string]place{}, map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		module := modules[file]
		name := packageName(module.Package.Path)
		if _, ok := out[name]; !ok {
			out[name] = place{file: file, line: module.Package.Location.Row, column: module.Package.Location.Col}
		}
		for _, rule := range module.Rules {
			if !decides[name] && rule.Head.Ref()[0].Value.Compare(ast.Var(decisionRule)) == 0 {
				out[name], decides[name] = place{file: file, line: rule.Location.Row, column: rule.Location.Col}, true
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

// quote is a package or file name in a message.
func quote(s string) string { return strconv.Quote(s) }
