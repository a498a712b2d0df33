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
	Text string
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
		found = append(found, p)
	}
	return found
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
}
