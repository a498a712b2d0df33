package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/gateway/front"
)

// logsCommand asks a gateway one LogQL question: lines, the newest last, or
// numbers go to standard output, what is in the answer and what is missing to
// standard error.
type logsCommand struct {
	asker `embed:""`

	Since   model.Duration  `default:"1h" placeholder:"1h" help:"Ask for this long up to --time (${default})."`
	Time    string          `placeholder:"T" help:"The end of what is asked for, as RFC 3339 or Unix seconds; without it now."`
	Limit   int             `default:"100" placeholder:"N" help:"The most lines (${default}): the newest, or with --forward the oldest."`
	Tail    bool            `short:"f" help:"Go on with the lines that are written, until interrupted; before them those of --since, no more than --limit."`
	Forward bool            `help:"Take the oldest lines instead of the newest."`
	Step    *model.Duration `placeholder:"30s" help:"Ask for numbers over --since at this resolution, instead of for one moment."`
	Output  string          `short:"o" enum:"text,json" default:"text" help:"text, or json: the API's answer as it came."`

	Expression string `arg:"" name:"expr" help:"The question in LogQL."`
}

// Help is shown by parley logs --help.
func (*logsCommand) Help() string {
	return `Examples:

  parley logs '{org=~"acme|globex", service="checkout"} |= "timeout"'
  parley logs --since 24h '{service="checkout"} | json | duration_ms > 500'
  parley logs 'sum by (org, level) (count_over_time({service="checkout"}[1h]))'
  parley logs --since 6h --step 5m 'sum by (org) (rate({level="error"}[5m]))'
  parley logs --tail --since 5m '{service="checkout"} |= "error"'

Lines are written to standard output, the newest last, each with its time, its
organization and its labels. One line for every organization, with what it
contributed or why it didn't, is written to standard error. The exit code is not
zero when there was no answer.

With --tail lines come until you interrupt it. When an organization is gone, is
back, or leaves lines out because more come than can be passed on, that is said on
standard error.`
}

// Run asks, until it is answered or interrupted.
func (c *logsCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.ask(ctx, time.Now(), k.Stdout, k.Stderr)
}

func (c *logsCommand) ask(ctx context.Context, now time.Time, stdout, stderr io.Writer) error {
	expr, err := logql.Parse(c.Expression)
	if err != nil {
		return usage("not LogQL: %w", err)
	}
	if c.Tail {
		return c.tail(ctx, expr, now, stdout, stderr)
	}
	path, form, err := c.question(expr, now)
	if err != nil {
		return err
	}
	req, err := c.post(ctx, path, form)
	if err != nil {
		return err
	}
	// Beside a line only its stream's labels are of use: the others are in it.
	req.Header.Set(front.EncodingFlagsHeader, front.CategorizeLabels)
	resp, err := newAskingClient().Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return c.unreachable(err)
	}
	var answer queryAnswer
	if json.Unmarshal(body, &answer) != nil || answer.Status == "" {
		return fmt.Errorf("%s answered with status %d and something that isn't an answer of Loki's API; is it a parley gateway?", c.Gateway, resp.StatusCode)
	}
	if c.Output == "json" {
		if _, err := fmt.Fprintln(stdout, strings.TrimSuffix(string(body), "\n")); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	ofNobody := func(parts federation.Completeness) []*labels.Matcher {
		var selectors [][]*labels.Matcher
		for _, s := range logql.Selectors(expr) {
			selectors = append(selectors, s.Matchers)
		}
		return matchingNobody(parts, selectors...)
	}
	if answer.Status != "success" {
		_ = c.completeness(stderr, resp.Header, answer, ofNobody) // the error says more than a failure to print this
		return errors.New(printable(answer.Error))
	}
	if c.Output == "text" {
		if err := printLogs(stdout, answer); err != nil {
			return err
		}
	}
	return c.completeness(stderr, resp.Header, answer, ofNobody)
}

// question is the path and the parameters of what is asked.
func (c *logsCommand) question(expr logql.Expr, now time.Time) (path string, form url.Values, err error) {
	end, err := moment(c.Time, now)
	if err != nil {
		return "", nil, err
	}
	since := time.Duration(c.Since)
	if since <= 0 {
		return "", nil, usage("--since 0s is no time at all; give one such as 1h")
	}
	nanoseconds := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
	form = url.Values{"query": {c.Expression}}
	_, lines := expr.(*logql.LogSelector)
	if !lines && c.Step == nil {
		form.Set("time", nanoseconds(end))
		return "loki/api/v1/query", form, nil
	}
	form.Set("start", nanoseconds(end.Add(-since)))
	form.Set("end", nanoseconds(end))
	switch {
	case lines && c.Step != nil:
		return "", nil, usage("--step is the resolution of numbers, and this asks for lines")
	case lines && c.Limit <= 0:
		return "", nil, usage("--limit must be above 0")
	case lines:
		form.Set("limit", strconv.Itoa(c.Limit))
		form.Set("direction", "backward")
		if c.Forward {
			form.Set("direction", "forward")
		}
	default:
		form.Set("step", strconv.FormatFloat(time.Duration(*c.Step).Seconds(), 'f', -1, 64))
	}
	return "loki/api/v1/query_range", form, nil
}

// printedLine is a line with its labels.
type printedLine struct {
	at     int64 // Unix nanoseconds
	stream map[string]string
	line   string
}

// printLogs prints lines in order of time, or numbers as a table.
func printLogs(w io.Writer, a queryAnswer) error {
	if a.Data.ResultType != "streams" {
		return printAnswer(w, a)
	}
	all, err := readLines(a.Data.Result)
	if err != nil {
		return err
	}
	p := linePrinter{w: w, how: styleOf(w)}
	if err := p.write(all); err != nil {
		return err
	}
	if len(all) == 0 {
		if _, err := fmt.Fprintln(w, "no lines"); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	return nil
}

// readLines are the lines of streams as Loki's API has them, in order of time.
func readLines(text json.RawMessage) ([]printedLine, error) {
	var streams []struct {
		Stream map[string]string   `json:"stream"`
		Values [][]json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(text, &streams); err != nil {
		return nil, fmt.Errorf("the lines can't be read; try -o json: %w", err)
	}
	var all []printedLine
	for _, s := range streams {
		for _, v := range s.Values {
			if len(v) < 2 {
				return nil, errors.New("an entry without a line; try -o json")
			}
			var at, line string
			if err := errors.Join(json.Unmarshal(v[0], &at), json.Unmarshal(v[1], &line)); err != nil {
				return nil, fmt.Errorf("an entry can't be read; try -o json: %w", err)
			}
			ns, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("an entry's time %q can't be read; try -o json", at)
			}
			all = append(all, printedLine{ns, maps.Clone(s.Stream), line})
		}
	}
	slices.SortStableFunc(all, func(a, b printedLine) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.stream[federation.OrgLabel], b.stream[federation.OrgLabel]))
	})
	return all, nil
}

// linePrinter prints lines, the organizations in one column.
type linePrinter struct {
	w     io.Writer
	how   style
	width int // of the organizations so far
}

func (p *linePrinter) write(lines []printedLine) error {
	for _, l := range lines {
		p.width = max(p.width, len(l.stream[federation.OrgLabel]))
	}
	for _, l := range lines {
		org := printable(l.stream[federation.OrgLabel])
		delete(l.stream, federation.OrgLabel)
		shown := fmt.Sprintf("%-*s", p.width, org)
		if p.how.coloured {
			shown = "\x1b[" + colourOf(org) + "m" + shown + "\x1b[0m"
		}
		at := time.Unix(0, l.at).UTC().Format("2006-01-02T15:04:05.000Z")
		if _, err := fmt.Fprintf(p.w, "%s %s %s %s\n", at, shown, printable(labels.FromMap(l.stream).String()), printable(l.line)); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	return nil
}

// colourOf is an organization's own colour: always the same one.
func colourOf(org string) string {
	sum := 0
	for _, b := range []byte(org) {
		sum = sum*31 + int(b)
	}
	return strconv.Itoa(31 + (sum%6+6)%6)
}
