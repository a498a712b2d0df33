package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
)

type policyLintCommand struct {
	policySource
	output
	Deny string `enum:"info,warning,error,never" default:"error" help:"The least severity that makes the exit code 1: info, warning, error, or never (${default})."`
}

// Help is shown by parley policy lint --help.
func (*policyLintCommand) Help() string {
	return `Examples:

  parley policy lint --config gateway.yml
  parley policy lint --dir policies --deny warning -o json

It looks for what is probably not meant: labels that one dataset shows and
another one hides, cells of few, cells at any moment, rules that nothing uses,
partners whose cells could be subtracted from another's, everything released.
Selectors are compared as sets of series, whatever is in a store. What is meant
is left out if a comment on its line, or the one before, says so and why:

  # lint ignore everything, no-limits: we are one company

The exit code is 1 when a finding is as severe as --deny says, or more.`
}

// Run lints.
func (c *policyLintCommand) Run(k *kong.Kong) error {
	findings, err := c.lint(context.Background())
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, findings)
	} else {
		err = c.show(k.Stdout, findings)
	}
	denied := 0
	for _, f := range findings {
		if c.Deny != "never" && f.Severity.AtLeast(inspect.Severity(c.Deny)) {
			denied++
		}
	}
	if denied > 0 && err == nil {
		return errors.New(deniedOf(denied, len(findings), c.Deny))
	}
	return err
}

func (c *policyLintCommand) lint(ctx context.Context) ([]inspect.Finding, error) {
	folder, _, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return folder.Lint(ctx)
}

// deniedOf says how many findings are too severe.
func deniedOf(denied, all int, least string) string {
	is := "is"
	if denied != 1 {
		is = "are"
	}
	what := map[string]string{"error": "an error", "warning": "a warning or worse", "info": "worth knowing or worse"}[least]
	return fmt.Sprintf("%d of %s %s %s", denied, count(all, "finding"), is, what)
}

func (*policyLintCommand) show(w io.Writer, findings []inspect.Finding) error {
	how := styleOf(w)
	var out strings.Builder
	for _, f := range findings {
		colour := map[inspect.Severity]string{inspect.Error: red, inspect.Warning: yellow}[f.Severity]
		severity := string(f.Severity)
		if colour != "" {
			severity = how.colour(colour, severity)
		}
		at := rego.Place{File: nearby(f.Place.File), Line: f.Place.Line}
		fmt.Fprintf(&out, "%s: %s: %s\n", at, severity, f.ID)
		text := f.Text
		if len(f.For) > 0 {
			text += " (" + strings.Join(f.For, "; ") + ")"
		}
		out.WriteString(paragraph("    ", text))
		if f.Also != nil {
			fmt.Fprintf(&out, "    the other: %s\n", rego.Place{File: nearby(f.Also.File), Line: f.Also.Line})
		}
		out.WriteString(paragraph("    -> ", f.Advice))
	}
	if len(findings) == 0 {
		out.WriteString("nothing to say\n")
	}
	return write(w, &out)
}
