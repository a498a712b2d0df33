// Command parley is an organization's gateway to its partners' monitoring, and
// the tools around it.
//
//	parley serve --config gateway.yml
//	parley query 'sum by (org, region) (rate(http_requests_total[5m]))'
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/alecthomas/kong"
)

// version is set by the build.
var version = "dev"

// commands are what the binary can do.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Run a gateway."`
	Demo    demoCommand    `cmd:"" help:"Run three organizations on this machine, to try things out."`
	Query   queryCommand   `cmd:"" help:"Ask a gateway a question in PromQL."`
	Logs    logsCommand    `cmd:"" help:"Ask a gateway for logs, or numbers of them, in LogQL."`
	Trace   traceCommand   `cmd:"" help:"Ask a gateway for a trace across organizations, or search for traces in TraceQL."`
	Config  configCommand  `cmd:"" help:"Check a gateway's config, or print its manual."`
	Policy  policyCommand  `cmd:"" help:"Check, test, explain and try policies."`
	Audit   auditCommand   `cmd:"" help:"Review what was asked and what left."`
	DevCA   devCACommand   `cmd:"" name:"dev-ca" help:"Make a development CA and SVIDs as files."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main for one command line; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) (code int) {
	exited := false
	var c commands
	parser, err := kong.New(&c,
		kong.Name("parley"),
		kong.Description("parley lets partner organizations ask one another's monitoring, each redacting its own."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { code, exited = status, true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return complain(stderr, err, 1)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	context, err := parser.Parse(args)
	if exited {
		return code
	}
	if err != nil {
		return complain(stderr, fmt.Errorf("%w; %s --help shows how", err, commandOf(err)), codeOfUsage)
	}
	if err := context.Run(); err != nil {
		code := 1
		if exit := (exitError{}); errors.As(err, &exit) {
			code = exit.code
		}
		return complain(stderr, err, code)
	}
	return code
}

// exitError is an error with an exit code of its own; all others have 1.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

// The exit codes that aren't 1.
const (
	codeOfUsage   = 2
	codeOfChanges = 2 // as of terraform plan -detailed-exitcode
)

// usage is an error in how a command was called.
func usage(format string, args ...any) error {
	return exitError{fmt.Errorf(format, args...), codeOfUsage}
}

// commandOf is the command that a line was meant for, as far as it was read.
func commandOf(err error) string {
	var parsing *kong.ParseError
	if errors.As(err, &parsing) && parsing.Context != nil {
		if node := parsing.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "parley"
}

// complain says what went wrong and returns the exit code.
func complain(stderr io.Writer, err error, code int) int {
	if _, failed := fmt.Fprintf(stderr, "parley: %v\n", err); failed != nil {
		return code // there is nowhere left to say it
	}
	return code
}

type versionCommand struct{}

// Help is shown by parley version --help.
func (versionCommand) Help() string {
	return `Example:

  parley version

It says which build this is, which Go built it, and for which system: what a
report of a defect has to name.`
}

// Run prints what this binary is.
func (versionCommand) Run(k *kong.Kong) error {
	_, err := fmt.Fprintf(k.Stdout, "parley %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
