package main

import (
	"errors"
	"io"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// problem is one thing that is wrong with a config, an agreement or a policy.
type problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Column counts from 1; 0 where it isn't known.
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// problemReport is what a command prints for programs that has nothing else to
// print.
type problemReport struct {
	Problems []problem `json:"problems"`
}

// problemsOf are those that an error is of: one by one where it knows them.
func problemsOf(err error) []problem {
	out := []problem{}
	if several, ok := err.(interface{ Unwrap() []error }); ok { // as of errors.Join
		for _, e := range several.Unwrap() {
			out = append(out, problemsOf(e)...)
		}
		return out
	}
	var files yamlstrict.Problems
	var policies *rego.LoadError
	switch {
	case err == nil:
	case errors.As(err, &files):
		for _, p := range files {
			out = append(out, problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Text})
		}
	case errors.As(err, &policies):
		for _, p := range policies.Problems {
			out = append(out, problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Text})
		}
	default:
		out = append(out, problem{Message: err.Error()})
	}
	return out
}

// failed prints to programs what keeps a command from its result, and returns the
// command's error. How it was called is not for them to read.
func (o output) failed(w io.Writer, err error) error {
	var exit exitError
	if o.Output != "json" || errors.As(err, &exit) {
		return err
	}
	problems := problemsOf(err)
	if err := printJSON(w, problemReport{problems}); err != nil {
		return err
	}
	return found(len(problems), "problem")
}
