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

// get reads what an endpoint of the API has into data, and returns the warnings
// that came with it: one may mean that something is missing. The error is for
// Prometheus.unavailable.
func (p *Prometheus) get(ctx context.Context, endpoint string, form url.Values, data any) (warnings []string, err error) {
	response, err := p.request(ctx, http.MethodGet, endpoint, form)
	if err != nil {
		return nil, err
	}
	return decodeData(response, data)
}

// list is get for an endpoint that takes selectors, which may be too long for a
// URL. It gets from a server, or a proxy before it, that doesn't like to be
// posted to.
func (p *Prometheus) list(ctx context.Context, endpoint string, form url.Values, data any) (warnings []string, err error) {
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

// decodeData reads the envelope around the API's data. See
// https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview.
func decodeData(response *http.Response, data any) (warnings []string, err error) {
	defer response.Body.Close() //nolint:errcheck // nothing was written
	defer drain(response.Body)
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", response.Status)
	}
	envelope := struct {
		Status   string   `json:"status"`
		Data     any      `json:"data"`
		Warnings []string `json:"warnings"`
	}{Data: data}
	if err := json.NewDecoder(&bounded{body: response.Body, left: maxReadResponse}).Decode(&envelope); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if envelope.Status != "success" {
		return nil, fmt.Errorf("an answer with the status %q", envelope.Status)
	}
	return envelope.Warnings, nil
}
