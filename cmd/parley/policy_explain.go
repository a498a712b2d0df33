package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/rehearsal"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

type policyExplainCommand struct {
	policySource
	partnerQuestion
	output
}

// Help is shown by parley policy explain --help.
func (*policyExplainCommand) Help() string {
	return `Examples:

  parley policy explain --config gateway.yml --as globex --purpose slo-review \
    'sum by (region) (rate(http_requests_total[5m]))'
  parley policy explain --dir policies --as globex --purpose audit --range 7d up
  parley policy explain --config gateway.yml --as globex --purpose incident-response \
    '{service="checkout"} |= "timeout"'
  parley policy explain --config gateway.yml --as globex --purpose slo-review \
    --signal logs 'sum by (level) (rate({service="checkout"}[5m]))'
  parley policy explain --config gateway.yml --as globex --purpose incident-response \
    '{ resource.service.name = "checkout" && status = error }'
  parley policy explain --config gateway.yml --as globex --purpose incident-response \
    4bf92f3577b34da6a3ce929d0e0e4736
  parley policy explain --config gateway.yml --as globex --purpose incident-response \
    --break-glass 'checkout is down' --case INC-4711 --user alice@globex.example up

It says what policy decides and which rules and lines say so, what of the
question is released how, what becomes of each label or attribute it speaks of,
of lines and of spans, and what the partner would be told. No data is read.
With --dir alone we are called us, as in org="us".
PromQL is about metrics, LogQL about logs, TraceQL or a trace id about traces;
what is PromQL and LogQL alike, such as rate({service="checkout"}[5m]), is taken
to be about metrics, which is said, unless there is --signal logs.
The exit code is 1 when the question would be refused.`
}

// Run explains.
func (c *policyExplainCommand) Run(k *kong.Kong) error {
	folder, settings, err := c.load(context.Background())
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	ask, err := c.ask(folder)
	if err != nil {
		return err
	}
	if err := c.note(k.Stderr); err != nil {
		return err
	}
	stage := rehearsal.Stage{Folder: folder}
	if settings != nil {
		stage.Lookback, stage.MaxSamples = settings.Metrics.LookbackDelta, settings.Metrics.MaxSamples
	}
	e, err := stage.Explain(context.Background(), ask)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, e)
	} else {
		err = explained{Explanation: e, dir: folder.Dir, how: styleOf(k.Stdout)}.show(k.Stdout)
	}
	if e.Refused != nil && err == nil {
		return errors.New(refusedText(e.Refused))
	}
	return err
}

// refusedText is the error of a command of which a question would be refused.
func refusedText(r *rehearsal.Refusal) string { return "it would be refused: " + r.Told }

type explained struct {
	rehearsal.Explanation

	dir string
	how style
}

func (e explained) show(w io.Writer) error {
	var out strings.Builder
	e.decision(&out)
	e.rules(&out)
	if e.Obligations != nil {
		e.datasets(&out)
		e.plan(&out)
		e.contents(&out)
		e.labels(&out)
		e.bounds(&out)
	}
	e.told(&out)
	return write(w, &out)
}

func (e explained) heading(out *strings.Builder, text string) {
	out.WriteString("\n" + e.how.colour(bold, text) + "\n")
}

func (e explained) decision(out *strings.Builder) {
	verdict := e.how.colour(green, "allowed")
	if !e.Allow {
		verdict = e.how.colour(red, "denied")
	}
	by := "the agreement"
	if e.Package != "" {
		by = e.Package
	}
	fmt.Fprintf(out, "%s: %s by %s", asks(e.Partner, e.Purpose, e.BreakGlass), verdict, by)
	if e.Allow && e.Refused != nil {
		out.WriteString(", but " + e.how.colour(red, "refused"))
	}
	out.WriteString("\n")
	out.WriteString(paragraph("  ", e.Query))
	if (e.Window != policy.Window{}) {
		fmt.Fprintf(out, "  data from %s to %s\n", stamp(e.Window.Start), stamp(e.Window.End))
	}
	for _, reason := range e.Reasons {
		out.WriteString(paragraph("  reason: ", reason))
	}
}

func (e explained) rules(out *strings.Builder) {
	if len(e.Rules) == 0 {
		return
	}
	e.heading(out, "RULES")
	var rows [][]string
	for _, r := range e.Rules {
		held, name := "holds", r.Name
		if !r.Held {
			held = "-"
		}
		if r.Default {
			name += ", the default"
		}
		if r.Unmet != nil {
			name += ", not met: " + r.Unmet.Text
			if r.Unmet.Place.File == r.Place.File {
				name += " (line " + strconv.Itoa(r.Unmet.Place.Line) + ")"
			}
		}
		rows = append(rows, []string{held, within(e.dir, r.Place), name})
	}
	out.WriteString(tabulate(rows))
}

func (e explained) datasets(out *strings.Builder) {
	e.heading(out, "DATASETS")
	var rows [][]string
	for _, d := range e.Obligations.Datasets {
		met := "met by the query"
		if e.Signal == tenants.Traces {
			met = "of the spans of any trace"
		}
		if !d.Met {
			met = "-"
		}
		rows = append(rows, []string{d.Name, string(d.Release), within(e.dir, d.Place), met})
	}
	out.WriteString(tabulate(rows))
}

// labels is a table for each dataset.
func (e explained) labels(out *strings.Builder) {
	byDataset := map[int][]rehearsal.Label{}
	for _, l := range e.Labels {
		byDataset[l.LabelFate.Dataset] = append(byDataset[l.LabelFate.Dataset], l)
	}
	for _, of := range slices.Sorted(maps.Keys(byDataset)) {
		head := map[tenants.Signal]string{tenants.Metrics: "LABELS", tenants.Logs: "LABELS AND METADATA", tenants.Traces: "NAMES AND ATTRIBUTES"}[e.Signal]
		if len(byDataset) > 1 {
			head += " OF " + byDataset[of][0].Dataset
		}
		e.heading(out, head)
		first := "LABEL"
		if e.Signal == tenants.Traces {
			first = "NAME"
		}
		rows := [][]string{{first, "IN THE QUESTION", "SAID AT", "IS"}}
		for _, l := range byDataset[of] {
			rows = append(rows, e.label(l))
		}
		out.WriteString(tabulate(rows))
	}
}

func (e explained) label(l rehearsal.Label) []string {
	name, what := l.Label, l.What
	if name == inspect.Others {
		name = "all others"
	}
	if l.Why != "" {
		what += ": " + l.Why
	}
	if l.Says != l.Dataset {
		what += ", because these " + e.things() + " are in " + l.Says + " too"
	}
	what += e.partly(l.Partly)
	return []string{name, cmp.Or(strings.Join(l.In, ", "), "-"), cmp.Or(within(e.dir, l.Place), "-"), what}
}

// things are what datasets are of.
func (e explained) things() string {
	return map[tenants.Signal]string{tenants.Metrics: "series", tenants.Logs: "streams", tenants.Traces: "spans"}[e.Signal]
}

// partly is what becomes of what is in other datasets as well.
func (e explained) partly(all []rehearsal.PartialLabel) (out string) {
	for _, p := range all {
		out += fmt.Sprintf("; %s for %s also in %s (%s, %s)", p.What, e.things(), p.Also, strings.Join(p.Series, " or "), within(e.dir, p.Place))
	}
	return out
}

// meanings are what modes of lines and spans leave, in words.
var meanings = map[tenants.Signal]map[string]string{
	tenants.Logs: {
		policy.LineNone.String():  "only how many there are",
		policy.LineShape.String(): "their templates",
		policy.LineKeep.String():  "as they are",
	},
	tenants.Traces: {
		policy.SpanHidden.String():     "as if they had never been recorded",
		policy.SpanBoundary.String():   "where requests enter and leave; all others are folded",
		policy.SpanShape.String():      "time and kind alone; where counts aren't told, those of the kind internal are folded",
		policy.SpanAttributes.String(): "with the names and attributes that are shown",
		policy.SpanFull.String():       "as they are",
	},
}

// contents are what becomes of lines or spans.
func (e explained) contents(out *strings.Builder) {
	if len(e.Contents) == 0 {
		return
	}
	e.heading(out, map[tenants.Signal]string{tenants.Logs: "LINES", tenants.Traces: "SPANS"}[e.Signal])
	rows := [][]string{{"OF", "SAID AT", "LEAVE AS"}}
	for _, c := range e.Contents {
		what := c.What
		mode, _, _ := strings.Cut(what, ",")
		if means := meanings[e.Signal][mode]; means != "" {
			what += ": " + means
		}
		switch {
		case c.Clash:
			what += ", because these " + e.things() + " are in several datasets that leave different things of them"
		case c.Says != c.Dataset:
			what += ", because these " + e.things() + " are in " + c.Says + " too"
		}
		rows = append(rows, []string{c.Dataset, within(e.dir, c.Place), what + e.partly(c.Partly)})
	}
	out.WriteString(tabulate(rows))
}

func (e explained) bounds(out *strings.Builder) {
	e.heading(out, "BOUNDS")
	o := e.Obligations
	rows := [][]string{
		{"series, samples, bytes in an answer", fmt.Sprintf("%d, %d, %s", o.Limits.Series, o.Limits.Samples, inBytes(o.Limits.Bytes))},
		{"time one question may span", model.Duration(o.Limits.Range).String()},
		{"pseudonyms stay the same for", map[bool]string{true: "one question", false: o.PseudonymEpoch}[o.PseudonymEpoch == "question"]},
	}
	switch e.Signal {
	case tenants.Metrics:
	case tenants.Logs:
		rows = append(rows, []string{"lines in an answer", strconv.Itoa(o.Limits.Lines)})
	case tenants.Traces:
		rows = append(rows, []string{"spans in an answer", strconv.Itoa(o.Limits.Spans)})
	}
	if !o.NotBefore.IsZero() {
		rows = append(rows, []string{"data may be seen from", stamp(o.NotBefore)})
	}
	if !o.NotAfter.IsZero() {
		rows = append(rows, []string{"data may be seen until", stamp(o.NotAfter)})
	}
	if o.Resolution > 0 {
		rows = append(rows, []string{map[bool]string{true: "one sample every", false: "one moment every"}[e.Signal == tenants.Metrics], model.Duration(o.Resolution).String()})
	}
	if len(o.Functions) > 0 {
		rows = append(rows, []string{"functions that are answered", strings.Join(o.Functions, ", ")})
	}
	out.WriteString(tabulate(rows))
}

func (e explained) told(out *strings.Builder) {
	e.heading(out, "THE PARTNER IS TOLD")
	if e.Refused == nil {
		for _, notice := range e.Plan.Notices() {
			out.WriteString(paragraph("  ", notice))
		}
		if len(e.Plan.Notices()) == 0 {
			out.WriteString("  nothing besides the answer\n")
		}
		return
	}
	out.WriteString(paragraph("  ", e.Refused.Told))
	if e.Refused.Kind == federation.Refused && e.Refused.Reason != "" && len(e.Reasons) == 0 {
		out.WriteString(paragraph("  because, which it isn't told: ", e.Refused.Reason))
	}
}
