package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// TSDB is a Source on an embedded Prometheus TSDB.
type TSDB struct {
	db *tsdb.DB

	mu       sync.Mutex
	metadata map[string]metadata.Metadata // guarded by mu; by metric name
}

// TSDBConfig says where and for how long samples are kept.
type TSDBConfig struct {
	Dir string
	// Retention is how long samples are kept; zero is 24 hours.
	Retention time.Duration
	Logger    *slog.Logger
}

const (
	defaultRetention = 24 * time.Hour
	maxExemplars     = 100_000
)

// OpenTSDB opens or creates a store.
func OpenTSDB(c TSDBConfig) (*TSDB, error) {
	opts := tsdb.DefaultOptions()
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
	opts.RetentionDuration = c.Retention.Milliseconds()
	opts.EnableExemplarStorage = true
	opts.MaxExemplars = maxExemplars
	db, err := tsdb.Open(c.Dir, c.Logger, nil, opts, nil)
	if errors.Is(err, syscall.EWOULDBLOCK) { // its lock is held
		return nil, fmt.Errorf("open metrics store in %s: another process has it open; each gateway needs its own", c.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open metrics store in %s: %w", c.Dir, err)
	}
	return &TSDB{db: db, metadata: map[string]metadata.Metadata{}}, nil
}

// Appender writes samples; see storage.Appender.
func (s *TSDB) Appender(ctx context.Context) storage.Appender { return s.db.Appender(ctx) }

// Describe sets the metadata of a metric.
func (s *TSDB) Describe(metric string, m metadata.Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata[metric] = m
}

// Close closes the store.
func (s *TSDB) Close() error { return s.db.Close() }

func (s *TSDB) selectRaw(ctx context.Context, sel selection, take func(storage.ChunkSeries) error) (release func() error, err error) {
	return selectChunks(ctx, s.db.ChunkQuerier, sel, take)
}

// selectChunks selects from an embedded store.
func selectChunks(ctx context.Context, open func(mint, maxt int64) (storage.ChunkQuerier, error), sel selection, take func(storage.ChunkSeries) error) (release func() error, err error) {
	q, err := open(sel.mint, sel.maxt)
	if err != nil {
		return nil, fmt.Errorf("open querier: %w", err)
	}
	hints := &storage.SelectHints{Start: sel.mint, End: sel.maxt, DisableTrimming: true}
	if sel.labelsOnly {
		hints.Func = "series"
	}
	matchers := sel.matchers
	if len(matchers) == 0 {
		// The TSDB's own way to say "all"; no matchers would be none.
		matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "", "")}
	}
	set := q.Select(ctx, false, hints, matchers...)
	for set.Next() {
		if err := take(set.At()); err != nil {
			return nil, errors.Join(err, q.Close())
		}
	}
	if err := set.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("select series: %w", err), q.Close())
	}
	return q.Close, nil
}

func (s *TSDB) rawMetadata(_ context.Context, metric string) (map[string][]metadata.Metadata, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]metadata.Metadata{}
	for name, m := range s.metadata {
		if metric == "" || metric == name {
			out[name] = []metadata.Metadata{m}
		}
	}
	return out, nil
}

func (s *TSDB) rawExemplars(ctx context.Context, start, end int64, selectors [][]*labels.Matcher) ([]exemplar.QueryResult, error) {
	q, err := s.db.ExemplarQuerier(ctx)
	if err != nil {
		return nil, fmt.Errorf("open exemplar querier: %w", err)
	}
	return q.Select(start, end, selectors...)
}
