package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// EncodeAnswer returns the messages of an answer, the closing part last, and
// their size in bytes before compression. The messages share the memory of
// released. An error is a defect of whoever made the answer.
func EncodeAnswer(released federation.Released, part federation.Part) (messages []*federationv1.AskResponse, size int, err error) {
	switch released := released.(type) {
	case *metrics.Released:
		messages, err = metricsMessages(released)
	case *logs.Released:
		messages, err = logsMessages(released)
	case *traces.Released:
		messages, err = tracesMessages(released)
	default:
		err = fmt.Errorf("an answer of type %T has no form on the wire", released)
	}
	if err != nil {
		return nil, 0, err
	}
	closing, err := encodePart(released, part)
	if err != nil {
		return nil, 0, err
	}
	messages = append(messages, &federationv1.AskResponse{Message: &federationv1.AskResponse_Part{Part: closing}})
	for _, m := range messages {
		n := proto.Size(m)
		if n > MaxAnswerMessage {
			return nil, 0, fmt.Errorf("an entry of the answer has %d bytes, at most %d can be sent", n, MaxAnswerMessage)
		}
		size += n
	}
	return messages, size, nil
}

func metricsMessages(released *metrics.Released) ([]*federationv1.AskResponse, error) {
	messages, err := seriesMessages(released.Series())
	if err != nil {
		return nil, err
	}
	messages = append(messages, nameMessages(released.Names())...)
	messages = append(messages, metadataMessages(released.Metadata())...)
	return append(messages, exemplarMessages(released.Exemplars())...), nil
}

func encodePart(released federation.Released, part federation.Part) (*federationv1.Part, error) {
	if part.Status != federation.Complete && part.Status != federation.Partial {
		return nil, fmt.Errorf("an answer can't have the status %q", part.Status)
	}
	disclosed := released.Disclosed()
	out := &federationv1.Part{
		Status:  string(part.Status),
		Reason:  shown(part.Reason),
		Series:  int64(disclosed.Series),
		Samples: int64(disclosed.Samples),
		Lines:   int64(disclosed.Lines),
		Spans:   int64(disclosed.Spans),
		Dropped: int64(part.Dropped),
	}
	for _, notice := range part.Notices[:min(len(part.Notices), maxNotices)] {
		out.Notices = append(out.Notices, shown(notice))
	}
	if !part.Coverage.Start.IsZero() || !part.Coverage.End.IsZero() {
		out.CoverageStartMs = federation.Milliseconds(part.Coverage.Start)
		out.CoverageEndMs = federation.Milliseconds(part.Coverage.End)
	}
	return out, nil
}

// seriesBatch is a SeriesBatch in the making.
type seriesBatch struct {
	out     *federationv1.SeriesBatch
	symbols map[string]uint32
	size    int // about
}

func newSeriesBatch() *seriesBatch {
	return &seriesBatch{out: &federationv1.SeriesBatch{}, symbols: map[string]uint32{}}
}

func (b *seriesBatch) ref(symbol string) uint32 {
	ref, ok := b.symbols[symbol]
	if !ok {
		ref = uint32(len(b.out.Symbols))
		b.symbols[symbol] = ref
		b.out.Symbols = append(b.out.Symbols, symbol)
		b.size += len(symbol) + 3
	}
	b.size += 3
	return ref
}

// series begins a series in the batch.
func (b *seriesBatch) series(ls labels.Labels) *federationv1.Series {
	s := &federationv1.Series{LabelRefs: make([]uint32, 0, 2*ls.Len())}
	ls.Range(func(l labels.Label) {
		s.LabelRefs = append(s.LabelRefs, b.ref(l.Name), b.ref(l.Value))
	})
	b.size += chunkOverhead
	b.out.Series = append(b.out.Series, s)
	return s
}

// chunkOverhead is about what a chunk or series takes beside its content.
const chunkOverhead = 12

func seriesMessages(in []metrics.ReleasedSeries) ([]*federationv1.AskResponse, error) {
	var out []*federationv1.AskResponse
	batch := newSeriesBatch()
	flush := func() {
		if len(batch.out.Series) > 0 {
			out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Series{Series: batch.out}})
		}
		batch = newSeriesBatch()
	}
	for i, s := range in {
		if i > 0 && labels.Compare(in[i-1].Labels, s.Labels) >= 0 {
			return nil, errors.New("the answer's series are out of order or there twice")
		}
		if batch.size >= batchSize {
			flush()
		}
		encoded := batch.series(s.Labels)
		for j, c := range s.Chunks {
			if j > 0 && batch.size+len(c.Chunk.Bytes()) > batchSize {
				flush()
				encoded = batch.series(s.Labels)
			}
			chunk, err := encodeChunk(c)
			if err != nil {
				return nil, err
			}
			encoded.Chunks = append(encoded.Chunks, chunk)
			batch.size += len(chunk.GetData()) + chunkOverhead
		}
	}
	flush()
	return out, nil
}

func encodeChunk(c chunks.Meta) (*federationv1.Chunk, error) {
	encoding := c.Chunk.Encoding()
	if encoding != chunkenc.EncXOR && !isHistogram(encoding) {
		return nil, fmt.Errorf("a chunk in the encoding %v, which has no form on the wire", encoding)
	}
	data := c.Chunk.Bytes()
	if len(data) > maxChunk {
		return nil, fmt.Errorf("a chunk of %d bytes, at most %d can be sent", len(data), maxChunk)
	}
	return &federationv1.Chunk{Encoding: uint32(encoding), Data: data}, nil
}

// batches cuts entries into runs of about batchSize bytes.
func batches[T any](entries []T, size func(T) int) [][]T {
	var out [][]T
	begin, sum := 0, 0
	for i, e := range entries {
		n := size(e)
		if i > begin && sum+n > batchSize {
			out = append(out, entries[begin:i])
			begin, sum = i, 0
		}
		sum += n
	}
	if begin < len(entries) {
		out = append(out, entries[begin:])
	}
	return out
}

func nameMessages(names []string) []*federationv1.AskResponse {
	var out []*federationv1.AskResponse
	for _, batch := range batches(names, func(s string) int { return len(s) + 3 }) {
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Names{
			Names: &federationv1.NameBatch{Names: batch},
		}})
	}
	return out
}

func metadataMessages(md map[string][]metadata.Metadata) []*federationv1.AskResponse {
	var entries []*federationv1.MetricMetadata
	for _, metric := range slices.Sorted(maps.Keys(md)) {
		for _, m := range md[metric] {
			entries = append(entries, &federationv1.MetricMetadata{
				Metric: metric, Type: string(m.Type), Help: m.Help, Unit: m.Unit,
			})
		}
	}
	var out []*federationv1.AskResponse
	for _, batch := range batches(entries, func(m *federationv1.MetricMetadata) int { return proto.Size(m) + 3 }) {
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Metadata{
			Metadata: &federationv1.MetadataBatch{Metrics: batch},
		}})
	}
	return out
}

func exemplarMessages(results []exemplar.QueryResult) []*federationv1.AskResponse {
	entries := make([]*federationv1.SeriesExemplars, 0, len(results))
	for _, r := range results {
		s := &federationv1.SeriesExemplars{Labels: texts(r.SeriesLabels)}
		for _, e := range r.Exemplars {
			s.Exemplars = append(s.Exemplars, &federationv1.Exemplar{
				Labels: texts(e.Labels), Value: e.Value, TimestampMs: e.Ts, HasTimestamp: e.HasTs,
			})
		}
		entries = append(entries, s)
	}
	var out []*federationv1.AskResponse
	for _, batch := range batches(entries, func(s *federationv1.SeriesExemplars) int { return proto.Size(s) + 3 }) {
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Exemplars{
			Exemplars: &federationv1.ExemplarBatch{Series: batch},
		}})
	}
	return out
}

// texts are the labels as names and values in turn.
func texts(ls labels.Labels) []string {
	out := make([]string, 0, 2*ls.Len())
	ls.Range(func(l labels.Label) { out = append(out, l.Name, l.Value) })
	return out
}
