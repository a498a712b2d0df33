package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/gateway/front"
)

// traceSearchCommand finds traces. They go to standard output, the latest first,
// what is in the answer and what is missing to standard error.
type traceSearchCommand struct {
	asker `embed:""`

	Since  model.Duration `default:"1h" placeholder:"1h" help:"Find traces of this long up to --time (${default})."`
	Time   string         `placeholder:"T" help:"The end of what is searched, as RFC 3339 or Unix seconds; without it now."`
	Limit  int            `default:"20" placeholder:"N" help:"The most traces (${default}): the latest."`
	Output string         `short:"o" enum:"text,json" default:"text" help:"text, or json: whole traces with what is known of them."`

	Expression string `arg:"" name:"expr" help:"What is searched for, in TraceQL."`
}

// Help is shown by parley trace search --help.
func (*traceSearchCommand) Help() string {
	return `Examples:

  parley trace search '{ resource.service.name = "checkout" && status = error }'
  parley trace search --since 24h '{ resource.parley.org = "acme" } >> { resource.parley.org = "globex" && duration > 1s }'
  parley trace search --limit 100 '{ traceDuration > 5s }'

Traces are found by what all organizations hold of them together. Each has a line,
the latest first: when it began, its id, how long it took, how many spans each
organization shows, and its root, with a ! where a span has an error. If there are
more than --limit, it is those with the latest spans that meet a filter. One line
for every organization, with what it contributed or why it didn't, is written to
standard error.`
}

// Run asks, until it is answered or interrupted.
func (c *traceSearchCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.ask(ctx, time.Now(), k.Stdout, k.Stderr)
}

func (c *traceSearchCommand) ask(ctx context.Context, now time.Time, stdout, stderr io.Writer) error {
	expr, err := traceql.Parse(c.Expression)
	if err != nil {
		return usage("not TraceQL: %w", err)
	}
	form, err := searchForm(c.Expression, c.Since, c.Time, c.Limit, now)
	if err != nil {
		return err
	}
	ofNobody := func(parts federation.Completeness) []*labels.Matcher { return organizationsOfNobody(expr, parts) }
	answer, header, err := c.tracesAnswer(ctx, "api/parley/v1/traces", form, stderr, ofNobody)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeLine(stdout, answer.text)
	} else {
		err = listTraces(stdout, answer.Traces)
	}
	return errors.Join(err, c.completeness(stderr, header, queryAnswer{}, ofNobody))
}

// organizationsOfNobody are those that filters name and that there aren't.
func organizationsOfNobody(expr *traceql.Expr, parts federation.Completeness) []*labels.Matcher {
	var out []*labels.Matcher
	for _, f := range expr.Filters() {
		values, ok := f.Equal(traceql.Attribute{Scope: traceql.ScopeResource, Name: traces.OrgAttribute})
		if !ok {
			continue
		}
		for _, value := range values {
			if !slices.Contains(orgs(parts), value) {
				out = append(out, labels.MustNewMatcher(labels.MatchEqual, traces.OrgAttribute, value))
			}
		}
	}
	return out
}

// foundTrace is a trace and what is drawn of it.
type foundTrace struct {
	front.StitchedTrace
	*waterfall
}

func (t foundTrace) began() int64 { return t.rows[0].start }

// listTraces writes a line for each trace, the one that began last first.
func listTraces(w io.Writer, all []front.StitchedTrace) error {
	found := make([]foundTrace, len(all))
	for i, t := range all {
		w, err := waterfallOf(t)
		if err != nil {
			return err
		}
		found[i] = foundTrace{t, w}
	}
	slices.SortStableFunc(found, func(a, b foundTrace) int { return cmp.Compare(b.began(), a.began()) })
	rows := [][]string{{"BEGAN", "TRACE", "TOOK", "SPANS", "ROOT"}}
	for _, t := range found {
		began := time.Unix(0, t.began()).UTC().Format("2006-01-02T15:04:05.000Z")
		title := t.rows[0].title()
		if t.failed {
			title += " !"
		}
		rows = append(rows, []string{began, t.TraceID, brief(time.Duration(t.Report.DurationNs)), t.byOrg(), title})
	}
	if len(rows) == 1 {
		rows = [][]string{{"no traces"}}
	}
	if _, err := io.WriteString(w, align(rows)); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// byOrg is how many spans each organization shows.
func (w *waterfall) byOrg() string {
	var names []string
	counts := map[string]int{}
	for _, r := range w.rows {
		if r.missing == "" {
			if counts[r.org] == 0 {
				names = append(names, r.org)
			}
			counts[r.org]++
		}
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", printable(name), counts[name])
	}
	return strings.Join(names, ", ")
}
