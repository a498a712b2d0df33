package metrics

import (
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Released is data that went through a view: the only thing that doors, merge
// and fronts accept. Outside this package there are two ways to one: asking a
// Local, which holds a view, and reading what a partner's gateway sent.
type Released struct {
	series    []ReleasedSeries
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
// two with the same.
func (r *Released) Series() []ReleasedSeries { return r.series }

// Names are label names or label values, sorted, each once.
func (r *Released) Names() []string { return r.names }

// Metadata is by metric name.
func (r *Released) Metadata() map[string][]metadata.Metadata { return r.metadata }

// Exemplars are by series, sorted by series labels.
func (r *Released) Exemplars() []exemplar.QueryResult { return r.exemplars }

// Cost is the number of series and of samples; a native histogram counts as
// one sample, a name, an exemplar or a metadata entry as none.
func (r *Released) Cost() (series, samples int) {
	for _, s := range r.series {
		for _, c := range s.Chunks {
			samples += c.Chunk.NumSamples()
		}
	}
	return len(r.series), samples
}

// Received returns what a partner's gateway sent as Released. Its labels are
// taken only when their org is that of the gateway that was asked; checking
// that is the caller's.
func Received(series []ReleasedSeries, names []string, md map[string][]metadata.Metadata, ex []exemplar.QueryResult) *Released {
	return &Released{series: series, names: names, metadata: md, exemplars: ex}
}

// Matrix decodes the series of a query's answer.
func (r *Released) Matrix() (promql.Matrix, error) {
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

// releaseMatrix encodes the result of a query.
func releaseMatrix(m promql.Matrix) (*Released, error) {
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
