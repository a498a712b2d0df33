package logs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
)

// A query that yields numbers is taken apart at its leaves, which are what logql
// evaluates over entries: range aggregations, and with one the sum right around
// it, of which an owner is asked for its part. What is above them means in LogQL
// what it means in PromQL, and engines of PromQL evaluate it: over metrics that
// stand in for the leaves.

// standIn is such a query in PromQL.
type standIn struct {
	promQL string
	// leaves are by the number in the name of the metric that stands in for each.
	leaves []logql.Expr
	isLeaf func(logql.Expr) bool
	// absent are, by leaf, the aggregations that ask whether it has nothing.
	absent map[int]logql.Expr
}

// leafName is the metric that stands in for a leaf. A result doesn't keep it.
func leafName(i int) string { return "range_" + strconv.Itoa(i) }

// forAsking takes a query apart for who asks others. The error is a BadQuestion.
func forAsking(expr logql.Expr) (standIn, error) {
	return takeApart(expr, func(e logql.Expr) bool {
		_, ok := e.(*logql.RangeAggregation)
		return ok
	})
}

// forAnswering takes a query apart for who has the entries. The error is a
// BadQuestion.
func forAnswering(expr logql.Expr) (standIn, error) {
	leaves := logql.Leaves(expr)
	return takeApart(expr, func(e logql.Expr) bool { return slices.Contains(leaves, e) })
}

func takeApart(expr logql.Expr, isLeaf func(logql.Expr) bool) (standIn, error) {
	s := standIn{isLeaf: isLeaf, absent: map[int]logql.Expr{}}
	text, err := s.write(expr)
	s.promQL = text
	return s, err
}

func (s *standIn) write(expr logql.Expr) (string, error) {
	if s.isLeaf(expr) {
		return s.leaf(expr), nil
	}
	switch e := expr.(type) {
	case *logql.Literal:
		return number(e.Value), nil
	case *logql.Vector:
		return "vector(" + number(e.Value) + ")", nil
	case *logql.LabelReplace:
		inner, err := s.write(e.Expr)
		return fmt.Sprintf("label_replace(%s, %s, %s, %s, %s)", inner,
			strconv.Quote(e.Target), strconv.Quote(e.Replacement), strconv.Quote(e.Source), strconv.Quote(lineWise+e.Re+")")), err
	case *logql.VectorAggregation:
		if slices.Contains(logql.Leaves(e), expr) {
			return s.sum(e), nil
		}
		return s.aggregation(e)
	case *logql.BinaryOperation:
		return s.operation(e)
	}
	return "", federation.Errorf(federation.BadQuestion, "%T is not answered", expr)
}

// lineWise begins a regular expression whose dot, as LogQL's, isn't a newline;
// PromQL's is.
const lineWise = "(?-s:"

// leaf writes the selector that stands in for a leaf. It has the matchers of its
// streams, which tell whom it concerns, and of which absent takes its labels.
func (s *standIn) leaf(leaf logql.Expr) string {
	r, ok := leaf.(*logql.RangeAggregation)
	absent, asked := ok && r.Op == logql.AbsentOverTime, leaf
	if absent {
		// Whether entries are absent everywhere is known when all were asked.
		counted := *r
		counted.Op = logql.CountOverTime
		if r.Unwrap != nil {
			counted.Op = logql.SumOverTime
		}
		leaf = &logql.VectorAggregation{Op: logql.Sum, Grouping: &logql.Grouping{Labels: []string{federation.OrgLabel}}, Expr: &counted}
	}
	at := slices.IndexFunc(s.leaves, func(other logql.Expr) bool { return other.String() == leaf.String() })
	if at < 0 {
		at = len(s.leaves)
		s.leaves = append(s.leaves, leaf)
	}
	selector := parser.VectorSelector{Name: leafName(at), LabelMatchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, leafName(at)),
	}}
	matchers := rangeOf(leaf).Selector.Matchers
	if absent {
		s.absent[at] = asked
		return absentText(selector, matchers)
	}
	for _, m := range matchers {
		if m.Name != labels.MetricName {
			selector.LabelMatchers = append(selector.LabelMatchers, m)
		}
	}
	return selector.String()
}

// absentText asks whether a leaf has nothing. Which labels the answer has goes
// in LogQL by the order of matchers, which PromQL doesn't keep: so there is one
// for each label of the answer, and those that tell whom it concerns.
func absentText(selector parser.VectorSelector, matchers []*labels.Matcher) string {
	answer := logql.AbsentLabels(matchers)
	answer.Range(func(l labels.Label) {
		if l.Name != federation.OrgLabel {
			selector.LabelMatchers = append(selector.LabelMatchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
		}
	})
	for _, m := range matchers {
		if m.Name == federation.OrgLabel {
			selector.LabelMatchers = append(selector.LabelMatchers, m)
		}
	}
	return fmt.Sprintf(`label_replace(absent(%s), %q, %s, "", %q)`, selector.String(), federation.OrgLabel, strconv.Quote(answer.Get(federation.OrgLabel)), lineWise+")")
}

// rangeOf is the range aggregation of a leaf.
func rangeOf(leaf logql.Expr) *logql.RangeAggregation { return logql.RangeAggregations(leaf)[0] }

// aggregations are the vector aggregations that PromQL has under the same name
// with the same meaning.
var aggregations = map[logql.VectorOp]bool{
	"sum": true, "avg": true, "min": true, "max": true, "count": true, "stddev": true, "stdvar": true, "topk": true, "bottomk": true,
}

// sum writes a sum that is a leaf: of what each organization's part of it is.
func (s *standIn) sum(e *logql.VectorAggregation) string {
	part := *e
	grouping := logql.Grouping{}
	if e.Grouping != nil {
		grouping = *e.Grouping
	}
	others := slices.DeleteFunc(slices.Clone(grouping.Labels), func(name string) bool { return name == federation.OrgLabel })
	if !grouping.Without {
		others = append(others, federation.OrgLabel)
	}
	part.Grouping = &logql.Grouping{Without: grouping.Without, Labels: others}
	return "sum " + grouping.String() + " (" + s.leaf(&part) + ")"
}

func (s *standIn) aggregation(e *logql.VectorAggregation) (string, error) {
	inner, err := s.write(e.Expr)
	if err != nil {
		return "", err
	}
	switch {
	case e.Op == "sort" || e.Op == "sort_desc":
		return string(e.Op) + "(" + inner + ")", nil
	case !aggregations[e.Op]:
		return "", federation.Errorf(federation.BadQuestion, "%s is not answered", e.Op)
	}
	if e.Parameter > 0 {
		inner = strconv.Itoa(e.Parameter) + ", " + inner
	}
	grouping := ""
	if e.Grouping != nil {
		grouping = " " + e.Grouping.String() + " "
	}
	return string(e.Op) + grouping + "(" + inner + ")", nil
}

func (s *standIn) operation(e *logql.BinaryOperation) (string, error) {
	lhs, err := s.write(e.LHS)
	if err != nil {
		return "", err
	}
	rhs, err := s.write(e.RHS)
	if err != nil {
		return "", err
	}
	if e.Op == "/" {
		// In LogQL what is divided by 0 is NaN, as the remainder is in both.
		if zero, ok := e.RHS.(*logql.Literal); ok && zero.Value == 0 {
			e = &logql.BinaryOperation{Op: "%", LHS: e.LHS, RHS: e.RHS}
		} else if !ok {
			rhs = fmt.Sprintf("((%s != 0) or (%s %% 0))", rhs, rhs)
		}
	}
	parts := []string{lhs, string(e.Op)}
	if e.Bool {
		parts = append(parts, "bool")
	}
	if m := e.Matching; m != nil {
		how := "ignoring"
		if m.On {
			how = "on"
		}
		parts = append(parts, how+" ("+strings.Join(m.Labels, ", ")+")")
		if m.Group != logql.OneToOne {
			parts = append(parts, string(m.Group)+" ("+strings.Join(m.Include, ", ")+")")
		}
	}
	return "(" + strings.Join(append(parts, rhs), " ") + ")", nil
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// logQL is the inverse of promQL, for a part of it, or of what the distributed
// engine made of it. ok is false for what LogQL can't say.
func (s *standIn) logQL(expr parser.Expr) (text string, ok bool) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return s.logQL(e.Expr)
	case *parser.StepInvariantExpr:
		return s.logQL(e.Expr)
	case *parser.NumberLiteral:
		return (&logql.Literal{Value: e.Val}).String(), true
	case *parser.VectorSelector:
		at, ok := s.leafOf(e)
		if !ok {
			return "", false
		}
		return s.leaves[at].String(), true
	case *parser.AggregateExpr:
		return s.aggregateLogQL(e)
	case *parser.BinaryExpr:
		return s.binaryLogQL(e)
	case *parser.Call:
		return s.callLogQL(e)
	}
	return "", false
}

// isRange says whether an expression stands in for a range aggregation alone.
func (s *standIn) isRange(expr parser.Expr) bool {
	for {
		switch e := expr.(type) {
		case *parser.ParenExpr:
			expr = e.Expr
			continue
		case *parser.StepInvariantExpr:
			expr = e.Expr
			continue
		case *parser.VectorSelector:
			at, ok := s.leafOf(e)
			if !ok {
				return false
			}
			_, alone := s.leaves[at].(*logql.RangeAggregation)
			return alone
		}
		return false
	}
}

// leafOf is which leaf a selector stands in for.
func (s *standIn) leafOf(selector *parser.VectorSelector) (at int, ok bool) {
	if selector.OriginalOffset != 0 || selector.Timestamp != nil || selector.StartOrEnd != 0 {
		return 0, false
	}
	for i := range s.leaves {
		if selector.Name == leafName(i) || named(selector.LabelMatchers, leafName(i)) {
			return i, true
		}
	}
	return 0, false
}

func named(matchers []*labels.Matcher, name string) bool {
	for _, m := range matchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual && m.Value == name {
			return true
		}
	}
	return false
}

func (s *standIn) aggregateLogQL(e *parser.AggregateExpr) (string, bool) {
	inner, ok := s.logQL(e.Expr)
	if !ok {
		return "", false
	}
	op := e.Op.String()
	if e.Op == parser.GROUP {
		op = "count" // it stands below another group, to which values are all the same
	}
	if !aggregations[logql.VectorOp(op)] {
		return "", false
	}
	if e.Op == parser.SUM && s.isRange(e.Expr) {
		inner = "(" + inner + " * 1)" // a sum right around it would make another leaf of it
	}
	if e.Param != nil {
		k, ok := s.logQL(e.Param)
		if !ok {
			return "", false
		}
		inner = k + ", " + inner
	}
	grouping := ""
	if len(e.Grouping) > 0 || e.Without {
		grouping = " " + (&logql.Grouping{Without: e.Without, Labels: e.Grouping}).String() + " "
	}
	return op + grouping + "(" + inner + ")", true
}

func (s *standIn) binaryLogQL(e *parser.BinaryExpr) (string, bool) {
	lhs, ok := s.logQL(e.LHS)
	if !ok {
		return "", false
	}
	rhs, ok := s.logQL(e.RHS)
	if !ok {
		return "", false
	}
	parts := []string{lhs, e.Op.String()}
	if e.ReturnBool {
		parts = append(parts, "bool")
	}
	if m := e.VectorMatching; m != nil && (m.On || len(m.MatchingLabels) > 0 || m.Card != parser.CardOneToOne && m.Card != parser.CardManyToMany) {
		how := "ignoring"
		if m.On {
			how = "on"
		}
		parts = append(parts, how+" ("+strings.Join(m.MatchingLabels, ", ")+")")
		switch m.Card {
		case parser.CardManyToOne:
			parts = append(parts, "group_left ("+strings.Join(m.Include, ", ")+")")
		case parser.CardOneToMany:
			parts = append(parts, "group_right ("+strings.Join(m.Include, ", ")+")")
		case parser.CardOneToOne, parser.CardManyToMany:
		}
	}
	return "(" + strings.Join(append(parts, rhs), " ") + ")", true
}

func (s *standIn) callLogQL(e *parser.Call) (string, bool) {
	switch e.Func.Name {
	case "absent":
		selector, ok := e.Args[0].(*parser.VectorSelector)
		if !ok {
			return "", false
		}
		at, ok := s.leafOf(selector)
		if !ok || s.absent[at] == nil {
			return "", false
		}
		return s.absent[at].String(), true
	case "vector":
		value, ok := s.logQL(e.Args[0])
		return "vector(" + value + ")", ok
	case "sort", "sort_desc":
		inner, ok := s.logQL(e.Args[0])
		return e.Func.Name + "(" + inner + ")", ok
	case "label_replace":
		inner, ok := s.logQL(e.Args[0])
		if !ok {
			return "", false
		}
		parts, re := []string{inner}, ""
		for _, arg := range e.Args[1:] {
			text, ok := arg.(*parser.StringLiteral)
			if !ok {
				return "", false
			}
			parts = append(parts, strconv.Quote(text.Val))
			re = text.Val
		}
		re, ok = strings.CutPrefix(re, lineWise)
		if !ok {
			return "", false
		}
		parts[len(parts)-1] = strconv.Quote(strings.TrimSuffix(re, ")"))
		return "label_replace(" + strings.Join(parts, ", ") + ")", true
	}
	return "", false
}
