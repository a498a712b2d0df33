package front_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/gateway/front"
)

// lokiPaths are the endpoints, so that fuzzing needn't find them by chance; a
// number beyond them stands for the path that is given.
var lokiPaths = []string{
	"query", "query_range", "labels", "label", "label/org/values", "series", "format_query", "status/buildinfo", "index/stats", "index/volume",
	"index/volume_range", "patterns", "drilldown-limits", "detected_labels", "detected_fields", "detected_field/status/values",
}

// Whatever is sent, the answer is one that Loki's clients read: JSON, and of an
// error its message.
func FuzzLoki(f *testing.F) {
	for _, seed := range []struct {
		post                    bool
		which                   uint8
		path, query, body, flag string
	}{
		{false, 0, "", "query=vector(1)%2Bvector(1)&time=4000000000", "", ""},
		{true, 0, "", "", "query=topk(1, sum by (org) (rate({service_name=\"web\"} | json | unwrap duration(took) [1m])))&time=1.5", ""},
		{false, 0, "", "query=label_replace(count_over_time({a=\"b\"}[1m]),\"x\",\"$1\",\"org\",\"(.*)\")&time=-1", "", ""},
		{true, 1, "", "query={service_name=\"web\"}", "start=1700000000&end=1700003600&limit=2&direction=FORWARD", "categorize-labels"},
		{false, 1, "", "query={service_name=~\".%2B\"}|logfmt|line_format \"{{.status}} {{ __line__ }}\"&since=1h&step=1e3", "", "categorize-labels,x"},
		{false, 1, "", "query=rate({a=\"b\"}[1m])&start=-9e18&end=9e18&step=9e9", "", ""},
		{false, 1, "", "query={a=\"b\"}&start=NaN&end=1.7e308&interval=0", "", ""},
		{false, 2, "", "query={service_name=\"db\"}&since=999999999h", "", ""},
		{false, 4, "", "start=2023-11-14T22:13:20Z&end=0001-01-01T00:00:00Z", "", ""},
		{true, 5, "", "match[]={org=\"acme\"}", "match={org=~\"g.*\"}&match[]={}", ""},
		{false, 6, "", "query=sum(rate({a=\"b\"}|%3D\"x\"[5m]))by(a)", "", ""},
		{false, 8, "", "query={}&start=0", "", ""},
		{false, 9, "", "query={service_name=~\".%2B\"}&start=1700000000&targetLabels=service_name,level&aggregateBy=labels&limit=0", "", ""},
		{false, 10, "", "query={}&start=1700000000&end=1700000004&step=0.001", "", ""},
		{false, 11, "", "query={org=\"acme\"}&start=1700000000&step=15m&limit=1", "", ""},
		{false, 13, "", "query={}&limit=1&start=1700000000", "", ""},
		{true, 14, "", "", "query={service_name=\"web\"}|json|drop took&start=1700000000&line_limit=1&field_limit=1&step=x", ""},
		{false, 15, "", "query={service_name=\"web\"}&start=1700000000&limit=1", "", ""},
		{false, 255, "label/%F0%9F%98%80/values", "", "", ""},
		{false, 255, "detected_field/__error__/values", "query={service_name=\"web\"}|json", "", ""},
		{false, 255, "tail", "query={a=\"b\"}", "", ""},
		{true, 255, "push", "", "{}", ""},
	} {
		f.Add(seed.post, seed.which, seed.path, seed.query, seed.body, seed.flag)
	}
	l := newLines(f)
	d := open(f, &pipeline{}, func(c *front.Config) {
		c.Answerer, c.Timeout = l, time.Second
		c.Now = func() time.Time { return begun.Add(time.Hour) }
	})
	f.Fuzz(func(t *testing.T, post bool, which uint8, path, query, body, flag string) {
		if int(which) < len(lokiPaths) {
			path = lokiPaths[which]
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{Scheme: "http", Host: "gateway", Path: "/loki/api/v1/" + path, RawQuery: query}
		req.Header.Set(front.EncodingFlagsHeader, flag)
		if post {
			req.Method, req.Body = http.MethodPost, io.NopCloser(strings.NewReader(body))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		d.log.Reset()
		rec := httptest.NewRecorder()
		d.handler.ServeHTTP(rec, req)
		var answer struct{ Status, Message string }
		err := json.Unmarshal(rec.Body.Bytes(), &answer)
		switch {
		case strings.Contains(d.log.String(), "panic while serving"):
			t.Fatalf("panic: %s", d.log)
		case err != nil || !strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json"):
			t.Fatalf("%d, not JSON: %q", rec.Code, rec.Body)
		case rec.Code == http.StatusInternalServerError:
			t.Fatalf("a defect: %s", rec.Body)
		case rec.Code == http.StatusOK && answer.Status == "error":
			t.Fatalf("an error that isn't one: %s", rec.Body)
		case rec.Code != http.StatusOK && (answer.Status != "error" || answer.Message == ""):
			t.Fatalf("%d %s", rec.Code, rec.Body)
		case bytes.Contains(rec.Body.Bytes(), []byte("__parley_")) && !strings.Contains(query+body+path, "__parley_"):
			t.Fatalf("a reserved name: %s", rec.Body)
		}
	})
}
