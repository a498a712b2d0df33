package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
)

// queryResponse is the part of an answer of /api/v1/query and query_range that
// is used. See https://prometheus.io/docs/prometheus/latest/querying/api/.
type queryResponse struct {
	Status   string   `json:"status"`
	Warnings []string `json:"warnings"`
	Data     struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric     map[string]string `json:"metric"`
			Value      samplePair        `json:"value"`
			Values     samplePairs       `json:"values"`
			Histogram  json.RawMessage   `json:"histogram"`
			Histograms json.RawMessage   `json:"histograms"`
		} `json:"result"`
	} `json:"data"`
}

func decodeQueryResponse(body io.Reader) (promql.Matrix, error) {
	var r queryResponse
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		var known *federation.Error
		if errors.As(err, &known) {
			return nil, known
		}
		return nil, &federation.Error{Kind: federation.Unavailable, Message: "the metrics store sent an answer that can't be read", Err: err}
	}
	// A warning may mean that the answer is partial, as Thanos's is when a
	// store is away. Histograms lose their schema in JSON.
	if r.Status != "success" || len(r.Warnings) > 0 || r.Data.ResultType != "matrix" && r.Data.ResultType != "vector" {
		return nil, errNotEvaluated
	}
	out := make(promql.Matrix, 0, len(r.Data.Result))
	for _, s := range r.Data.Result {
		if s.Histogram != nil || s.Histograms != nil {
			return nil, errNotEvaluated
		}
		out = append(out, promql.Series{Metric: labels.FromMap(s.Metric), Floats: append([]promql.FPoint(s.Value), s.Values...)})
	}
	return out, nil
}

// samplePair is [seconds, "value"], or nothing.
type samplePair []promql.FPoint

// UnmarshalJSON implements json.Unmarshaler.
func (s *samplePair) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	r := pairReader{rest: b}
	*s = samplePair{r.pair()}
	return r.end()
}

// samplePairs are pairs [seconds, "value"]. They are most of an answer, and
// reading each as JSON of its own takes longer than all the rest.
type samplePairs []promql.FPoint

// UnmarshalJSON implements json.Unmarshaler.
func (s *samplePairs) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	r := pairReader{rest: b}
	r.expect('[')
	out := make(samplePairs, 0, len(b)/shortPair+1)
	for !r.failed && !r.next(']') {
		if len(out) > 0 {
			r.expect(',')
		}
		out = append(out, r.pair())
	}
	*s = out
	return r.end()
}

// shortPair is about how long a pair is at least.
const shortPair = 20

// pairReader reads JSON that is known to be valid and should hold pairs.
type pairReader struct {
	rest   []byte
	failed bool
}

// next says whether c comes next, and passes it.
func (r *pairReader) next(c byte) bool {
	for len(r.rest) > 0 && (r.rest[0] == ' ' || r.rest[0] == '\n' || r.rest[0] == '\t' || r.rest[0] == '\r') {
		r.rest = r.rest[1:]
	}
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *pairReader) expect(c byte) { r.failed = !r.next(c) || r.failed }

// until returns what stands before c, and passes both.
func (r *pairReader) until(c byte) []byte {
	for i, found := range r.rest {
		if found == c {
			out := r.rest[:i]
			r.rest = r.rest[i+1:]
			return out
		}
	}
	r.failed = true
	return nil
}

func (r *pairReader) pair() promql.FPoint {
	r.expect('[')
	t, ok := readTime(bytes.TrimSpace(r.until(',')))
	r.failed = r.failed || !ok
	r.expect('"')
	v, err := strconv.ParseFloat(string(r.until('"')), 64)
	r.failed = r.failed || err != nil
	r.expect(']')
	return promql.FPoint{T: t, F: v}
}

func (r *pairReader) end() error {
	if r.failed || len(r.rest) > 0 {
		return errors.New("a sample is not a pair of a time and a value")
	}
	return nil
}

// readTime reads a time in seconds with up to three decimals.
func readTime(text []byte) (t int64, ok bool) {
	decimals := -1 // none yet
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9' && decimals < 3 && t < maxSeconds:
			t = t*10 + int64(c-'0')
			if decimals >= 0 {
				decimals++
			}
		case c == '.' && decimals < 0:
			decimals = 0
		default: // a sign or an exponent: rare
			var unusual model.Time
			err := unusual.UnmarshalJSON(text)
			return int64(unusual), err == nil
		}
	}
	for range 3 - max(decimals, 0) {
		t *= 10
	}
	return t, len(text) > 0
}

// maxSeconds leaves room for milliseconds.
const maxSeconds = 1 << 50
