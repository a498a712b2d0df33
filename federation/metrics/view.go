package metrics

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation/redact"
)

// view is what one decision lets one question see of a source. It is a
// storage.Queryable, so that an engine on top of it can't see anything else.
type view struct {
	source Source
	rules  *rules
	// oldest and newest bound the samples, Unix milliseconds, both included.
	oldest, newest int64
	// may is what the question may take of our memory.
	may *allowance
	// evaluated are those of the series of a selector that an engine sees; nil: all.
	evaluated func([]viewSeries) []viewSeries
}

// viewSeries is a series as the view holds it.
type viewSeries struct {
	// labels are the visible ones, without a surrogate.
	labels labels.Labels
	// surrogate tells series with the same labels apart; empty where no other
	// has them.
	surrogate string
	chunks    storage.ChunkSeries
	content   uint64 // hash of the samples; only set where labels collide
	floors    floors
}

// samples are those between mint and maxt that the view holds.
func (s viewSeries) samples(mint, maxt int64) chunkedSeries {
	return chunkedSeries{labels: s.labels, chunks: s.chunks, mint: mint, maxt: maxt, floors: s.floors}
}

// fetch returns the visible series that match, in an order that depends on
// visible labels and samples alone: sums of floating-point numbers and ties
// depend on it. Where policy hides samples by time, a series is there only if
// one of its samples is visible; sel may then not be for labels only. The
// release function must be called when the series are no longer used.
func (v *view) fetch(ctx context.Context, sel selection) ([]viewSeries, func() error, error) {
	sel.mint, sel.maxt = max(sel.mint, v.oldest), min(sel.maxt, v.newest)
	none := func() error { return nil }
	if sel.mint > sel.maxt || len(v.rules.datasets) == 0 {
		return nil, none, nil
	}
	asked := sel.matchers
	pushed, possible := v.rules.Narrow(asked)
	if !possible {
		return nil, none, nil
	}
	sel.matchers = pushed
	mint := sel.mint
	sel.mint = floors{resolution: v.rules.resolution}.from(mint)
	var out []viewSeries
	take := func(s storage.ChunkSeries) error {
		// The asker's regular expressions run here, on every series.
		if err := ctx.Err(); err != nil {
			return err
		}
		ls, ok := v.rules.visible(s.Labels())
		if !ok || !redact.Matches(asked, ls) {
			return nil
		}
		seen := viewSeries{labels: ls, chunks: s, floors: floors{v.rules.resolution, v.rules.rounding(s.Labels())}}
		if v.bounded() && !seen.hasSamples(mint, sel.maxt) {
			return nil
		}
		out = append(out, seen)
		return v.may.hold(seen)
	}
	before := *v.may
	release, err := v.source.selectRaw(ctx, sel, take)
	if sel.labelsOnly && errors.Is(err, errNotListed) {
		sel.labelsOnly, out, *v.may = false, nil, before
		release, err = v.source.selectRaw(ctx, sel, take)
	}
	if err != nil {
		return nil, none, err
	}
	if err := v.order(out); err != nil {
		return nil, none, errors.Join(err, release())
	}
	return out, release, nil
}

// order sorts series by their visible labels and gives those that have the
// same ones a surrogate each. Where labels tell all series apart, nothing
// shows that some were removed.
func (v *view) order(series []viewSeries) error {
	slices.SortFunc(series, func(a, b viewSeries) int { return labels.Compare(a.labels, b.labels) })
	histograms := map[string]bool{} // by their labels but le: those with a surrogate
	for start := 0; start < len(series); {
		end := start + 1
		for end < len(series) && labels.Equal(series[start].labels, series[end].labels) {
			end++
		}
		if group := series[start:end]; len(group) > 1 {
			if err := v.distinguish(group); err != nil {
				return err
			}
			if key, ok := histogramOf(group[0].labels); ok {
				histograms[key] = true
			}
		}
		start = end
	}
	v.keepTogether(series, histograms)
	return nil
}

// keepTogether gives the buckets of a histogram a surrogate where others of it
// have one: histograms need not have the same bounds, and one without some of
// its buckets is another one.
func (v *view) keepTogether(series []viewSeries, histograms map[string]bool) {
	if len(histograms) == 0 {
		return
	}
	for i := range series {
		s := &series[i]
		if key, ok := histogramOf(s.labels); ok && s.surrogate == "" && histograms[key] {
			s.surrogate = v.rules.surrogate(s.chunks.Labels())
		}
	}
}

// histogramOf is the labels of the histogram that a series is a bucket of.
func histogramOf(ls labels.Labels) (key string, ok bool) {
	if !ls.Has(labels.BucketLabel) {
		return "", false
	}
	return string(ls.BytesWithoutLabels(nil, labels.BucketLabel)), true
}

func (v *view) distinguish(group []viewSeries) error {
	for i := range group {
		s := &group[i]
		s.surrogate = v.rules.surrogate(s.chunks.Labels())
		var err error
		if s.content, err = v.hash(*s); err != nil {
			return err
		}
	}
	slices.SortFunc(group, func(a, b viewSeries) int {
		return cmp.Or(cmp.Compare(a.content, b.content), cmp.Compare(a.surrogate, b.surrogate))
	})
	return nil
}

// hash is over the samples the view may show. Chunks are hashed as they are
// where all of them may be shown.
func (v *view) hash(s viewSeries) (uint64, error) {
	var h xxhash.Digest
	h.Reset()
	write := func(b []byte) { _, _ = h.Write(b) } // a Digest's Write never fails
	if !v.bounded() && s.floors.none() {
		it := s.chunks.Iterator(nil)
		for it.Next() {
			write(it.At().Chunk.Bytes())
		}
		return h.Sum64(), it.Err()
	}
	it := s.samples(v.oldest, v.newest).Iterator(nil)
	var b [16]byte
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind == chunkenc.ValFloat {
			t, value := it.At()
			binary.LittleEndian.PutUint64(b[:], uint64(t))
			binary.LittleEndian.PutUint64(b[8:], math.Float64bits(value))
			write(b[:])
			continue
		}
		t, histogram := it.AtFloatHistogram(nil)
		binary.LittleEndian.PutUint64(b[:], uint64(t))
		write(b[:8])
		write([]byte(histogram.String()))
	}
	return h.Sum64(), it.Err()
}

// Querier returns the view between mint and maxt as an engine reads it: series
// carry their surrogate as a label no question can name.
func (v *view) Querier(mint, maxt int64) (storage.Querier, error) {
	return &viewQuerier{view: v, mint: mint, maxt: maxt}, nil
}

type viewQuerier struct {
	view       *view
	mint, maxt int64
	releases   []func() error
}

// Select ignores sortSeries: the view has one order. Of the hints it takes the
// time alone: what an aggregation keeps of the view's labels is nothing that a
// source may act on, before it is known which dataset a series is in.
func (q *viewQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	sel := selection{mint: q.mint, maxt: q.maxt, matchers: matchers}
	if hints != nil {
		sel.mint, sel.maxt = hints.Start, hints.End
	}
	series, release, err := q.view.fetch(ctx, sel)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	q.releases = append(q.releases, release)
	if q.view.evaluated != nil {
		series = q.view.evaluated(series)
	}
	mint, maxt := max(sel.mint, q.view.oldest), min(sel.maxt, q.view.newest)
	return &viewSeriesSet{series: series, mint: mint, maxt: maxt, index: -1}
}

func (q *viewQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("a view's querier lists no labels")
}

func (q *viewQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("a view's querier lists no labels")
}

func (q *viewQuerier) Close() error {
	var errs []error
	for _, release := range q.releases {
		errs = append(errs, release())
	}
	return errors.Join(errs...)
}

type viewSeriesSet struct {
	series     []viewSeries
	mint, maxt int64
	index      int
}

func (s *viewSeriesSet) Next() bool                        { s.index++; return s.index < len(s.series) }
func (s *viewSeriesSet) Err() error                        { return nil }
func (s *viewSeriesSet) Warnings() annotations.Annotations { return nil }

func (s *viewSeriesSet) At() storage.Series {
	current := s.series[s.index]
	out := current.samples(s.mint, s.maxt)
	if current.surrogate != "" {
		out.labels = labels.NewBuilder(out.labels).Set(surrogateLabel, current.surrogate).Labels()
	}
	return out
}
