package traces

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// jaegerHTTP is /api/v3 of Jaeger's query service: JSON, and all of an answer in
// one.
type jaegerHTTP struct{ httpAPI }

// jaegerAnswer is around all that it answers: OTLP, or what went wrong.
type jaegerAnswer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Status int `json:"httpCode"`
	} `json:"error"`
	Services []string `json:"services"`
}

func (j *jaegerHTTP) trace(ctx context.Context, id pcommon.TraceID, take func(ptrace.Traces) error) error {
	return j.spans(ctx, "/api/v3/traces/"+id.String(), url.Values{"raw_traces": {"true"}}, take)
}

func (j *jaegerHTTP) find(ctx context.Context, q jaegerQuery, take func(ptrace.Traces) error) error {
	depth := strconv.Itoa(q.depth)
	form := url.Values{
		"query.service_name":   {q.service},
		"query.start_time_min": {q.start.UTC().Format(time.RFC3339Nano)},
		"query.start_time_max": {q.end.UTC().Format(time.RFC3339Nano)},
		"query.raw_traces":     {"true"},
		// The first is the newer name of the second.
		"query.search_depth": {depth},
		"query.num_traces":   {depth},
	}
	if q.operation != "" {
		form.Set("query.operation_name", q.operation)
	}
	err := j.spans(ctx, "/api/v3/traces", form, take)
	if errors.Is(err, errTooLong) { // all traces came in one piece
		return errTooMuch
	}
	return err
}

func (j *jaegerHTTP) services(ctx context.Context) ([]string, error) {
	answer, err := j.get(ctx, "/api/v3/services", nil)
	return answer.Services, err
}

func (j *jaegerHTTP) spans(ctx context.Context, path string, form url.Values, take func(ptrace.Traces) error) error {
	answer, err := j.get(ctx, path, form)
	if err != nil || answer.Result == nil { // no traces
		return err
	}
	spans, err := DecodeJSON(answer.Result)
	if err != nil {
		return err
	}
	return take(spans)
}

// get reads an answer. That there are no traces is one that is empty: it has the
// status of what isn't there, as other things have.
func (j *jaegerHTTP) get(ctx context.Context, path string, form url.Values) (jaegerAnswer, error) {
	code, body, err := j.httpAPI.get(ctx, path, form, "application/json")
	if err != nil {
		return jaegerAnswer{}, err
	}
	var answer jaegerAnswer
	err = json.Unmarshal(body, &answer)
	switch {
	case code == http.StatusNotFound && err == nil && answer.Error != nil && answer.Error.Status == http.StatusNotFound:
		return jaegerAnswer{}, nil
	case code != http.StatusOK:
		return jaegerAnswer{}, httpStatus(code)
	case err != nil: // its text may quote the answer
		return jaegerAnswer{}, errors.New("an answer that isn't the JSON that it should be")
	case answer.Error != nil:
		return jaegerAnswer{}, errors.New("an answer that is an error")
	}
	return answer, nil
}
