package logs

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
)

// Stats is how much a selector finds: streams, their entries, and the bytes of
// these entries' lines. Of an owner it is how much of the view: what is hidden
// isn't counted, and lines have the length that they have when they leave.
type Stats struct{ Streams, Entries, Bytes uint64 }

// VolumeName is the label under which a Volume by name says of which label it is.
const VolumeName = "label"

// stats answers how much a selector finds. It reads at most so many entries.
func (v *view) stats(ctx context.Context, q Question, most int) (*Released, error) {
	var out Stats
	streams := map[labels.Labels]struct{}{}
	err := v.counted(ctx, q, most, func(e visibleEntry) error {
		streams[e.stream] = struct{}{}
		out.Entries++
		out.Bytes += uint64(len(e.line))
		return nil
	})
	out.Streams = uint64(len(streams))
	return &Released{stats: out}, err
}

// counted calls take with each entry of the question's one selector, in its time.
// It stops at the first error of take.
func (v *view) counted(ctx context.Context, q Question, most int, take func(visibleEntry) error) error {
	if len(q.Selectors) != 1 {
		return federation.Errorf(federation.BadQuestion, "a question for %s has one selector", q.Kind)
	}
	sel := selection{start: q.Start.UnixNano(), end: q.End.UnixNano(), matchers: q.Selectors[0]}
	return v.entries(ctx, sel, func(e visibleEntry) error {
		if most--; most < 0 {
			return tooManyEntries()
		}
		return take(e)
	})
}

func mergeStats(_ Question, parts []*Released) (*Released, error) {
	var out Stats
	for _, p := range parts {
		out.Streams += p.stats.Streams
		out.Entries += p.stats.Entries
		out.Bytes += p.stats.Bytes
	}
	return &Released{stats: out}, nil
}

// volume answers how many bytes the lines have, by labels: the same as
// bytes_over_time counts, at the end of each interval.
func (v *view) volume(ctx context.Context, q Question, most int) (*Released, error) {
	if sums, ok := v.pushedVolume(ctx, q); ok {
		return sums.released(), nil
	}
	sums := newIntervals(q)
	targets := map[labels.Labels][]labels.Labels{} // by stream
	q.Start, q.End = q.Start.Add(1), q.End.Add(1)
	err := v.counted(ctx, q, most, func(e visibleEntry) error {
		of, known := targets[e.stream]
		if !known {
			of = q.volumesOf(e.stream)
			targets[e.stream] = of
		}
		for _, ls := range of {
			sums.add(ls, e.at, float64(len(e.line)))
		}
		return nil
	})
	return sums.released(), err
}

// volumesOf are the labels under which a stream counts.
func (q Question) volumesOf(stream labels.Labels) []labels.Labels {
	if slices.ContainsFunc(q.By, func(name string) bool { return !stream.Has(name) }) {
		return nil
	}
	org := stream.Get(federation.OrgLabel)
	if q.ByName {
		var out []labels.Labels
		stream.Range(func(l labels.Label) {
			if len(q.By) == 0 || slices.Contains(q.By, l.Name) {
				out = append(out, labels.FromStrings(VolumeName, l.Name, federation.OrgLabel, org))
			}
		})
		return out
	}
	names := q.volumeLabels()
	if len(names) == 0 {
		return []labels.Labels{stream}
	}
	return []labels.Labels{labels.NewBuilder(stream).Keep(append(names, federation.OrgLabel)...).Labels()}
}

// volumeLabels are the labels by which a Volume is told; none is all.
func (q Question) volumeLabels() []string {
	if len(q.By) > 0 {
		return slices.Clone(q.By)
	}
	var names []string
	for _, m := range q.Selectors[0] {
		names = append(names, m.Name)
	}
	return names
}

// mergeVolumes adds up what the members have. The label org is left only if it
// was asked for.
func mergeVolumes(q Question, parts []*Released) (*Released, error) {
	names := q.volumeLabels()
	byOrg := !q.ByName && (len(names) == 0 || slices.Contains(names, federation.OrgLabel))
	return addUp(parts, byOrg)
}

// addUp adds up the series of several members that have the same labels, org
// among them or not.
func addUp(parts []*Released, byOrg bool) (*Released, error) {
	sums := intervals{}
	for _, p := range parts {
		matrix, err := p.numbers.Matrix()
		if err != nil {
			return nil, err
		}
		for _, series := range matrix {
			ls := series.Metric
			if !byOrg {
				ls = labels.NewBuilder(ls).Del(federation.OrgLabel).Labels()
			}
			for _, point := range series.Floats {
				sums.addTo(ls, point.T, point.F)
			}
		}
	}
	return sums.released(), nil
}

// intervals are sums by labels and interval of time. An interval begins at a
// multiple of its length, and its sum stands at its begin. Like a window of
// LogQL, it has its end and not its begin.
type intervals struct {
	start, step int64 // nanoseconds; of no step all is at start
	sums        map[labels.Labels]map[int64]float64
}

func newIntervals(q Question) *intervals {
	return &intervals{start: q.Start.UnixNano(), step: int64(q.Step)}
}

func (s *intervals) add(ls labels.Labels, at int64, value float64) {
	begin := s.start
	if s.step > 0 {
		begin = Aligned(at-1, time.Duration(s.step))
	}
	s.addTo(ls, floorDiv(begin, int64(time.Millisecond)), value)
}

func (s *intervals) addTo(ls labels.Labels, at int64, value float64) {
	if s.sums == nil {
		s.sums = map[labels.Labels]map[int64]float64{}
	}
	of := s.sums[ls]
	if of == nil {
		of = map[int64]float64{}
		s.sums[ls] = of
	}
	of[at] += value
}

// Aligned is the last multiple of a step that isn't after a time in Unix
// nanoseconds.
func Aligned(at int64, step time.Duration) int64 { return floorDiv(at, int64(step)) * int64(step) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// released are the sums as series in order of their labels.
func (s *intervals) released() *Released {
	matrix := promql.Matrix{}
	for ls, points := range s.sums {
		series := promql.Series{Metric: ls}
		for _, at := range slices.Sorted(maps.Keys(points)) {
			series.Floats = append(series.Floats, promql.FPoint{T: at, F: points[at]})
		}
		matrix = append(matrix, series)
	}
	slices.SortFunc(matrix, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return &Released{numbers: metrics.ReceivedMatrix(matrix)}
}
