package front

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/parley-gateway/parley/federation"
)

const logRefused = slog.LevelWarn

// The bounds of a connection. Writing may take as long as the request itself
// and then this much.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeaders    = 64 << 10
)

// NewServer returns the server of the users' listener, with a bound on
// everything a client could hold open. The caller listens, serves and shuts down.
func NewServer(address string, f *Front) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // for gRPC
	return &http.Server{
		Addr:              address,
		Protocols:         protocols,
		Handler:           f,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      f.config.Timeout + writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(f.config.Logger.Handler(), slog.LevelWarn),
	}
}

// logRequest writes the access log: what was asked for and how it went, with
// the exchange's id for the rest. No query, no user, no address. What machines
// ask every few seconds is for who looks for it.
func (f *Front) logRequest(r *http.Request, where string, w *response, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("route", where),
		slog.Int("status", w.status),
		slog.Int("bytes", w.bytes),
		slog.Duration("took", took),
	}
	if w.session != nil {
		attrs = append(attrs, slog.String("exchange", string(w.session.question.ExchangeID)))
		attrs = append(attrs, failureAttrs(w.session.failed())...)
	}
	level := slog.LevelInfo
	if where == healthyPath || where == readyPath || where == metricsPath {
		level = slog.LevelDebug
	}
	f.config.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// failureAttrs say what kind of error the client was told, and of a defect
// what it was: of that the client is told nothing.
func failureAttrs(e *federation.Error) []slog.Attr {
	if e == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("kind", string(e.Kind))}
	if e.Kind == federation.Internal && e.Err != nil {
		attrs = append(attrs, errAttr(e.Err))
	}
	return attrs
}

// afterPanic turns a panic into an error, or, when an answer had begun, cuts
// the connection.
func (f *Front) afterPanic(r *http.Request, w *response, cause any) {
	if cause == nil {
		return
	}
	if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		f.config.Logger.LogAttrs(r.Context(), slog.LevelError, "panic while serving",
			slog.String("cause", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(w, unexpected)
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
