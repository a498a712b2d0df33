package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// TSDBReader is a Source on an embedded Prometheus TSDB that another process
// may have open and write to: it has what is on disk. It knows no metadata and
// no exemplars, which are in that process's memory. What was written of late is
// read anew for every selection, so that it is for tools.
type TSDBReader struct {
	mu sync.Mutex // held while a querier is made
	db *tsdb.DBReadOnly
}

// OpenTSDBReader opens a store that is there. While it is open there is a
// folder of links within the store's.
func OpenTSDBReader(dir string, logger *slog.Logger) (*TSDBReader, error) {
	db, err := tsdb.OpenDBReadOnly(dir, "", logger)
	if err != nil {
		return nil, fmt.Errorf("open metrics store in %s: %w", dir, err)
	}
	return &TSDBReader{db: db}, nil
}

// Close closes the store.
func (s *TSDBReader) Close() error { return s.db.Close() }

func (s *TSDBReader) selectRaw(ctx context.Context, sel selection, take func(storage.ChunkSeries) error) (release func() error, err error) {
	return selectChunks(ctx, s.open, sel, take)
}

func (s *TSDBReader) open(mint, maxt int64) (storage.ChunkQuerier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.ChunkQuerier(mint, maxt)
}

func (s *TSDBReader) rawMetadata(context.Context, string) (map[string][]metadata.Metadata, error) {
	return map[string][]metadata.Metadata{}, nil
}

func (s *TSDBReader) rawExemplars(context.Context, int64, int64, [][]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return nil, errors.New("exemplars are in the memory of the process that writes the store")
}
