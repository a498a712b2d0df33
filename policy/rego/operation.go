package rego

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// operation says of which values of a label a built-in function is true.
type operation struct {
	// label is the operand that may be a label: its place, or any.
	label int
	// values are those for which it is true, the other operands given.
	values func(others []ast.Value) (values, error)
	// negated: those for which it is false.
	negated bool
}

const anyOperand = -1

// accepted are the functions of labels that can be translated.
var accepted = map[string]operation{
	ast.Equality.Name:   {label: anyOperand, values: equalTo},
	ast.Equal.Name:      {label: anyOperand, values: equalTo},
	ast.NotEqual.Name:   {label: anyOperand, values: equalTo, negated: true},
	ast.Member.Name:     {label: 0, values: membersOf},
	ast.StartsWith.Name: {label: 0, values: ofString(startingWith)},
	ast.EndsWith.Name:   {label: 0, values: ofString(endingWith)},
	ast.Contains.Name:   {label: 0, values: ofString(containing)},
	ast.RegexMatch.Name: {label: 1, values: ofString(finding)},
	ast.GlobMatch.Name:  {label: 2, values: ofGlob},
}

// of says when the function is true of operands that are all there.
func (o operation) of(e *element, operator string, operands []valueCase) (condition, error) {
	var others []ast.Value
	var at []int
	for i, operand := range operands {
		switch {
		case operand.element != nil:
			if len(operands) == 2 && o.negated && slices.ContainsFunc(operands, func(c valueCase) bool { return c.constant != nil && c.constant.Compare(nothing.Value) == 0 }) {
				return always, nil
			}
			return nil, e.whole()
		case operand.constant == nil:
			at = append(at, i)
		default:
			others = append(others, operand.constant)
		}
	}
	if len(at) == 0 {
		return constantCall(operator, others)
	}
	label := operands[at[0]].label
	switch {
	case len(at) == 2 && o.label == anyOperand && operands[at[1]].label == label:
		return negatedIf(always, o.negated), nil
	case len(at) > 1:
		return nil, fmt.Errorf("%s (%s) can be compared with what is known without the %s, not with another %s (%s)", e.onePart, label, e.name, e.part, operands[at[1]].label)
	case o.label != anyOperand && at[0] != o.label:
		return nil, fmt.Errorf("%s with %s (%s) in this place can't be translated", asWritten(operator), e.onePart, label)
	}
	of, err := o.values(others)
	if err != nil {
		return nil, err
	}
	for _, value := range of.oneOf {
		if err := e.equal(label, value); err != nil {
			return nil, err
		}
	}
	return negatedIf(test{label: label, values: of}, o.negated), nil
}

func negatedIf(c condition, negated bool) condition {
	if negated {
		return c.not()
	}
	return c
}

// constantCall evaluates a function of which everything is known.
func constantCall(operator string, operands []ast.Value) (condition, error) {
	if isEquality(operator) {
		operator = ast.Equal.Name
	}
	args := make([]*ast.Term, len(operands))
	for i, v := range operands {
		args[i] = ast.NewTerm(v)
	}
	out := never
	err := topdown.GetBuiltin(operator)(topdown.BuiltinContext{}, args, func(result *ast.Term) error {
		if result.Value.Compare(ast.Boolean(true)) == 0 {
			out = always
		}
		return nil
	})
	return out, err
}

func equalTo(others []ast.Value) (values, error) { return texts(others) }

func membersOf(others []ast.Value) (values, error) {
	var members []ast.Value
	add := func(t *ast.Term) { members = append(members, t.Value) }
	switch c := others[0].(type) {
	case *ast.Array:
		c.Foreach(add)
	case ast.Set:
		c.Foreach(add)
	case ast.Object:
		c.Foreach(func(_, v *ast.Term) { add(v) })
	default:
		return values{}, fmt.Errorf("nothing is in %s: it is no list", cutTo(c.String(), maxShown))
	}
	return texts(members)
}

// texts are the values that can be those of a label. Null is there where a
// label is missing; anything else that isn't text is a mistake.
func texts(list []ast.Value) (values, error) {
	out := []string{}
	for _, v := range list {
		switch v := v.(type) {
		case ast.String:
			// An empty label isn't there, so it is equal to nothing.
			if v != "" {
				out = append(out, string(v))
			}
		case ast.Null:
		default:
			if v.Compare(nothing.Value) == 0 {
				continue
			}
			return values{}, neverEqual(v)
		}
	}
	return values{oneOf: out}, nil
}

// neverEqual says why nothing is equal to a value, and what was probably meant.
func neverEqual(v ast.Value) error {
	meant := "a number is written in quotes"
	switch v.(type) {
	case *ast.Array, ast.Set, ast.Object:
		meant = "in asks for one of a list, as x in [\"a\", \"b\"]"
	}
	return fmt.Errorf("labels and attributes are text and never equal to %s; %s", cutTo(v.String(), maxShown), meant)
}

func ofString(f func(string) (values, error)) func([]ast.Value) (values, error) {
	return func(others []ast.Value) (values, error) {
		s, ok := others[0].(ast.String)
		if !ok {
			return values{}, fmt.Errorf("%v is not text", others[0])
		}
		return f(string(s))
	}
}

func ofGlob(others []ast.Value) (values, error) {
	pattern, ok := others[0].(ast.String)
	if !ok {
		return values{}, fmt.Errorf("%v is not text", others[0])
	}
	if _, none := others[1].(ast.Null); none {
		return globbed(string(pattern), nil)
	}
	delimiters, err := builtins.RuneSliceOperand(others[1], 2)
	if err != nil {
		return values{}, err
	}
	if len(delimiters) == 0 {
		delimiters = []rune{'.'}
	}
	return globbed(string(pattern), delimiters)
}

// asWritten is a built-in function as policies write it.
func asWritten(operator string) string {
	if b, ok := ast.BuiltinMap[operator]; ok && b.Infix != "" {
		return b.Infix
	}
	return operator
}

func isEquality(operator string) bool {
	return operator == ast.Equality.Name || operator == ast.Equal.Name
}

// acceptedNames says what may be asked of a label or an attribute.
func acceptedNames() string {
	names := []string{"not"}
	for operator := range accepted {
		if operator != ast.Equality.Name {
			names = append(names, asWritten(operator))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
