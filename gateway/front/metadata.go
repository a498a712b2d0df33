package front

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/util/annotations"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// serveMetadata is ours: web/api/v1 knows metadata only from scrape targets.
func serveMetadata(f *Front, w http.ResponseWriter, r *http.Request) {
	limit, err := number(r, "limit")
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	perMetric, err := number(r, "limit_per_metric")
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	now := exact(f.config.Now())
	s := sessionOf(r.Context())
	released, err := s.ask(r.Context(), metrics.Question{
		Kind: policy.Metadata, Start: now, End: now,
		Label: r.FormValue("metric"), Limit: max(limit, 0),
	})
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	writeSuccess(w, cut(released.Metadata(), limit, perMetric), s.notices())
}

// cut applies the limits as Prometheus does: a negative limit is none, and so
// is a limit per metric that isn't positive. The metrics kept are the first by name.
func cut(all map[string][]metadata.Metadata, limit, perMetric int) map[string][]metadata.Metadata {
	out := map[string][]metadata.Metadata{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if limit >= 0 && len(out) >= limit {
			break
		}
		entries := all[name]
		if perMetric > 0 && len(entries) > perMetric {
			entries = entries[:perMetric]
		}
		out[name] = entries
	}
	return out
}

// number reads a limit; -1 when it isn't given.
func number(r *http.Request, name string) (int, error) {
	value := r.FormValue(name)
	if value == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("%s must be a number", name)
	}
	return n, nil
}

// writeSuccess answers as web/api/v1 does, where it isn't the one to answer.
func writeSuccess(w http.ResponseWriter, data any, warnings annotations.Annotations) {
	warn, info := warnings.AsStrings("", 0, 0)
	body, err := codec{}.Encode(&v1.Response{Status: "success", Data: data, Warnings: warn, Infos: info})
	if err != nil {
		writeError(w, unexpected)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client may have left; there is nobody to tell
}
