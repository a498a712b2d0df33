package metrics

import (
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
)

// Released is data that went through a view: the only thing that doors, merge
// and fronts accept. Outside this package there are two ways to one: asking a
// Local, which holds a view, and reading what a partner's gateway sent.
type Released struct {
	// The series are in one of two forms, so that what is evaluated and read in
	// the same gateway is never encoded. Neither is changed once it is here.
	series []ReleasedSeries
	matrix promql.Matrix // nil when the series are in chunks; without histograms

	names     []string
	metadata  map[string][]metadata.Metadata
	exemplars []exemplar.QueryResult
}

// ReleasedSeries is one series: its labels, `org` among them, and its samples
// in chunks in order of time, none overlapping. A series asked for with
// LabelsOnly has no chunks.
type ReleasedSeries struct {
	Labels labels.Labels
	Chunks []chunks.Meta
}

// Series are those of a query or of a series question, sorted by labels, no
// two with the same. Those of a query are encoded at every call.
func (r *Released) Series() []ReleasedSeries {
	if r.matrix == nil {
		return r.series
	}
	out := make([]ReleasedSeries, len(r.matrix))
	for i, s := range r.matrix {
		out[i] = ReleasedSeries{Labels: s.Metric, Chunks: encodeFloats(s.Floats)}
	}
	return out
}

// Names are label names or label values, sorted, each once.
func (r *Released) Names() []string { return r.names }

// Metadata is by metric name.
func (r *Released) Metadata() map[string][]metadata.Metadata { return r.metadata }

// Exemplars are by series, sorted by series labels.
func (r *Released) Exemplars() []exemplar.QueryResult { return r.exemplars }

// Cost is the number of series and of samples; a native histogram counts as
// one sample, a name, an exemplar or a metadata entry as none.
func (r *Released) Cost() (series, samples int) {
	if r.matrix != nil {
		return len(r.matrix), r.matrix.TotalSamples()
	}
	for _, s := range r.series {
		for _, c := range s.Chunks {
			samples += c.Chunk.NumSamples()
		}
	}
	return len(r.series), samples
}

// Disclosed is the number of series and of samples.
func (r *Released) Disclosed() (c federation.Cost) {
	c.Series, c.Samples = r.Cost()
	return c
}

// Bytes is the size of what is in it, whatever it is carried in: names and
// values of labels; names; names, types, texts and units of metadata; and
// sampleBytes for each sample and exemplar, or what a native histogram takes
// encoded if that is more.
func (r *Released) Bytes() int {
	total := 0
	for _, s := range r.matrix {
		total += labelBytes(s.Metric) + len(s.Floats)*sampleBytes
	}
	for _, s := range r.series {
		total += labelBytes(s.Labels)
		for _, c := range s.Chunks {
			size := c.Chunk.NumSamples() * sampleBytes
			if c.Chunk.Encoding() != chunkenc.EncXOR {
				size = max(size, len(c.Chunk.Bytes()))
			}
			total += size
		}
	}
	for _, name := range r.names {
		total += len(name)
	}
	for name, entries := range r.metadata {
		total += len(name)
		for _, m := range entries {
			total += len(m.Type) + len(m.Help) + len(m.Unit)
		}
	}
	for _, e := range r.exemplars {
		total += labelBytes(e.SeriesLabels)
		for _, x := range e.Exemplars {
			total += labelBytes(x.Labels) + sampleBytes
		}
	}
	return total
}

func labelBytes(ls labels.Labels) int {
	total := 0
	ls.Range(func(l labels.Label) { total += len(l.Name) + len(l.Value) })
	return total
}

// sampleBytes are those of a time and a value.
const sampleBytes = 16

// Received returns what a partner's gateway sent as Released. Its labels are
// taken only when their org is that of the gateway that was asked; checking
// that is the caller's.
func Received(series []ReleasedSeries, names []string, md map[string][]metadata.Metadata, ex []exemplar.QueryResult) *Released {
	return &Released{series: series, names: names, metadata: md, exemplars: ex}
}

// ReceivedMatrix returns the result of a query, without native histograms, that
// another signal released or received. It belongs to the Released from then on.
func ReceivedMatrix(m promql.Matrix) *Released { return &Released{matrix: m} }

// Matrix decodes the series of a query's answer. It belongs to the Released.
func (r *Released) Matrix() (promql.Matrix, error) {
	if r.matrix != nil {
		return r.matrix, nil
	}
	out := make(promql.Matrix, 0, len(r.series))
	var it chunkenc.Iterator
	for _, s := range r.series {
		_, samples := (&Released{series: []ReleasedSeries{s}}).Cost()
		decoded := promql.Series{Metric: s.Labels}
		for _, c := range s.Chunks {
			it = c.Chunk.Iterator(it)
			for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
				switch kind {
				case chunkenc.ValFloat:
					t, v := it.At()
					if decoded.Floats == nil {
						decoded.Floats = make([]promql.FPoint, 0, samples)
					}
					decoded.Floats = append(decoded.Floats, promql.FPoint{T: t, F: v})
				default:
					t, h := it.AtFloatHistogram(nil)
					decoded.Histograms = append(decoded.Histograms, promql.HPoint{T: t, H: h})
				}
			}
			if err := it.Err(); err != nil {
				return nil, err
			}
		}
		out = append(out, decoded)
	}
	return out, nil
}

// releaseMatrix releases the result of a query, which it keeps.
func releaseMatrix(m promql.Matrix) (*Released, error) {
	if !slices.ContainsFunc(m, func(s promql.Series) bool { return len(s.Histograms) > 0 }) {
		return &Released{matrix: m}, nil
	}
	out := &Released{series: make([]ReleasedSeries, 0, len(m))}
	for _, s := range m {
		encoded, err := encodeSeries(s)
		if err != nil {
			return nil, err
		}
		out.series = append(out.series, encoded)
	}
	return out, nil
}

func encodeSeries(s promql.Series) (ReleasedSeries, error) {
	encoder := storage.NewSeriesToChunkEncoder(promql.NewStorageSeries(s))
	out := ReleasedSeries{Labels: s.Metric}
	it := encoder.Iterator(nil)
	for it.Next() {
		out.Chunks = append(out.Chunks, it.At())
	}
	return out, it.Err()
}

// samplesPerChunk is what Prometheus fills a chunk with.
const samplesPerChunk = 120

// encodeFloats encodes samples in order of time.
func encodeFloats(points []promql.FPoint) []chunks.Meta {
	out := make([]chunks.Meta, 0, (len(points)+samplesPerChunk-1)/samplesPerChunk)
	for run := range slices.Chunk(points, samplesPerChunk) {
		chunk := chunkenc.NewXORChunk()
		appender, err := chunk.Appender()
		if err != nil {
			panic(err) // only a chunk that came from elsewhere can be broken
		}
		for _, p := range run {
			appender.Append(p.T, p.F)
		}
		out = append(out, chunks.Meta{Chunk: chunk, MinTime: run[0].T, MaxTime: run[len(run)-1].T})
	}
	return out
}
