package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/policy/inspect"
)

type policyDiffCommand struct {
	Old string `arg:"" type:"path" help:"The folder of policies as they were."`
	New string `arg:"" type:"path" help:"The folder as it is to be."`

	Config   string `placeholder:"FILE" type:"path" help:"A gateway's config, for its agreements; without it a partner is assumed for every package that could answer one."`
	ExitCode bool   `help:"Exit with 2 when something changes."`
	output
}

// Help is shown by parley policy diff --help.
func (*policyDiffCommand) Help() string {
	return `Examples:

  parley policy diff /etc/parley/policies next
  parley policy diff --config gateway.yml --exit-code main/policies policies

Sample questions of every partner, for every purpose, are decided by both: what
is newly allowed, newly denied, or released otherwise is printed. Questions that
were really asked are decided again by parley policy replay.
A partner whose policy is missing in one of the folders is denied there.
The exit code is 0 also when something changes; with --exit-code it is 2 then.`
}

// Run compares.
func (c *policyDiffCommand) Run(k *kong.Kong) error {
	changes, err := c.diff(context.Background())
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, changes)
	} else {
		err = showChanges(k.Stdout, changes)
	}
	if c.ExitCode && len(changes) > 0 && err == nil {
		return exitError{found(len(changes), "change"), codeOfChanges}
	}
	return err
}

func (c *policyDiffCommand) diff(ctx context.Context) ([]inspect.Change, error) {
	now := time.Now()
	policies := inspect.Config{}
	if c.Config != "" {
		var err error
		if policies, _, err = (policySource{Config: c.Config}).open(); err != nil {
			return nil, err
		}
	}
	policies.Now = func() time.Time { return now }
	var folders []*inspect.Folder
	for _, dir := range []string{c.Old, c.New} {
		folderOf, err := from(policies, dir)
		if err != nil {
			return nil, err
		}
		folderOf.Partial = true // a partner whose policy is missing is newly denied
		folder, err := inspect.Load(ctx, folderOf)
		if err != nil {
			return nil, fmt.Errorf("the policies in %s don't load:\n%w", nearby(dir), err)
		}
		folders = append(folders, folder)
	}
	changes, err := inspect.Diff(ctx, folders[0], folders[1])
	if changes == nil {
		changes = []inspect.Change{}
	}
	return changes, err
}

func showChanges(w io.Writer, changes []inspect.Change) error {
	how := styleOf(w)
	var out strings.Builder
	about := ""
	for _, c := range changes {
		if head := asks(c.Partner, c.Purpose, c.Emergency); head != about {
			if about != "" {
				out.WriteString("\n")
			}
			about = head
			out.WriteString(how.colour(bold, head) + "\n")
		}
		if c.Questions < c.Of {
			out.WriteString(paragraph("  ", ofWhich(c)))
		}
		for _, d := range c.Differences {
			out.WriteString(showDifference(how, d))
		}
	}
	if len(changes) == 0 {
		out.WriteString("nothing changes for the sample questions\n")
	}
	return write(w, &out)
}

// showDifference begins a line with + where more is answered, with - where less,
// and with ~ where that isn't said.
func showDifference(how style, d inspect.Difference) string {
	switch d.Kind {
	case inspect.NewlyAllowed:
		return paragraph("  "+how.colour(green, "+")+" ", "newly allowed: "+d.Text)
	case inspect.NewlyDenied:
		return paragraph("  "+how.colour(red, "-")+" ", "newly denied: "+d.Text)
	}
	return paragraph("  "+how.colour(yellow, "~")+" ", d.Text)
}

// ofWhich says which of the sample questions a change is about.
func ofWhich(c inspect.Change) string {
	var examples []string
	for _, s := range c.Examples {
		example := string(s.Kind)
		if s.Case != "" {
			example += " with a case"
		}
		examples = append(examples, example)
	}
	return fmt.Sprintf("of %d of %s, such as %s of %s:", c.Questions, count(c.Of, "sample question"), strings.Join(examples, ", "), cmp.Or(c.Examples[0].Metric, string(c.Examples[0].Signal)))
}
