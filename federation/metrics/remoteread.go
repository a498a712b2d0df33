package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
)

const (
	streamedMedia = "application/x-streamed-protobuf"
	sampledMedia  = "application/x-protobuf"
	// maxReadResponse bounds what one selector may bring in, in bytes as they
	// come: some 300 million samples in chunks. All of it is held while the
	// question is evaluated.
	maxReadResponse = 512 << 20
)

// readRaw reads series by remote read, protocol version 0.1.0, in streamed
// chunks where the server has them. The chunks stay compressed as they came.
// See https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/.
func (p *Prometheus) readRaw(ctx context.Context, sel selection) (rawSet, error) {
	response, err := p.sendRead(ctx, sel)
	if err != nil {
		return rawSet{}, p.unavailable("remote read", err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		return rawSet{}, p.unavailable("remote read", fmt.Errorf("content type: %w", err))
	}
	out := rawSet{release: func() error { return nil }}
	body := &bounded{body: response.Body, left: maxReadResponse}
	switch media {
	case streamedMedia:
		out.series, err = readStreamed(body)
	case sampledMedia:
		out.series, err = readSampled(body)
	default:
		err = fmt.Errorf("content type %q is neither streamed chunks nor samples", media)
	}
	if err != nil {
		return rawSet{}, p.unavailable("remote read", err)
	}
	return out, nil
}

func (p *Prometheus) sendRead(ctx context.Context, sel selection) (*http.Response, error) {
	query, err := remote.ToQuery(sel.mint, sel.maxt, sel.named(), nil)
	if err != nil {
		return nil, err
	}
	body, err := proto.Marshal(&prompb.ReadRequest{
		Queries:               []*prompb.Query{query},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES},
	})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.URL.JoinPath(p.config.ReadPath).String(), bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("Content-Type", sampledMedia)
	request.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	response, err := p.config.Client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		drain(response.Body)
		return nil, errors.Join(fmt.Errorf("status %s", response.Status), response.Body.Close())
	}
	return response, nil
}

// readStreamed reads frames of chunks. A series whose chunks fill more than
// one frame comes in several pieces, one after another.
func readStreamed(body io.Reader) ([]storage.ChunkSeries, error) {
	reader := remote.NewChunkedReader(bufio.NewReaderSize(body, 1<<20), config.DefaultChunkedReadLimit, nil)
	var out []rawChunks
	builder := labels.NewScratchBuilder(16)
	for {
		var frame prompb.ChunkedReadResponse
		if err := reader.NextProto(&frame); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		for _, s := range frame.ChunkedSeries {
			ls := s.ToLabels(&builder, nil)
			if n := len(out); n == 0 || !labels.Equal(out[n-1].labels, ls) {
				out = append(out, rawChunks{labels: ls})
			}
			series := &out[len(out)-1]
			for _, c := range s.Chunks {
				decoded, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
				if err != nil {
					return nil, err
				}
				series.chunks = append(series.chunks, chunks.Meta{Chunk: decoded, MinTime: c.MinTimeMs, MaxTime: c.MaxTimeMs})
			}
		}
	}
	series := make([]storage.ChunkSeries, len(out))
	for i, s := range out {
		series[i] = s
	}
	return series, nil
}

// readSampled reads an answer of a server without streamed chunks.
func readSampled(body io.Reader) ([]storage.ChunkSeries, error) {
	compressed, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if size, err := snappy.DecodedLen(compressed); err != nil || size > maxReadResponse {
		return nil, errors.Join(err, tooMuch())
	}
	raw, err := snappy.Decode(nil, compressed)
	if err != nil {
		return nil, err
	}
	var response prompb.ReadResponse
	if err := proto.Unmarshal(raw, &response); err != nil {
		return nil, err
	}
	if len(response.Results) != 1 {
		return nil, fmt.Errorf("%d results for one query", len(response.Results))
	}
	var out []storage.ChunkSeries
	set := storage.NewSeriesSetToChunkSet(remote.FromQueryResult(true, response.Results[0]))
	for set.Next() {
		out = append(out, set.At())
	}
	return out, set.Err()
}

// bounded reads an answer and refuses to read more of it than is left.
type bounded struct {
	body io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooMuch()
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func tooMuch() error {
	return federation.Errorf(federation.OverLimit, "the question would load too many samples at once; ask for less time or fewer series")
}
