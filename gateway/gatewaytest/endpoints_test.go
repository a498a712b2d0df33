package gatewaytest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"

	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
)

// hiding releases requests by region and by pod's pseudonym, and nothing else.
const hiding = `{"allow": true, "pseudonym_epoch": "8760h", "datasets": [{"name": "requests", "series": ["http_requests_total{env=\"prod\"}"],
	"release": "row", "labels": {"region": "keep", "pod": "pseudonym", "trace_id": "keep"}}]}`

// secretive is globex's store: what hiding shows is the same for every secret,
// and all the rest is made of it.
func secretive(secret string) []metricstest.Series {
	var out []metricstest.Series
	add := func(value float64, pairs ...string) {
		values := make([]float64, metricstest.Samples)
		for i := range values {
			values[i] = value * float64(i)
		}
		out = append(out, metricstest.Series{
			Labels: labels.FromStrings(pairs...), Values: values,
			Exemplars: []exemplar.Exemplar{{
				Labels: labels.FromStrings("trace_id", "abc", "user", secret), Value: 1, Ts: metricstest.End().UnixMilli(), HasTs: true,
			}},
		})
	}
	hidden := float64(len(secret))
	for _, pod := range []string{"pod-1", "pod-2", "pod-3"} {
		add(2, "__name__", "http_requests_total", "env", "prod", "region", "eu", "pod", pod, "user", secret)
		add(hidden, "__name__", "http_requests_total", "env", "staging", "region", secret, "pod", pod, "user", secret)
	}
	add(2, "__name__", "http_requests_total", "env", "prod", "region", "us", "pod", "pod-1", "user", secret, "extra_"+secret, "x")
	add(hidden, "__name__", "payroll_"+secret, "user", secret)
	return out
}

func TestNoEndpointTellsHiddenDifferences(t *testing.T) {
	worlds := make([]*gatewaytest.World, 2)
	for i, secret := range []string{"bob", "alexandra"} {
		w := gatewaytest.New(t, "acme", "globex")
		store := w.Org("globex").Holds(secretive(secret)...)
		for _, name := range []string{"http_requests_total", "payroll_" + secret} {
			store.Describe(name, metadata.Metadata{Type: model.MetricTypeCounter, Help: "help of " + name})
		}
		w.Org("globex").Releases("acme", hiding)
		w.Start()
		worlds[i] = w
	}
	at := "1767324585"
	window := func(v url.Values) url.Values {
		v.Set("start", "1767322800")
		v.Set("end", at)
		return v
	}
	answered := 0
	ask := func(path string, v url.Values, header ...string) {
		t.Helper()
		one, other := worlds[0].Org("acme").Get(path, v, header...), worlds[1].Org("acme").Get(path, v, header...)
		if one.Code != other.Code || !bytes.Equal(one.Body, other.Body) {
			t.Errorf("%s %v\n %d %s\n %d %s", path, v, one.Code, one.Body, other.Code, other.Body)
		}
		if a, b := shape(one.Header), shape(other.Header); a != b {
			t.Errorf("%s %v\n %s\n %s", path, v, a, b)
		}
		if one.Code == http.StatusOK && bytes.Contains(one.Body, []byte("pod")) {
			answered++
		}
	}
	for _, expr := range []string{
		`sum by (org, region) (rate(http_requests_total[5m]))`, `http_requests_total`, `{__name__=~".+"}`, `count({user="bob"})`,
		`count by (user, region, env) ({__name__=~".+"})`, `topk(3, http_requests_total)`, `payroll_bob`, `absent(payroll_bob)`,
		`http_requests_total{env="staging"}`, `label_replace(http_requests_total, "region", "$1", "user", "(.*)")`,
		`http_requests_total * on (pod) group_left (user) http_requests_total{region="eu"}`, `count_values("v", http_requests_total)`,
		`http_requests_total / http_requests_total{user="bob"}`, `sum(http_requests_total{extra_bob="x"})`, `nonsense(`, `http_requests_total[5m]`,
	} {
		ask("/api/v1/query", url.Values{"query": {expr}, "time": {at}})
		ask("/api/v1/query_range", window(url.Values{"query": {expr}, "step": {"60"}}))
		ask("/api/v1/query", url.Values{"query": {expr}, "time": {at}}, "X-Parley-Partial", "refuse")
		ask("/api/v1/query_exemplars", window(url.Values{"query": {expr}}))
	}
	for _, selector := range []string{`http_requests_total`, `{__name__=~".+"}`, `{user="bob"}`, `{env="staging"}`, `{region=~"a.*|b.*"}`} {
		ask("/api/v1/series", window(url.Values{"match[]": {selector}}))
		ask("/api/v1/labels", window(url.Values{"match[]": {selector}}))
		for _, name := range []string{"user", "region", "pod", "env", "__name__", "extra_bob", "org"} {
			ask("/api/v1/label/"+name+"/values", window(url.Values{"match[]": {selector}}))
		}
	}
	ask("/api/v1/labels", url.Values{})
	ask("/api/v1/label/__name__/values", url.Values{"limit": {"1"}})
	ask("/api/v1/metadata", url.Values{})
	ask("/api/v1/metadata", url.Values{"metric": {"payroll_bob"}})
	if answered < 10 {
		t.Errorf("only %d answers had something in them: the test is blind", answered)
	}
	if a, b := remoteRead(t, worlds[0].Org("acme")), remoteRead(t, worlds[1].Org("acme")); !bytes.Equal(a, b) || len(a) == 0 {
		t.Errorf("remote read: %d and %d bytes, which differ or are none", len(a), len(b))
	}
}

// times are how long an answer took, and when one was asked for that names no
// time.
var times = regexp.MustCompile(`"latency_ns":[0-9]+|"coverage":\{[^}]*\},`)

// shape is what of the headers is not the time or an id.
func shape(h http.Header) string {
	h = h.Clone()
	for _, name := range []string{"Date", "X-Parley-Exchange"} {
		h.Del(name)
	}
	h.Set("X-Parley-Completeness", times.ReplaceAllString(h.Get("X-Parley-Completeness"), ""))
	var b strings.Builder
	if err := h.Write(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

// remoteRead reads everything that the federated view has.
func remoteRead(t *testing.T, o *gatewaytest.Org) []byte {
	t.Helper()
	request := &prompb.ReadRequest{Queries: []*prompb.Query{{
		StartTimestampMs: metricstest.Start.UnixMilli(), EndTimestampMs: metricstest.End().UnixMilli(),
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"}},
	}}}
	body, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.URL()+"/api/v1/read", bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("Content-Encoding", "snappy")
	post.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	response, err := (&http.Client{}).Do(post)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("remote read: %s: %s", response.Status, answer)
	}
	return answer
}
