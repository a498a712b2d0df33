package metrics

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// series releases the series of a selector: whole, or their labels only.
func (l *Local) series(ctx context.Context, q Question, v *view, o policy.Obligations) (*Released, error) {
	if len(q.Selectors) == 0 {
		return nil, federation.Errorf(federation.BadQuestion, "a question for series needs at least one selector")
	}
	if !q.LabelsOnly {
		if err := refuseAlone("series", o); err != nil {
			return nil, err
		}
		if err := refuseRows(q.Selectors, v.rules); err != nil {
			return nil, err
		}
	}
	found, release, err := v.list(ctx, q, q.LabelsOnly)
	if err != nil {
		return nil, err
	}
	out := &Released{}
	err = func() error {
		for _, s := range found {
			released := ReleasedSeries{Labels: s.labels}
			if !q.LabelsOnly {
				if released, err = trim(s, max(q.Start.UnixMilli(), v.oldest), min(q.End.UnixMilli(), v.newest)); err != nil {
					return err
				}
				if len(released.Chunks) == 0 {
					continue
				}
			}
			if n := len(out.series); n > 0 && labels.Equal(out.series[n-1].Labels, s.labels) {
				if q.LabelsOnly {
					continue
				}
				return l.needsAggregation(o)
			}
			if q.Limit > 0 && len(out.series) == q.Limit {
				break
			}
			out.series = append(out.series, released)
		}
		return nil
	}()
	return out, errors.Join(err, release())
}

// refuseAlone refuses to give as it is what is answered under some functions alone.
func refuseAlone(what string, o policy.Obligations) error {
	if len(o.Functions) == 0 {
		return nil
	}
	return federation.Errorf(federation.NeedsAggregation, "%s by themselves are not answered; ask with one of these around the selector: %s", what, strings.Join(o.Functions, ", "))
}

// names releases the names of visible labels, or the values of one.
func (l *Local) names(ctx context.Context, q Question, v *view) (*Released, error) {
	if listed, ok, err := v.listDirectly(ctx, q); ok || err != nil {
		return &Released{names: listed}, err
	}
	found, release, err := v.list(ctx, q, true)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range found {
		if q.Kind == policy.LabelValues {
			if value := s.labels.Get(q.Label); value != "" {
				names[strings.Clone(value)] = true
			}
			continue
		}
		s.labels.Range(func(l labels.Label) { names[strings.Clone(l.Name)] = true })
	}
	sorted := slices.Sorted(maps.Keys(names))
	if q.Limit > 0 && len(sorted) > q.Limit {
		sorted = sorted[:q.Limit]
	}
	return &Released{names: sorted}, release()
}

// listDirectly has the source list names where the view is the store and the
// org label has no part in what is asked.
func (v *view) listDirectly(ctx context.Context, q Question) (listed []string, ok bool, err error) {
	source, can := v.source.(lister)
	if !can || !v.rules.everything || v.bounded() || len(q.Selectors) > 1 || strings.HasSuffix(q.Label, orgLabel) {
		return nil, false, nil
	}
	sel := selection{mint: q.Start.UnixMilli(), maxt: q.End.UnixMilli()}
	if len(q.Selectors) == 1 {
		sel.matchers = q.Selectors[0]
	}
	if slices.ContainsFunc(sel.matchers, func(m *labels.Matcher) bool { return strings.HasSuffix(m.Name, orgLabel) }) {
		return nil, false, nil
	}
	listed, err = source.listRaw(ctx, sel, q.Label, q.Limit)
	if errors.Is(err, errNotListed) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if q.Kind == policy.LabelNames && len(listed) > 0 {
		if slices.ContainsFunc(listed, func(name string) bool { return strings.HasSuffix(name, orgLabel) }) {
			return nil, false, nil
		}
		listed = append(listed, orgLabel)
	}
	slices.Sort(listed)
	if q.Limit > 0 {
		listed = listed[:min(q.Limit, len(listed))]
	}
	return listed, true, nil
}

// bounded says whether policy hides samples by their time.
func (v *view) bounded() bool { return v.oldest != math.MinInt64 || v.newest != math.MaxInt64 }

// list returns the visible series that match one of the question's selectors,
// each once, in the view's order; no selector is all of them.
func (v *view) list(ctx context.Context, q Question, labelsOnly bool) ([]viewSeries, func() error, error) {
	selectors := q.Selectors
	if len(selectors) == 0 {
		selectors = []policy.Selector{{}}
	}
	var out []viewSeries
	var releases []func() error
	unordered := len(selectors) > 1
	release := func() error {
		var errs []error
		for _, r := range releases {
			errs = append(errs, r())
		}
		return errors.Join(errs...)
	}
	for _, s := range selectors {
		sel := selection{
			mint: q.Start.UnixMilli(), maxt: q.End.UnixMilli(), matchers: s,
			labelsOnly: labelsOnly && !v.bounded(), // samples decide: see fetch
		}
		found, r, err := v.fetch(ctx, sel)
		if err != nil {
			return nil, nil, errors.Join(err, release())
		}
		releases = append(releases, r)
		out = append(out, found...)
		cells, err := v.listCells(ctx, sel)
		if err != nil {
			return nil, nil, errors.Join(err, release())
		}
		for _, ls := range cells {
			out = append(out, viewSeries{labels: ls})
		}
		for _, query := range v.rules.queries {
			if name := labels.FromStrings(labels.MetricName, query.Name, orgLabel, string(v.rules.org)); labelsOnly && redact.Matches(s, name) {
				out, unordered = append(out, viewSeries{labels: name}), true
			}
		}
		unordered = unordered || len(cells) > 0
	}
	if unordered {
		if !labelsOnly {
			if err := v.order(out); err != nil {
				return nil, nil, errors.Join(err, release())
			}
		} else {
			slices.SortFunc(out, func(a, b viewSeries) int { return labels.Compare(a.labels, b.labels) })
		}
		out = slices.CompactFunc(out, func(a, b viewSeries) bool {
			return a.surrogate == b.surrogate && labels.Equal(a.labels, b.labels)
		})
	}
	return out, release, nil
}

func (s viewSeries) hasSamples(mint, maxt int64) bool {
	return s.samples(mint, maxt).Iterator(nil).Next() != chunkenc.ValNone
}

// trim releases the samples of a series between mint and maxt. Chunks that lie
// within are copied as they are: the source takes its memory back.
func trim(s viewSeries, mint, maxt int64) (ReleasedSeries, error) {
	out := ReleasedSeries{Labels: s.labels}
	it := s.chunks.Iterator(nil)
	last := int64(math.MinInt64)
	whole := s.floors.none()
	for whole && it.Next() {
		meta := it.At()
		if meta.MinTime <= last {
			whole = false
			continue
		}
		last = meta.MaxTime
		switch {
		case meta.MaxTime < mint || meta.MinTime > maxt:
		case meta.MinTime >= mint && meta.MaxTime <= maxt:
			owned, err := chunkenc.FromData(meta.Chunk.Encoding(), slices.Clone(meta.Chunk.Bytes()))
			if err != nil {
				return out, err
			}
			meta.Chunk = owned
			out.Chunks = append(out.Chunks, meta)
		default:
			whole = false
		}
	}
	if err := it.Err(); err != nil {
		return out, err
	}
	if whole {
		return out, nil
	}
	encoder := storage.NewSeriesToChunkEncoder(s.samples(mint, maxt))
	encoded := encoder.Iterator(nil)
	out.Chunks = nil
	for encoded.Next() {
		out.Chunks = append(out.Chunks, encoded.At())
	}
	return out, encoded.Err()
}

// metadataWindow is how recently a metric must have had a visible series for
// its metadata to be released.
const metadataWindow = time.Hour

// metadata releases type, help and unit of the metrics that the view holds
// whole. A backend keeps them by name, not by series: where policy hides some
// series of a metric, they may be those of a hidden target.
func (l *Local) metadata(ctx context.Context, q Question, v *view) (*Released, error) {
	now := l.config.Now()
	listed, err := l.names(ctx, Question{
		Kind: policy.LabelValues, Label: labels.MetricName, Start: now.Add(-metadataWindow), End: now, Selectors: q.Selectors,
	}, v)
	if err != nil {
		return nil, err
	}
	known, err := l.config.Source.rawMetadata(ctx, q.Label)
	if err != nil {
		return nil, err
	}
	out := map[string][]metadata.Metadata{}
	for _, name := range listed.names {
		if !v.rules.whole(name) {
			continue
		}
		if m, ok := known[name]; ok {
			out[name] = m
		}
		for suffix, types := range familyTypes {
			family, cut := strings.CutSuffix(name, suffix)
			if m := ofTypes(known[family], types); cut && len(m) > 0 && out[family] == nil {
				out[family] = m
			}
		}
	}
	if q.Limit > 0 && len(out) > q.Limit {
		for _, name := range slices.Sorted(maps.Keys(out))[q.Limit:] {
			delete(out, name)
		}
	}
	return &Released{metadata: out}, nil
}

// familyTypes are, by the suffix of a series' metric, the types of the family
// under whose name its metadata is kept. A metric of another type that is
// called like the family is another metric.
var familyTypes = map[string][]model.MetricType{
	"_bucket": {model.MetricTypeHistogram, model.MetricTypeGaugeHistogram},
	"_sum":    {model.MetricTypeHistogram, model.MetricTypeGaugeHistogram, model.MetricTypeSummary},
	"_count":  {model.MetricTypeHistogram, model.MetricTypeGaugeHistogram, model.MetricTypeSummary},
	"_total":  {model.MetricTypeCounter},
}

func ofTypes(entries []metadata.Metadata, types []model.MetricType) []metadata.Metadata {
	var out []metadata.Metadata
	for _, m := range entries {
		if slices.Contains(types, m.Type) {
			out = append(out, m)
		}
	}
	return out
}

// exemplars releases the exemplars of visible series, with their own labels in
// the modes of labels of that name. With a resolution that is the last one of
// each interval, at its end, as it is of samples.
func (l *Local) exemplars(ctx context.Context, q Question, v *view, o policy.Obligations, by Asking) (*Released, error) {
	if err := refuseAlone("exemplars", o); err != nil {
		return nil, err
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if err := refuseReserved(expr); err != nil {
		return nil, err
	}
	if err := l.checkDifferencing(ctx, q, expr.String(), parser.ExtractSelectors(expr), o, by); err != nil {
		return nil, err
	}
	mint, maxt := max(q.Start.UnixMilli(), v.oldest), min(q.End.UnixMilli(), v.newest)
	coarse := floors{resolution: v.rules.resolution}
	byLabels := map[string]*exemplar.QueryResult{}
	for _, asked := range parser.ExtractSelectors(expr) {
		pushed, possible := v.rules.Narrow(asked)
		if !possible || mint > maxt {
			continue
		}
		found, err := l.config.Source.rawExemplars(ctx, coarse.from(mint), maxt, [][]*labels.Matcher{pushed})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			ls, ok := v.rules.visible(f.SeriesLabels)
			if !ok || !redact.Matches(asked, ls) {
				continue
			}
			key := ls.String()
			for _, e := range coarse.ofExemplars(v.rules.visibleExemplars(f)) {
				if e.Ts < mint || e.Ts > maxt {
					continue
				}
				if byLabels[key] == nil {
					byLabels[key] = &exemplar.QueryResult{SeriesLabels: ls}
				}
				byLabels[key].Exemplars = append(byLabels[key].Exemplars, e)
			}
		}
	}
	out := &Released{}
	for _, r := range byLabels {
		slices.SortFunc(r.Exemplars, compareExemplars)
		r.Exemplars = slices.CompactFunc(r.Exemplars, func(a, b exemplar.Exemplar) bool { return compareExemplars(a, b) == 0 })
		out.exemplars = append(out.exemplars, *r)
	}
	slices.SortFunc(out.exemplars, func(a, b exemplar.QueryResult) int { return labels.Compare(a.SeriesLabels, b.SeriesLabels) })
	return out, nil
}

// visibleExemplars are those of a raw series as the view has them, but for when.
func (r *rules) visibleExemplars(raw exemplar.QueryResult) []exemplar.Exemplar {
	out, rounding := slices.Clone(raw.Exemplars), r.rounding(raw.SeriesLabels)
	for i := range out {
		out[i].Value = rounding.Round(out[i].Value)
		out[i].Labels = r.exemplarLabels(raw.SeriesLabels, out[i].Labels)
	}
	return out
}

// ofExemplars are those that are left of a series', which it sorts.
func (f floors) ofExemplars(all []exemplar.Exemplar) []exemplar.Exemplar {
	if f.resolution == 0 {
		return all
	}
	slices.SortFunc(all, compareExemplars)
	var out []exemplar.Exemplar
	for _, e := range all {
		e.Ts = f.end(e.Ts)
		if n := len(out); n > 0 && out[n-1].Ts == e.Ts {
			out = out[:n-1]
		}
		out = append(out, e)
	}
	return out
}

func compareExemplars(a, b exemplar.Exemplar) int {
	return cmp.Or(cmp.Compare(a.Ts, b.Ts), cmp.Compare(a.Value, b.Value), labels.Compare(a.Labels, b.Labels))
}
