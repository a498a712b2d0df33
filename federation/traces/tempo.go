package traces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation"
)

// TempoConfig says where a Tempo is.
type TempoConfig struct {
	// URL is the base under which /api is found.
	URL *url.URL
	// Client sends the requests, credentials and tenant header included.
	Client *http.Client
	// SearchLimit is how many traces are asked for at once, no more than the
	// server's max_result_limit; default 1000.
	SearchLimit int
}

const (
	defaultSearchLimit = 1000
	// longestTempoSearch is less than the server's max_duration of a search, which
	// is a week by default.
	longestTempoSearch = 24 * time.Hour
)

// Tempo is a Source on a Tempo, version 2.7 or later, over its HTTP API: see
// https://grafana.com/docs/tempo/latest/api_docs/. It is written from what is
// documented there and wasn't tried on a real one.
//
// A search of Tempo gives ids of traces that there are about its time, and says
// little of how sure it is to be all; each trace is then read by its id. What it
// says itself not to be all of it is an error.
type Tempo struct {
	api   httpAPI
	limit int
}

// NewTempo returns a source. Nothing is asked of the server yet.
func NewTempo(c TempoConfig) (*Tempo, error) {
	if c.URL == nil {
		return nil, errors.New("a Tempo source needs a URL")
	}
	if c.SearchLimit < 0 {
		return nil, fmt.Errorf("a Tempo source can't ask for %d traces at once", c.SearchLimit)
	}
	if c.SearchLimit == 0 {
		c.SearchLimit = defaultSearchLimit
	}
	return &Tempo{api: newHTTPAPI(c.URL, c.Client), limit: c.SearchLimit}, nil
}

func (t *Tempo) tracesRaw(ctx context.Context, ids []pcommon.TraceID) iter.Seq2[ptrace.Traces, error] {
	return oneByOne(ctx, ids, func(id pcommon.TraceID) (ptrace.Traces, error) {
		var h haul
		if err := t.trace(ctx, id, h.take); err != nil {
			return ptrace.Traces{}, t.fails("read a trace", err)
		}
		return h.only(id)
	})
}

func (t *Tempo) searchRaw(ctx context.Context, s selection, seen func(start int64) bool) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		b := backward{
			selection: s, longest: longestTempoSearch,
			within: func(w window) (haul, error) { return t.within(ctx, s, w) },
			fails:  func(err error) error { return t.fails("search traces", err) },
		}
		b.search(seen, yield)
	}
}

func (t *Tempo) fails(doing string, err error) error {
	return unavailable(doing, t.api.url.Redacted(), err)
}

func (t *Tempo) within(ctx context.Context, s selection, w window) (haul, error) {
	ids, err := t.find(ctx, s, w)
	if err != nil {
		return haul{}, err
	}
	var h haul
	for _, id := range ids {
		if err := t.trace(ctx, id, h.take); err != nil {
			return haul{}, err
		}
	}
	return h, nil
}

// tempoFound is a SearchResponse, as far as it is looked at.
type tempoFound struct {
	Traces []struct {
		ID string `json:"traceID"`
	} `json:"traces"`
	Metrics struct {
		CompletedJobs int `json:"completedJobs"`
		TotalJobs     int `json:"totalJobs"`
	} `json:"metrics"`
	Status tempoStatus `json:"status"`
}

// tempoStatus is a PartialStatus: its name or number.
type tempoStatus string

// UnmarshalJSON takes either.
func (s *tempoStatus) UnmarshalJSON(text []byte) error {
	*s = tempoStatus(strings.Trim(string(text), `"`))
	return nil
}

func (s tempoStatus) complete() bool { return s == "" || s == "0" || s == "COMPLETE" || s == "null" }

// find returns the ids of traces that may have a span of the selection in the
// window.
func (t *Tempo) find(ctx context.Context, s selection, w window) ([]pcommon.TraceID, error) {
	code, body, err := t.api.get(ctx, "/api/search", url.Values{
		"q":     {spansetOf(s)},
		"start": {strconv.FormatInt(w.start/int64(time.Second), 10)}, // seconds
		"end":   {strconv.FormatInt((w.end-1)/int64(time.Second)+1, 10)},
		"limit": {strconv.Itoa(t.limit)},
		"spss":  {"1"},
	}, "application/json")
	switch {
	case err != nil:
		return nil, err
	case code != http.StatusOK:
		return nil, httpStatus(code)
	}
	var found tempoFound
	if json.Unmarshal(body, &found) != nil {
		return nil, errors.New("an answer that isn't the JSON that it should be")
	}
	switch {
	case len(found.Traces) >= t.limit:
		return nil, errTooMuch
	case !found.Status.complete(), found.Metrics.CompletedJobs < found.Metrics.TotalJobs:
		return nil, errPartial
	}
	ids := make([]pcommon.TraceID, len(found.Traces))
	for i, trace := range found.Traces {
		if ids[i], err = ParseTraceID(trace.ID); err != nil {
			return nil, errors.New("an answer with an id that isn't one")
		}
	}
	return ids, nil
}

// errPartial is the error of what the server says not to be all.
var errPartial = &federation.Error{
	Kind: federation.Unavailable, Message: "the traces store doesn't have all of it at hand", Err: errors.New("a partial answer of Tempo"),
}

// spansetOf is TraceQL that is true of the selection's traces.
func spansetOf(s selection) string {
	var conditions []string
	for _, service := range s.services {
		conditions = append(conditions, "resource.service.name = "+strconv.Quote(service))
	}
	text := strings.Join(conditions, " || ")
	if s.operation != "" {
		if text != "" {
			text = "(" + text + ") && "
		}
		text += "name = " + strconv.Quote(s.operation)
	}
	return "{" + text + "}"
}

// trace reads /api/v2/traces; a trace that isn't there has no spans.
func (t *Tempo) trace(ctx context.Context, id pcommon.TraceID, take func(ptrace.Traces) error) error {
	code, body, err := t.api.get(ctx, "/api/v2/traces/"+id.String(), nil, "application/protobuf")
	switch {
	case err != nil:
		return err
	case code == http.StatusNotFound && !strings.HasPrefix(string(body), noSuchPath):
		return nil
	case code != http.StatusOK:
		return httpStatus(code)
	}
	text, err := tempoTrace(body)
	if err != nil {
		return err
	}
	spans, err := Decode(text)
	if err != nil || spans.SpanCount() == 0 {
		return err
	}
	return take(spans)
}

// noSuchPath is what Go's servers say of a path that they don't serve: the URL is
// wrong, or the version too old.
const noSuchPath = "404 page not found"

// Fields of TraceByIDResponse in pkg/tempopb/tempo.proto.
const (
	tempoTraceField  = 1 // has the bytes of OTLP's TracesData
	tempoStatusField = 3
)

// tempoTrace is the trace in a TraceByIDResponse.
func tempoTrace(body []byte) (trace []byte, err error) {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, errNotOTLP
		}
		length := protowire.ConsumeFieldValue(number, kind, body[n:])
		if length < 0 {
			return nil, errNotOTLP
		}
		value := body[n : n+length]
		body = body[n+length:]
		switch {
		case number == tempoTraceField && kind == protowire.BytesType:
			some, _ := protowire.ConsumeBytes(value) // it is one
			trace = append(trace, some...)
		case number == tempoStatusField && kind == protowire.VarintType:
			if status, _ := protowire.ConsumeVarint(value); status != 0 {
				return nil, errPartial
			}
		}
	}
	return trace, nil
}
