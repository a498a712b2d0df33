package front

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"
)

// Check is the state of one thing a gateway needs: policies, bundles, the
// backend, the audit log.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail says in a sentence what is wrong or how it is.
	Detail string `json:"detail,omitempty"`
}

// What machines ask of every gateway, again and again.
const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	metricsPath = "/metrics"
)

// operations finds the handler of what is served for the operator rather than
// for users, with its name in the log. None of it asks a question.
func (f *Front) operations(r *http.Request) (string, http.Handler) {
	switch {
	case r.URL.Path == healthyPath:
		return r.URL.Path, readOnly(f.healthy)
	case r.URL.Path == readyPath:
		return r.URL.Path, readOnly(f.ready)
	case r.URL.Path == metricsPath && f.config.Metrics != nil:
		return r.URL.Path, readOnly(f.config.Metrics.ServeHTTP)
	case strings.HasPrefix(r.URL.Path, "/debug/pprof/") && f.config.Profiling:
		return "/debug/pprof/", profile(strings.TrimPrefix(r.URL.Path, "/debug/pprof/"))
	}
	return "", nil
}

func readOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeError(w, apiError{
				status: http.StatusMethodNotAllowed, kind: "bad_data",
				message: r.URL.Path + " isn't served with " + r.Method + "; use GET",
			})
			return
		}
		h(w, r)
	})
}

// healthy says that the process serves; whether it can answer is /-/ready's.
func (f *Front) healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("parley is healthy.\n")) // the client may have left
}

// ready answers 200 when every check is in order and 503 when one isn't.
func (f *Front) ready(w http.ResponseWriter, _ *http.Request) {
	report := struct {
		Ready  bool    `json:"ready"`
		Checks []Check `json:"checks"`
	}{Ready: true, Checks: []Check{}}
	if f.config.Ready != nil {
		report.Checks = append(report.Checks, f.config.Ready()...)
	}
	for _, c := range report.Checks {
		report.Ready = report.Ready && c.OK
	}
	body, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		writeError(w, unexpected)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !report.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n')) // the client may have left
}

func profile(name string) http.Handler {
	switch name {
	case "cmdline":
		return http.HandlerFunc(pprof.Cmdline)
	case "profile":
		return http.HandlerFunc(pprof.Profile)
	case "symbol":
		return http.HandlerFunc(pprof.Symbol)
	case "trace":
		return http.HandlerFunc(pprof.Trace)
	}
	return http.HandlerFunc(pprof.Index)
}
