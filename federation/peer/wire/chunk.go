package wire

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// grid is where samples of an answer may be, in Unix milliseconds, both ends
// included. With a step above 0, only at whole steps from start.
type grid struct{ start, end, step int64 }

func (g grid) holds(t int64) bool {
	return t >= g.start && t <= g.end && (g.step == 0 || (t-g.start)%g.step == 0)
}

// chunkReader reads chunks. Each is iterated over once, so that nothing of it
// surprises whoever iterates later.
type chunkReader struct {
	grid grid
	it   chunkenc.Iterator
}

// read returns the chunk, whose samples must be later than after. At most room
// samples are accepted.
func (r *chunkReader) read(c *federationv1.Chunk, after int64, room int) (meta chunks.Meta, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.it = nil
			err = fmt.Errorf("a chunk that can't be decoded: %v", p)
		}
	}()
	if hasUnknown(c) {
		return meta, errUnknown
	}
	data := c.GetData()
	if c.GetEncoding() > 255 || !chunkenc.IsValidEncoding(chunkenc.Encoding(c.GetEncoding())) {
		return meta, errors.New("a chunk in an unknown encoding")
	}
	encoding := chunkenc.Encoding(c.GetEncoding())
	if len(data) < histogramHeader {
		return meta, errShort
	}
	if isHistogram(encoding) {
		if err := checkLayout(data); err != nil {
			return meta, err
		}
	}
	chunk, err := chunkenc.FromData(encoding, data)
	if err != nil {
		return meta, errors.New("a chunk in an unknown encoding")
	}
	if chunk.NumSamples() > room {
		return meta, errTooManySamples
	}
	meta = chunks.Meta{Chunk: chunk}
	read, layoutKnown := 0, false
	r.it = chunk.Iterator(r.it)
	for kind := r.it.Next(); kind != chunkenc.ValNone; kind = r.it.Next() {
		t := r.it.AtT()
		if t <= after {
			return meta, errors.New("samples out of order")
		}
		if !r.grid.holds(t) {
			return meta, errors.New("a sample outside the time that was asked for")
		}
		if read == 0 {
			meta.MinTime = t
		}
		if kind != chunkenc.ValFloat && !layoutKnown {
			_, h := r.it.AtFloatHistogram(nil)
			if layoutKnown, err = checkHistogram(h); err != nil {
				return meta, err
			}
		}
		after, meta.MaxTime = t, t
		read++
	}
	if r.it.Err() != nil || read == 0 || read != chunk.NumSamples() {
		return meta, errShort
	}
	return meta, nil
}
