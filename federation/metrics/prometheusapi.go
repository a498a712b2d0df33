package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// request asks the server's HTTP API. The body of the response is the caller's
// to close.
func (p *Prometheus) request(ctx context.Context, method, endpoint string, form url.Values) (*http.Response, error) {
	target, body := p.config.URL.JoinPath(endpoint), io.Reader(http.NoBody)
	if method == http.MethodGet {
		target.RawQuery = form.Encode()
	} else {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	// The backend is near: compressing takes longer than sending.
	request.Header.Set("Accept-Encoding", "identity")
	return p.config.Client.Do(request)
}

// get reads the data that an endpoint of the API has, and returns the warnings
// that came with it: one may mean that something is missing. The error is for
// Prometheus.unavailable.
func (p *Prometheus) get(ctx context.Context, endpoint string, form url.Values, data dataReader) (warnings []string, err error) {
	response, err := p.request(ctx, http.MethodGet, endpoint, form)
	if err != nil {
		return nil, err
	}
	return decodeData(response, data)
}

// list is get for an endpoint that takes selectors, which may be too long for a
// URL. It gets from a server, or a proxy before it, that doesn't like to be
// posted to.
func (p *Prometheus) list(ctx context.Context, endpoint string, form url.Values, data dataReader) (warnings []string, err error) {
	response, err := p.request(ctx, http.MethodPost, endpoint, form)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		drain(response.Body)
		if err := response.Body.Close(); err != nil {
			return nil, err
		}
		return p.get(ctx, endpoint, form, data)
	}
	return decodeData(response, data)
}

// maxListed bounds what is read of a list at once, in bytes: all of it, or one
// element for a list that is read one by one.
const maxListed = 64 << 20

// decodeData reads the envelope around the API's data. See
// https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview.
func decodeData(response *http.Response, data dataReader) (warnings []string, err error) {
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", response.Status)
	}
	body := &bounded{body: response.Body, left: maxListed}
	decoder := json.NewDecoder(body)
	if err := expect(decoder, json.Delim('{')); err != nil {
		return nil, err
	}
	var status string
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		switch key {
		case "status":
			err = decoder.Decode(&status)
		case "data":
			err = data(decoder, body)
		case "warnings":
			err = decoder.Decode(&warnings)
		default:
			err = decoder.Decode(&json.RawMessage{})
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
	}
	if err := expect(decoder, json.Delim('}')); err != nil {
		return nil, err
	}
	if status != "success" {
		return nil, fmt.Errorf("an answer with the status %q", status)
	}
	return warnings, nil
}

// dataReader reads the data of an answer, whose body it may give more to read.
type dataReader func(*json.Decoder, *bounded) error

// into reads the data as a whole.
func into(data any) dataReader {
	return func(d *json.Decoder, _ *bounded) error { return d.Decode(data) }
}

// each reads data that is a list, one element after another, so that no more
// than one is in memory. It stops at the first error of take.
func each[T any](take func(T) error) dataReader {
	return func(d *json.Decoder, body *bounded) error {
		if err := expect(d, json.Delim('[')); err != nil {
			return err
		}
		for d.More() {
			var element T
			if err := d.Decode(&element); err != nil {
				return err
			}
			if err := take(element); err != nil {
				return err
			}
			body.left = maxListed
		}
		return expect(d, json.Delim(']'))
	}
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err == nil && got != want {
		err = fmt.Errorf("found %T where %s belongs", got, want)
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
