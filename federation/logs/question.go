package logs

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/differencing"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Question is one logs question, as it arrives at either door.
type Question struct {
	Kind policy.Kind
	// Expression is LogQL, for Instant, Range, Tail and DetectedFields. That of an
	// Instant question yields numbers, that of Tail and DetectedFields lines.
	Expression string
	// Start and End bound a log query and what a listing goes by: Start is
	// included, End is not. Of a query that yields numbers they are the first and
	// the last time it is evaluated at, whole milliseconds; an Instant question
	// has Start equal to End. Of a Volume and of Patterns, which are numbers too,
	// Start isn't included and End is. A Tail asks for what is written from End on, when it
	// is asked, and for what there is already from Start: with Backward the last
	// Limit lines, which may be none, and otherwise all.
	Start, End time.Time
	// Step is the resolution of a Range question that yields numbers, of a Volume
	// and of Patterns, in whole milliseconds. That of a Volume is zero for the whole
	// time at once.
	Step time.Duration
	// Limit is how many entries of a log query are wanted: the first, or with
	// Backward the last. It is above zero for one. Of a listing it is how many
	// names, values or streams; zero is all. Of DetectedFields it is how many lines
	// of each organization are looked at, the last ones.
	Limit    int
	Backward bool
	// Selectors choose streams, any of them matching, for Series, LabelNames,
	// LabelValues and DetectedLabels. Empty chooses everything visible; for Series
	// that is refused. Stats, Volume and Patterns have one.
	Selectors []policy.Selector
	// Label is the label whose values are asked for, or the field.
	Label string
	// By are the labels by which a Volume is told; none are those that the selector
	// names, or all where it names none. A stream without one of them isn't counted.
	By []string
	// ByName asks for a Volume by names of labels rather than by their values.
	ByName bool
}

// Signal is logs.
func (q Question) Signal() tenants.Signal { return tenants.Logs }

// Asked is the question as it arrived.
func (q Question) Asked() policy.Request {
	return policy.Request{
		Signal: tenants.Logs, Kind: q.Kind, Query: q.Expression, Label: q.Label, Step: q.Step,
		Window: policy.Window{Start: q.Start, End: q.End},
	}
}

// Request returns the question as a policy sees it; the caller adds who asks
// whom. The error is a BadQuestion.
func (q Question) Request() (policy.Request, error) {
	r := q.Asked()
	if !q.queries() {
		r.Query, r.Selectors = "", q.Selectors
		for _, s := range q.Selectors {
			r.Query += FormatSelector(s) + "\n"
		}
		return r, nil
	}
	expr, err := q.parse()
	if err != nil {
		return policy.Request{}, err
	}
	r.Query, r.Functions = expr.String(), logql.Functions(expr)
	r.Stages, r.LineFilters = logql.StageNames(expr), logql.LineFilters(expr)
	for _, s := range logql.Selectors(expr) {
		r.Selectors = append(r.Selectors, policy.Selector(s.Matchers))
	}
	if _, entries := expr.(*logql.LogSelector); !entries {
		r.Window = touched(expr, q)
	}
	return r, nil
}

// identity is what other questions differ in: all of the question but when it is
// asked, about what time, and for how many lines. All are about one thing, logs,
// and have a subject for each range aggregation.
func (q Question) identity() (differencing.Question, error) {
	r, err := q.Request()
	if err != nil {
		return differencing.Question{}, err
	}
	kind := q.Kind
	if kind == policy.Range || kind == policy.Tail {
		kind = policy.Instant // the same at other times
	}
	out := differencing.Question{Text: fmt.Sprintf("%s\xff%s\xff%s\xff%q\xff%t", kind, r.Query, q.Label, q.By, q.ByName)}
	if q.queries() {
		expr, err := q.parse()
		if err != nil {
			return differencing.Question{}, err
		}
		for _, aggregation := range logql.RangeAggregations(expr) {
			out.About = append(out.About, differencing.Subject{Selector: aggregation.String()})
		}
	}
	if out.About == nil {
		out.About = []differencing.Subject{{}}
	}
	return out, nil
}

// queries says whether the question has an expression.
func (q Question) queries() bool {
	switch q.Kind {
	case policy.Instant, policy.Range, policy.Tail, policy.DetectedFields:
		return true
	}
	return false
}

// parse reads the expression and refuses what doesn't go with the kind.
func (q Question) parse() (logql.Expr, error) {
	expr, err := logql.Parse(q.Expression)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if err := refuseReserved(expr); err != nil {
		return nil, err
	}
	_, entries := expr.(*logql.LogSelector)
	switch {
	case !entries && q.Kind == policy.DetectedFields:
		return nil, federation.Errorf(federation.BadQuestion, "fields are those of lines: want a log query such as {service=\"checkout\"}, and not one that yields numbers")
	case !entries && q.Kind == policy.Tail:
		return nil, federation.Errorf(federation.BadQuestion, "a tail is of lines, and this yields numbers: ask it as query or query_range")
	case q.Kind == policy.Tail:
		return expr, nil
	case entries && q.Kind == policy.Instant:
		return nil, federation.Errorf(federation.BadQuestion, "a log query has a range of time: ask it as query_range")
	case entries && q.Limit <= 0:
		return nil, federation.Errorf(federation.BadQuestion, "a log query has a limit of at least one line")
	case !entries && q.Kind == policy.Range && q.Step < time.Millisecond:
		return nil, federation.Errorf(federation.BadQuestion, "a query that yields numbers over a range has a step of at least a millisecond")
	}
	return expr, nil
}

// Entries says whether the answer to the question is lines of logs.
func (q Question) Entries() bool {
	if q.Kind != policy.Instant && q.Kind != policy.Range {
		return false
	}
	expr, err := logql.Parse(q.Expression)
	if err != nil {
		return false
	}
	_, entries := expr.(*logql.LogSelector)
	return entries
}

// LosesOrg says whether entries of the answer may lack the label org, because a
// stage of the question takes it away.
func (q Question) LosesOrg() bool {
	expr, err := logql.Parse(q.Expression)
	if err != nil {
		return false
	}
	selector, entries := expr.(*logql.LogSelector)
	return entries && slices.ContainsFunc(selector.Stages, losesOrg)
}

// touched is the span of data that the range aggregations of an expression
// read; that of the question where there are none.
func touched(expr logql.Expr, q Question) policy.Window {
	var out policy.Window
	for _, r := range logql.RangeAggregations(expr) {
		out = out.Union(policy.Window{Start: q.Start.Add(-r.Offset - r.Range), End: q.End.Add(-r.Offset)})
	}
	if (out == policy.Window{}) {
		return policy.Window{Start: q.Start, End: q.End}
	}
	return out
}

// Listing says whether it asks for names, values or streams.
func (q Question) Listing() bool {
	return q.Kind == policy.LabelNames || q.Kind == policy.LabelValues || q.Kind == policy.Series || q.Kind == policy.DetectedLabels
}

// Numbers says whether the answer to the question is series.
func (q Question) Numbers() bool {
	switch q.Kind {
	case policy.Volume, policy.Patterns:
		return true
	case policy.Instant, policy.Range:
		return !q.Entries()
	}
	return false
}

// Within returns a listing for no more than a time before its end.
func (q Question) Within(now time.Time, most time.Duration) (federation.Question, bool) {
	if !q.Listing() {
		return q, false
	}
	if q.End.After(now) {
		q.End = now
	}
	if q.End.Sub(q.Start) <= most {
		return q, false
	}
	q.Start = q.End.Add(-most)
	return q, true
}

// ParseSelector parses a stream selector such as {service="checkout"}. The
// error is a BadQuestion.
func ParseSelector(text string) (policy.Selector, error) {
	expr, err := logql.Parse(text)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "selector: %v", err)
	}
	s, ok := expr.(*logql.LogSelector)
	if !ok || len(s.Stages) > 0 {
		return nil, federation.Errorf(federation.BadQuestion, "selector: want one such as {service=\"checkout\"}, and nothing after it")
	}
	return policy.Selector(s.Matchers), nil
}

// FormatSelector is the inverse of ParseSelector.
func FormatSelector(s policy.Selector) string {
	return (&logql.LogSelector{Matchers: []*labels.Matcher(s)}).String()
}

// refuseReserved refuses a question that names what only a gateway may name, or
// that would make something look like another organization's.
func refuseReserved(expr logql.Expr) error {
	for _, name := range labelsMade(expr) {
		if name == federation.OrgLabel {
			return federation.Errorf(federation.BadQuestion, "the label org says whose data it is: no stage may set it")
		}
		if federation.Reserved(name) {
			return federation.Errorf(federation.BadQuestion, "%q can't be asked for: names that begin with %s are reserved", name, federation.ReservedPrefix)
		}
	}
	for _, s := range logql.Selectors(expr) {
		for _, m := range s.Matchers {
			if federation.Reserved(m.Name) {
				return federation.Errorf(federation.BadQuestion, "%q can't be asked for: names that begin with %s are reserved", m.Name, federation.ReservedPrefix)
			}
		}
	}
	return nil
}

// labelsMade are the names of labels that an expression sets by name. What a
// parser finds under the name of a label that is there already is called
// otherwise.
func labelsMade(expr logql.Expr) []string {
	var out []string
	logql.Inspect(expr, func(e logql.Expr) bool {
		if r, ok := e.(*logql.LabelReplace); ok {
			out = append(out, r.Target)
		}
		return true
	})
	for _, s := range logql.Selectors(expr) {
		for _, stage := range s.Stages {
			if f, ok := stage.(*logql.LabelFormat); ok {
				for _, made := range f.Formats {
					out = append(out, made.Label)
					if made.Rename {
						out = append(out, made.Source) // which is gone then
					}
				}
			}
		}
	}
	return out
}
