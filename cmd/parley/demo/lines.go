package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs"
)

// oneIn is of how many requests that went well one has a line. Every other
// request has one.
const oneIn = 50

// logged is a line as the platform writes it: one JSON object.
type logged struct {
	Timestamp  string `json:"timestamp"`
	Level      string `json:"level"`
	Service    string `json:"service"`
	TraceID    string `json:"trace_id"`
	UserID     string `json:"user_id"`
	Customer   string `json:"customer"`
	Message    string `json:"message"`
	Status     string `json:"status"`
	DurationMS int64  `json:"duration_ms"`
}

// writer writes lines to a store, or nowhere.
type writer struct {
	to *logs.Store
	// well is how many requests went well since one of them had a line.
	well int
	err  error // the first
}

// request writes a line of a request that ended at t, and is in a trace.
func (w *writer) request(t time.Time, e *endpoint, u *userRequests, status string, took float64, trace string) {
	if w.to == nil || w.err != nil {
		return
	}
	level, what := "info", "answered"
	switch {
	case status == "200":
		if w.well = (w.well + 1) % oneIn; w.well != 0 {
			return
		}
	case status >= "500":
		level, what = "error", "failed for"
	default:
		level, what = "warn", "refused"
	}
	pod := podName(e.service.name, e.place.region.name, u.pod)
	text, err := json.Marshal(logged{
		Timestamp: t.UTC().Format(time.RFC3339Nano), Level: level, Service: e.service.name, TraceID: trace,
		UserID: u.user.email, Customer: u.user.customer, Status: status, DurationMS: int64(took * 1000),
		Message: fmt.Sprintf("request of %s %s with %s after %dms", u.user.email, what, status, int64(took*1000)),
	})
	w.err = errors.Join(err, w.to.Append(t, string(text),
		labels.FromStrings("service", e.service.name, "region", e.place.region.name, "level", level, "pod", pod),
		labels.FromStrings("trace_id", trace)))
}
