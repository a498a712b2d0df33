package wire

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// Compression is the name of the compression of answers: Zstandard (RFC 8878)
// with a window of at most maxWindow. A request is not compressed.
const Compression = "zstd"

const maxWindow = 1 << 20

// gRPC knows compressors from one table in the process, which may only be
// written during initialization: this is the one init of the project.
func init() { encoding.RegisterCompressor(&compressor{}) } //nolint:gochecknoinits // see above

// compressor is Zstandard for gRPC. What it decompresses is a stream from
// which gRPC reads no more than its message limit, and it holds no more than a
// window, so a small message can't unfold to a large one.
type compressor struct {
	writers, readers sync.Pool
}

func (*compressor) Name() string { return Compression }

func (c *compressor) Compress(w io.Writer) (io.WriteCloser, error) {
	enc, ok := c.writers.Get().(*zstd.Encoder)
	if !ok {
		var err error
		enc, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(batchSize),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	enc.Reset(w)
	return &pooledWriter{Encoder: enc, pool: &c.writers}, nil
}

func (c *compressor) Decompress(r io.Reader) (io.Reader, error) {
	dec, ok := c.readers.Get().(*zstd.Decoder)
	if !ok {
		var err error
		dec, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1), // no goroutines
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecodeBuffersBelow(0)) // never unfold a whole message at once
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	if err := dec.Reset(r); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &pooledReader{Decoder: dec, pool: &c.readers}, nil
}

type pooledWriter struct {
	*zstd.Encoder
	pool *sync.Pool
}

func (w *pooledWriter) Close() error {
	err := w.Encoder.Close()
	w.Reset(nil)
	w.pool.Put(w.Encoder)
	return err
}

type pooledReader struct {
	*zstd.Decoder
	pool *sync.Pool
}

// Close is called by gRPC exactly once.
func (r *pooledReader) Close() error {
	if err := r.Reset(nil); err != nil {
		return err
	}
	r.pool.Put(r.Decoder)
	return nil
}
