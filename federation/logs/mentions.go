package logs

import (
	"maps"
	"slices"

	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
)

// mentionsIn are the labels of which each log selector of an expression, in their
// order, or what is around it speaks. What stands after a parser may be a field of
// the line as well.
func mentionsIn(expr logql.Expr) [][]metrics.Mention {
	var out [][]metrics.Mention
	speaks(expr, nil, func(m mentioned) {
		var list []metrics.Mention
		for _, label := range slices.Sorted(maps.Keys(m)) {
			list = append(list, metrics.Mention{Label: label, In: slices.Sorted(maps.Keys(m[label]))})
		}
		out = append(out, list)
	})
	return out
}

// mentioned has by label where it is spoken of.
type mentioned map[string]map[string]bool

func (m mentioned) add(in string, labels ...string) {
	for _, label := range labels {
		if m[label] == nil {
			m[label] = map[string]bool{}
		}
		m[label][in] = true
	}
}

// speaks calls take for each log selector in an expression. Around are those that it
// is in, from the outermost.
func speaks(expr logql.Expr, around []logql.Expr, take func(mentioned)) {
	around = append(slices.Clone(around), expr)
	switch e := expr.(type) {
	case *logql.LogSelector:
		m := mentioned{}
		for _, a := range around {
			m.around(a)
		}
		take(m)
	case *logql.RangeAggregation:
		speaks(e.Selector, around, take)
	case *logql.VectorAggregation:
		speaks(e.Expr, around, take)
	case *logql.LabelReplace:
		speaks(e.Expr, around, take)
	case *logql.BinaryOperation:
		speaks(e.LHS, around, take)
		speaks(e.RHS, around, take)
	}
}

// around adds what an expression speaks of, what is in it aside.
func (m mentioned) around(expr logql.Expr) {
	switch e := expr.(type) {
	case *logql.LogSelector:
		for _, matcher := range e.Matchers {
			m.add("matcher", matcher.Name)
		}
		m.pipeline(e.Stages)
	case *logql.RangeAggregation:
		m.grouping(e.Grouping)
		if u := e.Unwrap; u != nil {
			m.add("unwrap", u.Label)
			for _, f := range u.Filters {
				m.add("label filter", logql.StageLabels(&logql.LabelFilterStage{Filter: f})...)
			}
		}
	case *logql.VectorAggregation:
		m.grouping(e.Grouping)
	case *logql.LabelReplace:
		m.add("label_replace", e.Source)
		m.add("written by label_replace", e.Target)
	case *logql.BinaryOperation:
		if e.Matching == nil {
			return
		}
		in := "ignoring"
		if e.Matching.On {
			in = "on"
		}
		m.add(in, e.Matching.Labels...)
		if e.Matching.Group != logql.OneToOne {
			m.add(string(e.Matching.Group), e.Matching.Include...)
		}
	}
}

func (m mentioned) grouping(g *logql.Grouping) {
	switch {
	case g == nil:
	case g.Without:
		m.add("without", g.Labels...)
	default:
		m.add("by", g.Labels...)
	}
}

func (m mentioned) pipeline(stages []logql.Stage) {
	for _, stage := range stages {
		switch s := stage.(type) {
		case *logql.LabelFilterStage:
			m.add("label filter", logql.StageLabels(s)...)
		case *logql.LineFormat:
			m.add("line_format", logql.StageLabels(s)...)
		case *logql.LabelFormat:
			m.add("label_format", logql.StageLabels(s)...)
			for _, f := range s.Formats {
				m.add("written by label_format", f.Label)
			}
		case *logql.Keep:
			m.add("keep", chosen(s.Labels)...)
		case *logql.Drop:
			m.add("drop", chosen(s.Labels)...)
		case *logql.JSONParser:
			m.add("written by json", extracted(s.Extract)...)
		case *logql.LogfmtParser:
			m.add("written by logfmt", extracted(s.Extract)...)
		}
	}
}

func chosen(choices []logql.LabelChoice) []string {
	var out []string
	for _, c := range choices {
		out = append(out, c.Name)
	}
	return out
}

func extracted(all []logql.Extraction) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.Label)
	}
	return out
}
