package wire

import (
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	// maxBuckets of one histogram, positive and negative each. Prometheus's own
	// default limit is far below.
	maxBuckets = 1 << 14
	// maxBucketIndex is beyond any bucket that a float64 falls into: at the
	// finest schema, 8, those are within 1024 * 2^8 of 0.
	maxBucketIndex = 1 << 20

	histogramHeader = 3 // bytes: number of samples, flags
)

var (
	errShort      = errors.New("a chunk that is cut short")
	errLayout     = errors.New("a histogram chunk with an impossible layout")
	errManyBucket = errors.New("a histogram chunk with too many buckets")
)

// checkLayout reads the buckets that a histogram chunk announces. Iterating
// over the chunk allocates that many at once, so they are bounded before: a
// chunk of a few bytes can announce billions.
//
// The format is that of Prometheus's tsdb/docs/format/chunks.md: after the
// header the zero threshold, the schema, and the spans of positive and then of
// negative buckets.
func checkLayout(data []byte) error {
	if len(data) < histogramHeader {
		return errShort
	}
	r := &bitReader{data: data[histogramHeader:]}
	if r.bits(8) == 255 { // a zero threshold that is not a power of two
		r.bits(64)
	}
	schema := r.varbitInt()
	exponential := schema >= int64(histogram.ExponentialSchemaMin) && schema <= int64(histogram.ExponentialSchemaMax)
	if !exponential && schema != int64(histogram.CustomBucketsSchema) {
		return errLayout
	}
	for range 2 {
		if err := checkSpans(r, uint64(len(data))*8); err != nil {
			return err
		}
	}
	if r.short {
		return errShort
	}
	return nil
}

// checkSpans reads the spans of one side. No sample can have more buckets than
// the chunk has bits.
func checkSpans(r *bitReader, bits uint64) error {
	spans := r.varbitUint()
	if spans > maxBuckets {
		return errManyBucket
	}
	var buckets uint64
	var index int64
	for i := range spans {
		length, offset := r.varbitUint(), r.varbitInt()
		if r.short {
			return errShort
		}
		if length > maxBuckets || offset > maxBucketIndex || offset < -maxBucketIndex || (i > 0 && offset < 0) {
			return errLayout
		}
		buckets += length
		index += offset + int64(length)
		if buckets > min(maxBuckets, bits) {
			return errManyBucket
		}
		if index > maxBucketIndex {
			return errLayout
		}
	}
	return nil
}

// checkHistogram checks the spans, bounds and threshold of a chunk's
// histogram. Counts may be anything: differences of histograms are negative.
// enough says that the others of the chunk need no check, since they share all
// that is checked; that isn't so after a stale marker, which has no layout, nor
// with custom buckets, whose count of zeros each could have though none may.
func checkHistogram(h *histogram.FloatHistogram) (enough bool, err error) {
	if value.IsStaleNaN(h.Sum) {
		return false, nil
	}
	if h.ZeroThreshold < 0 || math.IsNaN(h.ZeroThreshold) || math.IsInf(h.ZeroThreshold, 0) {
		return false, errLayout
	}
	bare := &histogram.FloatHistogram{
		Schema:          h.Schema,
		ZeroThreshold:   h.ZeroThreshold,
		PositiveSpans:   h.PositiveSpans,
		NegativeSpans:   h.NegativeSpans,
		PositiveBuckets: make([]float64, len(h.PositiveBuckets)),
		NegativeBuckets: make([]float64, len(h.NegativeBuckets)),
		CustomValues:    h.CustomValues,
	}
	custom := histogram.IsCustomBucketsSchema(h.Schema)
	if bare.Validate() != nil || slices.ContainsFunc(h.CustomValues, math.IsNaN) || custom && h.ZeroCount != 0 {
		return false, errLayout
	}
	return !custom, nil
}

// bitReader reads bits, the highest of a byte first. Reading past the end
// yields zeros and sets short.
type bitReader struct {
	data  []byte
	at    int // in bits
	short bool
}

func (r *bitReader) bits(n int) uint64 {
	if r.at+n > len(r.data)*8 {
		r.short = true
		r.at = len(r.data) * 8
		return 0
	}
	var v uint64
	for range n {
		v = v<<1 | uint64(r.data[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

// varbit reads the prefix of a number: as many ones, up to eight, as say how
// many bits the number has.
func (r *bitReader) varbit() (v uint64, size int) {
	sizes := [...]int{0, 3, 6, 9, 12, 18, 25, 56, 64}
	ones := 0
	for ones < 8 && r.bits(1) == 1 {
		ones++
	}
	size = sizes[ones]
	return r.bits(size), size
}

func (r *bitReader) varbitUint() uint64 {
	v, _ := r.varbit()
	return v
}

// varbitInt reads a number whose upper half, above 2^(size-1), is negative.
func (r *bitReader) varbitInt() int64 {
	v, size := r.varbit()
	if size > 0 && size < 64 && v > 1<<(size-1) {
		return int64(v) - 1<<size
	}
	return int64(v)
}

// isHistogram says whether chunks of the encoding hold histograms.
func isHistogram(e chunkenc.Encoding) bool {
	return e == chunkenc.EncHistogram || e == chunkenc.EncFloatHistogram
}
