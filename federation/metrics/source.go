package metrics

import (
	"context"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// Source is a store of raw metrics: a real Prometheus or an embedded TSDB. Its
// methods are for this package alone, so that raw data can't be had outside.
type Source interface {
	// selectRaw calls take with each raw series that matches all matchers and
	// has samples between mint and maxt, Unix milliseconds, both included.
	// Chunks may reach beyond. It stops at the first error, which it returns;
	// without one the series can be used until release is called. Those that
	// take doesn't keep take no memory.
	//
	// With labelsOnly no chunks are needed, and series may be listed that only
	// have chunks overlapping the span. The error may then be errNotListed: the
	// series have to be selected with chunks, whatever was taken.
	selectRaw(ctx context.Context, s selection, take func(storage.ChunkSeries) error) (release func() error, err error)
	// rawMetadata returns what is known of a metric, or of all for "".
	rawMetadata(ctx context.Context, metric string) (map[string][]metadata.Metadata, error)
	rawExemplars(ctx context.Context, start, end int64, selectors [][]*labels.Matcher) ([]exemplar.QueryResult, error)
}

// evaluator is a Source whose backend evaluates PromQL itself.
type evaluator interface {
	// evaluate returns errNotEvaluated when the backend's answer can't be used
	// and the view has to be asked instead.
	evaluate(ctx context.Context, q evaluation) (promql.Matrix, error)
	// evaluates says whether the backend's PromQL is known to be ours.
	evaluates(ctx context.Context) bool
}

// lister is a Source that lists label names and values without their series.
// It may go by its blocks and list what has samples a little outside the span.
type lister interface {
	// listRaw returns the values of a label, or for "" the names of labels;
	// limit 0 is all. It returns errNotListed when they have to be taken from
	// the series.
	listRaw(ctx context.Context, s selection, label string, limit int) ([]string, error)
}

// selection is what selectRaw is asked for.
type selection struct {
	mint, maxt int64
	matchers   []*labels.Matcher
	labelsOnly bool
}
