package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

type policyCommand struct {
	Init    policyInitCommand    `cmd:"" help:"Write a policy to start from."`
	Check   policyCheckCommand   `cmd:"" help:"Load policies as serve would, and say everything that is wrong with them."`
	Test    policyTestCommand    `cmd:"" help:"Run the policies' tests, with OPA's test runner."`
	Explain policyExplainCommand `cmd:"" help:"Say what policy makes of a question, and which lines say so."`
	Try     policyTryCommand     `cmd:"" help:"Ask your own data as a partner would, beside what is there."`
	Lint    policyLintCommand    `cmd:"" help:"Look for what is probably not meant."`
	Catalog policyCatalogCommand `cmd:"" help:"Say what a partner may ask, to hand it over."`
	Diff    policyDiffCommand    `cmd:"" help:"Say what other policies would decide otherwise."`
	Replay  policyReplayCommand  `cmd:"" help:"Decide recorded questions once more, by other policies."`
}

// policySource is which policies a command is about.
type policySource struct {
	Config string `xor:"policies" required:"" placeholder:"FILE" type:"path" help:"A gateway's config, which names its policies and agreements."`
	Dir    string `xor:"policies" required:"" placeholder:"DIR" type:"path" help:"A folder of policies alone."`
}

// output is how a command prints.
type output struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text, or json for programs: what doesn't load is then a list named problems."`
}

// open reads the config and the agreements, and says which policies to load.
func (s policySource) open() (inspect.Config, *config.Config, error) {
	c := inspect.Config{Dir: s.Dir, Now: time.Now}
	if s.Config == "" {
		return c, nil, isFolder(s.Dir)
	}
	settings, err := config.Load(s.Config)
	if err != nil {
		return c, nil, err
	}
	c.Org, c.Dir = settings.Org, settings.Policy.Dir
	var stop func()
	if c.Bundle, stop, err = newPolicyBundle(settings); err != nil {
		return c, nil, err
	}
	stop() // nothing is fetched: the gateway has what it uses
	c.Agreements, err = tenants.ReadAgreements(settings.Agreements.Dir, tenants.Self{Org: settings.Org, TrustDomain: settings.TrustDomain})
	if c.Agreements == nil {
		c.Agreements = []tenants.Agreement{} // none, rather than assumed ones
	}
	return c, settings, err
}

func isFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the folder of policies: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the folder of policies: %s is not a folder", dir)
	}
	return nil
}

// from makes the policies those of a folder.
func from(c inspect.Config, dir string) (inspect.Config, error) {
	c.Dir, c.Bundle = dir, nil
	return c, isFolder(dir)
}

// load opens and loads the policies.
func (s policySource) load(ctx context.Context) (*inspect.Folder, *config.Config, error) {
	c, settings, err := s.open()
	if err != nil {
		return nil, nil, err
	}
	folder, err := inspect.Load(ctx, c)
	return folder, settings, err
}

// printJSON prints a value for programs.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// nearby is a file's name as somebody in this folder would write it.
func nearby(file string) string {
	here, err := os.Getwd()
	if err != nil {
		return file
	}
	if relative, err := filepath.Rel(here, file); err == nil && len(relative) < len(file) {
		return relative
	}
	return file
}

// within is a place as the name of the folder's file.
func within(dir string, p rego.Place) string {
	if rest, err := filepath.Rel(dir, p.File); err == nil && dir != "" && !strings.HasPrefix(rest, "..") {
		p.File = rest
	}
	return p.String()
}

// paragraph is folded to the width of a terminal and begins with some text,
// the lines after the first below its end.
func paragraph(begin, text string) string {
	return begin + fold(text, len([]rune(begin)), lineWidth) + "\n"
}

// tabulate puts rows in columns, indented, of which the last is folded to the
// width of a terminal.
func tabulate(rows [][]string) string {
	var before [][]string
	for _, row := range rows {
		before = append(before, row[:len(row)-1])
	}
	widths := columns(before)
	var out strings.Builder
	for _, row := range rows {
		begin := "  "
		for i, cell := range row[:len(row)-1] {
			begin += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		out.WriteString(strings.TrimRight(paragraph(begin, row[len(row)-1]), " \n") + "\n")
	}
	return out.String()
}

// colour paints text for people at a terminal.
func (s style) colour(code, text string) string {
	if !s.coloured {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// The colours of what is good, doubtful and bad, and of what matters less.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
	bold   = "1"
)

// found says how many things were found, as the error of a command whose
// findings are printed already.
func found(n int, thing string) error { return errors.New(count(n, thing)) }

// write writes what a command has put together.
func write(w io.Writer, text *strings.Builder) error {
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
