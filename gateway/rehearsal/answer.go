package rehearsal

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
)

// Answer is an answer in the form that its question has: series of one that yields
// numbers, and otherwise lines or traces. The others are nil.
type Answer struct {
	Series []Series
	Lines  []Line
	Traces []Trace
}

// MarshalJSON is a list of what there is.
func (a Answer) MarshalJSON() ([]byte, error) {
	switch {
	case a.Lines != nil:
		return json.Marshal(a.Lines)
	case a.Traces != nil:
		return json.Marshal(a.Traces)
	case a.Series != nil:
		return json.Marshal(a.Series)
	}
	return []byte("[]"), nil
}

// Series is a series of an answer; one without a range has one sample.
type Series struct {
	Labels model.Metric       `json:"labels"`
	Values []model.SamplePair `json:"values,omitempty"`
	// Histograms is how many native histograms it has besides.
	Histograms int `json:"histograms,omitempty"`
}

// Line is a line of an answer, as the question's pipeline left it, with its labels by
// where they are from.
type Line struct {
	Time     time.Time         `json:"time"`
	Line     string            `json:"line"`
	Stream   map[string]string `json:"stream"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Parsed   map[string]string `json:"parsed,omitempty"`
}

// Trace is a trace of an answer, of one organization alone.
type Trace struct {
	TraceID string `json:"trace_id"`
	// Spans is OTLP's TracesData as JSON.
	Spans json.RawMessage `json:"spans"`
}

// AnswerOf is an answer that went through a view.
func AnswerOf(released federation.Released) (Answer, error) {
	switch r := released.(type) {
	case *metrics.Released:
		series, err := seriesOf(r)
		return Answer{Series: series}, err
	case *logs.Released:
		if numbers := r.Numbers(); numbers != nil {
			series, err := seriesOf(numbers)
			return Answer{Series: series}, err
		}
		out := Answer{Lines: make([]Line, 0, len(r.Entries()))}
		for _, e := range r.Entries() {
			out.Lines = append(out.Lines, lineOf(e))
		}
		return out, nil
	case *traces.Released:
		out := Answer{Traces: make([]Trace, 0, len(r.Traces()))}
		var marshaler ptrace.JSONMarshaler
		for _, t := range r.Traces() {
			text, err := marshaler.MarshalTraces(t.Spans)
			if err != nil {
				return Answer{}, fmt.Errorf("the spans of trace %s: %w", t.ID, err)
			}
			out.Traces = append(out.Traces, Trace{TraceID: t.ID.String(), Spans: text})
		}
		return out, nil
	}
	return Answer{}, fmt.Errorf("an answer of type %T can't be shown", released)
}

func seriesOf(r *metrics.Released) ([]Series, error) {
	matrix, err := r.Matrix()
	if err != nil {
		return nil, err
	}
	out := make([]Series, 0, len(matrix))
	for _, s := range matrix {
		out = append(out, asSeries(s))
	}
	return out, nil
}

func asSeries(s promql.Series) Series {
	out := Series{Labels: model.Metric{}, Histograms: len(s.Histograms)}
	for name, value := range s.Metric.Map() {
		out.Labels[model.LabelName(name)] = model.LabelValue(value)
	}
	for _, p := range s.Floats {
		out.Values = append(out.Values, model.SamplePair{Timestamp: model.Time(p.T), Value: model.SampleValue(p.F)})
	}
	return out
}

func lineOf(e logs.Entry) Line {
	some := func(ls labels.Labels) map[string]string {
		if ls.IsEmpty() {
			return nil
		}
		return ls.Map()
	}
	return Line{Time: time.Unix(0, e.At).UTC(), Line: e.Line, Stream: e.Stream.Map(), Metadata: some(e.Metadata), Parsed: some(e.Parsed)}
}
