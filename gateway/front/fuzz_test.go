package front_test

import (
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

// fuzzPaths are the endpoints, so that fuzzing needn't find them by chance; a
// number beyond them stands for the path that is given.
var fuzzPaths = []string{
	"/api/v1/query", "/api/v1/query_range", "/api/v1/query_exemplars", "/api/v1/series", "/api/v1/labels", "/api/v1/label/org/values",
	"/api/v1/metadata", "/api/v1/read", "/api/v1/format_query", "/api/v1/parse_query", "/api/v1/status/buildinfo", "/api/v1/rules", "/api/v1/alerts",
}

// Whatever is sent, the answer is a Prometheus answer: JSON with a status, or
// nothing where Prometheus says nothing.
func FuzzFront(f *testing.F) {
	for _, seed := range []struct {
		post              bool
		which             uint8
		path, query, body string
	}{
		{true, 0, "", "", "query=1%2B1&time=4"},
		{false, 0, "", "query=up[5m]&time=300", ""},
		{false, 0, "", "query=scalar(up)&time=NaN", ""},
		{false, 0, "", "query=topk by (org) (1, up)&limit=1", ""},
		{true, 0, "", "", "query=label_replace(up, \"x\", \"$1\", \"org\", \"(.*)\") offset -5m @ end()"},
		{true, 1, "", "query=up", "query=up&start=0&end=60&step=15"},
		{false, 1, "", "query=time()&start=-9e15&end=9e15&step=9e9", ""},
		{true, 2, "", "", "query=test&start=1763850000000&end=1763853600000"},
		{false, 2, "", "query=1", ""},
		{false, 3, "", "match[]=up&match[]={org=~\"a.*\"}&limit=1", ""},
		{false, 4, "", "match[]={__name__!=\"\"}", ""},
		{false, 5, "", "start=0&end=1e9", ""},
		{false, 6, "", "limit=-1&limit_per_metric=0&metric=up", ""},
		{true, 7, "", "", "\x26\x98\x0a\x24\x08\x00\x10\x60"},
		{false, 8, "", "query=sum(rate(x[5m]))by(a)", ""},
		{false, 9, "", "query=-1^2", ""},
		{false, 11, "", "type=alert", ""},
		{false, 255, "/api/v1/label/U__org_2e_x/values", "", ""},
		{false, 255, "/api/v1/status/flags", "", ""},
		{true, 255, "//api/v1/query/", "", "query=up"},
	} {
		f.Add(seed.post, seed.which, seed.path, seed.query, seed.body)
	}
	d := open(f, &pipeline{store: store()}, func(c *front.Config) { c.Timeout = time.Second })
	f.Fuzz(func(t *testing.T, post bool, which uint8, path, query, body string) {
		if int(which) < len(fuzzPaths) {
			path = fuzzPaths[which]
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{Scheme: "http", Host: "gateway", Path: path, RawQuery: query}
		if post {
			req.Method, req.Body = http.MethodPost, io.NopCloser(strings.NewReader(body))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		d.log.Reset()
		d.t = t
		got := d.do(req)
		switch {
		case strings.Contains(d.log.String(), "panic while serving"):
			t.Fatalf("panic: %s", d.log)
		case got.status == http.StatusNoContent, strings.HasPrefix(path, "/-/"):
		case path == "/api/v1/read" && got.status == http.StatusOK:
		case !json.Valid([]byte(got.raw)):
			t.Fatalf("%d, not JSON: %q", got.status, got.raw)
		case got.status == http.StatusOK && got.body.Status != "success":
			t.Fatalf("%d %s", got.status, got.raw)
		case got.status != http.StatusOK && (got.body.Status != "error" || got.body.Error == ""):
			t.Fatalf("%d %s", got.status, got.raw)
		case got.status == http.StatusInternalServerError:
			t.Fatalf("a status whose body clients show raw: %s", got.raw)
		}
	})
}
