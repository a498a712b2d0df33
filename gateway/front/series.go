package front

import (
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/parley-gateway/parley/federation/metrics"
)

// set walks released series.
type set struct {
	series   []metrics.ReleasedSeries
	next     int
	warnings annotations.Annotations
	err      error
}

func (s *set) Next() bool {
	if s.next >= len(s.series) {
		return false
	}
	s.next++
	return true
}

func (s *set) at() metrics.ReleasedSeries { return s.series[s.next-1] }

func (s *set) Err() error                        { return s.err }
func (s *set) Warnings() annotations.Annotations { return s.warnings }

// chunkSet hands out series as the chunks they came in.
type chunkSet struct{ set }

func (s *chunkSet) At() storage.ChunkSeries {
	series := s.at()
	return &storage.ChunkSeriesEntry{
		Lset: series.Labels,
		ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
			return storage.NewListChunkSeriesIterator(series.Chunks...)
		},
	}
}

// sampleSet hands out series sample by sample.
type sampleSet struct{ set }

func (s *sampleSet) At() storage.Series {
	series := s.at()
	return &storage.SeriesEntry{
		Lset: series.Labels,
		SampleIteratorFn: func(it chunkenc.Iterator) chunkenc.Iterator {
			iterators := make([]chunkenc.Iterator, 0, len(series.Chunks))
			for _, c := range series.Chunks {
				iterators = append(iterators, c.Chunk.Iterator(nil))
			}
			return storage.ChainSampleIteratorFromIterators(it, iterators)
		},
	}
}
