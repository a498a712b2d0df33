package logs

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
)

// pushedVolume answers a volume from the backend, as sums of bytes_over_time; ok
// is false when that isn't the same, or the backend can't.
func (v *view) pushedVolume(ctx context.Context, q Question) (sums *intervals, ok bool) {
	whole := func(t time.Time) bool { return t.UnixNano()%int64(time.Millisecond) == 0 }
	if q.ByName || len(q.Selectors) != 1 || !whole(q.Start) || !whole(q.End) || !q.Start.Before(q.End) {
		return nil, false
	}
	names := q.volumeLabels()
	if len(names) == 0 {
		return nil, false
	}
	selector := slices.Clone(q.Selectors[0])
	for _, name := range q.By {
		if name != federation.OrgLabel {
			selector = append(selector, labels.MustNewMatcher(labels.MatchRegexp, name, ".+"))
		}
	}
	for _, name := range names {
		// What a stream doesn't have, an entry's metadata may.
		named := func(m *labels.Matcher) bool { return m.Name == name && !m.Matches("") }
		if name != federation.OrgLabel && !slices.ContainsFunc(selector, named) {
			return nil, false
		}
	}
	if !slices.Contains(names, federation.OrgLabel) {
		names = append(names, federation.OrgLabel)
	}
	sums = newIntervals(q)
	for _, w := range windowsOf(q) {
		leaf := &logql.VectorAggregation{Op: logql.Sum, Grouping: &logql.Grouping{Labels: names}, Expr: &logql.RangeAggregation{
			Op: logql.BytesOverTime, Selector: &logql.LogSelector{Matchers: selector}, Range: w.length,
		}}
		asked := Question{Kind: policy.Instant, Start: w.first, End: w.last}
		if w.first.Before(w.last) {
			asked.Kind, asked.Step = policy.Range, q.Step
		}
		matrix, ok := v.pushed(ctx, leaf, asked)
		if !ok {
			return nil, false
		}
		for _, s := range matrix {
			for _, p := range s.Floats {
				sums.add(s.Metric, time.UnixMilli(p.T).UnixNano(), p.F)
			}
		}
	}
	return sums, true
}

// windows are windows of one length, of which the first and the last end at
// these times, every step.
type windows struct {
	first, last time.Time
	length      time.Duration
}

// windowsOf takes the time of a volume apart: what is before the first multiple
// of its step, whole steps, and what is left.
func windowsOf(q Question) []windows {
	if q.Step == 0 {
		return []windows{{q.End, q.End, q.End.Sub(q.Start)}}
	}
	var out []windows
	begin := q.Start
	if aligned := time.Unix(0, Aligned(begin.UnixNano(), q.Step)); aligned.Before(begin) {
		end := aligned.Add(q.Step)
		if end.After(q.End) {
			end = q.End
		}
		out = append(out, windows{end, end, end.Sub(begin)})
		begin = end
	}
	last := time.Unix(0, Aligned(q.End.UnixNano(), q.Step))
	if begin.Before(last) {
		out = append(out, windows{begin.Add(q.Step), last, q.Step})
		begin = last
	}
	if begin.Before(q.End) {
		out = append(out, windows{q.End, q.End, q.End.Sub(begin)})
	}
	return out
}
