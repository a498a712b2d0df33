package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/audit/review"
	"github.com/parley-gateway/parley/tenants"
)

type auditBreakGlassCommand struct {
	auditSource
	output
}

// Help is shown by parley audit break-glass --help.
func (*auditBreakGlassCommand) Help() string {
	return `Examples:

  parley audit break-glass --config gateway.yml
  parley audit break-glass --config gateway.yml --since 7d -o json

It reads the gateway's audit log: for each break-glass grant who got it, for what
case and reasons, from when until when, what was asked under it and how much was
shown, and what was refused. Emergencies in which our own people asked partners
follow. It shows people and the texts of their questions: it is for who may read
the audit log. The log may be in use.`
}

// Run reviews.
func (c *auditBreakGlassCommand) Run(k *kong.Kong) error {
	log, since, err := c.open()
	if err != nil {
		return err
	}
	report, err := review.BreakGlass(audit.Read(log), since)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	if c.Output == "json" {
		return printJSON(k.Stdout, report)
	}
	return emergenciesPage{BreakGlassReport: report, how: styleOf(k.Stdout), now: time.Now()}.show(k.Stdout)
}

// emergenciesPage is a report for people.
type emergenciesPage struct {
	review.BreakGlassReport

	how style
	now time.Time
}

// mostQuestions is how many questions of an emergency are printed.
const mostQuestions = 20

func (p emergenciesPage) show(w io.Writer) error {
	var out strings.Builder
	grants := 0
	for _, e := range p.Grants {
		if !e.Opened.IsZero() {
			grants++
		}
	}
	fmt.Fprintf(&out, "%s since %s\n", count(grants, "break-glass grant"), stamp(p.Since))
	if p.Unread > 0 {
		fmt.Fprintf(&out, "%s of the log can't be read\n", count(p.Unread, "line"))
	}
	for _, e := range p.Grants {
		p.emergency(&out, e, p.grant(e))
	}
	if len(p.Asked) > 0 {
		out.WriteString("\n" + p.how.colour(bold, "OUR OWN PEOPLE ASKED PARTNERS") + "\n")
	}
	for _, e := range p.Asked {
		p.emergency(&out, e, []string{"asked", fmt.Sprintf("from %s to %s", stamp(e.First), stamp(e.Last))})
	}
	if len(p.Repeated) > 0 {
		out.WriteString("\n" + p.how.colour(bold, "REFUSED AGAIN AND AGAIN") + "\n")
	}
	for _, r := range p.Repeated {
		fmt.Fprintf(&out, "  %s of %s, the last at %s: %s\n", count(r.Count, "question"), printable(string(r.Org)), stamp(r.Last), printable(r.Reason))
	}
	return write(w, &out)
}

// grant is that of a partner's person.
func (p emergenciesPage) grant(e review.Emergency) []string {
	span := fmt.Sprintf("from %s to %s", stamp(e.Opened), stamp(e.Ends))
	switch {
	case e.Opened.IsZero():
		span = "none"
	case p.now.Before(e.Ends):
		span += ", " + p.how.colour(red, "in force")
	}
	return []string{"grant", span}
}

func (p emergenciesPage) emergency(out *strings.Builder, e review.Emergency, when []string) {
	head := fmt.Sprintf("%s of %s", printable(e.Person), printable(string(e.Org)))
	switch {
	case e.Person == "":
		head = "nobody by name of " + printable(string(e.Org))
	case (tenants.User{Subject: e.Person, Proof: e.Proof}).Proven():
		head += ", proven by " + printable(string(e.Proof))
	default:
		head += ", not proven"
	}
	if e.Case != "" {
		head += ", case " + printable(string(e.Case))
	}
	out.WriteString("\n" + p.how.colour(bold, head) + "\n")
	rows := [][]string{when}
	add := func(name, text string) { rows = append(rows, []string{name, text}) }
	for _, reason := range e.Reasons {
		add("reason", printable(string(reason)))
	}
	add("purpose", joined(e.Purposes))
	if len(e.Partners) > 0 {
		add("answered by", joined(e.Partners))
	}
	add("shown", fmt.Sprintf("%s: %s", count(e.Answers, "answer"), disclosed(e.Disclosed)))
	if n := e.Refused + e.Failed; n > 0 {
		add("not answered", fmt.Sprintf("%d refused, %d failed", e.Refused, e.Failed))
	}
	out.WriteString(tabulate(rows))
	for _, q := range e.Questions[:min(len(e.Questions), mostQuestions)] {
		question(out, q)
	}
	if more := len(e.Questions) - mostQuestions; more > 0 {
		fmt.Fprintf(out, "  and %d more; -o json has all\n", more)
	}
}

func question(out *strings.Builder, q review.Question) {
	what := string(q.Kind)
	if q.Label != "" {
		what += " of " + printable(q.Label)
	}
	times := stamp(q.Last)
	if q.Count > 1 {
		times = fmt.Sprintf("%d times, the last at %s", q.Count, times)
	}
	became := disclosed(q.Disclosed)
	if q.Outcome == gateway.Refused || q.Outcome == gateway.Failed {
		became = string(q.Outcome)
	}
	out.WriteString(paragraph("    ", fmt.Sprintf("%s: %s, %s", times, printable(what), became)))
	if q.Query != "" {
		out.WriteString(paragraph("      ", printable(q.Query)))
	}
	if q.Why != "" {
		out.WriteString(paragraph("      because ", printable(q.Why)))
	}
}

// disclosed is how much left, for people.
func disclosed(d review.Disclosed) string {
	var out []string
	if d.Series+d.Samples > 0 || d.Lines+d.Spans == 0 {
		out = append(out, fmt.Sprintf("%d series, %s", d.Series, count(d.Samples, "sample")))
	}
	if d.Lines > 0 {
		out = append(out, count(d.Lines, "line"))
	}
	if d.Spans > 0 {
		out = append(out, count(d.Spans, "span"))
	}
	return strings.Join(append(out, count(d.Bytes, "byte")), ", ")
}

// joined is a list of names that come from a log.
func joined[T ~string](list []T) string {
	var out []string
	for _, name := range list {
		out = append(out, printable(string(name)))
	}
	return strings.Join(out, ", ")
}
