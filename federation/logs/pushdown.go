package logs

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
)

// A range aggregation goes down to the backend whole where what policy hides
// can't tell in it: where the raw entries that it selects are those of the view
// and it looks at nothing of them that the view has otherwise. That is decided
// by policy and the question alone.

// evaluator is a Source whose backend evaluates range aggregations itself.
type evaluator interface {
	// evaluateRaw evaluates LogQL at start, and every step until end; once, at
	// start, if the step is 0. Whatever the error, entries may be read instead.
	evaluateRaw(ctx context.Context, query string, start, end time.Time, step time.Duration) (promql.Matrix, error)
}

// pushed answers a leaf from the backend; ok is false when that isn't the
// same, or the backend can't.
func (v *view) pushed(ctx context.Context, leaf logql.Expr, q Question) (matrix promql.Matrix, ok bool) {
	backend, ok := v.source.(evaluator)
	if !ok {
		return nil, false
	}
	raw, withOrg, err := v.rawLeaf(leaf, q)
	if err != nil {
		return nil, false
	}
	step := q.Step
	if q.Kind == policy.Instant {
		step = 0
	}
	matrix, err = backend.evaluateRaw(ctx, raw.String(), q.Start, q.End, step)
	if err != nil || !onGrid(matrix, q.Start, q.End, step) {
		return nil, false
	}
	if withOrg {
		b := labels.NewBuilder(labels.EmptyLabels())
		for i := range matrix {
			b.Reset(matrix[i].Metric)
			matrix[i].Metric = b.Set(federation.OrgLabel, string(v.labels.Org())).Labels()
		}
	}
	return matrix, true
}

// onGrid says whether all points are of the times that were asked for: a Loki
// moves them to multiples of the step.
func onGrid(m promql.Matrix, start, end time.Time, step time.Duration) bool {
	from, to, every := start.UnixMilli(), end.UnixMilli(), step.Milliseconds()
	for _, s := range m {
		for _, p := range s.Floats {
			if p.T < from || p.T > to || every == 0 && p.T != from || every > 0 && (p.T-from)%every != 0 {
				return false
			}
		}
	}
	return true
}

// Why a leaf isn't the same of the raw store, for its owner.
var (
	errMoments  = errors.New("policy moves lines to the ends of intervals")
	errNotShown = errors.New("some of its time may not be seen")
	errGrid     = errors.New("a Loki would move its times: want offsets and ranges of whole milliseconds, and a start that is a multiple of the step")
	errStreams  = errors.New("the raw streams that it selects may be others than those of the view")
	errHidden   = errors.New("it looks at lines or labels that policy hides or changes")
	errGrouping = errors.New("it isn't grouped by labels that stay as they are")
	errNotText  = errors.New("it has text that isn't UTF-8")
)

// rawLeaf is a leaf for the raw store; withOrg says whether its series have the
// label org. The error says why there is none.
func (v *view) rawLeaf(leaf logql.Expr, q Question) (raw logql.Expr, withOrg bool, err error) {
	r := rangeOf(leaf)
	switch {
	case v.resolution != 0:
		return nil, false, errMoments
	case !v.holds(q, r):
		return nil, false, errNotShown
	case !wholeMilliseconds(r.Offset) || !wholeMilliseconds(r.Range) || q.Kind == policy.Range && q.Start.UnixNano()%int64(q.Step) != 0:
		return nil, false, errGrid
	}
	dataset, matchers, ok := v.only(r.Selector.Matchers)
	if !ok {
		return nil, false, errStreams
	}
	if !looksAtNothingHidden(dataset, r) {
		return nil, false, errHidden
	}
	out := *r
	out.Selector = &logql.LogSelector{Matchers: matchers, Stages: r.Selector.Stages}
	switch e := leaf.(type) {
	case *logql.RangeAggregation:
		if out.Grouping, withOrg, ok = v.rawGrouping(e.Grouping, dataset); !ok {
			return nil, false, errGrouping
		}
		raw = &out
	case *logql.VectorAggregation:
		sum := *e
		grouping := e.Grouping
		if grouping == nil {
			grouping = &logql.Grouping{}
		}
		if sum.Grouping, withOrg, ok = v.rawGrouping(grouping, dataset); !ok {
			return nil, false, errGrouping
		}
		sum.Expr = &out
		raw = &sum
	default:
		return nil, false, errGrouping
	}
	if !isHeld(raw.String()) {
		return nil, false, errNotText
	}
	return raw, withOrg, nil
}

// wholeMilliseconds says so of a duration. A Loki that splits queries finds
// nothing, and doesn't say so, where an offset isn't.
func wholeMilliseconds(d time.Duration) bool { return d%time.Millisecond == 0 }

// holds says whether the view has all of the time that a range aggregation is
// of.
func (v *view) holds(q Question, r *logql.RangeAggregation) bool {
	first, last := q.Start.Add(-r.Offset-r.Range).UnixNano(), q.End.Add(-r.Offset).UnixNano()
	return (v.oldest == math.MinInt64 || first >= v.oldest) && last <= v.newest
}

// only is the one dataset that the selected streams of the view are of, and the
// matchers by which a raw store selects the same.
func (v *view) only(asked []*labels.Matcher) (*policy.Dataset, []*labels.Matcher, bool) {
	kept, possible := v.labels.OnKept(asked)
	if !possible {
		return nil, nil, false
	}
	var matchers []*labels.Matcher
	for _, m := range asked {
		switch {
		case m.Name == federation.OrgLabel:
		case v.labels.AlwaysKept(m.Name):
			matchers = append(matchers, m)
		default:
			return nil, nil, false // it looks for what the view has otherwise
		}
	}
	candidates := v.labels.Candidates(kept)
	if len(candidates) != 1 || v.labels.MayBeHidden(kept) {
		return nil, nil, false
	}
	for _, m := range candidates[0].Selector {
		if strings.HasSuffix(m.Name, federation.OrgLabel) {
			return nil, nil, false
		}
		matchers = append(matchers, m)
	}
	return candidates[0].Dataset, matchers, true
}

// looksAtNothingHidden says whether a range aggregation gives of the raw entries
// what it gives of the view's, but for how its series are labelled.
func looksAtNothingHidden(d *policy.Dataset, r *logql.RangeAggregation) bool {
	if len(r.Selector.Stages) == 0 && r.Unwrap == nil && r.Op != logql.BytesRate && r.Op != logql.BytesOverTime {
		return true // lines are counted, none is looked at
	}
	if d.Line.Mode != policy.LineKeep {
		return false
	}
	onlyFilters := r.Unwrap == nil
	for _, stage := range r.Selector.Stages {
		switch stage.(type) {
		case *logql.LineFilter:
			continue
		case *logql.JSONParser, *logql.LogfmtParser, *logql.RegexpParser, *logql.PatternParser, *logql.UnpackParser, *logql.LabelFilterStage, *logql.Drop:
			onlyFilters = false
		default: // a template sees all labels at once
			return false
		}
		// What lines have under the name org has another one in the view.
		if strings.Contains(stage.String(), federation.OrgLabel) {
			return false
		}
	}
	// A parser names what it finds after what labels there are.
	return onlyFilters || keepsAll(d) && !strings.Contains(unwrapText(r), federation.OrgLabel)
}

// unwrapText is what a range aggregation has after its pipeline.
func unwrapText(r *logql.RangeAggregation) string {
	only := *r
	only.Selector = &logql.LogSelector{}
	only.Grouping = nil
	return only.String()
}

// keepsAll says whether a dataset's labels are all as they are.
func keepsAll(d *policy.Dataset) bool {
	if d.Others.Mode != policy.Keep {
		return false
	}
	for _, rule := range d.Labels {
		if rule.Mode != policy.Keep {
			return false
		}
	}
	return true
}

// isFoundOrg says whether a label is what lines have under the name org, as the
// view calls it.
func isFoundOrg(name string) bool {
	for {
		rest, renamed := strings.CutSuffix(name, renamedSuffix)
		if !renamed {
			return name == federation.OrgLabel
		}
		name = rest
	}
}

// rawGrouping is a grouping by labels that are the same in the raw store, but
// for org.
func (v *view) rawGrouping(g *logql.Grouping, d *policy.Dataset) (raw *logql.Grouping, withOrg, ok bool) {
	if g == nil || g.Without {
		return nil, false, false
	}
	raw = &logql.Grouping{}
	for _, name := range g.Labels {
		switch {
		case name == federation.OrgLabel:
			withOrg = true
			continue
		case !v.labels.AlwaysKept(name), strings.HasSuffix(name, renamedSuffix) && !keepsAll(d), isFoundOrg(name), name == logql.ErrorLabel, name == logql.ErrorDetailsLabel:
			return nil, false, false
		}
		if !slices.Contains(raw.Labels, name) {
			raw.Labels = append(raw.Labels, name)
		}
	}
	return raw, withOrg, true
}
