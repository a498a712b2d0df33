package front

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// response stands between the handlers and the connection. It sets the headers
// that are known only when a question has been answered, and replaces
// web/api/v1's errors by ours.
type response struct {
	http.ResponseWriter
	// session is nil until the request has one.
	session *session
	// errors writes errors as the clients of the request's API read them; nil: as
	// Prometheus's do.
	errors dialect

	status int
	bytes  int
	// replaced: our error went out instead of what the handler wrote.
	replaced bool
	// broken: the answer had begun when something failed.
	broken bool
	// announced is the completeness header as it was sent.
	announced string
}

// WriteHeader decides what goes out, at the last moment at which it can.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		w.broken = w.broken || status >= http.StatusBadRequest
		return
	}
	w.status = status
	if err := w.announce(); err != nil {
		_ = w.session.fail(err) // kept, and what is sent instead
		status = http.StatusInternalServerError
	}
	if status < http.StatusBadRequest || w.session == nil {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	instead, ok := w.instead(status)
	if !ok {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.replaced = true
	w.status = instead.status
	w.Header().Del("Content-Encoding")
	w.Header().Del("Content-Length")
	w.Header().Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(instead.status)
	n, _ := w.ResponseWriter.Write(instead.body()) // a client that left is nobody's error
	w.bytes += n
}

// instead returns what is sent in place of an error of the handler. A JSON
// error about the request itself stays: it quotes nothing but the request.
func (w *response) instead(status int) (apiError, bool) {
	if w.errors != nil { // whose handlers are ours, and say what they mean
		return apiError{}, false
	}
	if failure := w.session.failed(); failure != nil {
		return render(failure), true
	}
	isJSON := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json")
	switch {
	case isJSON && status != http.StatusInternalServerError:
		return apiError{}, false
	case status < http.StatusInternalServerError:
		return badRequest(fmt.Errorf("the request can't be understood (%s)", http.StatusText(status))), true
	}
	return unexpected, true
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.replaced || w.broken {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// Flush serves remote read, which streams.
func (w *response) Flush() {
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok && !w.broken {
		flusher.Flush()
	}
}

// Unwrap serves http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// announce sets the headers about the request's questions. An answer that
// doesn't say what it lacks may not go out.
func (w *response) announce() (err error) {
	if w.session == nil {
		return nil
	}
	w.Header().Set(ExchangeHeader, string(w.session.question.ExchangeID))
	w.Header().Set("Cache-Control", "no-store")
	w.announced, err = w.completeness()
	if w.announced != "" {
		w.Header().Set(CompletenessHeader, w.announced)
	}
	return err
}

// completeness is the header's value; empty when no question was answered.
func (w *response) completeness() (string, error) {
	c, asked := w.session.outcome()
	if !asked {
		return "", nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("the completeness of the answer can't be written: %w", err)
	}
	return ascii(string(b)), nil
}

// finish ends the response. A streamed answer may have gone on to another
// question after its header went out: what changed follows as a trailer. One
// that broke is cut off, so that the client can't take it for whole.
func (w *response) finish() {
	if w.broken {
		panic(http.ErrAbortHandler)
	}
	if w.session == nil || w.status == 0 || w.replaced {
		return
	}
	now, err := w.completeness()
	if err != nil {
		_ = w.session.fail(err) // for the log
		panic(http.ErrAbortHandler)
	}
	if now != w.announced {
		w.Header().Set(http.TrailerPrefix+CompletenessHeader, now)
	}
}

// ascii escapes what a header can't carry, in a way JSON allows.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
