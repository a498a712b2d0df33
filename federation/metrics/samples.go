package metrics

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// chunkedSeries reads a series of chunks sample by sample, between mint and
// maxt, Unix milliseconds, both included.
type chunkedSeries struct {
	labels     labels.Labels
	chunks     storage.ChunkSeries
	mint, maxt int64
	floors     floors
}

func (s chunkedSeries) Labels() labels.Labels { return s.labels }

func (s chunkedSeries) Iterator(reuse chunkenc.Iterator) chunkenc.Iterator {
	if !s.floors.none() {
		raw := chunkedSeries{chunks: s.chunks, mint: s.floors.from(s.mint), maxt: s.maxt}
		return s.floors.over(raw.Iterator(nil), s.mint, s.maxt)
	}
	it, ok := reuse.(*sampleIterator)
	if !ok {
		it = &sampleIterator{}
	}
	*it = sampleIterator{metas: it.metas[:0], mint: s.mint, maxt: s.maxt}
	overlap := false
	metas := s.chunks.Iterator(nil)
	for metas.Next() {
		meta := metas.At()
		if n := len(it.metas); n > 0 && meta.MinTime <= it.metas[n-1].MaxTime {
			overlap = true
		}
		it.metas = append(it.metas, meta)
	}
	it.err = metas.Err()
	if overlap {
		it.current, it.metas = merged(it.metas), nil
	}
	return it
}

// merged reads chunks that overlap; of two samples of one time one is taken.
func merged(metas []chunks.Meta) chunkenc.Iterator {
	iterators := make([]chunkenc.Iterator, len(metas))
	for i, m := range metas {
		iterators[i] = m.Chunk.Iterator(nil)
	}
	return storage.ChainSampleIteratorFromIterators(nil, iterators)
}

// sampleIterator reads chunks that follow one another.
type sampleIterator struct {
	metas      []chunks.Meta
	next       int                // index of the chunk after the current one
	current    chunkenc.Iterator  // nil before the first
	kind       chunkenc.ValueType // of the sample it stands on
	mint, maxt int64
	err        error
}

func (it *sampleIterator) Next() chunkenc.ValueType {
	// Mostly the next sample of the chunk; what follows one that isn't too old
	// isn't either.
	if it.kind != chunkenc.ValNone {
		if kind := it.current.Next(); kind != chunkenc.ValNone && it.current.AtT() <= it.maxt {
			it.kind = kind
			return kind
		}
	}
	return it.atLeast(it.mint)
}

func (it *sampleIterator) Seek(t int64) chunkenc.ValueType {
	if it.kind != chunkenc.ValNone && it.current.AtT() >= t {
		return it.kind
	}
	return it.atLeast(max(t, it.mint))
}

// atLeast moves on to the next sample that is not older than t.
func (it *sampleIterator) atLeast(t int64) chunkenc.ValueType {
	for it.err == nil {
		it.kind = it.advance(t)
		if it.kind == chunkenc.ValNone {
			break
		}
		switch now := it.current.AtT(); {
		case now > it.maxt:
			it.metas, it.next, it.current, it.kind = nil, 0, nil, chunkenc.ValNone
			return chunkenc.ValNone
		case now >= t:
			return it.kind
		}
	}
	it.kind = chunkenc.ValNone
	return chunkenc.ValNone
}

// advance moves to the next sample of the chunks that reach t.
func (it *sampleIterator) advance(t int64) chunkenc.ValueType {
	for {
		if it.current != nil && (it.next == 0 || it.metas[it.next-1].MaxTime >= t) {
			if kind := it.current.Next(); kind != chunkenc.ValNone {
				return kind
			}
			if it.err = it.current.Err(); it.err != nil {
				return chunkenc.ValNone
			}
		}
		for it.next < len(it.metas) && it.metas[it.next].MaxTime < t {
			it.next++
		}
		if it.next >= len(it.metas) {
			it.current = nil
			return chunkenc.ValNone
		}
		it.current = it.metas[it.next].Chunk.Iterator(it.current)
		it.next++
	}
}

func (it *sampleIterator) At() (int64, float64) { return it.current.At() }

func (it *sampleIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return it.current.AtHistogram(h)
}

func (it *sampleIterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.current.AtFloatHistogram(h)
}

func (it *sampleIterator) AtT() int64 { return it.current.AtT() }

func (it *sampleIterator) Err() error { return it.err }
