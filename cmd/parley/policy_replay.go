package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/gateway/replay"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

type policyReplayCommand struct {
	New string `arg:"" name:"new-dir" type:"path" help:"The folder of policies that is to decide."`

	Config   string         `required:"" placeholder:"FILE" type:"path" help:"The gateway's config, which names its audit log, agreements and policies."`
	Since    model.Duration `default:"30d" placeholder:"30d" help:"How far back questions are taken from the log (${default})."`
	ExitCode bool           `help:"Exit with 2 when a question is decided otherwise."`
	output
}

// Help is shown by parley policy replay --help.
func (*policyReplayCommand) Help() string {
	return `Examples:

  parley policy replay --config gateway.yml next
  parley policy replay --config gateway.yml --since 7d --exit-code next

It reads the questions in the gateway's audit log and decides them once more, by
other policies. What the policies that serve have decided is compared in full;
what older ones have is compared by what was recorded of it: datasets, labels,
times and limits, not which series or streams, nor what leaves of lines, and of spans only in which mode. Nothing is asked and no data is read. The
log may be in use.
A partner whose policy is missing is denied.
The exit code is 0 also when something changes; with --exit-code it is 2 then.`
}

// Run replays.
func (c *policyReplayCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := c.replay(ctx)
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, report)
	} else {
		err = showReplay(k.Stdout, report)
	}
	changed := report.Questions[replay.NewlyAllowed] + report.Questions[replay.NewlyDenied] + report.Questions[replay.Changed]
	if c.ExitCode && changed > 0 && err == nil {
		return exitError{fmt.Errorf("%s decided otherwise", count(changed, "question")), codeOfChanges}
	}
	return err
}

func (c *policyReplayCommand) replay(ctx context.Context) (replay.Report, error) {
	now := time.Now()
	policies, settings, err := policySource{Config: c.Config}.open()
	if err != nil {
		return replay.Report{}, err
	}
	policies.Now = func() time.Time { return now }
	current, err := inspect.Load(ctx, policies)
	if err != nil {
		return replay.Report{}, fmt.Errorf("the policies that serve don't load:\n%w", err)
	}
	if policies, err = from(policies, c.New); err != nil {
		return replay.Report{}, err
	}
	policies.Partial = true // a partner whose policy is missing is newly denied
	next, err := inspect.Load(ctx, policies)
	if err != nil {
		return replay.Report{}, fmt.Errorf("the policies in %s don't load:\n%w", nearby(c.New), err)
	}
	return replay.Run(ctx, replay.Config{Current: current, New: next, Since: now.Add(-time.Duration(c.Since))}, os.DirFS(settings.Audit.Dir))
}

// mostGroups is how many groups of an outcome are printed.
const mostGroups = 10

func showReplay(w io.Writer, r replay.Report) error {
	how := styleOf(w)
	var out strings.Builder
	total := 0
	for _, n := range r.Questions {
		total += n
	}
	if total == 0 {
		out.WriteString("no question was asked in that time\n")
		return write(w, &out)
	}
	fmt.Fprintf(&out, "%s from %s to %s\n", count(total, "question"), stamp(r.First), stamp(r.Last))
	if r.Unread > 0 {
		fmt.Fprintf(&out, "%s of the log can't be read\n", count(r.Unread, "line"))
	}
	if r.Summaries > 0 {
		out.WriteString(paragraph("", fmt.Sprintf("%d of them were decided by other policies than those that serve, and are compared by what was recorded", r.Summaries)))
	}
	out.WriteString("\n" + align(replayRows(r)))
	for _, outcome := range replay.Outcomes {
		showGroups(&out, how, r, outcome)
	}
	return write(w, &out)
}

// replayRows is a table of partners and what became of their questions.
func replayRows(r replay.Report) [][]string {
	head := []string{"PARTNER", "PURPOSE"}
	var shown []replay.Outcome
	for _, outcome := range replay.Outcomes {
		if r.Questions[outcome] > 0 {
			shown = append(shown, outcome)
			head = append(head, strings.ToUpper(strings.ReplaceAll(string(outcome), "-", " ")))
		}
	}
	rows := [][]string{head}
	for _, p := range r.ByPartner {
		row := []string{printable(string(p.Partner)), printable(string(p.Purpose))}
		for _, outcome := range shown {
			row = append(row, strconv.Itoa(p.Questions[outcome]))
		}
		rows = append(rows, row)
	}
	return rows
}

func showGroups(out *strings.Builder, how style, r replay.Report, outcome replay.Outcome) {
	printed, more := 0, 0
	for _, g := range r.Groups {
		switch {
		case g.Outcome != outcome:
			continue
		case printed == mostGroups:
			more++
			continue
		case printed == 0:
			out.WriteString("\n" + how.colour(bold, strings.ToUpper(strings.ReplaceAll(string(outcome), "-", " "))) + "\n")
		}
		printed++
		what := string(g.Kind)
		if g.Label != "" {
			what += " of " + printable(g.Label)
		}
		if g.Signal != tenants.Metrics {
			what = string(g.Signal) + ", " + what
		}
		purpose := printable(string(g.Purpose))
		if g.BreakGlass {
			purpose += " in an emergency"
		}
		fmt.Fprintf(out, "  %d for %s, %s, the last at %s: %s\n", g.Count, printable(string(g.Partner)), purpose, stamp(g.Last), what)
		query := strings.TrimSpace(g.Query)
		if g.Kind == policy.Trace {
			query = strings.Join(strings.Fields(query), " ") // ids, one a line
		}
		if query != "" {
			out.WriteString(paragraph("    ", printable(query)))
		}
		if g.Why != "" {
			out.WriteString(paragraph("    because ", g.Why))
		}
		for _, d := range g.Differences {
			out.WriteString("  " + strings.ReplaceAll(strings.TrimSuffix(showDifference(how, d), "\n"), "\n", "\n  ") + "\n")
		}
	}
	if more > 0 {
		fmt.Fprintf(out, "  and %d more; -o json has all\n", more)
	}
}
