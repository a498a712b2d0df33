package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
)

// traceKeepCommand asks all organizations to keep a trace.
type traceKeepCommand struct {
	asker `embed:""`

	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`

	ID string `arg:"" name:"id" help:"The trace id, in hex."`
}

// Help is shown by parley trace keep --help.
func (*traceKeepCommand) Help() string {
	return `Examples:

  parley trace keep --purpose incident-response 4bf92f3577b34da6a3ce929d0e0e4736

Each organization that shows something of the trace keeps all that it has of it,
for as long as its gateway is configured to (a week unless told otherwise), also
when its store lets it go, and so many traces at a time as was agreed. What it
shows of it doesn't change.`
}

// Run asks, until it is answered or interrupted.
func (c *traceKeepCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.ask(ctx, k.Stdout, k.Stderr)
}

func (c *traceKeepCommand) ask(ctx context.Context, stdout, stderr io.Writer) error {
	id, err := traces.ParseTraceID(c.ID)
	if err != nil {
		return usage("%s", federation.AsError(err).Message)
	}
	got, err := c.answered(ctx, "api/parley/v1/kept-traces/"+id.String(), nil, stderr, nobodyNamed)
	if err != nil {
		return err
	}
	var kept front.KeptTrace
	if json.Unmarshal(got.body, &kept) != nil || kept.TraceID == "" {
		return c.notWhat(got, "who keeps a trace")
	}
	said := c.completeness(stderr, got.header, queryAnswer{}, nobodyNamed)
	if c.Output == "json" {
		return errors.Join(writeLine(stdout, string(got.body)), said)
	}
	if len(kept.By) == 0 {
		return notShown(c.ID, id.String())
	}
	orgs := make([]string, len(kept.By))
	for i, org := range kept.By {
		orgs[i] = string(org)
	}
	return errors.Join(writeLine(stdout, "kept by "+strings.Join(orgs, ", ")), said)
}
