package rego

import (
	"context"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// operands shows an expression that isn't true with the values of what it
// compares, one to a line. OPA shows those that it remembers, and calls undefined
// what it doesn't, such as a rule that is compared with a value: these are
// evaluated once more. ok is false where there is nothing to show.
func operands(ctx context.Context, compiler *ast.Compiler, store storage.Store, e *topdown.Event) (text string, ok bool) {
	expr, is := e.Node.(*ast.Expr)
	if !is || expr.Negated || compiler == nil {
		return "", false
	}
	compared := expr.Operands()
	if term, alone := expr.Terms.(*ast.Term); alone {
		compared = []*ast.Term{term}
	}
	out := []string{strings.TrimSpace(string(expr.BaseCogeneratedExpr().Location.Text))}
	for _, operand := range compared {
		var name string
		var value ast.Value
		switch v := operand.Value.(type) {
		case ast.Var:
			meta, known := e.LocalMetadata[v]
			if value = e.Locals.Get(v); !known || value == nil {
				continue
			}
			name = string(meta.Name)
			if meta.Name.IsGenerated() && meta.Location != nil {
				name = string(meta.Location.Text)
			}
		case ast.Ref:
			if value, is = valueOf(ctx, compiler, store, v, expr.With, e.Locals); !is {
				ok = true // without it, rather than as OPA shows it
				continue
			}
			if name = v.String(); operand.Location != nil && len(operand.Location.Text) > 0 {
				name = string(operand.Location.Text)
			}
		default:
			continue
		}
		shown := "undefined"
		if value != nil {
			shown = value.String()
		}
		out = append(out, fmt.Sprintf("%s: %s", name, cutTo(shown, maxShown)))
	}
	return strings.Join(out, "\n"), ok || len(out) > 1
}

// maxShown is how much is shown of a value, in characters.
const maxShown = 60

func cutTo(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

// valueOf is the value of a reference where it stands, nil if it is undefined. ok is
// false for one that has several, or can't be evaluated.
func valueOf(ctx context.Context, compiler *ast.Compiler, store storage.Store, ref ast.Ref, with []*ast.With, locals *ast.ValueMap) (value ast.Value, ok bool) {
	plugged, err := ast.TransformVars(&ast.Expr{
		Terms: ast.Equality.Expr(ast.NewTerm(ref), ast.VarTerm("value")).Terms, With: with,
	}, func(v ast.Var) (ast.Value, error) {
		if local := locals.Get(v); local != nil {
			return local, nil
		}
		return v, nil
	})
	if err != nil {
		return nil, false
	}
	whole, isExpr := plugged.(*ast.Expr)
	if !isExpr {
		return nil, false
	}
	if ref, is := whole.Operand(0).Value.(ast.Ref); !is || !ref.IsGround() {
		return nil, false
	}
	within := allowance{proofTimeout, maxMemory}.begin(ctx)
	defer within.end()
	query, err := opa.New(opa.Compiler(compiler), opa.Store(store), opa.ParsedQuery(ast.NewBody(whole))).PrepareForEval(within.ctx)
	if err != nil {
		return nil, false
	}
	results, err := query.Eval(within.ctx, within.options(new(int))...)
	if err != nil {
		return nil, false
	}
	if len(results) == 0 {
		return nil, true
	}
	value, err = ast.InterfaceToValue(results[0].Bindings["value"])
	return value, err == nil
}
