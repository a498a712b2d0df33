package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// client asks over HTTP as Grafana does, but for compression: what is measured
// is not gzip.
type client struct {
	http   *http.Client
	header http.Header // of every request
}

func newClient(t testing.TB) client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return client{http: &http.Client{Transport: transport}}
}

// with is the client with one more header.
func (c client) with(name, value string) client {
	header := c.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(name, value)
	return client{http: c.http, header: header}
}

// get returns the body of an answer. Anything but 200 is an error.
func (c client) get(ctx context.Context, url string, header func(http.Header) error) ([]byte, error) {
	var body bytes.Buffer
	err := c.do(ctx, url, header, func(r io.Reader) error { _, err := body.ReadFrom(r); return err })
	return body.Bytes(), err
}

// discard asks and throws the answer away, once it is there.
func (c client) discard(ctx context.Context, url string) error {
	return c.do(ctx, url, nil, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
}

func (c client) do(ctx context.Context, url string, header func(http.Header) error, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	maps.Copy(request.Header, c.header)
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	if header != nil {
		if err := header(response.Header); err != nil {
			return err
		}
	}
	return read(response.Body)
}

// queryURL is where base answers a question.
func queryURL(base string, q question) string {
	return base + "/api/v1/query_range?" + url.Values{
		"query": {q.expression},
		"start": {strconv.FormatInt(firstStep().Unix(), 10)},
		"end":   {strconv.FormatInt(lastStep().Unix(), 10)},
		"step":  {step.String()},
	}.Encode()
}

// series asks a question and counts the series of its answer. One that a
// gateway calls incomplete is an error.
func (c client) series(ctx context.Context, base string, q question) (int, error) {
	body, err := c.get(ctx, queryURL(base, q), whole)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	err = json.Unmarshal(body, &answer)
	return len(answer.Data.Result), err
}

// whole is an error if a gateway calls its answer incomplete.
func whole(h http.Header) error {
	said := h.Get(front.CompletenessHeader)
	if said == "" {
		return nil // of a server
	}
	var completeness federation.Completeness
	if err := json.Unmarshal([]byte(said), &completeness); err != nil {
		return err
	}
	if !completeness.Whole() {
		return fmt.Errorf("the answer is incomplete: %s", completeness.Missing())
	}
	return nil
}

// wireBytes is what a gateway has exchanged with its partners so far, by
// questions of its own: requests and answers, compressed, as they are on the
// connection.
func (c client) wireBytes(ctx context.Context, o *org) (float64, error) {
	body, err := c.get(ctx, "http://"+o.front+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	total := 0.0
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(name, "parley_wire_bytes_total{") || !strings.Contains(name, `direction="asked"`) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, lines.Err()
}
