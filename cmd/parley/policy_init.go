package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

type policyInitCommand struct {
	Template string `arg:"" optional:"" help:"The template to start from; without it they are listed."`
	Partner  string `placeholder:"PARTNER" help:"The partner that is to be answered."`
	Dir      string `placeholder:"DIR" type:"path" help:"The folder to write the policy and its tests to; without it the policy is printed."`
}

// Help is shown by parley policy init --help.
func (*policyInitCommand) Help() string {
	return `Examples:

  parley policy init
  parley policy init slo-only --partner globex
  parley policy init slo-only --partner globex --dir policies

It writes a policy to start from. Nothing that is there is overwritten.`
}

// Run lists templates, or writes one.
func (c *policyInitCommand) Run(k *kong.Kong) error {
	list, err := rego.Templates()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(t rego.Template) bool { return t.Name == c.Template })
	switch {
	case c.Template == "":
		return listTemplates(k.Stdout, list)
	case at < 0:
		var names []string
		for _, t := range list {
			names = append(names, t.Name)
		}
		return usage("there is no template %s; there are %s", c.Template, strings.Join(names, ", "))
	case c.Partner == "":
		return usage("--partner: say whom the policy is to answer, such as --partner globex")
	}
	partner, err := tenants.ParseOrgID(c.Partner)
	if err != nil {
		return usage("--partner: %w", err)
	}
	files, pkg, err := list[at].For(partner)
	if err != nil {
		return err
	}
	if c.Dir == "" {
		if _, err := io.WriteString(k.Stdout, files[string(partner)+".rego"]); err != nil {
			return fmt.Errorf("writing the policy: %w", err)
		}
		return nil
	}
	if err := c.write(files); err != nil {
		return err
	}
	dir := nearby(c.Dir)
	_, err = fmt.Fprintf(k.Stdout, `%s
The agreement with %s has to name it:

  policy: %s

See what it does, and change it to what you mean:

  parley policy test --dir %s
  parley policy check --dir %s
`, strings.Join(c.names(files), "\n"), partner, pkg, dir, dir)
	return err
}

func listTemplates(w io.Writer, list []rego.Template) error {
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{t.Name, t.About})
	}
	var out strings.Builder
	out.WriteString(tabulate(rows))
	out.WriteString("\nparley policy init TEMPLATE --partner PARTNER prints one.\n")
	return write(w, &out)
}

// names are those of the files that are written.
func (c *policyInitCommand) names(files map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, nearby(filepath.Join(c.Dir, name)))
	}
	return out
}

// write writes all of the files, or none where one is there.
func (c *policyInitCommand) write(files map[string]string) error {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of policies: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := os.Lstat(filepath.Join(c.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already, and is left as it is", nearby(filepath.Join(c.Dir, name)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(files[name]), 0o600); err != nil {
			return fmt.Errorf("write the policy: %w", err)
		}
	}
	return nil
}
