package traces

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// search finds the traces of the view of which the expression is true: the latest
// first, by when the last of their spans begins that meets a filter. It reads raw
// traces from the latest on, and stops when no earlier one can be among those
// that are wanted.
func (l *Local) search(ctx context.Context, q Question, v *view, limits tenants.Limits) (*Released, error) {
	expr, err := parse(q.Expression)
	if err != nil {
		return nil, err
	}
	found := &latestTraces{most: q.Limit, mostSpans: limits.Spans}
	sel := v.selection(q, expr.Filters())
	sel.wanted = q.Limit
	err = v.read(ctx, l.config.Source, sel, func(trace ptrace.Traces) error {
		indexed := traceql.NewTrace(trace)
		if len(expr.Select(indexed)) == 0 {
			return nil
		}
		if at, ok := lastMatch(expr, indexed, q); ok {
			found.add(Trace{ID: idOf(trace), Spans: trace}, at)
		}
		return nil
	}, func(start int64) bool { return !found.complete(v.allFrom(start)) })
	if err != nil {
		return nil, err
	}
	if found.tooMany(math.MinInt64) {
		return nil, tooManySpans(limits)
	}
	return &Released{traces: found.traces()}, nil
}

// parse reads TraceQL. The error is a BadQuestion.
func parse(expression string) (*traceql.Expr, error) {
	expr, err := traceql.Parse(expression)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	return expr, nil
}

// lastMatch is when the last span begins that meets a filter of the expression,
// of those within the question's time. Unix nanoseconds.
func lastMatch(expr *traceql.Expr, t *traceql.Trace, q Question) (at int64, ok bool) {
	at = math.MinInt64
	filters := expr.Filters()
	for i := range t.Len() {
		span := t.Span(i).Span
		start := int64(min(uint64(span.StartTimestamp()), math.MaxInt64))
		if start <= at || !begins(span, q) {
			continue
		}
		if slices.ContainsFunc(filters, func(f *traceql.Filter) bool { return f.Matches(t, i) }) {
			at, ok = start, true
		}
	}
	return at, ok
}

// latestTraces are the latest traces that were found. In which order they come is
// a matter of the source, which knows what is hidden: nothing is decided before it
// is sure that no later trace comes.
type latestTraces struct {
	most, mostSpans int
	found           []foundTrace // in order
}

type foundTrace struct {
	Trace
	at    int64
	spans int // of the trace; it has none any more where it is of no use
}

// compareFound is the order of traces that were found: the latest first, and of
// one time by id.
func compareFound(a, b foundTrace) int {
	return cmp.Or(cmp.Compare(b.at, a.at), bytes.Compare(a.ID[:], b.ID[:]))
}

func (l *latestTraces) add(t Trace, at int64) {
	f := foundTrace{t, at, t.Spans.SpanCount()}
	i, _ := slices.BinarySearchFunc(l.found, f, compareFound)
	l.found = slices.Insert(l.found, i, f)
	if len(l.found) > l.most {
		l.found = l.found[:l.most]
	}
	// What comes after more spans than an answer may have is in no answer, as those
	// before it then are too.
	spans := 0
	for i := range l.found {
		if spans += l.found[i].spans; spans > l.mostSpans {
			l.found[i].Spans = ptrace.NewTraces()
		}
	}
}

// complete says whether what the answer is was found, when all that begins at or
// after a time has been read: those that are wanted, or too much.
func (l *latestTraces) complete(start int64) bool {
	return len(l.found) == l.most && l.found[l.most-1].at >= start || l.tooMany(start)
}

// tooMany says whether those that begin at or after a time have more spans than an
// answer may have.
func (l *latestTraces) tooMany(start int64) bool {
	spans := 0
	for _, f := range l.found {
		if f.at < start {
			break
		}
		spans += f.spans
	}
	return spans > l.mostSpans
}

func (l *latestTraces) traces() []Trace {
	out := make([]Trace, len(l.found))
	for i, f := range l.found {
		out[i] = f.Trace
	}
	return out
}

// read calls take with the traces of the view that a source has of a selection,
// and asks goOn when all that begins at or after a time were given.
func (v *view) read(ctx context.Context, source Source, sel selection, take func(ptrace.Traces) error, goOn func(start int64) bool) error {
	if sel.start >= sel.end {
		return nil
	}
	for raw, err := range source.searchRaw(ctx, sel, goOn) {
		if err != nil {
			return err
		}
		trace, ok := v.trace(raw)
		if !ok {
			continue
		}
		if err := take(trace); err != nil {
			return err
		}
	}
	return nil
}

// selection is what a source has to be asked for, so that what it gives has all
// traces with a span of the view that begins within the question's time and meets
// one of the filters. A withheld span begins when a folded one does, or one that
// is left.
func (v *view) selection(q Question, filters []*traceql.Filter) selection {
	sel := selection{start: max(federation.Nanoseconds(q.Start), v.oldest), end: federation.Nanoseconds(q.End)}
	if sel.start > math.MinInt64+v.resolution {
		sel.start -= v.resolution // times of the view are at the ends of intervals
	}
	if v.newest < math.MaxInt64 {
		sel.end = min(sel.end, v.newest+1)
	}
	sel.services = v.services(q, filters)
	return sel
}

// services are those of which a raw span has to be for the view to have a span
// that the answer is made of; none is any.
func (v *view) services(q Question, filters []*traceql.Filter) []string {
	released := v.rules.services()
	asked := v.askedServices(filters)
	if asked == nil && q.Kind == policy.Operations && q.Label != "" && q.Label != string(v.org) && v.rules.servicesAsTheyAre() {
		asked = []string{q.Label}
	}
	switch {
	case asked == nil:
		return released
	case released == nil:
		return asked
	}
	both := slices.DeleteFunc(asked, func(s string) bool { return !slices.Contains(released, s) })
	if len(both) == 0 {
		return released // of which nothing meets the filters
	}
	return both
}

// askedServices are those that all filters name, where the view shows services
// under their own names; nil is any.
func (v *view) askedServices(filters []*traceql.Filter) []string {
	attribute, err := traceql.ParseAttribute(resourcePrefix + serviceName)
	if err != nil || len(filters) == 0 || !v.rules.servicesAsTheyAre() {
		return nil
	}
	var out []string
	for _, f := range filters {
		values, ok := f.Equal(attribute)
		if !ok || slices.Contains(values, string(v.org)) { // which is what others are called as well
			return nil
		}
		out = append(out, values...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// servicesAsTheyAre says whether the view shows no service under another name,
// but that of the organization.
func (r *rules) servicesAsTheyAre() bool {
	const name = resourcePrefix + serviceName
	return !slices.ContainsFunc(r.datasets, func(d policy.Dataset) bool {
		if d.Release != policy.Row || d.Span.Mode == policy.SpanFull {
			return false
		}
		mode := d.Rule(name).Mode
		return mode != policy.Keep && mode != policy.Drop
	})
}

// services are those that the selectors of released datasets name, where all do;
// nil is any.
func (r *rules) services() []string {
	var out []string
	for _, s := range r.selectors {
		if r.datasets[s.dataset].Release != policy.Row {
			continue
		}
		named := ""
		for _, m := range s.shared {
			if m.Name == resourcePrefix+serviceName && m.Type == labels.MatchEqual {
				named = m.Value
			}
		}
		if named == "" {
			return nil
		}
		out = append(out, named)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
