package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// LoadError is why policy sources do not load: all of their problems. Its text
// has a line for each.
type LoadError struct{ Problems []Problem }

func (e *LoadError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one thing that is wrong, and where.
type Problem struct {
	// File is as the operator knows it; empty: not of one file.
	File string
	// Line is zero for the file as a whole.
	Line int
	// Column is zero where it isn't known.
	Column int
	Text   string
}

func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// sameLine says whether two problems are one to who reads them.
func sameLine(a, b Problem) bool { return a.String() == b.String() }

type problems []Problem

// orNil returns ps as an error.
func (ps problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return &LoadError{Problems: ps}
}

// lineOf is the line a JSON error is about; YAML's say theirs themselves.
func lineOf(text []byte, err error) int {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return 0
	}
	return 1 + strings.Count(string(text[:min(int(syntax.Offset), len(text))]), "\n")
}

func asProblems(file string, err error) problems {
	var list ast.Errors
	if errors.As(err, &list) {
		return astProblems(file, list)
	}
	return problems{{File: file, Text: err.Error()}}
}

func astProblems(file string, list ast.Errors) problems {
	found := make(problems, 0, len(list))
	for i, e := range list {
		if i > 0 && e.Code == ast.ParseErr && e.Location.Equal(list[i-1].Location) {
			continue // the parser tried to read it as something else
		}
		p := Problem{File: file, Text: e.Message}
		if e.Location != nil && e.Location.File != "" {
			p.File, p.Line, p.Column = e.Location.File, e.Location.Row, e.Location.Col
		}
		if e.Details != nil {
			for _, line := range e.Details.Lines() {
				p.Text += "\n\t" + line
			}
		}
		if what := meantBy(e.Message); what != "" && e.Details != nil {
			p.Text += "\n\t" + what
		} else if what != "" {
			p.Text += "; " + what
		}
		p.Text += advice(e.Message)
		found = append(found, p)
	}
	return found
}

// advice is what to do about a problem of the compiler's.
func advice(message string) string {
	if ref, ok := strings.CutPrefix(message, "undefined ref: "); ok && strings.HasPrefix(ref, "input.") {
		return "\n\tpolicy/rego/input.schema.json says what there is"
	}
	if strings.HasPrefix(message, "import ") && strings.HasSuffix(message, " unused") {
		return ": remove the line"
	}
	if strings.HasPrefix(message, "undefined function lib.") || message == "var lib is unsafe" {
		return "; add at the top: import data.parley.lib"
	}
	name, ok := strings.CutPrefix(message, "undefined function ")
	switch {
	case !ok:
		return ""
	case isBuiltin(name):
		return " (policies can't use what reaches the network, reads the process, gives another value at each call or makes any amount of little in one step; the time of the question is input.now)"
	}
	return helpers(name)
}

// slips are what is probably meant where OPA says these.
var slips = []struct{ said, meant string }{
	{"rule name conflicts with built-in function", `conditions stand after the word if, as x := 1 if input.signal == "logs"`},
	{"cannot assign to ref", "== compares"},
	{"unexpected : token", `what has keys is given with :=, as slo := {"name": "slo"}`},
	{"non-terminated ", "a comma is missing here or further down, or text isn't in double quotes"},
	{"unexpected and token", "what has to hold together stands in braces after if, a condition a line"},
	{"unexpected or token", "of two conditions one of which is enough, each has a rule of its own, of the same name"},
	{"unexpected div token", "a comment begins with #"},
	{"illegal ! character", "not x is the opposite of x"},
}

// meantBy is what was probably meant where OPA says message.
func meantBy(message string) string {
	for _, slip := range slips {
		if strings.Contains(message, slip.said) {
			return slip.meant
		}
	}
	if name, ok := strings.CutSuffix(message, " is unsafe"); ok && message != "var lib is unsafe" {
		return "nothing gives " + strings.TrimPrefix(name, "var ") + " a value; if it is text, it stands in double quotes"
	}
	return ""
}

// helpers names those of the library to who refers to one that there isn't.
func helpers(ref string) string {
	if !strings.HasPrefix(ref, "data.parley.lib.") {
		return ""
	}
	const file = "library/lib.rego"
	text, err := library.ReadFile(file)
	if err != nil {
		return ""
	}
	module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return ""
	}
	var names []string
	for _, rule := range module.Rules {
		names = append(names, rule.Head.Ref()[0].String())
	}
	slices.Sort(names)
	return "; parley.lib has " + strings.Join(slices.Compact(names), ", ") + ": see policy/rego/" + file
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
}
