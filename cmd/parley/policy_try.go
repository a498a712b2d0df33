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
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/gateway/rehearsal"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

type policyTryCommand struct {
	Config string `required:"" placeholder:"FILE" type:"path" help:"The gateway's config, which names its policies, agreements and metrics."`
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

It asks the metrics that the config names, as the partner would and as you do,
and says what is between: series that aren't released, labels that are hidden,
cells that are too small. Names in the policy that your data doesn't have, as
after a slip of the pen, are said too. It runs here, for who can read the gateway's files;
nothing is sent to anyone, so there is no audit record either: an audit record
is the evidence of what left, and nothing does. It is for questions about
metrics, not for those about logs or traces.
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
		err = tried{Trial: t, dir: dir, how: styleOf(k.Stdout), instant: c.Range == nil}.show(k.Stdout)
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
	source, closeSource, err := readSource(settings)
	if err != nil {
		return t, "", err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	stage := rehearsal.Stage{Folder: folder, Lookback: settings.Metrics.LookbackDelta, MaxSamples: settings.Metrics.MaxSamples}
	t, err = stage.Try(ctx, rehearsal.Backend{
		Source: source, Secret: secret, Timeout: settings.Front.QueryTimeout,
	}, ask)
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

type tried struct {
	rehearsal.Trial

	dir     string
	how     style
	instant bool
}

// mostRows is how many series of an answer are printed.
const mostRows = 15

func (t tried) show(w io.Writer) error {
	var out strings.Builder
	head := asks(t.Partner, t.Purpose, t.BreakGlass) + ": "
	if t.Refused == nil {
		head += fmt.Sprintf("%s, %d series", t.how.colour(green, "answered"), len(t.Released))
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
		t.series(&out, t.Released)
		for _, notice := range t.Notices {
			out.WriteString(paragraph("  ", notice))
		}
	}
	t.heading(&out, "YOUR OWN ANSWER")
	if t.RawRefused != nil {
		out.WriteString(paragraph("  none: ", t.RawRefused.Told))
	} else {
		t.series(&out, t.Raw)
	}
	t.withheld(&out)
	t.findings(&out)
	return write(w, &out)
}

func (t tried) heading(out *strings.Builder, text string) {
	out.WriteString("\n" + t.how.colour(bold, text) + "\n")
}

func (t tried) series(out *strings.Builder, series []rehearsal.Series) {
	var rows [][]string
	shown := series[:min(len(series), mostRows)]
	if t.instant {
		rows = vectorRows(asVector(shown))
	} else {
		rows = matrixRows(asMatrix(shown))
	}
	if len(rows) == 0 {
		rows = [][]string{{"no series"}}
	}
	for line := range strings.Lines(align(rows)) {
		out.WriteString("  " + line)
	}
	if more := len(series) - len(shown); more > 0 {
		fmt.Fprintf(out, "  and %d more; -o json has all\n", more)
	}
}

func asVector(series []rehearsal.Series) model.Vector {
	var out model.Vector
	for _, s := range series {
		sample := &model.Sample{Metric: s.Labels}
		if len(s.Values) > 0 {
			sample.Value = s.Values[0].Value
		} else {
			sample.Histogram = &model.SampleHistogram{}
		}
		out = append(out, sample)
	}
	return out
}

func asMatrix(series []rehearsal.Series) model.Matrix {
	var out model.Matrix
	for _, s := range series {
		stream := &model.SampleStream{Metric: s.Labels, Values: s.Values}
		for range s.Histograms {
			stream.Histograms = append(stream.Histograms, model.SampleHistogramPair{Histogram: &model.SampleHistogram{}})
		}
		out = append(out, stream)
	}
	return out
}
