package metrics

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// completenessMetric is the synthetic metric that tells, for each
// organization, what became of a question: so that alert rules can use it.
const completenessMetric = "parley_completeness"

func selectsCompleteness(matchers []*labels.Matcher) bool {
	return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
		return m.Name == labels.MetricName && m.Type == labels.MatchEqual && m.Value == completenessMetric
	})
}

// federatedQueryable holds the redacted series of all members, fetched as they
// are asked for.
type federatedQueryable struct {
	asking *asking
	now    func() time.Time
}

func (q *federatedQueryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &federatedQuerier{federatedQueryable: q, mint: mint, maxt: maxt}, nil
}

type federatedQuerier struct {
	*federatedQueryable
	mint, maxt int64
}

func (q *federatedQuerier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = hints.Start, hints.End
	}
	if selectsCompleteness(matchers) {
		return &completenessSeries{querier: q, mint: mint, maxt: maxt, matchers: matchers}
	}
	set := &listedSeries{index: -1}
	ask := Question{Kind: policy.Series, Start: instant(mint), End: instant(maxt), Selectors: []policy.Selector{matchers}}
	for _, released := range q.asking.all(ask) {
		for _, s := range released.Series() {
			set.series = append(set.series, chunkedSeries{
				labels: s.Labels, chunks: rawChunks{labels: s.Labels, chunks: s.Chunks}, mint: mint, maxt: maxt,
			})
		}
	}
	slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return set
}

// completeness is a series for each organization, of what became of the rest
// of the query there or, when nothing else was asked, of a probe. It has one
// sample, of now: what was in the past is for whoever scrapes it.
func (q *federatedQuerier) completeness(mint, maxt int64, matchers []*labels.Matcher) []storage.Series {
	now := q.now()
	at := min(now.UnixMilli(), maxt)
	if at < mint {
		return nil
	}
	if !q.asking.underWay() {
		q.asking.all(Question{
			Kind: policy.LabelValues, Label: labels.MetricName, Limit: 1, Start: now.Add(-DefaultLookback), End: now,
		})
	}
	var out []storage.Series
	for _, part := range q.asking.completeness() {
		ls := labels.FromStrings(labels.MetricName, completenessMetric, orgLabel, string(part.Org),
			"status", string(part.Status), "reason", part.Reason)
		if redact.Matches(matchers, ls) {
			out = append(out, promql.NewStorageSeries(promql.Series{Metric: ls, Floats: []promql.FPoint{{T: at, F: 1}}}))
		}
	}
	return out
}

// completenessSeries is made when it is read: by then every other selector of
// the query has been asked for.
type completenessSeries struct {
	listedSeries
	querier    *federatedQuerier
	mint, maxt int64
	matchers   []*labels.Matcher
	made       bool
}

func (s *completenessSeries) Next() bool {
	if !s.made {
		s.listedSeries = listedSeries{series: s.querier.completeness(s.mint, s.maxt, s.matchers), index: -1}
		s.made = true
	}
	return s.listedSeries.Next()
}

func (q *federatedQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("a federated querier lists no labels")
}

func (q *federatedQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("a federated querier lists no labels")
}

func (q *federatedQuerier) Close() error { return nil }

// listedSeries is a series set in memory.
type listedSeries struct {
	series []storage.Series
	index  int
}

func (s *listedSeries) Next() bool                        { s.index++; return s.index < len(s.series) }
func (s *listedSeries) At() storage.Series                { return s.series[s.index] }
func (s *listedSeries) Err() error                        { return nil }
func (s *listedSeries) Warnings() annotations.Annotations { return nil }
