package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

//go:embed config.go
var source string

// Manual is every key there is, with its comment and default, in the shape of
// a configuration file. It is not one: it has all of what excludes each other.
func Manual() (string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		return "", fmt.Errorf("reading the comments of the configuration: %w", err)
	}
	m := manual{structs: map[string]*ast.StructType{}}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				m.structs[spec.Name.Name] = s
			}
		}
		return true
	})
	m.section("Config", "")
	return m.out.String(), nil
}

type manual struct {
	structs map[string]*ast.StructType
	out     strings.Builder
}

func (m *manual) section(name, indent string) {
	for _, f := range m.structs[name].Fields.List {
		for line := range strings.Lines(f.Doc.Text()) {
			m.out.WriteString(indent + "# " + line)
		}
		quoted, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			panic(err) // it compiled
		}
		tag := reflect.StructTag(quoted)
		key := indent + tag.Get("yaml") + ":"
		if nested := typeName(f.Type); m.structs[nested] != nil {
			m.out.WriteString(key + "\n")
			m.section(nested, indent+"  ")
		} else {
			m.out.WriteString(strings.TrimSuffix(key+" "+tag.Get("default"), " ") + "\n")
		}
	}
}

// typeName is the name of a type of this package, or of what it points to.
func typeName(t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
