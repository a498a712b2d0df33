package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/gateway/front"
)

// traceBlameCommand says who spends the time of workflows.
type traceBlameCommand struct {
	asker `embed:""`

	Since  model.Duration `default:"1h" placeholder:"1h" help:"Look at traces of this long up to --time (${default})."`
	Time   string         `placeholder:"T" help:"The end of what is looked at, as RFC 3339 or Unix seconds; without it now."`
	Limit  int            `default:"100" placeholder:"N" help:"The most traces (${default}): the latest."`
	Output string         `short:"o" enum:"text,json" default:"text" help:"text or json."`

	Expression string `arg:"" name:"expr" optional:"" default:"{}" help:"Which traces, in TraceQL; without it all."`
}

// Help is shown by parley trace blame --help.
func (*traceBlameCommand) Help() string {
	return `Examples:

  parley trace blame
  parley trace blame --since 24h --limit 500 '{ resource.service.name = "checkout" }'

Traces are of one workflow when the first span with the attribute workflow_id has
the same one; without any, when their root is the same operation. Of each workflow
it says how long half, 95 and 99 percent of its traces took at most, how much of
that each organization spent, and the network between them, which calls from one
organization to another took longest, and where errors began. What is withheld, or
a clock that is uncertain, makes a time an interval.`
}

// Run asks, until it is answered or interrupted.
func (c *traceBlameCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.ask(ctx, time.Now(), k.Stdout, k.Stderr)
}

func (c *traceBlameCommand) ask(ctx context.Context, now time.Time, stdout, stderr io.Writer) error {
	expr, err := traceql.Parse(c.Expression)
	if err != nil {
		return usage("not TraceQL: %w", err)
	}
	form, err := searchForm(c.Expression, c.Since, c.Time, c.Limit, now)
	if err != nil {
		return err
	}
	ofNobody := func(parts federation.Completeness) []*labels.Matcher { return organizationsOfNobody(expr, parts) }
	got, err := c.answered(ctx, "api/parley/v1/workflows", form, stderr, ofNobody)
	if err != nil {
		return err
	}
	var answer front.WorkflowsAnswer
	if json.Unmarshal(got.body, &answer) != nil || answer.Workflows == nil {
		return c.notWhat(got, "workflows")
	}
	if c.Output == "json" {
		err = writeLine(stdout, string(got.body))
	} else {
		err = writeLine(stdout, blamed(answer.Workflows, styleOf(stdout)))
	}
	return errors.Join(err, c.completeness(stderr, got.header, queryAnswer{}, ofNobody))
}

// searchForm are the parameters of a search for traces.
func searchForm(expression string, since model.Duration, at string, limit int, now time.Time) (url.Values, error) {
	end, err := moment(at, now)
	switch {
	case err != nil:
		return nil, err
	case time.Duration(since) <= 0:
		return nil, usage("--since 0s is no time at all; give one such as 1h")
	case limit <= 0:
		return nil, usage("--limit must be above 0")
	}
	seconds := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	return url.Values{
		"q": {expression}, "limit": {strconv.Itoa(limit)},
		"start": {seconds(end.Add(-time.Duration(since)))}, "end": {seconds(end.Add(time.Second - 1))}, // of which it is part
	}, nil
}

// blamed is text about workflows.
func blamed(all []front.WorkflowSummary, how style) string {
	if len(all) == 0 {
		return "no traces"
	}
	var out strings.Builder
	for i, w := range all {
		if i > 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(&out, "%s, %s\n", printable(w.Workflow), howMany(w.Traces, "trace"))
		rows := [][]string{
			{"  ", "P50", "P95", "P99", ""},
			{"  end to end", took(w.Durations.P50), took(w.Durations.P95), took(w.Durations.P99), "slowest " + printable(w.Durations.SlowestTrace)},
		}
		for _, s := range w.Shares {
			rows = append(rows, []string{"  " + whose(string(s.Org), string(s.To)), between(s.P50.Min, s.P50.Max), between(s.P95.Min, s.P95.Max), between(s.P99.Min, s.P99.Max), ""})
		}
		for _, h := range w.Slowest {
			hop := fmt.Sprintf("  %s → %s: %s", printable(string(h.From)), printable(string(h.To)), printable(h.Service+": "+h.Operation))
			rows = append(rows, []string{hop, took(h.Durations.P50), took(h.Durations.P95), took(h.Durations.P99), howMany(h.Calls, "call") + ", slowest " + printable(h.Durations.SlowestTrace)})
		}
		out.WriteString(noted(rows, how))
		for _, e := range w.Errors {
			fmt.Fprintf(&out, "  errors began in %s %s in %s, such as %s\n", printable(string(e.Org)), printable(e.Service+": "+e.Operation), howMany(e.Traces, "trace"), printable(e.Trace))
		}
	}
	return out.String()
}

// noted puts rows in columns, of which the last has notes: below what they are
// about, where they don't fit beside it.
func noted(rows [][]string, how style) string {
	if !how.folded || lineLength(rows) <= how.columns() {
		return align(rows)
	}
	notes := make([]string, len(rows))
	for i, row := range rows {
		notes[i] = row[len(row)-1]
		rows[i] = row[:len(row)-1]
	}
	var out strings.Builder
	for i, line := range strings.SplitAfter(strings.TrimSuffix(align(rows), "\n"), "\n") {
		out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		if notes[i] != "" {
			out.WriteString("    " + notes[i] + "\n")
		}
	}
	return out.String()
}

func took(ns int64) string { return brief(time.Duration(ns)) }

func howMany(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
