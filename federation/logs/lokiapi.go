package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// defaultMaxAnswer bounds what is read of one answer, in bytes.
	defaultMaxAnswer = 64 << 20
	// maxURL is how long parameters may be to be part of the URL, in bytes.
	maxURL = 4 << 10
	// maxDrain is how much more is read of an answer that isn't wanted, in bytes:
	// beyond that a new connection costs less.
	maxDrain = 64 << 10
)

// Structured metadata comes apart from the labels of streams for whoever asks
// for it by this header, and the answer says so.
const (
	encodingHeader   = "X-Loki-Response-Encoding-Flags"
	categorizeLabels = "categorize-labels"
)

// errTooLong is the error of an answer that is longer than is read.
var errTooLong = errors.New("an answer that is too long")

// statusError is an HTTP status that isn't 200.
type statusError int

func (s statusError) Error() string { return "status " + strconv.Itoa(int(s)) }

// rangeQuery is what /loki/api/v1/query_range is asked for.
type rangeQuery struct {
	query      string
	start, end int64 // Unix nanoseconds; start is included, end isn't
	limit      int
	backward   bool
}

// queryRange returns entries, in no order that could be relied on.
func (l *Loki) queryRange(ctx context.Context, q rangeQuery) ([]rawEntry, error) {
	direction := "forward"
	if q.backward {
		direction = "backward"
	}
	var read streamReader
	err := l.get(ctx, "query_range", url.Values{
		"query": {q.query}, "start": {timestamp(time.Unix(0, q.start))}, "end": {timestamp(time.Unix(0, q.end))}, "limit": {strconv.Itoa(q.limit)}, "direction": {direction},
	}, read.data)
	return read.entries, err
}

// series adds to found the streams of a selection that have chunks between
// start and end.
func (l *Loki) series(ctx context.Context, s selection, start, end time.Time, found map[string]labels.Labels) error {
	form := url.Values{"start": {timestamp(start)}, "end": {timestamp(end)}}
	if known := pushable(s.matchers); demanding(known) {
		form.Set("match[]", selectorText(known))
	}
	return l.get(ctx, "series", form, func(d *json.Decoder) error {
		return each(d, func() error {
			var set map[string]string
			if err := d.Decode(&set); err != nil {
				return err
			}
			if ls := labels.FromMap(set); s.matches(ls) {
				found[string(ls.Bytes(nil))] = ls
			}
			return nil
		})
	})
}

// get reads the data that an endpoint of the API has. The error is for
// Loki.unavailable.
func (l *Loki) get(ctx context.Context, endpoint string, form url.Values, data func(*json.Decoder) error) error {
	target, method, body := l.endpoint(endpoint), http.MethodGet, io.Reader(http.NoBody)
	if text := form.Encode(); len(text) <= maxURL {
		target.RawQuery = text
	} else {
		method, body = http.MethodPost, strings.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return err
	}
	request.Header.Set(encodingHeader, categorizeLabels)
	request.Header.Set("Cache-Control", "no-cache") // it keeps results by milliseconds
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	// The backend is near: compressing takes longer than sending.
	request.Header.Set("Accept-Encoding", "identity")
	response, err := l.config.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	if response.StatusCode != http.StatusOK {
		return statusError(response.StatusCode)
	}
	return readAnswer(&bounded{from: response.Body, left: l.maxAnswer}, data)
}

func (l *Loki) endpoint(name string) *url.URL { return l.config.URL.JoinPath("/loki/api/v1", name) }

// timestamp is a time as the API takes it to the nanosecond; an integer of few
// digits would be seconds.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// readAnswer reads the envelope around the API's data.
func readAnswer(from io.Reader, data func(*json.Decoder) error) error {
	d := json.NewDecoder(from)
	var status string
	var warned bool
	err := fields(d, func(name string) (err error) {
		switch name {
		case "status":
			err = d.Decode(&status)
		case "data":
			err = data(d)
		case "warnings":
			var warnings []string
			err = d.Decode(&warnings)
			warned = len(warnings) > 0
		default:
			err = d.Decode(&json.RawMessage{})
		}
		return err
	})
	switch {
	case err != nil:
		return unreadable(err)
	case status != "success":
		return errors.New("an answer that isn't a success")
	case warned: // something may be missing
		return errors.New("an answer with warnings")
	}
	return nil
}

// unreadable is the error of an answer that isn't what it should be, without
// what it is: JSON errors quote it.
func unreadable(err error) error {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax), errors.As(err, &typed), errors.Is(err, io.EOF):
		return errors.New("an answer that isn't the JSON that it should be")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("an answer that ends too early")
	}
	return err
}

// streamReader reads entries, which come by stream.
type streamReader struct {
	entries     []rawEntry
	categorized bool
}

// data reads the data of query_range.
func (r *streamReader) data(d *json.Decoder) error {
	var kind string
	err := fields(d, func(name string) error {
		switch name {
		case "resultType":
			return d.Decode(&kind)
		case "encodingFlags":
			return r.flags(d)
		case "result":
			return r.streams(d)
		}
		return d.Decode(&json.RawMessage{})
	})
	switch {
	case err != nil:
		return err
	case kind != "streams":
		return errors.New("an answer that isn't streams")
	}
	return r.check()
}

func (r *streamReader) flags(d *json.Decoder) error {
	var flags []string
	if err := d.Decode(&flags); err != nil {
		return err
	}
	for _, flag := range flags {
		r.categorized = r.categorized || flag == categorizeLabels
	}
	return nil
}

// check refuses entries whose structured metadata is among the labels of the
// stream, where it can't be told from them.
func (r *streamReader) check() error {
	if len(r.entries) > 0 && !r.categorized {
		return errors.New("an answer without " + categorizeLabels + ": Loki has to be of version 3.0 or later, " +
			"and a proxy before it has to pass on the header " + encodingHeader)
	}
	return nil
}

func (r *streamReader) streams(d *json.Decoder) error {
	return each(d, func() error {
		var set map[string]string
		from := len(r.entries)
		err := fields(d, func(name string) error {
			switch name {
			case "stream":
				return d.Decode(&set)
			case "values":
				return each(d, func() error { return r.entry(d) })
			}
			return errors.New("an answer with something unknown beside a stream's values")
		})
		stream := labels.FromMap(set)
		for i := range r.entries[from:] {
			r.entries[from+i].stream = stream
		}
		return err
	})
}

// entry reads [nanoseconds, line, labels by category].
func (r *streamReader) entry(d *json.Decoder) error {
	var (
		at, line   string
		categories map[string]map[string]string
		parts      = []any{&at, &line, &categories}
	)
	n := 0
	err := each(d, func() error {
		if n == len(parts) {
			return errors.New("an answer with an entry of more parts than are known")
		}
		n++
		return d.Decode(parts[n-1])
	})
	if err != nil {
		return err
	}
	ns, err := strconv.ParseInt(at, 10, 64)
	if err != nil || n < 2 {
		return errors.New("an answer with an entry that isn't one")
	}
	e := rawEntry{at: ns, line: line, metadata: labels.FromMap(categories["structuredMetadata"])}
	delete(categories, "structuredMetadata")
	for _, set := range categories {
		if len(set) > 0 {
			return errors.New("an answer with labels of a category that wasn't asked for")
		}
	}
	r.entries = append(r.entries, e)
	return nil
}

// fields calls read at each value of a JSON object, with its name.
func fields(d *json.Decoder, read func(name string) error) error {
	if empty, err := open(d, '{'); empty || err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string) // the decoder accepts nothing else here
		if err := read(text); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// each calls read at each element of a JSON array.
func each(d *json.Decoder, read func() error) error {
	if empty, err := open(d, '['); empty || err != nil {
		return err
	}
	for d.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// open reads a bracket, or null, which is empty.
func open(d *json.Decoder, want json.Delim) (empty bool, err error) {
	switch token, err := d.Token(); {
	case err != nil:
		return false, err
	case token == nil:
		return true, nil
	case token != want:
		return false, fmt.Errorf("an answer that has something else where %s belongs", want)
	}
	return false, nil
}

// bounded fails when more is read than is left.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// drain reads a body to its end, so that the connection can be used again.
func drain(body io.Reader) {
	_, _ = io.CopyN(io.Discard, body, maxDrain) // what was wanted has been read
}
