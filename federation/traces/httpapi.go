package traces

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// errTooLong is the error of an answer that is longer than is read.
var errTooLong = errors.New("an answer that is too long")

// httpStatus is a status of HTTP that is no answer.
type httpStatus int

func (s httpStatus) Error() string { return "status " + strconv.Itoa(int(s)) }

// httpAPI is a backend that is asked over HTTP.
type httpAPI struct {
	url       *url.URL
	client    *http.Client
	maxAnswer int64 // bytes
}

func newHTTPAPI(base *url.URL, client *http.Client) httpAPI {
	if client == nil {
		client = &http.Client{}
	}
	return httpAPI{url: base, client: client, maxAnswer: maxAnswer}
}

// get returns an answer whatever its status.
func (h httpAPI) get(ctx context.Context, path string, form url.Values, accept string) (code int, body []byte, err error) {
	target := h.url.JoinPath(path)
	target.RawQuery = form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Accept", accept)
	// The backend is near: compressing takes longer than sending.
	request.Header.Set("Accept-Encoding", "identity")
	response, err := h.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	body, err = io.ReadAll(io.LimitReader(response.Body, h.maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, err
	case int64(len(body)) > h.maxAnswer:
		return 0, nil, errTooLong
	}
	return response.StatusCode, body, nil
}
