package front_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/api"
	promapi "github.com/prometheus/client_golang/api/prometheus/v1"
	configutil "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, p *pipeline) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = front.NewServer("", open(t, p).handler)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// transport is one that a test can close its connections of.
func transport(t *testing.T) *http.Transport {
	out := &http.Transport{}
	t.Cleanup(out.CloseIdleConnections)
	return out
}

// Prometheus's own Go client, which promtool uses, takes us for a Prometheus.
func TestPrometheusClient(t *testing.T) {
	p := &pipeline{
		store: store(),
		metadata: map[string][]metadata.Metadata{
			"requests_total": {{Type: "counter", Help: "Requests.", Unit: ""}, {Type: "counter", Help: "All requests.", Unit: ""}},
			"up":             {{Type: "gauge", Help: "Up.", Unit: ""}},
		},
		exemplars: []exemplar.QueryResult{{
			SeriesLabels: labels.FromStrings("__name__", "latency_seconds", "org", "acme"),
			Exemplars:    []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "1234"), Value: 0.5, Ts: 60_123}},
		}},
		completeness: federation.Completeness{{Org: "acme", Status: federation.Complete}, {Org: "globex", Status: federation.Unreachable}},
	}
	c, err := api.NewClient(api.Config{Address: listen(t, p), RoundTripper: transport(t)})
	if err != nil {
		t.Fatal(err)
	}
	client, ctx := promapi.NewAPI(c), t.Context()
	start, end := time.UnixMilli(0), time.UnixMilli(600_000)

	value, warnings, err := client.Query(ctx, `sort_desc(up{org="acme"})`, end, promapi.WithTimeout(time.Minute))
	if vector, ok := value.(model.Vector); err != nil || !ok || len(vector) != 2 || vector[0].Value != 1 || len(warnings) != 1 {
		t.Errorf("query: %v %v %v", value, warnings, err)
	}
	value, _, err = client.QueryRange(ctx, "latency_seconds", promapi.Range{Start: start, End: end, Step: time.Minute})
	if matrix, ok := value.(model.Matrix); err != nil || !ok || len(matrix) != 1 || len(matrix[0].Histograms) != 11 {
		t.Errorf("query_range: %v %v", value, err)
	}
	sets, _, err := client.Series(ctx, []string{"up", "latency_seconds"}, start, end)
	if err != nil || len(sets) != 7 {
		t.Errorf("series: %v %v", sets, err)
	}
	names, _, err := client.LabelNames(ctx, nil, start, end)
	if err != nil || len(names) != 3 || names[1] != "org" {
		t.Errorf("labels: %v %v", names, err)
	}
	values, _, err := client.LabelValues(ctx, "org", []string{"up"}, start, end)
	if err != nil || len(values) != 3 {
		t.Errorf("label values: %v %v", values, err)
	}
	found, err := client.QueryExemplars(ctx, "rate(latency_seconds[1m]) or up", start, end)
	if err != nil || len(found) != 1 || found[0].Exemplars[0].Labels["trace_id"] != "1234" {
		t.Errorf("exemplars: %v %v", found, err)
	}
	questions := p.questions()
	if last := questions[len(questions)-1].Asked.(metrics.Question); last.Expression != `{__name__="latency_seconds"} or {__name__="up"}` || last.Kind != policy.Exemplars {
		t.Errorf("exemplars were asked for with %+v", last)
	}
	md, err := client.Metadata(ctx, "", "")
	if err != nil || len(md) != 2 || len(md["requests_total"]) != 2 {
		t.Errorf("metadata: %v %v", md, err)
	}
	if md, err = client.Metadata(ctx, "up", "1"); err != nil || len(md) != 1 || md["up"][0].Help != "Up." {
		t.Errorf("metadata of up: %v %v", md, err)
	}
	if info, err := client.Buildinfo(ctx); err != nil || info.Version == "" {
		t.Errorf("buildinfo: %v %v", info, err)
	}
	if rules, err := client.Rules(ctx, nil); err != nil || len(rules.Groups) != 0 {
		t.Errorf("rules: %v %v", rules, err)
	}
	p.err = federation.Errorf(federation.Refused, "policy refuses")
	if _, _, err = client.Query(ctx, "up", end); err == nil || err.Error() != "execution: policy refuses" {
		t.Errorf("an error: %v", err)
	}
}

func TestMetadataLimits(t *testing.T) {
	d := open(t, &pipeline{metadata: map[string][]metadata.Metadata{
		"b": {{Type: "counter", Help: "One."}, {Type: "counter", Help: "Two."}}, "a": {{Type: "gauge"}},
	}})
	for query, want := range map[string]string{
		"limit=1":            `{"a":[{"type":"gauge","unit":"","help":""}]}`,
		"limit=0":            `{}`,
		"limit_per_metric=1": `{"a":[{"type":"gauge","unit":"","help":""}],"b":[{"type":"counter","unit":"","help":"One."}]}`,
		"limit=-1&metric=a":  `{"a":[{"type":"gauge","unit":"","help":""}]}`,
	} {
		if got := d.get("/api/v1/metadata?" + query); string(got.body.Data) != want {
			t.Errorf("%s: %s", query, got.raw)
		}
	}
}

// A Prometheus that reads from us gets the same samples, streamed or not.
func TestRemoteRead(t *testing.T) {
	p := &pipeline{store: store()}
	base := listen(t, p)
	up := readQuery(t, "up", 0, 60_000)
	latency := readQuery(t, "latency_seconds", 60_000, 120_000)
	for name, accept := range readTypes {
		t.Run(name, func(t *testing.T) {
			client := reader(t, base, accept)
			if got, want := read(t, client, up), strings.Repeat("up 5 0\n", 6); got != want {
				t.Errorf("floats:\n%swant\n%s", got, want)
			}
			if got, want := read(t, client, latency), "latency_seconds 0 2\n"; got != want {
				t.Errorf("histograms:\n%swant\n%s", got, want)
			}
			if got := read(t, client, readQuery(t, "nothing", 0, 60_000)); got != "" {
				t.Errorf("nothing: %s", got)
			}
		})
	}
	// A reader's hints narrow what is asked.
	up.Hints = &prompb.ReadHints{StartMs: 30_000, EndMs: 90_000, Func: "rate"}
	read(t, reader(t, base, readTypes["chunks"]), up)
	questions := p.questions()
	last := questions[len(questions)-1].Asked.(metrics.Question)
	if last.Kind != policy.Series || last.LabelsOnly || last.Start.UnixMilli() != 30_000 || last.End.UnixMilli() != 60_000 {
		t.Errorf("asked %+v", last)
	}
}

// An answer that fails after it began is cut off rather than ended.
func TestRemoteReadBreaks(t *testing.T) {
	p := &pipeline{store: store(), fail: func(q gateway.Question) error {
		if q.Asked.(metrics.Question).Selectors[0][0].Value == "latency_seconds" {
			return federation.Errorf(federation.Refused, "policy refuses")
		}
		return nil
	}}
	base := listen(t, p)
	up, latency := readQuery(t, "up", 0, 60_000), readQuery(t, "latency_seconds", 0, 60_000)
	for name, accept := range readTypes {
		client := reader(t, base, accept)
		_, err := client.Read(t.Context(), latency, true)
		if err == nil || !strings.Contains(err.Error(), "422") || !strings.Contains(err.Error(), "policy refuses") {
			t.Errorf("%s: %v", name, err)
		}
		set, err := client.ReadMultiple(t.Context(), []*prompb.Query{up, latency}, false)
		if err == nil {
			for set.Next() {
				continue
			}
			err = set.Err()
		}
		if err == nil {
			t.Errorf("%s: half an answer was taken for a whole one", name)
		}
	}
}

// What the second question of a stream adds to the completeness comes after the data.
func TestRemoteReadTrailer(t *testing.T) {
	p := &pipeline{store: store(), completeness: federation.Completeness{{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 1}}}}
	body := marshal(t, &prompb.ReadRequest{
		Queries:               []*prompb.Query{readQuery(t, "up", 0, 60_000), readQuery(t, "latency_seconds", 0, 60_000)},
		AcceptedResponseTypes: readTypes["chunks"],
	})
	client := &http.Client{Transport: transport(t)}
	resp, err := client.Post(listen(t, p)+"/api/v1/read", "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	first, both := resp.Header.Get(front.CompletenessHeader), resp.Trailer.Get(front.CompletenessHeader)
	if !strings.Contains(first, `"series":1`) || !strings.Contains(both, `"series":2`) {
		t.Errorf("header %s, trailer %s", first, both)
	}
}

func TestRemoteReadRefuses(t *testing.T) {
	p := &pipeline{store: store()}
	d := open(t, p)
	backwards := readQuery(t, "up", 60_000, 0)
	for name, body := range map[string][]byte{
		"not snappy":       []byte("hello"),
		"a snappy bomb":    {0xff, 0xff, 0xff, 0xff, 0x0f, 0x00},
		"not protobuf":     snappy.Encode(nil, []byte("hello")),
		"nothing":          snappy.Encode(nil, nil),
		"no matchers":      marshal(t, &prompb.ReadRequest{Queries: []*prompb.Query{{}}}),
		"backwards":        marshal(t, &prompb.ReadRequest{Queries: []*prompb.Query{backwards}}),
		"an unknown type":  marshal(t, &prompb.ReadRequest{Queries: []*prompb.Query{readQuery(t, "up", 0, 1)}, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{9}}),
		"a hundred":        marshal(t, &prompb.ReadRequest{Queries: slices.Repeat([]*prompb.Query{readQuery(t, "up", 0, 1)}, 100)}),
		"a broken matcher": marshal(t, &prompb.ReadRequest{Queries: []*prompb.Query{{Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "a", Value: "("}}}}}),
	} {
		got := d.do(httptest.NewRequest(http.MethodPost, "/api/v1/read", bytes.NewReader(body)))
		if got.status != http.StatusBadRequest || got.body.ErrorType != "bad_data" || !strings.Contains(got.body.Error, "remote-read") {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if len(p.questions()) != 0 {
		t.Errorf("refused, and yet asked: %v", p.questions())
	}
}

var readTypes = map[string][]prompb.ReadRequest_ResponseType{
	"samples": {prompb.ReadRequest_SAMPLES},
	"chunks":  {prompb.ReadRequest_STREAMED_XOR_CHUNKS},
}

func reader(t *testing.T, base string, accept []prompb.ReadRequest_ResponseType) remote.ReadClient {
	t.Helper()
	address, err := url.Parse(base + "/api/v1/read")
	if err != nil {
		t.Fatal(err)
	}
	client, err := remote.NewReadClient("test", &remote.ClientConfig{
		URL: &configutil.URL{URL: address}, Timeout: model.Duration(5 * time.Second),
		ChunkedReadLimit: 1 << 20, AcceptedResponseTypes: accept,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func readQuery(t *testing.T, name string, from, to int64) *prompb.Query {
	t.Helper()
	q, err := remote.ToQuery(from, to, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", name)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func marshal(t *testing.T, r *prompb.ReadRequest) []byte {
	t.Helper()
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

// read prints, for each series, its name and how many floats and histograms came.
func read(t *testing.T, c remote.ReadClient, q *prompb.Query) string {
	t.Helper()
	set, err := c.Read(t.Context(), q, true)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for set.Next() {
		var floats, histograms int
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind == chunkenc.ValFloat {
				floats++
			} else {
				histograms++
			}
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, set.At().Labels().Get("__name__"), floats, histograms)
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
