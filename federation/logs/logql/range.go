package logql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// Range evaluates a range aggregation over entries as they come. It holds the
// samples of one window, and the results. It is not safe for concurrent use.
type Range struct {
	aggregation *RangeAggregation
	summed      bool      // there is a sum right around it
	grouping    *Grouping // of the aggregation, or of the sum around it
	pipeline    *Pipeline
	unwrap      *unwrapStep // nil: lines or bytes are counted
	evaluate    func(samples []sample, from, to int64) float64

	at, end, step int64 // the next evaluation, the last, and how far apart they are
	done          bool
	window        int64
	offset        int64

	series map[string]*series // by what is in key
	key    []byte
	order  []*series // as they came
	absent []promql.FPoint
	left   *Allowance // nil: of any size
	err    error
}

// series are the samples of one set of labels.
type series struct {
	metric  labels.Labels
	problem string   // of its entries; empty: none
	samples []sample // those of the window and, until the next evaluation, later ones
	points  []promql.FPoint
}

// sample is what is aggregated of one entry.
type sample struct {
	at    int64 // Unix nanoseconds
	value float64
}

// PipelineError says that a query of numbers met entries with a problem.
type PipelineError struct {
	Problem string        // such as JSONParserErr
	Series  labels.Labels // of such an entry
}

func (e *PipelineError) Error() string {
	return fmt.Sprintf("the pipeline fails with %s for entries of %s; skip them with | __error__=\"\", after unwrap if there is one", e.Problem, e.Series)
}

// The errors of a result that has more than it may.
var (
	ErrTooManyPoints = errors.New("the range aggregation has too many points")
	ErrTooManyLabels = errors.New("the labels of the range aggregation's series are too large")
)

// Allowance is how much the results of range aggregations may hold.
type Allowance struct {
	Points int
	Labels int // bytes of those of all series
}

// NewRange evaluates one of the Leaves of an expression at start, and every
// step until end; once, at start, if the step is 0. Times are Unix nanoseconds.
// At t it is of the entries in (t-offset-range, t-offset]. The given are labels
// that every entry comes with and that no line has: grouping by them is no
// reason to parse one.
func NewRange(leaf Expr, start, end int64, step time.Duration, given ...string) (*Range, error) {
	r, grouping, ok := leafOf(leaf)
	if !ok {
		return nil, fmt.Errorf("%s is not a range aggregation or a sum of one", leaf)
	}
	r = withoutIdleFormats(r)
	n, err := newNeeded(r, grouping, given)
	if err != nil {
		return nil, err
	}
	p, err := newPipeline(r.Selector, n)
	if err != nil {
		return nil, err
	}
	_, alone := leaf.(*RangeAggregation)
	e := &Range{
		summed: !alone, aggregation: r, grouping: grouping, pipeline: p, evaluate: evaluation(r),
		at: start, end: end, step: int64(step), window: int64(r.Range), offset: int64(r.Offset),
		series: map[string]*series{},
	}
	if step <= 0 {
		e.end = start
	}
	e.done = e.at > e.end
	if r.Unwrap != nil {
		e.unwrap, err = newUnwrapStep(r.Unwrap)
	}
	return e, err
}

// Limit bounds the result: what it takes of the allowance is taken off, so that
// several may have one together.
func (e *Range) Limit(a *Allowance) { e.left = a }

// withoutIdleFormats is r without formats of lines that nothing looks at: as in
// Loki they aren't run, so what fails in them isn't seen.
func withoutIdleFormats(r *RangeAggregation) *RangeAggregation {
	if r.Op == BytesRate || r.Op == BytesOverTime {
		return r
	}
	var stages []Stage
	looked := false
	for _, s := range slices.Backward(r.Selector.Stages) {
		switch s.(type) {
		case *LineFormat:
			if !looked {
				continue
			}
		case *LineFilter, *JSONParser, *LogfmtParser, *RegexpParser, *PatternParser, *UnpackParser:
			looked = true
		}
		stages = append(stages, s)
	}
	slices.Reverse(stages)
	reduced := *r
	reduced.Selector = &LogSelector{Matchers: r.Selector.Matchers, Stages: stages}
	return &reduced
}

// Add takes an entry, none of which may be earlier than the one before. When ctx
// ends, Matrix fails with its error.
func (e *Range) Add(ctx context.Context, at int64, line string, stream, metadata labels.Labels) {
	for !e.done && e.err == nil && at > e.at-e.offset {
		e.advance(ctx)
	}
	if e.done || e.err != nil || at <= e.at-e.offset-e.window {
		return
	}
	entry, ok := e.pipeline.run(at, line, stream, metadata)
	if !ok {
		return
	}
	value := 1.0
	switch {
	case e.unwrap != nil:
		if value, ok = e.unwrap.value(&entry); !ok {
			return
		}
	case e.aggregation.Op == BytesRate, e.aggregation.Op == BytesOverTime:
		value = float64(len(entry.line))
	}
	if s := e.seriesOf(&entry); s != nil {
		s.samples = append(s.samples, sample{at, value})
	}
}

// preservedLabel is on what has a problem that the query judges, where Loki
// shows it: in a range aggregation without a sum around it.
const preservedLabel = "__preserve_error__"

// seriesOf is the one of the entry's labels. An entry with a problem is in one
// of all of them, unless the query judges it and it is summed up. It is nil when
// there are no more.
func (e *Range) seriesOf(entry *entry) *series {
	f := entry.fields
	fails := f.problem != "" && (!f.preserved || !e.summed)
	if fails && f.preserved {
		f.all = append(f.all, field{name: preservedLabel, value: "true"})
	}
	switch {
	case f.problem != "":
		f.all = append(f.all, field{name: ErrorLabel, value: f.problem}, field{name: ErrorDetailsLabel, value: f.details})
	case e.grouping == nil && e.unwrap == nil && f.showsDetails(): // Loki groups by all but what is unwrapped
		f.all = append(f.all, field{name: ErrorDetailsLabel, value: f.details})
	}
	kept := slices.DeleteFunc(f.all, func(l field) bool { return l.value == "" || !fails && !e.keeps(f, l.name) })
	f.all = kept
	slices.SortFunc(kept, func(a, b field) int {
		switch {
		case a.name < b.name:
			return -1
		case a.name > b.name:
			return 1
		}
		return 0
	})
	e.key = e.key[:0]
	for i := range kept {
		e.key = append(append(append(append(e.key, kept[i].name...), 0xff), kept[i].value...), 0xff)
	}
	if s := e.series[string(e.key)]; s != nil {
		return s
	}
	if e.left != nil {
		if e.left.Labels -= len(e.key); e.left.Labels < 0 {
			e.err = ErrTooManyLabels
			return nil
		}
	}
	f.builder.Reset()
	for i := range kept {
		f.builder.Add(kept[i].name, kept[i].value)
	}
	s := &series{metric: f.builder.Labels()}
	if !f.preserved {
		s.problem = s.metric.Get(ErrorLabel)
	}
	e.series[string(e.key)] = s
	e.order = append(e.order, s)
	return s
}

// keeps says whether a label is one of the result's.
func (e *Range) keeps(f *fields, name string) bool {
	g := e.grouping
	switch {
	case g != nil && !g.Without:
		return slices.Contains(g.Labels, name) && !slices.Contains(f.deleted, name)
	case e.unwrap != nil && name == e.unwrap.label:
		return false
	default:
		return g == nil || !slices.Contains(g.Labels, name)
	}
}

// advance evaluates the next time and goes on to the one after it.
func (e *Range) advance(ctx context.Context) {
	if e.err = ctx.Err(); e.err != nil {
		return
	}
	to := e.at - e.offset
	from, some := to-e.window, false
	ms := time.Unix(0, e.at).UnixMilli()
	for _, s := range e.order {
		first := 0
		for first < len(s.samples) && s.samples[first].at <= from {
			first++
		}
		s.samples = slices.Delete(s.samples, 0, first)
		if len(s.samples) == 0 {
			continue
		}
		some = true
		if s.problem != "" && e.err == nil {
			e.err = &PipelineError{Problem: s.problem, Series: s.metric}
		}
		if e.aggregation.Op != AbsentOverTime {
			if e.left != nil {
				if e.left.Points--; e.left.Points < 0 {
					e.err = ErrTooManyPoints
					return
				}
			}
			s.points = append(s.points, promql.FPoint{T: ms, F: e.evaluate(s.samples, from, to)})
		}
	}
	if e.aggregation.Op == AbsentOverTime && !some {
		e.absent = append(e.absent, promql.FPoint{T: ms, F: 1})
	}
	e.at += e.step
	e.done = e.at > e.end || e.step <= 0
}

// Matrix is the result, for which no more entries may come: the series sorted
// by labels, times in milliseconds. The error is a *PipelineError, ErrTooManyPoints,
// ErrTooManyLabels or that of ctx.
func (e *Range) Matrix(ctx context.Context) (promql.Matrix, error) {
	for !e.done && e.err == nil {
		e.advance(ctx)
	}
	if e.err != nil {
		return nil, e.err
	}
	m := promql.Matrix{}
	if len(e.absent) > 0 {
		m = append(m, promql.Series{Metric: AbsentLabels(e.aggregation.Selector.Matchers), Floats: e.absent})
	}
	for _, s := range e.order {
		if len(s.points) > 0 {
			m = append(m, promql.Series{Metric: s.metric, Floats: s.points})
		}
	}
	slices.SortFunc(m, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return m, nil
}

// AbsentLabels are those that what absent_over_time finds nothing of would have
// had: of matchers for equality, where none of the same label follows.
func AbsentLabels(matchers []*labels.Matcher) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	seen := map[string]bool{}
	for _, m := range matchers {
		if m.Type == labels.MatchEqual && !seen[m.Name] {
			b.Set(m.Name, m.Value)
		} else {
			b.Del(m.Name)
		}
		seen[m.Name] = true
	}
	return b.Labels()
}
