package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
)

// traceCommand is about traces: one by its id, or those that are found.
type traceCommand struct {
	Show   traceShowCommand   `cmd:"" default:"withargs" help:"Draw a trace across organizations: parley trace ID."`
	Search traceSearchCommand `cmd:"" help:"Find traces, in TraceQL."`
	Blame  traceBlameCommand  `cmd:"" help:"Say who spends the time of workflows, over many traces."`
	Keep   traceKeepCommand   `cmd:"" help:"Ask all organizations to keep a trace."`
}

// traceShowCommand asks a gateway for a trace. The waterfall goes to standard
// output, what is in the answer and what is missing to standard error.
type traceShowCommand struct {
	asker `embed:""`

	Output string `short:"o" enum:"text,json,otlp,jaeger" default:"text" help:"text; json: with what is known of the trace; otlp: the spans in OTLP's JSON; jaeger: as Jaeger's API has it."`

	ID string `arg:"" name:"id" help:"The trace id, in hex."`
}

// Help is shown by parley trace show --help.
func (*traceShowCommand) Help() string {
	return `Examples:

  parley trace 4bf92f3577b34da6a3ce929d0e0e4736
  parley trace --purpose incident-response -o jaeger 4bf92f3577b34da6a3ce929d0e0e4736 >trace.json

The spans of all organizations are drawn over the time of the trace, below what
called them:

  ━━━  on the critical path, which determined how long it took; also marked *
  ───  beside it
  ░░░  withheld by its owner: in its place, without what it was
  ···  missing: something hangs on a span that nobody shows

Below stands who spent the time, where an error began and how clocks were
reconciled. One line for every organization, with what it contributed or why it
didn't, is written to standard error.`
}

// Run asks, until it is answered or interrupted.
func (c *traceShowCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.ask(ctx, k.Stdout, k.Stderr)
}

func (c *traceShowCommand) ask(ctx context.Context, stdout, stderr io.Writer) error {
	id, err := traces.ParseTraceID(c.ID)
	if err != nil {
		return usage("%s", federation.AsError(err).Message)
	}
	if c.Output == "jaeger" {
		return c.askJaeger(ctx, id.String(), stdout, stderr)
	}
	answer, header, err := c.tracesAnswer(ctx, "api/parley/v1/traces/"+id.String(), nil, stderr, nobodyNamed)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		if err := writeLine(stdout, answer.text); err != nil {
			return err
		}
	}
	if len(answer.Traces) == 0 {
		_ = c.completeness(stderr, header, queryAnswer{}, nobodyNamed) // the error says more than a failure to print this
		return notShown(c.ID, id.String())
	}
	switch c.Output {
	case "otlp":
		err = writeLine(stdout, string(answer.Traces[0].Trace))
	case "text":
		err = drawTrace(stdout, answer.Traces[0], styleOf(stdout))
	}
	return errors.Join(err, c.completeness(stderr, header, queryAnswer{}, nobodyNamed))
}

// askJaeger writes what Jaeger's API answers.
func (c *traceShowCommand) askJaeger(ctx context.Context, id string, stdout, stderr io.Writer) error {
	got, err := c.fetch(ctx, http.MethodGet, "jaeger/api/traces/"+id, nil)
	if err != nil {
		return err
	}
	if got.status == http.StatusOK {
		err = writeLine(stdout, string(got.body))
	} else {
		err = fmt.Errorf("%s answered with status %d: %s", c.Gateway, got.status, printable(strings.TrimSpace(string(got.body))))
	}
	return errors.Join(err, c.completeness(stderr, got.header, queryAnswer{}, nobodyNamed))
}

// notShown says that there is no trace of an id that was given. Ids of spans have
// half as many digits, and are taken for those of traces.
func notShown(given, id string) error {
	if len(given) == 2*len(pcommon.SpanID{}) {
		return fmt.Errorf("nobody shows a trace of the id %s; the trace of a span is found by parley trace search '{ span:id = %q }'", id, given)
	}
	return fmt.Errorf("nobody shows a trace of the id %s", id)
}

// nobodyNamed is for questions that name no organization.
func nobodyNamed(federation.Completeness) []*labels.Matcher { return nil }

func writeLine(w io.Writer, text string) error {
	if _, err := fmt.Fprintln(w, strings.TrimSuffix(text, "\n")); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// fetched is what came of a request.
type fetched struct {
	status int
	header http.Header
	body   []byte
}

// fetch asks for a path of the gateway's API.
func (c *asker) fetch(ctx context.Context, method, path string, form url.Values) (fetched, error) {
	req, err := c.post(ctx, path, form)
	if err != nil {
		return fetched{}, err
	}
	if req.Method = method; method == http.MethodGet {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	resp, err := newAskingClient().Do(req)
	if err != nil {
		return fetched{}, c.unreachable(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fetched{}, c.unreachable(err)
	}
	return fetched{resp.StatusCode, resp.Header, body}, nil
}

// tracesAnswer is front.TracesAnswer with the text that it was read from.
type tracesAnswer struct {
	front.TracesAnswer
	text string
}

// answered asks for a path. Where the gateway has no answer the error says why, and
// what is known of the organizations is printed.
func (c *asker) answered(ctx context.Context, path string, form url.Values, stderr io.Writer, ofNobody func(federation.Completeness) []*labels.Matcher) (fetched, error) {
	got, err := c.fetch(ctx, http.MethodPost, path, form)
	if err != nil {
		return fetched{}, err
	}
	var failed queryAnswer
	if json.Unmarshal(got.body, &failed) == nil && failed.Status == "error" {
		_ = c.completeness(stderr, got.header, failed, ofNobody) // the error says more than a failure to print this
		return fetched{}, errors.New(printable(failed.Error))
	}
	return got, nil
}

// notWhat is the error of an answer that isn't what a gateway gives.
func (c *asker) notWhat(got fetched, wanted string) error {
	return fmt.Errorf("%s answered with status %d and something that isn't %s; is it a parley gateway?", c.Gateway, got.status, wanted)
}

// tracesAnswer asks for traces, as answered does.
func (c *asker) tracesAnswer(ctx context.Context, path string, form url.Values, stderr io.Writer, ofNobody func(federation.Completeness) []*labels.Matcher) (tracesAnswer, http.Header, error) {
	got, err := c.answered(ctx, path, form, stderr, ofNobody)
	if err != nil {
		return tracesAnswer{}, nil, err
	}
	answer := tracesAnswer{text: string(got.body)}
	if json.Unmarshal(got.body, &answer.TracesAnswer) != nil || answer.Traces == nil {
		return tracesAnswer{}, nil, c.notWhat(got, "traces")
	}
	return answer, got.header, nil
}
