package front

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql"
)

// lokiResponse is an answer as Loki's API gives it. The warnings are what is
// missing and what was redacted.
type lokiResponse struct {
	Status string `json:"status"`
	Data   any    `json:"data"`
	noted
}

// noted are warnings beside an answer.
type noted struct {
	Warnings []string `json:"warnings,omitempty"`
}

func notedOf(s *session) noted {
	c, _ := s.outcome()
	var out noted
	for _, words := range []string{missing(c), redacted(c)} {
		if words != "" {
			out.Warnings = append(out.Warnings, words)
		}
	}
	return out
}

type lokiData struct {
	ResultType    string   `json:"resultType"`
	EncodingFlags []string `json:"encodingFlags,omitempty"`
	Result        any      `json:"result"`
	// Stats are of a backend, and not told.
	Stats struct{} `json:"stats"`
}

const (
	// EncodingFlagsHeader is by what a client of Loki's API asks for another form
	// of the answer.
	EncodingFlagsHeader = "X-Loki-Response-Encoding-Flags"
	// CategorizeLabels asks for the labels of entries by category: those of the
	// stream, structured metadata, and what was parsed.
	CategorizeLabels = "categorize-labels"
)

func categorizes(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values(EncodingFlagsHeader), func(v string) bool {
		return slices.Contains(strings.Split(v, ","), CategorizeLabels)
	})
}

func writeLoki(w http.ResponseWriter, s *session, data any) {
	writeJSON(w, lokiResponse{Status: "success", Data: data, noted: notedOf(s)})
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := asRead(v)
	if err != nil {
		writeError(w, unexpected)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(body) // the client may have left; there is nobody to tell
}

// lokiStream is entries with the same labels.
type lokiStream struct {
	Stream map[string]string `json:"stream"`
	Values []lokiValue       `json:"values"`
}

// lokiValue is the time in nanoseconds, the line, and of a client that asked
// for it the labels that aren't the stream's.
type lokiValue []any

// lokiCategories are labels of an entry that aren't its stream's.
type lokiCategories struct {
	StructuredMetadata map[string]string `json:"structuredMetadata,omitempty"`
	Parsed             map[string]string `json:"parsed,omitempty"`
}

// writeLokiStreams writes the entries of a log query, by stream: a client puts
// them in order of time again. A stream without categories has all labels.
func writeLokiStreams(w http.ResponseWriter, s *session, released *logs.Released, categorized bool) {
	data := lokiData{ResultType: "streams", Result: lokiStreams(released.Entries(), categorized)}
	if categorized {
		data.EncodingFlags = []string{CategorizeLabels}
	}
	writeLoki(w, s, data)
}

// lokiStreams are entries by their labels, in the order of the first of each.
func lokiStreams(entries []logs.Entry, categorized bool) []*lokiStream {
	streams := []*lokiStream{}
	byLabels := map[string]*lokiStream{}
	for _, e := range entries {
		ls := e.Stream
		if !categorized {
			ls = allLabels(e.Entry)
		}
		key := string(ls.Bytes(nil))
		stream := byLabels[key]
		if stream == nil {
			stream = &lokiStream{Stream: ls.Map()}
			byLabels[key] = stream
			streams = append(streams, stream)
		}
		value := lokiValue{strconv.FormatInt(e.At, 10), e.Line}
		if categorized {
			value = append(value, lokiCategories{StructuredMetadata: e.Metadata.Map(), Parsed: e.Parsed.Map()})
		}
		stream.Values = append(stream.Values, value)
	}
	return streams
}

// allLabels are an entry's labels of all categories.
func allLabels(e logql.Entry) labels.Labels {
	if e.Metadata.IsEmpty() && e.Parsed.IsEmpty() {
		return e.Stream
	}
	b := labels.NewBuilder(e.Stream)
	set := func(l labels.Label) { b.Set(l.Name, l.Value) }
	e.Metadata.Range(set)
	e.Parsed.Range(set)
	return b.Labels()
}

// lokiSeries is a series of numbers; Value is of an instant query, Values of a
// range.
type lokiSeries struct {
	Metric map[string]string `json:"metric"`
	Value  *lokiSample       `json:"value,omitempty"`
	Values []lokiSample      `json:"values,omitempty"`
}

// lokiSample is the time in seconds and the value as text.
type lokiSample [2]any

func sampleOf(at int64, v float64) lokiSample {
	return lokiSample{json.Number(strconv.FormatFloat(float64(at)/1000, 'f', -1, 64)), strconv.FormatFloat(v, 'f', -1, 64)}
}

// writeLokiNumbers writes the series of a query that yields numbers.
func writeLokiNumbers(w http.ResponseWriter, s *session, released *logs.Released, expression string, instant bool) {
	matrix, err := released.Numbers().Matrix()
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return
	}
	if isLiteral(expression) && instant && len(matrix) == 1 && len(matrix[0].Floats) == 1 {
		p := matrix[0].Floats[0]
		writeLoki(w, s, lokiData{ResultType: "scalar", Result: sampleOf(p.T, p.F)})
		return
	}
	data, result := lokiData{ResultType: "matrix"}, []lokiSeries{}
	if instant {
		data.ResultType = "vector"
		orderLoki(expression, matrix)
	}
	for _, series := range matrix {
		out := lokiSeries{Metric: series.Metric.Map()}
		for _, p := range series.Floats {
			out.Values = append(out.Values, sampleOf(p.T, p.F))
		}
		if instant && len(out.Values) > 0 {
			out.Value, out.Values = &out.Values[0], nil
		}
		result = append(result, out)
	}
	data.Result = result
	writeLoki(w, s, data)
}

// orderLoki puts the result of an instant query in the order that sort or
// sort_desc around it gives it. All others are, as Loki's, in that of their labels.
func orderLoki(expression string, m promql.Matrix) {
	expr, err := logql.Parse(expression)
	if err != nil {
		return
	}
	e, ok := expr.(*logql.VectorAggregation)
	if !ok || e.Op != logql.Sort && e.Op != logql.SortDesc {
		return
	}
	by := ascending
	if e.Op == logql.SortDesc {
		by = descending
	}
	slices.SortStableFunc(m, func(a, b promql.Series) int {
		if len(a.Floats) == 0 || len(b.Floats) == 0 {
			return len(b.Floats) - len(a.Floats)
		}
		return by(promql.Sample{F: a.Floats[0].F}, promql.Sample{F: b.Floats[0].F})
	})
}

func isLiteral(expression string) bool {
	expr, err := logql.Parse(expression)
	if err != nil {
		return false
	}
	_, literal := expr.(*logql.Literal)
	return literal
}

// lokiError is an error as Loki's clients read it. What is denied is 403; what
// a question would have to be otherwise for is 400.
func lokiError(e apiError) (int, string, []byte) {
	status := e.status
	if e.status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
		if e.refused {
			status = http.StatusForbidden
		}
	}
	body, err := asRead(map[string]string{"status": "error", "errorType": e.kind, "error": e.message, "message": e.message})
	if err != nil {
		return http.StatusInternalServerError, jsonType, []byte(`{"status":"error","message":"internal error"}`)
	}
	return status, jsonType, body
}
