package rego

import (
	"io/fs"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"
)

// The library's own tests, run as `opa test` would, with what policies may use.
func TestLibrary(t *testing.T) {
	modules := map[string]*ast.Module{}
	files, err := fs.Glob(library, "library/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(library, name)
		if err != nil {
			t.Fatal(err)
		}
		if modules[name], err = ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1}); err != nil {
			t.Fatal(err)
		}
	}
	schemas, err := inputSchemas()
	if err != nil {
		t.Fatal(err)
	}
	results, err := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities()).WithSchemas(schemas).WithStrict(true)).
		RaiseBuiltinErrors(true).
		SetModules(modules).
		RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for result := range results {
		count++
		if !result.Pass() {
			t.Errorf("%s: %v %v", result.Location, result, result.Error)
		}
	}
	if count < 10 {
		t.Errorf("only %d tests were found", count)
	}
}
