// Package parley_test holds what is true of the tree as a whole: who may
// import whom, how folders are named, and that every package says what it is.
package parley_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/parley-gateway/parley"

// rule says what packages of the project a package may import. "x" is the
// package x; "x/..." is x and everything below it.
type rule struct {
	pkg string
	may []string
}

// table is the import table of ARCHITECTURE.md: who <- may <- what and how <-
// serve <- cmd, each importing only those to its left. The first rule whose
// pkg matches is the one that counts; a package that none matches is refused.
var table = []rule{
	{"tenants/...", []string{"tenants/..."}},

	{"policy", []string{"tenants/..."}},
	{"policy/...", []string{"tenants/...", "policy/..."}},

	// The signals don't know one another, but that logs become numbers and then
	// are evaluated and released as metrics are; peer carries all of them.
	{"federation", []string{"tenants/...", "policy"}},
	{"federation/metrics/...", []string{"tenants/...", "policy/...", "federation", "federation/redact", "federation/differencing", "federation/repetition", "federation/metrics/..."}},
	{"federation/logs/...", []string{"tenants/...", "policy/...", "federation", "federation/redact", "federation/differencing", "federation/repetition", "federation/metrics", "federation/logs/..."}},
	// Jaeger's query port speaks gRPC, as no other backend does.
	{"federation/traces/...", []string{"tenants/...", "policy/...", "federation", "federation/redact", "federation/differencing", "federation/repetition", "federation/traces/...", "proto/jaeger/..."}},
	// The wire's messages are known at the two doors only.
	{"federation/peer/...", []string{"tenants/...", "policy/...", "federation/...", "proto/..."}},
	{"federation/...", []string{"tenants/...", "policy/...", "federation/..."}},

	{"gateway/peerfront/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/...", "proto/..."}},
	// Our own users may ask for traces as they ask a Jaeger.
	{"gateway/front/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/...", "proto/jaeger/..."}},
	{"gateway/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/..."}},

	{"cmd/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/...", "cmd/..."}},

	{"proto/...", nil},
	{"tools/...", []string{"tools/..."}},
	{"deploy/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/..."}},
	// An attacker writes the messages himself.
	{"e2e/attacks", []string{"tenants/...", "policy/...", "federation/...", "gateway/...", "tools/...", "e2e/...", "proto/..."}},
	// Its tests ask as Jaeger's clients do.
	{"e2e/...", []string{"tenants/...", "policy/...", "federation/...", "gateway/...", "tools/...", "e2e/...", "proto/jaeger/..."}},
}

// forTests is what tests may import besides.
var forTests = []string{"federation/federationtest"}

// vague are names under which anything would find its place.
var vague = []string{"common", "helper", "helpers", "misc", "shared", "type", "types", "util", "utils"}

func TestImports(t *testing.T) {
	packages := readPackages(t)
	if len(packages) < 10 {
		t.Fatalf("found %d packages; is this the root of the project?", len(packages))
	}
	for _, p := range packages {
		for _, problem := range p.problems() {
			t.Error(problem)
		}
	}
}

// A table that lets everything pass would look just as green.
func TestImportsAreRefused(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		test, want   bool
	}{
		{pkg: "tenants", imports: "tenants/yamlstrict", want: true},
		{pkg: "tenants", imports: "policy"},
		{pkg: "tenants/yamlstrict", imports: "policy"},
		{pkg: "policy", imports: "tenants", want: true},
		{pkg: "policy", imports: "policy/rego"},
		{pkg: "policy/rego", imports: "policy", want: true},
		{pkg: "policy/rego", imports: "federation"},
		{pkg: "federation", imports: "policy", want: true},
		{pkg: "federation", imports: "policy/rego"},
		{pkg: "federation", imports: "federation/metrics"},
		{pkg: "federation", imports: "gateway"},
		{pkg: "federation/metrics", imports: "federation", want: true},
		{pkg: "federation/metrics", imports: "federation/logs"},
		{pkg: "federation/logs", imports: "federation/metrics", want: true},
		{pkg: "federation/logs", imports: "federation/traces"},
		{pkg: "federation/metrics", imports: "proto/parley/federation/v1"},
		{pkg: "federation/traces", imports: "proto/jaeger/api_v3", want: true},
		{pkg: "federation/traces", imports: "proto/parley/federation/v1"},
		{pkg: "gateway/front", imports: "proto/jaeger/api_v3", want: true},
		{pkg: "gateway/front", imports: "proto/parley/federation/v1"},
		{pkg: "federation/traces", imports: "federation/logs"},
		{pkg: "federation/metrics", imports: "federation/federationtest"},
		{pkg: "federation/metrics", imports: "federation/federationtest", test: true, want: true},
		{pkg: "federation/peer", imports: "proto/parley/federation/v1", want: true},
		{pkg: "federation/peer", imports: "federation/metrics", want: true},
		{pkg: "federation/peer", imports: "gateway"},
		{pkg: "gateway", imports: "federation/metrics", want: true},
		{pkg: "gateway", imports: "proto/parley/federation/v1"},
		{pkg: "gateway", imports: "gatewayish"},
		{pkg: "gateway/front", imports: "gateway", want: true},
		{pkg: "gateway/front", imports: "proto/parley/federation/v1"},
		{pkg: "gateway/front", imports: "cmd/parley"},
		{pkg: "gateway/peerfront", imports: "proto/parley/federation/v1", want: true},
		{pkg: "gateway/gatewaytest", imports: "e2e/servers", test: true},
		{pkg: "cmd/parley", imports: "gateway/front", want: true},
		{pkg: "cmd/parley", imports: "proto/parley/federation/v1"},
		{pkg: "cmd/parley", imports: "e2e/servers"},
		{pkg: "e2e", imports: "e2e/servers", want: true},
		{pkg: "e2e", imports: "cmd/parley"},
		{pkg: "newcomer", imports: "tenants"},
	} {
		p := pkg{dir: c.pkg, comments: 1}
		if c.test {
			p.testImports = []string{c.imports}
		} else {
			p.imports = []string{c.imports}
		}
		if got := len(p.problems()) == 0; got != c.want {
			t.Errorf("%s may import %s: %t, want %t", c.pkg, c.imports, got, c.want)
		}
	}
}

func TestBadPackagesAreRefused(t *testing.T) {
	for _, c := range []struct {
		p    pkg
		want string
	}{
		{pkg{dir: "gateway/utils", comments: 1}, "name"},
		{pkg{dir: "tenants/common/x", comments: 1}, "name"},
		{pkg{dir: "tenants"}, "package comment"},
		{pkg{dir: "tenants", comments: 2}, "package comment"},
		{pkg{dir: "newcomer", comments: 1}, "table"},
	} {
		problems := fmt.Sprint(c.p.problems())
		if !strings.Contains(problems, c.want) {
			t.Errorf("%+v: got %s, want something about its %s", c.p, problems, c.want)
		}
	}
}

// pkg is a package of the project, paths being relative to the project's.
type pkg struct {
	dir         string // slash-separated
	imports     []string
	testImports []string
	comments    int // how many of its files, tests aside, have a package comment
	onlyTests   bool
	generated   bool
}

// problems are sentences about p.
func (p pkg) problems() []string {
	var problems []string
	for name := range strings.SplitSeq(p.dir, "/") {
		if slices.Contains(vague, name) {
			problems = append(problems, fmt.Sprintf("%s: the name %s fits anything; name the folder after what it owns", p.dir, name))
		}
	}
	if p.comments != 1 && !p.onlyTests && !p.generated {
		problems = append(problems, fmt.Sprintf("%s: %d files have a package comment, want one", p.dir, p.comments))
	}
	if p.dir == "." {
		return problems
	}
	i := slices.IndexFunc(table, func(r rule) bool { return matches(r.pkg, p.dir) })
	if i < 0 {
		return append(problems, fmt.Sprintf("%s: the import table has no rule for it", p.dir))
	}
	may := append([]string{p.dir}, table[i].may...) // an external test imports its own package
	for _, imported := range p.imports {
		if !matchesAny(may, imported) {
			problems = append(problems, fmt.Sprintf("%s imports %s; by the import table it may import only %q", p.dir, imported, table[i].may))
		}
	}
	may = append(may, forTests...)
	for _, imported := range p.testImports {
		if !matchesAny(may, imported) {
			problems = append(problems, fmt.Sprintf("a test in %s imports %s; by the import table it may import only %q", p.dir, imported, may[1:]))
		}
	}
	return problems
}

func matches(pattern, dir string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return dir == below || strings.HasPrefix(dir, below+"/")
	}
	return dir == pattern
}

func matchesAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, dir) })
}

// readPackages parses the imports of every Go file of the project, whatever
// its build constraints; nested modules are left out.
func readPackages(t *testing.T) []pkg {
	t.Helper()
	found := map[string]*pkg{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(name, entry)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		if found[dir] == nil {
			found[dir] = &pkg{dir: dir, onlyTests: true}
		}
		return found[dir].read(name)
	})
	if err != nil {
		t.Fatalf("reading the packages of the project: %v", err)
	}
	var packages []pkg
	for _, p := range found {
		packages = append(packages, *p)
	}
	slices.SortFunc(packages, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return packages
}

// skip says which folders hold no package of the project.
func skip(name string, entry fs.DirEntry) error {
	if name == "." {
		return nil
	}
	if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" {
		return fs.SkipDir
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	if err == nil {
		return fs.SkipDir
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// read adds what the file name imports.
func (p *pkg) read(name string) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	isTest := strings.HasSuffix(name, "_test.go")
	p.onlyTests = p.onlyTests && isTest
	p.generated = p.generated || strings.HasSuffix(name, ".pb.go")
	if file.Doc != nil && !isTest {
		p.comments++
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		ours, ok := strings.CutPrefix(imported, modulePath+"/")
		switch {
		case !ok:
		case isTest:
			p.testImports = append(p.testImports, ours)
		default:
			p.imports = append(p.imports, ours)
		}
	}
	return nil
}
