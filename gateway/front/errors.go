package front

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/parley-gateway/parley/federation"
)

// apiError is an error as Prometheus's API spells it.
type apiError struct {
	status int
	// kind is one of Prometheus's error types.
	kind    string
	message string
	// refused: by agreement or policy, whatever had been asked.
	refused bool
}

// render turns a federation error into what the client is told. Only 400, 422
// and 503 are used: from any other status clients show the raw body.
func render(e *federation.Error) apiError {
	out := apiError{status: http.StatusServiceUnavailable, kind: "unavailable", message: e.Message}
	switch e.Kind {
	case federation.BadQuestion:
		out.status, out.kind = http.StatusBadRequest, "bad_data"
	case federation.Refused, federation.NeedsAggregation, federation.OverLimit:
		out.status, out.kind = http.StatusUnprocessableEntity, "execution"
	case federation.DeadlineExceeded:
		out.kind = "timeout"
	case federation.Unavailable, federation.Internal:
	}
	out.refused = e.Kind == federation.Refused
	if e.Org != "" {
		out.message = string(e.Org) + ": " + out.message
	}
	return out
}

// badRequest is a request that can't be understood.
func badRequest(err error) apiError {
	return apiError{status: http.StatusBadRequest, kind: "bad_data", message: err.Error()}
}

// unexpected is a failure without a federation error: a defect.
var unexpected = render(federation.Errorf(federation.Internal, "internal error; the gateway's log has the details"))

func (e apiError) body() []byte {
	body, err := asRead(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", e.kind, e.message})
	if err != nil {
		return []byte(`{"status":"error","errorType":"internal","error":"internal error"}`)
	}
	return bytes.TrimSuffix(body, []byte("\n"))
}

// asRead is JSON in which people read texts as they are: <name> and "a < b".
func asRead(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return b.Bytes(), err
}

// dialect is an error as the clients of an API read it.
type dialect func(apiError) (status int, contentType string, body []byte)

const jsonType = "application/json"

// writeError answers with e, unless part of an answer has been sent already.
func writeError(w http.ResponseWriter, e apiError) {
	w.Header().Del("Content-Encoding")
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Cache-Control", "no-store")
	status, body := e.status, e.body()
	if out, ok := w.(*response); ok && out.errors != nil {
		var contentType string
		status, contentType, body = out.errors(e)
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have left
}

// notServed says what this gateway does serve.
func (f *Front) notServed(w http.ResponseWriter, r *http.Request) {
	all, errors := apiOf(r.URL.Path)
	if out, ok := w.(*response); ok {
		out.errors = errors
	}
	var paths []string
	for _, e := range all {
		paths = append(paths, e.path)
	}
	what := "this gateway serves " + strings.Join(paths, ", ")
	if prefix, ok := missingPrefix(r.URL.Path); ok {
		what = prefix + r.URL.Path + " is: the URL of the data source has to end with " + prefix
	}
	writeError(w, apiError{status: http.StatusNotFound, kind: "not_found", message: r.URL.Path + " isn't served here; " + what})
}

// missingPrefix is what is missing in the URL of whoever asks for something of an
// API that is served below a path of its own.
func missingPrefix(path string) (string, bool) {
	for _, prefix := range []string{strings.TrimSuffix(tempoPrefix, "/"), strings.TrimSuffix(jaegerPrefix, "/")} {
		if _, ok := endpointFor(prefix + path); ok {
			return prefix, true
		}
	}
	return "", false
}
