package attacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/parley-gateway/parley/gateway/front"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// question is a request as Prometheus's API has it. A peer door is asked the
// same in its own protocol.
type question struct {
	path string
	form url.Values
	// read is a remote read, instead of a form.
	read *selection

	// What only HTTP has.
	post   bool
	query  string // the URL's query, instead of the form
	body   string // a POST's, instead of the form
	header http.Header

	// What only the peer door has: changes to the message, and to its bytes.
	message func(*federationv1.AskRequest)
	bytes   func([]byte) []byte
}

// selection is what a remote read asks for.
type selection struct {
	matchers   []*labels.Matcher
	start, end time.Time
}

// reply is what came back, in the form of Prometheus's API.
type reply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// asker is somewhere that questions can be put.
type asker interface {
	ask(ctx context.Context, q question) (reply, error)
}

// overHTTP asks a Prometheus, or what looks like one.
type overHTTP struct {
	client  *http.Client
	base    string
	purpose string
}

func (o overHTTP) ask(ctx context.Context, q question) (reply, error) {
	request, err := o.request(ctx, q)
	if err != nil {
		return reply{}, err
	}
	if o.purpose != "" {
		request.Header.Set(front.PurposeHeader, o.purpose)
		request.Header.Set(front.PartialHeader, "refuse") // an answer without the partner's is none
	}
	for name, values := range q.header {
		request.Header[name] = values
	}
	if host := q.header.Get("Host"); host != "" {
		request.Host = host
	}
	began := time.Now()
	response, err := o.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: response.StatusCode, header: response.Header, body: string(body), took: time.Since(began)}
	if q.read != nil && r.status == http.StatusOK {
		r.body, err = readResponse(body)
	}
	return r, err
}

func (o overHTTP) request(ctx context.Context, q question) (*http.Request, error) {
	target := o.base + q.path
	switch {
	case q.read != nil:
		query, err := remote.ToQuery(q.read.start.UnixMilli(), q.read.end.UnixMilli(), q.read.matchers, nil)
		if err != nil {
			return nil, err
		}
		raw, err := (&prompb.ReadRequest{Queries: []*prompb.Query{query}}).Marshal()
		if err != nil {
			return nil, err
		}
		return http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(snappy.Encode(nil, raw)))
	case q.post || q.body != "":
		body := q.body
		if body == "" {
			body = q.form.Encode()
		}
		if q.query != "" {
			target += "?" + q.query
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
		if err == nil {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return request, err
	case q.query != "":
		return http.NewRequestWithContext(ctx, http.MethodGet, target+"?"+q.query, nil)
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, target+"?"+q.form.Encode(), nil)
}

// answered is a series of an answer.
type answered struct {
	Metric map[string]string `json:"metric"`
	Values []point           `json:"values"`
	// Histograms are native ones, as the API writes them.
	Histograms json.RawMessage `json:"histograms,omitempty"`
}

// point is a sample, [seconds, "value"] in JSON.
type point struct {
	at    float64
	value float64
}

func (p *point) UnmarshalJSON(data []byte) error {
	var pair [2]any
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	at, ok := pair[0].(float64)
	text, isText := pair[1].(string)
	if !ok || !isText {
		return fmt.Errorf("%s is not a sample", data)
	}
	value, err := strconv.ParseFloat(text, 64)
	p.at, p.value = at, value
	return err
}

func (p point) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{p.at, strconv.FormatFloat(p.value, 'g', -1, 64)})
}

// envelope is what the API wraps data in.
type envelope struct {
	Status   string   `json:"status"`
	Data     any      `json:"data,omitempty"`
	Error    string   `json:"error,omitempty"`
	Kind     string   `json:"errorType,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Infos    []string `json:"infos,omitempty"`
}

// result is the data of an answer to an expression.
type result struct {
	Type   string     `json:"resultType"`
	Result []answered `json:"result"`
}

func readResponse(body []byte) (string, error) {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return "", err
	}
	var response prompb.ReadResponse
	if err := response.Unmarshal(raw); err != nil {
		return "", err
	}
	data := result{Type: "matrix"}
	for _, r := range response.Results {
		for _, s := range r.Timeseries {
			out := answered{Metric: map[string]string{}}
			for _, l := range s.Labels {
				out.Metric[l.Name] = l.Value
			}
			for _, p := range s.Samples {
				out.Values = append(out.Values, point{float64(p.Timestamp) / 1000, p.Value})
			}
			data.Result = append(data.Result, out)
		}
	}
	text, err := json.Marshal(envelope{Status: "success", Data: data})
	return string(text), err
}

// ok says whether there was an answer.
func (r reply) ok() bool { return r.status == http.StatusOK }

// series are those of an answer to an expression, or a remote read; none when
// it was refused.
func (r reply) series() []answered {
	var in struct {
		Data struct {
			Type   string          `json:"resultType"`
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if !r.ok() || json.Unmarshal([]byte(r.body), &in) != nil {
		return nil
	}
	switch in.Data.Type {
	case "scalar":
		var p point
		if json.Unmarshal(in.Data.Result, &p) != nil {
			return nil
		}
		return []answered{{Values: []point{p}}}
	case "vector":
		var vector []struct {
			Metric map[string]string `json:"metric"`
			Value  *point            `json:"value"`
		}
		if json.Unmarshal(in.Data.Result, &vector) != nil {
			return nil
		}
		var out []answered
		for _, s := range vector {
			one := answered{Metric: s.Metric}
			if s.Value != nil {
				one.Values = []point{*s.Value}
			}
			out = append(out, one)
		}
		return out
	}
	var matrix []answered
	_ = json.Unmarshal(in.Data.Result, &matrix) // what isn't a matrix has no series
	return matrix
}

// value is the one of the first series' last sample.
func (r reply) value() (v float64, ok bool) {
	for _, s := range r.series() {
		if n := len(s.Values); n > 0 {
			return s.Values[n-1].value, true
		}
	}
	return 0, false
}

// What differs from one question to the next whatever the secret is.
var changing = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`p-[a-z2-7]{20}`), "p-"}, // pseudonyms: another value has another
	{regexp.MustCompile(`"latency[^,}]*`), ""},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "then"}, // policy's bounds move on
}

// canonical is all that the asker saw but how long it took, without what
// differs anyway.
func (r reply) canonical(w *world) string {
	body := strings.ReplaceAll(r.body, w.service, "world")
	for _, c := range changing {
		body = c.what.ReplaceAllString(body, c.is)
	}
	var data any
	if json.Unmarshal([]byte(body), &data) == nil {
		if sorted, err := json.Marshal(unordered(data)); err == nil {
			body = string(sorted)
		}
	}
	completeness := strings.ReplaceAll(r.header.Get(front.CompletenessHeader), w.service, "world")
	for _, c := range changing {
		completeness = c.what.ReplaceAllString(completeness, c.is)
	}
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		switch name {
		case "Date", front.ExchangeHeader, front.CompletenessHeader, "Content-Length":
		default:
			headers = append(headers, name+"="+strings.Join(r.header[name], ","))
		}
	}
	return fmt.Sprintln(r.status, headers, completeness, body)
}

// unordered sorts lists of series: their order is that of pseudonyms.
func unordered(data any) any {
	switch data := data.(type) {
	case map[string]any:
		for k, v := range data {
			data[k] = unordered(v)
		}
	case []any:
		texts := make([]string, len(data))
		for i, v := range data {
			data[i] = unordered(v)
			if _, isSeries := data[i].(map[string]any); !isSeries {
				return data
			}
			text, err := json.Marshal(data[i])
			if err != nil {
				return data
			}
			texts[i] = string(text)
		}
		slices.Sort(texts)
		sorted := make([]any, len(texts))
		for i, t := range texts {
			sorted[i] = json.RawMessage(t)
		}
		return sorted
	}
	return data
}
