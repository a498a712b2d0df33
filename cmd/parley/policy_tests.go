package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

type policyTestCommand struct {
	policySource
	output
	Coverage bool `help:"Say which lines of the policies no test evaluates."`
	Verbose  bool `short:"v" help:"Name the tests that pass, too."`
}

// Help is shown by parley policy test --help.
func (*policyTestCommand) Help() string {
	return `Examples:

  parley policy test --dir policies
  parley policy test --config gateway.yml --coverage

It runs the rules named test_... of files named ..._test.rego, as opa test
does, with parley's library, the folder's data and the input's schema. With
--config data.parley.agreements is what the gateway knows of its agreements.
The exit code is 1 when a test fails, and when there is none.`
}

// Run runs the tests.
func (c *policyTestCommand) Run(k *kong.Kong) error {
	tests, dir, err := c.test(context.Background())
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, tests)
	} else {
		err = c.show(k.Stdout, dir, tests)
	}
	failed := 0
	for _, r := range tests.Results {
		if r.Outcome == rego.Failed || r.Outcome == rego.Errored {
			failed++
		}
	}
	if failed > 0 && err == nil {
		return fmt.Errorf("%d of %s failed", failed, count(len(tests.Results), "test"))
	}
	return err
}

func (c *policyTestCommand) test(ctx context.Context) (tests rego.Tests, dir string, err error) {
	from, _, err := c.open()
	if err != nil {
		return tests, "", err
	}
	if from.Bundle != nil {
		return tests, "", errors.New("the config's policies are a bundle, which holds no tests; run those of the folder it was built from, with --dir")
	}
	tests, err = rego.Test(ctx, rego.Config{
		Org: from.Org, Dir: from.Dir, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Agreements: func() []tenants.Agreement { return from.Agreements },
	}, c.Coverage)
	return tests, from.Dir, err
}

func (c *policyTestCommand) show(w io.Writer, dir string, tests rego.Tests) error {
	how := styleOf(w)
	var out strings.Builder
	passed, skipped := 0, 0
	for _, r := range tests.Results {
		switch r.Outcome {
		case rego.Passed:
			passed++
			if !c.Verbose {
				continue
			}
		case rego.Skipped:
			skipped++
		case rego.Failed, rego.Errored:
		}
		colour := map[rego.TestOutcome]string{rego.Passed: green, rego.Skipped: yellow}[r.Outcome]
		if colour == "" {
			colour = red
		}
		fmt.Fprintf(&out, "%s %s (%s)\n", how.colour(colour, string(r.Outcome)), r.Name, r.Took.Round(10*time.Microsecond))
		printWhy(&out, dir, r)
	}
	fmt.Fprintf(&out, "%d of %s passed", passed, count(len(tests.Results), "test"))
	if skipped > 0 {
		fmt.Fprintf(&out, ", %d to do", skipped)
	}
	out.WriteString("\n")
	printCoverage(&out, dir, tests.Coverage)
	return write(w, &out)
}

// printWhy prints what is known of a test that failed.
func printWhy(out *strings.Builder, dir string, r rego.TestResult) {
	indent := func(text string) string {
		return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ") + "\n"
	}
	if len(r.Cases) > 0 {
		out.WriteString(paragraph("    cases: ", strings.Join(r.Cases, ", ")))
	}
	if r.Error != "" {
		out.WriteString(paragraph("    ", r.Error))
	}
	if r.Failed != nil {
		out.WriteString("    not true, " + within(dir, r.Failed.Place) + ":\n" + indent(r.Failed.Text))
	}
	if len(r.Because) > 0 {
		out.WriteString("    conditions that weren't met on the way:\n")
		var rows [][]string
		for _, b := range r.Because {
			rows = append(rows, []string{"     ", within(dir, b.Place), b.Text})
		}
		out.WriteString(align(rows))
	}
	if r.Output != "" {
		out.WriteString("    printed:\n" + indent(r.Output))
	}
}

func printCoverage(out *strings.Builder, dir string, coverage []rego.Coverage) {
	if coverage == nil {
		return
	}
	rows := [][]string{{"COVERED", "FILE", "LINES NOT EVALUATED"}}
	for _, c := range coverage {
		var missed []string
		for _, l := range c.Missed {
			if l.First == l.Last {
				missed = append(missed, fmt.Sprint(l.First))
			} else {
				missed = append(missed, fmt.Sprintf("%d-%d", l.First, l.Last))
			}
		}
		rows = append(rows, []string{fmt.Sprintf("%.0f%%", c.Percent), within(dir, rego.Place{File: c.File}), strings.Join(missed, ", ")})
	}
	slices.SortStableFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	out.WriteString("\n" + align(rows))
}
