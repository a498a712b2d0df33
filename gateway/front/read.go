package front

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
)

const (
	readPath = "/api/v1/read"
	// readConcurrency and readFrameBytes are Prometheus's defaults.
	readConcurrency = 10
	readFrameBytes  = 1 << 20
	// maxReadBytes bounds a remote-read request once it is decompressed: a
	// few bytes of snappy can claim gigabytes.
	maxReadBytes = 16 << 20
	// maxReadQueries bounds the questions in one request.
	maxReadQueries = 64
)

// serveRead looks at a remote-read request before web/api/v1 does, which
// decompresses without a bound and reports errors in plain text.
func serveRead(f *Front, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = checkRead(body)
	}
	if err != nil {
		writeError(w, badRequest(fmt.Errorf("the remote-read request can't be understood: %w", err)))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	f.api.ServeHTTP(w, r)
}

func checkRead(body []byte) error {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return fmt.Errorf("snappy: %w", err)
	}
	if n > maxReadBytes {
		return fmt.Errorf("%d bytes, at most %d are accepted", n, maxReadBytes)
	}
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return fmt.Errorf("snappy: %w", err)
	}
	var req prompb.ReadRequest
	if err := req.Unmarshal(raw); err != nil {
		return fmt.Errorf("protobuf: %w", err)
	}
	if len(req.Queries) == 0 || len(req.Queries) > maxReadQueries {
		return fmt.Errorf("%d queries, from 1 to %d are accepted", len(req.Queries), maxReadQueries)
	}
	for _, q := range req.Queries {
		if q == nil || len(q.Matchers) == 0 {
			return errors.New("a query without matchers")
		}
		if q.EndTimestampMs < q.StartTimestampMs {
			return errors.New("a query that ends before it starts")
		}
		if _, err := remote.FromLabelMatchers(q.Matchers); err != nil {
			return err
		}
	}
	_, err = remote.NegotiateResponseType(req.AcceptedResponseTypes)
	return err
}
