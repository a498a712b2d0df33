package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/gateway/rehearsal"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

type policyTryCommand struct {
	Config string `required:"" placeholder:"FILE" type:"path" help:"The gateway's config, which names its policies, agreements, metrics, logs and traces."`
	Dir    string `placeholder:"DIR" type:"path" help:"A folder of policies to try instead of the config's."`
	partnerQuestion
	output
}

// Help is shown by parley policy try --help.
func (*policyTryCommand) Help() string {
	return `Examples:

  parley policy try --config gateway.yml --as globex --purpose slo-review \
    'sum by (region) (rate(http_requests_total[5m]))'
  parley policy try --config gateway.yml --dir next --as globex --purpose audit up
  parley policy try --config gateway.yml --as globex --purpose incident-response \
    --range 15m '{service="checkout"} |= "timeout"'
  parley policy try --config gateway.yml --as globex --purpose slo-review \
    --signal logs 'sum by (level) (rate({service="checkout"}[5m]))'
  parley policy try --config gateway.yml --as globex --purpose incident-response \
    '{ resource.service.name = "checkout" && status = error }'
  parley policy try --config gateway.yml --as globex --purpose incident-response \
    4bf92f3577b34da6a3ce929d0e0e4736

It asks the metrics, logs or traces that the config names, as the partner would
and as you do, and says what is between: series, streams and spans that aren't
released, labels and attributes that are hidden, cells that are too small, what
was done to lines and by which rule, spans that are folded. Names in the policy
that your data doesn't have, as after a slip of the pen, are said too. It runs
here, for who can read the gateway's files; nothing is sent to anyone, so there
is no audit record either: an audit record is the evidence of what left, and
nothing does. Traces that a gateway has in its own memory can't be tried.
The exit code is 1 when the partner would get no answer.`
}

// Run tries.
func (c *policyTryCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, dir, err := c.try(ctx)
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if err := c.note(k.Stderr); err != nil {
		return err
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, t)
	} else {
		err = tried{Trial: t, dir: dir, how: styleOf(k.Stdout), instant: c.Range == nil, traceID: isTraceID(c.Expression)}.show(k.Stdout)
	}
	if t.Refused != nil && err == nil {
		return errors.New(refusedText(t.Refused))
	}
	return err
}

func (c *policyTryCommand) try(ctx context.Context) (t rehearsal.Trial, dir string, err error) {
	policies, settings, err := policySource{Config: c.Config}.open()
	if err != nil {
		return t, "", err
	}
	if c.Dir != "" {
		if policies, err = from(policies, c.Dir); err != nil {
			return t, "", err
		}
		policies.Agreements = c.alone(policies.Agreements)
	}
	folder, err := inspect.Load(ctx, policies)
	if err != nil {
		return t, "", err
	}
	ask, err := c.ask(folder)
	if err != nil {
		return t, "", err
	}
	secret, err := settings.Pseudonyms.Key()
	if err != nil {
		return t, "", err
	}
	backend, closeBackend, err := readBackend(settings, ask.Question.Signal())
	if err != nil {
		return t, "", err
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	backend.Secret, backend.Timeout = secret, settings.Front.QueryTimeout
	stage := rehearsal.Stage{Folder: folder, Lookback: settings.Metrics.LookbackDelta, MaxSamples: settings.Metrics.MaxSamples}
	t, err = stage.Try(ctx, backend, ask)
	return t, folder.Dir, err
}

// alone is the agreement with the partner, naming the policy that is asked alone:
// a folder may hold no other.
func (c *policyTryCommand) alone(all []tenants.Agreement) []tenants.Agreement {
	out := []tenants.Agreement{}
	for _, a := range all {
		switch {
		case string(a.Partner) != c.As:
			continue
		case c.BreakGlass == "":
			a.BreakGlass = nil
		case a.BreakGlass != nil:
			a.Policy = a.BreakGlass.Policy
		}
		out = append(out, a)
	}
	return out
}

// readSource is what a config says of its metrics, for reading: a gateway may
// have an embedded store open.
func readSource(c *config.Config) (metrics.Source, func() error, error) {
	log := slog.New(slog.DiscardHandler)
	if c.Metrics.TSDB == nil {
		return newSource(c, log)
	}
	store, err := metrics.OpenTSDBReader(c.Metrics.TSDB.Dir, log)
	return store, func() error { return nil }, err
}

// readBackend is where a config has what is of a signal, for reading.
func readBackend(c *config.Config, signal tenants.Signal) (b rehearsal.Backend, closeBackend func() error, err error) {
	switch signal {
	case tenants.Logs:
		if c.Logs == nil {
			return b, nil, errors.New("the config names no logs: a question about them can't be tried without logs.loki; parley policy explain says what policy makes of it")
		}
		b.Logs, closeBackend, err = newLogsSource(c)
	case tenants.Traces:
		b.Traces, closeBackend, err = readTraces(c)
	default:
		b.Metrics, closeBackend, err = readSource(c)
	}
	return b, closeBackend, err
}

// readTraces is what a config says of its traces, with those that are kept.
func readTraces(c *config.Config) (traces.Source, func() error, error) {
	switch {
	case c.Traces == nil:
		return nil, nil, errors.New("the config names no traces: a question about them can't be tried without traces.jaeger or traces.tempo; parley policy explain says what policy makes of it")
	case c.Traces.Store != nil:
		return nil, nil, errors.New("the config's traces are in the memory of the running gateway, which nobody else can read: a question about them can't be tried; explain says what policy makes of it")
	}
	of, err := newTracesSource(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	kept, err := traces.NewKeeping(of.source, traces.KeepingConfig{Dir: keptTraces(c), ReadOnly: true})
	if err != nil {
		return nil, nil, errors.Join(err, of.close())
	}
	return kept, of.close, nil
}

type tried struct {
	rehearsal.Trial

	dir     string
	how     style
	instant bool
	traceID bool // a trace is asked for by its id
}

// mostRows is how many series, lines or traces of an answer are printed.
const mostRows = 15

func (t tried) show(w io.Writer) error {
	var out strings.Builder
	head := asks(t.Partner, t.Purpose, t.BreakGlass) + ": "
	if t.Refused == nil {
		head += fmt.Sprintf("%s, %s", t.how.colour(green, "answered"), size(t.Released))
	} else {
		head += t.how.colour(red, "refused")
	}
	out.WriteString(head + "\n" + paragraph("  ", t.Query))
	if t.Refused != nil {
		t.heading(&out, "THE PARTNER IS TOLD")
		out.WriteString(paragraph("  ", t.Refused.Told))
		if t.Refused.Reason != "" {
			out.WriteString(paragraph("  because, which it isn't told: ", t.Refused.Reason))
		}
	} else {
		t.heading(&out, "RELEASED TO "+strings.ToUpper(string(t.Partner)))
		if err := t.answer(&out, t.Released); err != nil {
			return err
		}
		for _, notice := range t.Notices {
			out.WriteString(paragraph("  ", notice))
		}
	}
	t.heading(&out, "YOUR OWN ANSWER")
	if t.RawRefused != nil {
		out.WriteString(paragraph("  none: ", t.RawRefused.Told))
	} else if err := t.answer(&out, t.Raw); err != nil {
		return err
	}
	t.withheld(&out)
	t.findings(&out)
	return write(w, &out)
}

func (t tried) heading(out *strings.Builder, text string) {
	out.WriteString("\n" + t.how.colour(bold, text) + "\n")
}
