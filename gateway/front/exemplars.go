package front

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// exemplars is what web/api/v1 takes for the exemplar storage.
type exemplars struct{}

func (exemplars) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return exemplarQuerier{ctx}, nil
}

// exemplarQuerier keeps the context because storage.ExemplarQuerier's Select
// takes none; it lives as long as one request.
type exemplarQuerier struct{ ctx context.Context }

func (q exemplarQuerier) Select(start, end int64, selectors ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	texts := make([]string, 0, len(selectors))
	for _, s := range selectors {
		texts = append(texts, metrics.FormatSelector(policy.Selector(s)))
	}
	released, err := sessionOf(q.ctx).ask(q.ctx, metrics.Question{
		Kind:       policy.Exemplars,
		Expression: strings.Join(texts, " or "),
		Start:      time.UnixMilli(start).UTC(),
		End:        time.UnixMilli(end).UTC(),
	})
	if err != nil {
		return nil, err
	}
	if found := released.Exemplars(); found != nil {
		return found, nil
	}
	return []exemplar.QueryResult{}, nil // in JSON a list, not null
}

// endOfTime is where years stop having four digits.
var endOfTime = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)

// serveExemplars answers Grafana's page-load probe, which gives milliseconds
// where seconds are meant: a window that starts after the year 9999 is empty,
// nobody needs to be asked. An error would switch exemplars off for the page.
func serveExemplars(f *Front, w http.ResponseWriter, r *http.Request) {
	start, err := strconv.ParseFloat(r.FormValue("start"), 64)
	if err == nil && start >= float64(endOfTime.Unix()) {
		writeSuccess(w, []exemplar.QueryResult{}, nil)
		return
	}
	f.api.ServeHTTP(w, r)
}
