package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

type policyCatalogCommand struct {
	Config string `required:"" placeholder:"FILE" type:"path" help:"The gateway's config, which names its policies and agreements."`
	As     string `required:"" placeholder:"PARTNER" help:"The partner for whom it is."`
	Output string `short:"o" enum:"text,markdown,json" default:"text" help:"text, markdown to hand over, or json for programs."`
}

// Help is shown by parley policy catalog --help.
func (*policyCatalogCommand) Help() string {
	return `Examples:

  parley policy catalog --config gateway.yml --as globex
  parley policy catalog --config gateway.yml --as globex -o markdown > globex.md

It says what a partner may ask, by purpose: metrics, streams, spans, labels, how
they are released, within which bounds. It can be handed to the partner: nothing is in it
of what policy hides, such as the names of labels that are dropped, what is
denied, or how series are chosen by what isn't seen.`
}

// Run prints the catalog.
func (c *policyCatalogCommand) Run(k *kong.Kong) error {
	folder, _, err := policySource{Config: c.Config}.load(context.Background())
	if err != nil {
		return output{c.Output}.failed(k.Stdout, err)
	}
	partner, err := tenants.ParseOrgID(c.As)
	if err != nil {
		return usage("--as: %w", err)
	}
	agreement, ok := folder.Agreement(partner)
	if !ok {
		return usage("--as: there is no agreement with %s; %s", partner, partnersOf(folder))
	}
	catalog, err := folder.Catalog(context.Background(), agreement)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(k.Stdout, catalog)
	}
	p := catalogPage{markdown: c.Output == "markdown", how: styleOf(k.Stdout)}
	p.write(catalog)
	return write(k.Stdout, &p.out)
}

// catalogPage is a catalog for people.
type catalogPage struct {
	out      strings.Builder
	markdown bool
	how      style
}

func (p *catalogPage) heading(level int, text string) {
	if p.markdown {
		p.out.WriteString(strings.Repeat("#", level) + " " + text + "\n\n")
		return
	}
	if level == 1 {
		p.out.WriteString(p.how.colour(bold, text) + "\n\n")
		return
	}
	p.out.WriteString(p.how.colour(bold, strings.ToUpper(text)) + "\n")
}

func (p *catalogPage) text(text string) {
	if p.markdown {
		p.out.WriteString(text + "\n\n")
		return
	}
	p.out.WriteString(paragraph("", text) + "\n")
}

func (p *catalogPage) item(text string) {
	if p.markdown {
		p.out.WriteString("- " + text + "\n")
		return
	}
	p.out.WriteString(paragraph("  ", text))
}

func (p *catalogPage) detail(name, text string) {
	if p.markdown {
		p.out.WriteString("  - " + name + ": " + text + "\n")
		return
	}
	p.out.WriteString(paragraph("      "+name+": ", text))
}

// code is a name as it is written in a question.
func (p *catalogPage) code(text string) string {
	if p.markdown {
		return "`" + text + "`" // neither PromQL's names nor its regular expressions hold backticks
	}
	return text
}

func (p *catalogPage) codes(list []string) string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = p.code(text)
	}
	return strings.Join(out, ", ")
}

func (p *catalogPage) write(c inspect.Catalog) {
	p.heading(1, fmt.Sprintf("What %s may ask %s", c.Partner, c.Owner))
	if !c.Until.IsZero() {
		tails := ""
		if c.Rates.Tails > 0 {
			tails = fmt.Sprintf("; at most %d tails of logs at once", c.Rates.Tails)
		}
		p.text(fmt.Sprintf("Agreed until %s; at most %d questions at once and %d a minute%s.", stamp(c.Until), c.Rates.Concurrent, c.Rates.QueriesPerMinute, tails))
	}
	language, things, command := p.languages(c)
	among := p.code(`org="`+string(c.Owner)+`"`) + " among the matchers"
	if ofTraces := p.code("resource."+traces.OrgAttribute+` = "`+string(c.Owner)+`"`) + " in the filter"; strings.HasPrefix(language, "TraceQL") {
		among = ofTraces
	} else if strings.Contains(language, "TraceQL") {
		among += ", or " + ofTraces
	}
	p.text(fmt.Sprintf("Ask your own gateway in %s, with %s. %s and labels that aren't described here are not there: "+
		"a question about them gets what it would get if they didn't exist. Of what is described there may be less than it says.",
		language, among, things))
	if c.BreakGlass > 0 {
		p.text(fmt.Sprintf("In an emergency a person who proves who they are, with a token or a certificate, may state a reason and a case: "+
			"%s and %s, or %s. The first such question opens a grant of %s for the person and the case, which is announced to %s at once. "+
			"It can't be made longer, nor be opened again.", p.code("X-Parley-Break-Glass: REASON"), p.code("X-Parley-Case: CASE"),
			p.code("parley "+command+" --break-glass REASON --case CASE"), model.Duration(c.BreakGlass), c.Owner))
	}
	for _, purpose := range c.Purposes {
		p.heading(2, string(purpose.Purpose))
		switch {
		case len(purpose.Terms) > 0:
		case len(purpose.Emergency) > 0:
			p.text("Every day, no question is answered for this purpose.")
		default:
			p.text("No question is answered for this purpose.")
		}
		for _, t := range purpose.Terms {
			p.terms(t)
		}
		if len(purpose.Emergency) > 0 {
			p.text("In an emergency, under a break-glass grant, there is this instead:")
		}
		for _, t := range purpose.Emergency {
			p.terms(t)
		}
	}
}

// languages are those in which may be asked what a catalog has, what it has,
// and the command that asks for it.
func (p *catalogPage) languages(c inspect.Catalog) (language, things, command string) {
	var series, streams, spans bool
	for _, purpose := range c.Purposes {
		for _, t := range slices.Concat(purpose.Terms, purpose.Emergency) {
			series = series || len(t.Queries) > 0
			for _, s := range t.Sets {
				series, streams, spans = series || s.Signal == tenants.Metrics, streams || s.Signal == tenants.Logs, spans || s.Signal == tenants.Traces
			}
		}
	}
	var in, about, what []string
	add := func(there bool, name, of, has, asks string) {
		if !there {
			return
		}
		in, about, what = append(in, name), append(about, of), append(what, has)
		if command == "" {
			command = asks
		}
	}
	add(series || !streams && !spans, "PromQL", "metrics", "series", "query")
	add(streams, "LogQL ("+p.code("parley logs")+")", "logs", "streams", "logs")
	add(spans, "TraceQL ("+p.code("parley trace")+")", "traces", "spans", "trace")
	things = strings.ToUpper(what[0][:1]) + strings.Join(what, ", ")[1:]
	if len(in) == 1 {
		return in[0], things, command
	}
	for i := range in {
		in[i] += " about " + about[i]
	}
	return strings.Join(in[:len(in)-1], ", in ") + " and in " + in[len(in)-1], things, command
}

func (p *catalogPage) terms(t inspect.CatalogTerms) {
	conditions := make([]string, len(t.Conditions))
	for i, c := range t.Conditions {
		conditions[i] = string(c)
		if c == inspect.OfTheKind {
			conditions[i] = "they ask for " + strings.Join(kindNames(t.Kinds), ", ")
		}
	}
	switch {
	case len(conditions) > 0:
		p.text("Questions are answered if " + strings.Join(conditions, ", and if ") + ".")
	case p.markdown:
		p.out.WriteString("Questions are answered.\n\n")
	}
	for _, s := range t.Sets {
		p.set(s)
	}
	for _, q := range t.Queries {
		p.query(q)
	}
	p.bounds(t)
	p.out.WriteString("\n")
}

func kindNames(kinds []policy.Kind) []string {
	names := map[policy.Kind]string{
		policy.Instant: "a value at one moment", policy.Range: "values over time", policy.Series: "series", policy.LabelNames: "names of labels",
		policy.LabelValues: "values of a label", policy.Metadata: "what metrics mean", policy.Exemplars: "exemplars",
		policy.Tail: "entries as they come", policy.Stats: "how much there is", policy.Volume: "bytes by label",
		policy.DetectedLabels: "labels that were found", policy.DetectedFields: "fields that were found", policy.Patterns: "patterns of lines",
		policy.Trace: "traces by id", policy.Search: "traces by TraceQL", policy.Operations: "services and operations", policy.Dependencies: "who calls whom",
	}
	var out []string
	for _, k := range kinds {
		out = append(out, names[k])
	}
	return out
}

func (p *catalogPage) set(s inspect.CatalogSet) {
	selectors := slices.Clone(s.Selectors)
	for i, text := range selectors {
		selectors[i] = p.code(text)
		if text == "{}" {
			selectors[i] = map[tenants.Signal]string{tenants.Metrics: "metrics of any name", tenants.Logs: "all streams", tenants.Traces: "all spans"}[s.Signal]
		}
	}
	p.item(strings.Join(selectors, ", "))
	what := "units"
	if s.Events {
		what = "events"
	}
	switch {
	case s.Signal == tenants.Traces:
		p.detail("released as", spansOf(s))
		if s.Spans == policy.SpanShape.String() || s.Spans == policy.SpanFull.String() {
			return
		}
		p.detail("names and attributes", p.names(s.Labels, s.Others))
		return
	case s.Signal == tenants.Logs:
		p.detail("released as", "streams of logs")
	case s.Release == policy.Aggregate:
		p.detail("released as", fmt.Sprintf("sums and counts over at least %d %s; ask for sum, count, avg or group of it", s.Least, what))
	default:
		p.detail("released as", "series")
	}
	p.detail("labels", p.names(s.Labels, s.Others))
	if s.Signal == tenants.Logs {
		p.detail("lines", p.lines(s))
	}
	if s.Rounding != "exact" {
		p.detail("numbers", s.Rounding)
	}
}

// spansOf says what is left of spans.
func spansOf(s inspect.CatalogSet) string {
	folded := ", how many isn't told"
	switch {
	case s.Folded:
		folded = ", with how many there are"
	case s.DurationsWithheld:
		folded = ", neither how many there are nor how long they took is told"
	}
	switch s.Spans {
	case policy.SpanFull.String():
		return "spans as they are"
	case policy.SpanShape.String():
		if s.Folded {
			return "spans without names and attributes: time, kind and who called whom"
		}
		return "spans without names and attributes: time, kind and who called whom; one withheld span stands for internal ones" + folded
	case policy.SpanBoundary.String():
		return "spans with which requests enter and leave; one withheld span stands for what is inside" + folded
	}
	return "spans"
}

// lines says what is left of lines.
func (p *catalogPage) lines(s inspect.CatalogSet) string {
	var out []string
	switch s.Lines {
	case policy.LineKeep.String():
		return "as they are"
	case policy.LineShape.String():
		return "their templates, with <_> for all that varies"
	case policy.LineNone.String():
		return "none, only counts"
	}
	if len(s.Fields) > 0 || s.OtherFields != "" {
		out = append(out, "of their fields "+p.names(s.Fields, s.OtherFields))
	}
	for _, name := range s.Masks {
		out = append(out, p.code("<"+name+">")+" for what is masked")
	}
	return strings.Join(out, "; ")
}

// names says how labels or fields are seen.
func (p *catalogPage) names(list []inspect.CatalogLabel, others string) string {
	byHow := map[string][]string{}
	var hows []string
	for _, l := range list {
		if byHow[l.How] == nil {
			hows = append(hows, l.How)
		}
		byHow[l.How] = append(byHow[l.How], l.Name)
	}
	var labels []string
	for _, how := range hows {
		said := how
		if len(byHow[how]) > 1 {
			said = plural(how)
		}
		labels = append(labels, p.codes(byHow[how])+" "+said)
	}
	switch {
	case others != "":
		labels = append(labels, "others, if they are released, "+plural(others))
	case len(labels) == 0:
		labels = append(labels, "none")
	}
	return strings.Join(labels, "; ")
}

// plural is how several labels are.
func plural(how string) string { return strings.ReplaceAll(how, "as it is", "as they are") }

func (p *catalogPage) query(q inspect.CatalogQuery) {
	p.item(p.code(q.Name))
	p.detail("released as", "a published query, asked by its name")
	for _, parameter := range q.Parameters {
		var is []string
		if len(parameter.Values) > 0 {
			is = append(is, "one of "+p.codes(parameter.Values))
		} else {
			is = append(is, "a "+string(parameter.Type))
		}
		if parameter.Default != "" {
			is = append(is, p.code(parameter.Default)+" if it isn't given")
		}
		p.detail("parameter "+p.code(parameter.Name), strings.Join(is, ", "))
	}
	if q.Rounding != "exact" {
		p.detail("numbers", q.Rounding)
	}
}

func (p *catalogPage) bounds(t inspect.CatalogTerms) {
	var times []string
	span := func(d time.Duration) string { return model.Duration(d).String() }
	if t.MaxAge > 0 {
		times = append(times, "the last "+span(t.MaxAge))
	}
	if !t.NotBefore.IsZero() {
		times = append(times, "from "+stamp(t.NotBefore))
	}
	if !t.NotAfter.IsZero() {
		times = append(times, "until "+stamp(t.NotAfter))
	}
	if t.Delay > 0 {
		times = append(times, "older than "+span(t.Delay))
	}
	if len(times) > 0 {
		p.item("Data: " + strings.Join(times, ", ") + ".")
	}
	lines := ""
	if t.Limits.Lines > 0 {
		lines = fmt.Sprintf("%d lines, ", t.Limits.Lines)
	}
	if t.Limits.Spans > 0 {
		lines += fmt.Sprintf("%d spans, ", t.Limits.Spans)
	}
	p.item(fmt.Sprintf("One question spans at most %s; one answer has at most %s%d series, %d samples and %s.",
		span(t.Limits.Range), lines, t.Limits.Series, t.Limits.Samples, inBytes(t.Limits.Bytes)))
	switch {
	case t.Resolution == 0:
	case t.Limits.Spans > 0:
		p.item("Times are those at the end of every " + span(t.Resolution) + ".")
	case t.Limits.Lines > 0:
		p.item("Lines come at the end of every " + span(t.Resolution) + "; ask with steps and ranges that aren't shorter.")
	default:
		p.item("One sample every " + span(t.Resolution) + "; ask with steps and ranges that aren't shorter.")
	}
	if len(t.Functions) > 0 {
		p.item("Functions that are answered: " + p.codes(t.Functions) + ".")
	}
	pseudonyms := slices.ContainsFunc(t.Sets, func(s inspect.CatalogSet) bool {
		by := func(l inspect.CatalogLabel) bool { return l.How == "by pseudonym" }
		return s.Others == "by pseudonym" || s.OtherFields == "by pseudonym" || slices.ContainsFunc(s.Labels, by) || slices.ContainsFunc(s.Fields, by)
	})
	if pseudonyms {
		p.item("Pseudonyms stay the same for " + t.Pseudonyms + ".")
	}
}

// inBytes is a number of bytes as people say it, exactly.
func inBytes(bytes int) string {
	if bytes > 0 && bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return count(bytes, "byte")
}
