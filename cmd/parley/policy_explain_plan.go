package main

import (
	"fmt"
	"strings"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// plan says how the question is answered.
func (e explained) plan(out *strings.Builder) {
	e.heading(out, "PLAN")
	switch {
	case e.Plan.Logs != nil:
		e.planOfLogs(out, e.Plan.Logs)
	case e.Plan.Traces != nil:
		e.planOfTraces(out, e.Plan.Traces)
	default:
		e.planOfMetrics(out, e.Plan.Metrics)
	}
}

// selector says what one meets.
func (e explained) selector(out *strings.Builder, text string, datasets []int, hidden []string) {
	var meets []string
	for _, i := range datasets {
		d := e.Obligations.Datasets[i]
		what := map[policy.Release]string{policy.Deny: " (whose " + e.things() + " aren't there)", policy.Aggregate: " (in cells)"}[d.Release]
		meets = append(meets, d.Name+what)
	}
	line := "meets " + strings.Join(meets, ", ")
	if len(meets) == 0 {
		line = "meets nothing that is released: there are no such " + e.things()
	}
	out.WriteString("  " + text + "\n" + paragraph("    ", line))
	e.hidden(out, hidden)
}

func (e explained) hidden(out *strings.Builder, names []string) {
	if len(names) == 0 {
		return
	}
	one := map[string]string{"series": "series", "streams": "stream", "spans": "span"}[e.things()]
	out.WriteString(paragraph("    ", "hidden, and matched as if no "+one+" had it: "+strings.Join(names, ", ")))
}

func (e explained) planOfLogs(out *strings.Builder, plan *logs.Plan) {
	for _, s := range plan.Selectors {
		e.selector(out, s.Selector, s.Datasets, s.Hidden)
		if s.Source != "" {
			out.WriteString(paragraph("    streams are read as ", s.Source))
		}
		if len(s.Sought) > 0 {
			out.WriteString(paragraph("    the store looks in lines for ", strings.Join(s.Sought, " ")))
		}
	}
	if e.Refused != nil {
		return
	}
	if plan.Coverage == (policy.Window{}) {
		out.WriteString("  nothing of that time may be seen\n")
		return
	}
	for _, a := range plan.Aggregations {
		if a.PushedDown != "" {
			out.WriteString(paragraph("  a Loki evaluates ", a.PushedDown))
			continue
		}
		out.WriteString("  " + a.Expression + "\n" + paragraph("    ", "lines are read and evaluated here, over the view: "+a.NotPushedDown))
	}
	if len(plan.Aggregations) == 0 {
		out.WriteString(paragraph("  ", "the pipeline is run here, over what is released of lines"))
	}
}

func (e explained) planOfTraces(out *strings.Builder, plan *traces.Plan) {
	for _, f := range plan.Filters {
		out.WriteString("  " + f.Filter + "\n")
		if len(f.Names) > 0 {
			out.WriteString(paragraph("    looks at ", strings.Join(f.Names, ", ")))
		}
		e.hidden(out, f.Hidden)
	}
	if e.Refused != nil {
		return
	}
	switch {
	case plan.Coverage == (policy.Window{}):
		out.WriteString("  nothing of that time may be seen\n")
	case len(plan.Filters) == 0:
		out.WriteString(paragraph("  ", "the trace is read by its id, and all of it that is released leaves"))
	default:
		of := "any service"
		if len(plan.Services) > 0 {
			of = strings.Join(plan.Services, " or ")
		}
		out.WriteString(paragraph("  ", fmt.Sprintf("traces are read with a span of %s that begins from %s to %s, the latest first, and searched here, over what is released of them; "+
			"of one that is found all that is released leaves", of, stamp(plan.Searched.Start), stamp(plan.Searched.End))))
	}
}

func (e explained) planOfMetrics(out *strings.Builder, plan *metrics.Plan) {
	for i, s := range plan.Selectors {
		if s.Query != "" {
			out.WriteString("  " + s.Selector + "\n    is a published query\n")
			continue
		}
		e.selector(out, s.Selector, s.Datasets, s.Hidden)
		if s.Source != "" {
			out.WriteString(paragraph("    rows are read as ", s.Source))
		}
		if n := plan.Estimate.Evaluations; i < len(n) && n[i] > 1 {
			fmt.Fprintf(out, "    is evaluated at %d times\n", n[i])
		}
	}
	if e.Refused != nil {
		return
	}
	for _, c := range plan.Cells {
		d := e.Obligations.Datasets[c.Dataset]
		by := "one cell"
		if len(c.Dimensions) > 0 {
			by = "cells by " + strings.Join(c.Dimensions, ", ")
		}
		of := strings.Join(d.Units, " and ")
		if of == "" {
			of = "events"
		}
		out.WriteString("  " + c.Leaf + "\n" + paragraph("    ", fmt.Sprintf("leaves in %s, each of at least %d different %s of %s", by, d.K, of, d.Name)))
	}
	for _, published := range plan.Published {
		out.WriteString(paragraph("  evaluated over the store as it is: ", published))
	}
	switch {
	case plan.Coverage == policy.Window{}:
		out.WriteString("  nothing of that time may be seen\n")
	case len(plan.Cells)+len(plan.Published) > 0:
		out.WriteString("  the rest is evaluated over what these give\n")
	case plan.PushedDown != "":
		out.WriteString(paragraph("  a Prometheus 3 evaluates ", plan.PushedDown))
	default:
		out.WriteString(paragraph("  evaluated here, over the view: ", plan.NotPushedDown))
	}
	least := plan.Estimate
	out.WriteString(paragraph("  samples for each series, at least: ", fmt.Sprintf("%d in the answer, %d read, %d at once", least.Answer, least.Read, least.Held)))
}
