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
	// maxReadResponse bounds what one question may hold as it comes, in bytes:
	// some 300 million samples in chunks.
	maxReadResponse = 512 << 20
	// readBuffer is enough for some hundred series of an hour, each of which comes in
	// a frame of its own: a small question takes little more.
	readBuffer = 64 << 10
)

// readRaw reads series by remote read, protocol version 0.1.0, in streamed
// chunks where the server has them. The chunks stay compressed as they came.
// See https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/.
func (p *Prometheus) readRaw(ctx context.Context, sel selection, take func(storage.ChunkSeries) error) error {
	response, err := p.sendRead(ctx, sel)
	if err != nil {
		return p.unavailable("remote read", err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		return p.unavailable("remote read", fmt.Errorf("content type: %w", err))
	}
	switch media {
	case streamedMedia:
		err = readStreamed(response.Body, take)
	case sampledMedia:
		err = readSampled(&bounded{body: response.Body, left: maxReadResponse}, take)
	default:
		err = fmt.Errorf("content type %q is neither streamed chunks nor samples", media)
	}
	if err != nil {
		return p.unavailable("remote read", err)
	}
	return nil
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
func readStreamed(body io.Reader, take func(storage.ChunkSeries) error) error {
	reader := remote.NewChunkedReader(bufio.NewReaderSize(body, readBuffer), config.DefaultChunkedReadLimit, nil)
	builder := labels.NewScratchBuilder(16)
	var series rawChunks // as far as it has come; without labels before the first
	size := 0
	for {
		var frame prompb.ChunkedReadResponse
		if err := reader.NextProto(&frame); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		for _, s := range frame.ChunkedSeries {
			if ls := s.ToLabels(&builder, nil); !labels.Equal(series.labels, ls) {
				if err := takeRead(series, take); err != nil {
					return err
				}
				series, size = rawChunks{labels: ls}, 0
			}
			for _, c := range s.Chunks {
				if size += len(c.Data); size > maxReadResponse {
					return tooMuch()
				}
				decoded, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
				if err != nil {
					return err
				}
				series.chunks = append(series.chunks, chunks.Meta{Chunk: decoded, MinTime: c.MinTimeMs, MaxTime: c.MaxTimeMs})
			}
		}
	}
	return takeRead(series, take)
}

func takeRead(s rawChunks, take func(storage.ChunkSeries) error) error {
	if len(s.chunks) == 0 {
		return nil
	}
	return take(s)
}

// readSampled reads an answer of a server without streamed chunks.
func readSampled(body io.Reader, take func(storage.ChunkSeries) error) error {
	compressed, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if size, err := snappy.DecodedLen(compressed); err != nil || size > maxReadResponse {
		return errors.Join(err, tooMuch())
	}
	raw, err := snappy.Decode(nil, compressed)
	if err != nil {
		return err
	}
	var response prompb.ReadResponse
	if err := proto.Unmarshal(raw, &response); err != nil {
		return err
	}
	if len(response.Results) != 1 {
		return fmt.Errorf("%d results for one query", len(response.Results))
	}
	set := storage.NewSeriesSetToChunkSet(remote.FromQueryResult(true, response.Results[0]))
	for set.Next() {
		if err := take(set.At()); err != nil {
			return err
		}
	}
	return set.Err()
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
