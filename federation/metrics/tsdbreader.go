package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

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
	dir    string
	logger *slog.Logger
}

// OpenTSDBReader opens a store that is there. Whenever it is read there is a
// folder of links within the store's.
func OpenTSDBReader(dir string, logger *slog.Logger) (*TSDBReader, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("open metrics store in %s: %w", dir, err)
	}
	return &TSDBReader{dir: dir, logger: logger}, nil
}

func (s *TSDBReader) selectRaw(ctx context.Context, sel selection, take func(storage.ChunkSeries) error) (release func() error, err error) {
	return selectChunks(ctx, s.open, sel, take)
}

// open opens the store for one selection: another one needs links of its own.
func (s *TSDBReader) open(mint, maxt int64) (storage.ChunkQuerier, error) {
	db, err := tsdb.OpenDBReadOnly(s.dir, "", s.logger)
	if err != nil {
		return nil, err
	}
	q, err := db.ChunkQuerier(mint, maxt)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return readOnlyQuerier{q, db}, nil
}

// readOnlyQuerier closes its store with itself.
type readOnlyQuerier struct {
	storage.ChunkQuerier
	db *tsdb.DBReadOnly
}

func (q readOnlyQuerier) Close() error { return errors.Join(q.ChunkQuerier.Close(), q.db.Close()) }

func (s *TSDBReader) rawMetadata(context.Context, string) (map[string][]metadata.Metadata, error) {
	return map[string][]metadata.Metadata{}, nil
}

func (s *TSDBReader) rawExemplars(context.Context, int64, int64, [][]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return nil, errors.New("exemplars are in the memory of the process that writes the store")
}
