package logs

import (
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
)

// A range aggregation whose series don't have the label org is of entries of
// all organizations together. Most can be asked of each organization with the
// label, and put together above; for the others the asker reads the entries.

// across is an expression in which range aggregations that merge several
// organizations' entries are put together of each one's, where that is the same.
func across(expr logql.Expr, members []Member) logql.Expr {
	switch e := expr.(type) {
	case *logql.RangeAggregation:
		if merges(e, members) {
			if each, op, ok := ofEach(e, members); ok {
				if e.Op == logql.AbsentOverTime {
					return each
				}
				return &logql.VectorAggregation{Op: op, Grouping: &logql.Grouping{Without: true, Labels: []string{federation.OrgLabel}}, Expr: each}
			}
		}
	case *logql.VectorAggregation:
		out := *e
		if r, ok := e.Expr.(*logql.RangeAggregation); ok && e.Op == logql.Sum && !namesOrg(e.Grouping) && merges(r, members) {
			if each, op, ok := ofEach(r, members); ok && op == logql.Sum {
				out.Expr = each // a sum of sums is one
				return &out
			}
		}
		out.Expr = across(e.Expr, members)
		return &out
	case *logql.LabelReplace:
		out := *e
		out.Expr = across(e.Expr, members)
		return &out
	case *logql.BinaryOperation:
		out := *e
		out.LHS, out.RHS = across(e.LHS, members), across(e.RHS, members)
		return &out
	}
	return expr
}

// namesOrg says whether a sum grouped so would have the label org.
func namesOrg(g *logql.Grouping) bool {
	return g != nil && slices.Contains(g.Labels, federation.OrgLabel) != g.Without
}

// merges says whether a range aggregation is of entries of the members together,
// as their series don't tell whose they are. What concerns our own organization
// alone is asked as it is.
func merges(r *logql.RangeAggregation, members []Member) bool {
	return !carriesOrg(r) && slices.ContainsFunc(members, func(m Member) bool { return !m.Own && concernedBy(&m, r) })
}

// concerned is how many members a range aggregation is of.
func concerned(r *logql.RangeAggregation, members []Member) int {
	n := 0
	for i := range members {
		if concernedBy(&members[i], r) {
			n++
		}
	}
	return n
}

// carriesOrg says whether the series of a range aggregation have the label org.
func carriesOrg(r *logql.RangeAggregation) bool {
	if g := r.Grouping; g != nil && slices.Contains(g.Labels, federation.OrgLabel) == g.Without {
		return false
	}
	return !slices.ContainsFunc(r.Selector.Stages, losesOrg)
}

// losesOrg says whether entries may lack the label org after a stage.
func losesOrg(stage logql.Stage) bool {
	switch s := stage.(type) {
	case *logql.Keep:
		return !slices.ContainsFunc(s.Labels, func(c logql.LabelChoice) bool { return c.Name == federation.OrgLabel && c.Matcher == nil })
	case *logql.Drop:
		return slices.ContainsFunc(s.Labels, func(c logql.LabelChoice) bool { return c.Name == federation.OrgLabel })
	}
	return false
}

// ofEach is a range aggregation whose series have the label org, and what
// makes the given one of it. ok is false when nothing does.
func ofEach(r *logql.RangeAggregation, members []Member) (each *logql.RangeAggregation, op logql.VectorOp, ok bool) {
	switch r.Op {
	case logql.CountOverTime, logql.Rate, logql.BytesRate, logql.BytesOverTime, logql.SumOverTime:
		op = logql.Sum
	case logql.AbsentOverTime: // of which series there are counts alone
		op = logql.Sum
	case logql.MinOverTime:
		op = logql.Min
	case logql.MaxOverTime:
		op = logql.Max
	default:
		if concerned(r, members) > 1 {
			return nil, "", false
		}
		op = logql.Max // of one
	}
	out := *r
	if g := r.Grouping; g != nil {
		names := slices.DeleteFunc(slices.Clone(g.Labels), func(name string) bool { return name == federation.OrgLabel })
		if !g.Without {
			names = append(names, federation.OrgLabel)
		}
		out.Grouping = &logql.Grouping{Without: g.Without, Labels: names}
	}
	out.Selector, ok = keepingOrg(r.Selector)
	return &out, op, ok
}

// keepingOrg is a selector whose entries have the label org and are otherwise
// the same; ok is false when a later stage could tell.
func keepingOrg(s *logql.LogSelector) (keeping *logql.LogSelector, ok bool) {
	out := &logql.LogSelector{Matchers: s.Matchers}
	lost := false
	for _, stage := range s.Stages {
		if lost && looksAtOrg(stage) {
			return nil, false
		}
		if losesOrg(stage) {
			lost = true
			if stage, ok = withOrg(stage); !ok {
				return nil, false
			}
		}
		if stage != nil {
			out.Stages = append(out.Stages, stage)
		}
	}
	return out, true
}

// withOrg is a stage that loses the label org without doing so; nil is none.
func withOrg(stage logql.Stage) (logql.Stage, bool) {
	conditional := func(c logql.LabelChoice) bool { return c.Name == federation.OrgLabel && c.Matcher != nil }
	switch s := stage.(type) {
	case *logql.Keep:
		if slices.ContainsFunc(s.Labels, conditional) {
			return nil, false
		}
		return &logql.Keep{Labels: append(slices.Clone(s.Labels), logql.LabelChoice{Name: federation.OrgLabel})}, true
	case *logql.Drop:
		if slices.ContainsFunc(s.Labels, conditional) {
			return nil, false
		}
		left := slices.DeleteFunc(slices.Clone(s.Labels), func(c logql.LabelChoice) bool { return c.Name == federation.OrgLabel })
		if len(left) == 0 {
			return nil, true
		}
		return &logql.Drop{Labels: left}, true
	}
	return nil, false
}

// looksAtOrg says whether what a stage does may depend on the label org.
// Templates can look at all labels at once.
func looksAtOrg(stage logql.Stage) bool {
	switch stage.(type) {
	case *logql.LineFormat, *logql.LabelFormat:
		return true
	case *logql.LineFilter:
		return false
	}
	return strings.Contains(stage.String(), federation.OrgLabel)
}
