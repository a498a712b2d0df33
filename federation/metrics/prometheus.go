package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// PrometheusConfig says where a Prometheus, Mimir, Cortex or Thanos is.
type PrometheusConfig struct {
	// URL is the base under which /api/v1 is found.
	URL *url.URL
	// ReadPath is the path of remote read under URL; empty is /api/v1/read.
	ReadPath string
	// Client sends the requests, credentials and tenant header included.
	Client *http.Client
	// NoPushDown keeps questions from being evaluated by the server.
	NoPushDown bool
	// ExternalLabels are what the server adds to what it gives by remote read;
	// empty: nothing. With nil the server is asked for its configuration.
	ExternalLabels map[string]string
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Prometheus is a Source on a real Prometheus: samples come by remote read
// (streamed chunks), listings and PromQL over its HTTP API.
type Prometheus struct {
	config PrometheusConfig

	mu     sync.Mutex
	probed time.Time // guarded by mu; when the server was asked last what it is
	ours   bool      // guarded by mu; it is known that its PromQL is ours

	externalProbed time.Time      // guarded by mu; when external labels were asked for last
	externalLabels []labels.Label // guarded by mu; the slice doesn't change
	externalKnown  bool           // guarded by mu
}

// NewPrometheus returns a source. Nothing is asked of the server yet.
func NewPrometheus(c PrometheusConfig) (*Prometheus, error) {
	if c.URL == nil {
		return nil, errors.New("a Prometheus source needs a URL")
	}
	if c.ReadPath == "" {
		c.ReadPath = "/api/v1/read"
	}
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Prometheus{config: c}, nil
}

func (p *Prometheus) selectRaw(ctx context.Context, sel selection, take func(storage.ChunkSeries) error) (release func() error, err error) {
	external, known := p.external(ctx)
	sel.matchers = stored(sel.matchers, external, known)
	release = func() error { return nil } // what was read is ours
	switch {
	case sel.labelsOnly && !known:
		return nil, errNotListed
	case sel.labelsOnly:
		return release, p.listSeries(ctx, sel, external, take)
	}
	return release, p.readRaw(ctx, sel, take)
}

// listSeries lists label sets by /api/v1/series. A list that comes with a
// warning, as that of a Thanos while a store is away, is errNotListed.
func (p *Prometheus) listSeries(ctx context.Context, sel selection, external []labels.Label, take func(storage.ChunkSeries) error) error {
	builder := labels.NewScratchBuilder(16)
	warnings, err := p.list(ctx, "/api/v1/series", sel.form(), each(func(set map[string]string) error {
		builder.Reset()
		for name, value := range set {
			builder.Add(name, value)
		}
		builder.Sort()
		return take(rawChunks{labels: withExternal(builder.Labels(), external)})
	}))
	switch {
	case err != nil:
		return p.unavailable("list series", err)
	case len(warnings) > 0:
		return errNotListed
	}
	return nil
}

func (p *Prometheus) listRaw(ctx context.Context, sel selection, label string, limit int) ([]string, error) {
	if external, known := p.external(ctx); !known || len(external) > 0 {
		return nil, errNotListed
	}
	endpoint, ask := "/api/v1/labels", p.list
	if label != "" {
		// Other names are no part of a path.
		if !model.LegacyValidation.IsValidLabelName(label) {
			return nil, errNotListed
		}
		endpoint, ask = "/api/v1/label/"+label+"/values", p.get
	}
	form := sel.form()
	if limit > 0 {
		form.Set("limit", strconv.Itoa(limit))
	}
	var listed []string
	warnings, err := ask(ctx, endpoint, form, into(&listed))
	if err != nil {
		return nil, p.unavailable("list labels", err)
	}
	// That there are more is what was asked for.
	if slices.ContainsFunc(warnings, func(w string) bool { return limit == 0 || w != truncated }) {
		return nil, errNotListed
	}
	return listed, nil
}

// truncated is how a server says that it kept to the limit.
const truncated = "results truncated due to limit"

// errNotListed says that the backend's list can't stand for the view's.
var errNotListed = errors.New("not listed by the backend")

// form is the selection as the API's listings take it.
func (s selection) form() url.Values {
	return url.Values{"match[]": {FormatSelector(s.named())}, "start": {timestamp(instant(s.mint))}, "end": {timestamp(instant(s.maxt))}}
}

// named is the matchers as a server accepts them: with one at least that an
// empty label doesn't match.
func (s selection) named() []*labels.Matcher {
	for _, m := range s.matchers {
		if !m.Matches("") {
			return s.matchers
		}
	}
	return append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+")}, s.matchers...)
}

func (p *Prometheus) rawMetadata(ctx context.Context, metric string) (map[string][]metadata.Metadata, error) {
	form := url.Values{}
	if metric != "" {
		form.Set("metric", metric)
	}
	var known map[string][]metadata.Metadata
	warnings, err := p.get(ctx, "/api/v1/metadata", form, into(&known))
	if err == nil {
		err = incomplete("metadata", warnings)
	}
	if err != nil {
		return nil, p.unavailable("list metadata", err)
	}
	return known, nil
}

func (p *Prometheus) rawExemplars(ctx context.Context, start, end int64, selectors [][]*labels.Matcher) ([]exemplar.QueryResult, error) {
	external, known := p.external(ctx)
	if !known {
		return nil, &federation.Error{
			Kind: federation.Unavailable, Message: "the metrics store doesn't tell enough of its exemplars to apply policy to them", Err: errUntold,
		}
	}
	var out []exemplar.QueryResult
	for _, matchers := range selectors {
		var found []struct {
			SeriesLabels map[string]string `json:"seriesLabels"`
			Exemplars    []struct {
				Labels    map[string]string `json:"labels"`
				Value     model.SampleValue `json:"value"`
				Timestamp model.Time        `json:"timestamp"`
			} `json:"exemplars"`
		}
		warnings, err := p.list(ctx, "/api/v1/query_exemplars", url.Values{
			"query": {FormatSelector(selection{matchers: stored(matchers, external, known)}.named())},
			"start": {timestamp(instant(start))}, "end": {timestamp(instant(end))},
		}, into(&found))
		if err == nil {
			err = incomplete("exemplars", warnings)
		}
		if err != nil {
			return nil, p.unavailable("list exemplars", err)
		}
		for _, f := range found {
			r := exemplar.QueryResult{SeriesLabels: withExternal(labels.FromMap(f.SeriesLabels), external)}
			for _, e := range f.Exemplars {
				r.Exemplars = append(r.Exemplars, exemplar.Exemplar{
					Labels: labels.FromMap(e.Labels), Value: float64(e.Value), Ts: int64(e.Timestamp), HasTs: true,
				})
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// incomplete is the error of a list that came with warnings and can't be had in
// another way.
func incomplete(what string, warnings []string) error {
	if len(warnings) == 0 {
		return nil
	}
	return &federation.Error{
		Kind: federation.Unavailable, Message: "the metrics store can give only some of its " + what + " now",
		Err: fmt.Errorf("a list of %s with %d warnings", what, len(warnings)),
	}
}

// evaluation is PromQL for the backend itself.
type evaluation struct {
	expression string
	question   Question
	// maxBytes bounds the answer, as it comes.
	maxBytes int64
}

// errNotEvaluated says that the backend's answer can't stand for the view's.
var errNotEvaluated = errors.New("not evaluated by the backend")

// versionTTL is how long a server's version and external labels are believed.
const versionTTL = time.Minute

// evaluates is true for Prometheus 3, whose PromQL is the one we evaluate
// ourselves. Ranges were closed on the left before.
func (p *Prometheus) evaluates(ctx context.Context) bool {
	if p.config.NoPushDown {
		return false
	}
	p.mu.Lock()
	ours, fresh := p.ours, p.config.Now().Sub(p.probed) <= versionTTL
	p.mu.Unlock()
	if fresh {
		return ours
	}
	var info buildInfo
	_, err := p.get(ctx, "/api/v1/status/buildinfo", nil, into(&info))
	switch {
	case err != nil && ctx.Err() != nil:
		return false // the question was given up: that says nothing of the server
	case err != nil:
		p.config.Logger.WarnContext(ctx, "version of the metrics backend is unknown; questions are evaluated here", "error", p.unavailable("read version", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ours, p.probed = err == nil && info.isPrometheus3(), p.config.Now()
	return p.ours
}

// buildInfo is what a server says it is. What is like a Prometheus and counts
// its own versions has an application besides, as Mimir does, or nothing but a
// version.
type buildInfo struct {
	Application string `json:"application"`
	Version     string `json:"version"`
	GoVersion   string `json:"goVersion"`
}

func (b buildInfo) isPrometheus3() bool {
	return strings.HasPrefix(b.Version, "3.") && b.GoVersion != "" && b.Application == ""
}

// evaluate asks the backend's query API. An error of the query itself is
// errNotEvaluated: its text may show what is hidden, so the view has to find
// its own.
func (p *Prometheus) evaluate(ctx context.Context, e evaluation) (promql.Matrix, error) {
	if external, known := p.external(ctx); !known || readsExternal(e.expression, external) {
		return nil, errNotEvaluated
	}
	form := url.Values{"query": {e.expression}, "lookback_delta": {milliseconds(e.question.Lookback)}}
	endpoint := "/api/v1/query"
	if e.question.Kind == policy.Range {
		endpoint = "/api/v1/query_range"
		form.Set("start", timestamp(e.question.Start))
		form.Set("end", timestamp(e.question.End))
		form.Set("step", milliseconds(e.question.Step))
	} else {
		form.Set("time", timestamp(e.question.Start))
	}
	if deadline, ok := ctx.Deadline(); ok {
		form.Set("timeout", milliseconds(max(time.Until(deadline), time.Millisecond)))
	}
	response, err := p.request(ctx, http.MethodPost, endpoint, form)
	if err != nil {
		return nil, p.unavailable("query", err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	switch {
	case response.StatusCode/100 == 4:
		return nil, errNotEvaluated
	case response.StatusCode != http.StatusOK:
		return nil, p.unavailable("query", fmt.Errorf("status %s", response.Status))
	}
	return decodeQueryResponse(&bounded{body: response.Body, left: e.maxBytes})
}

// maxDrain is how much more is read of an answer that isn't wanted, in bytes:
// beyond that a new connection costs less.
const maxDrain = 64 << 10

// drain reads a body to its end, so that the connection can be used again.
func drain(body io.Reader) {
	_, _ = io.CopyN(io.Discard, body, maxDrain) // what was wanted has been read
}

func (p *Prometheus) unavailable(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	var known *federation.Error
	if errors.As(err, &known) {
		return known
	}
	// The URL of a request holds what was asked for, which is not for the log.
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return &federation.Error{
		Kind: federation.Unavailable, Message: "the metrics store can't be read now",
		Err: fmt.Errorf("%s at %s: %w", doing, p.config.URL.Redacted(), err),
	}
}

func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func timestamp(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// milliseconds is a duration as the engine takes it: what is below a
// millisecond is cut off. The API's other form, seconds, is a floating-point
// number to the server, in which 33.3 is a millisecond less.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

// rawChunks is a raw series whose chunks are in memory.
type rawChunks struct {
	labels labels.Labels
	chunks []chunks.Meta
}

func (r rawChunks) Labels() labels.Labels { return r.labels }

func (r rawChunks) Iterator(chunks.Iterator) chunks.Iterator {
	return storage.NewListChunkSeriesIterator(r.chunks...)
}
