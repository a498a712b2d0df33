package front_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/gateway/front"
)

// Whatever is sent, the answer is a Prometheus answer: JSON with a status, or
// nothing where Prometheus says nothing.
func FuzzFront(f *testing.F) {
	for _, seed := range []struct{ method, path, query, body string }{
		{"POST", "/api/v1/query", "", "query=1%2B1&time=4"},
		{"GET", "/api/v1/query", "query=up[5m]&time=300", ""},
		{"GET", "/api/v1/query", "query=scalar(up)&time=NaN", ""},
		{"GET", "/api/v1/query", "query=topk by (org) (1, up)&limit=1", ""},
		{"POST", "/api/v1/query_range", "query=up", "query=up&start=0&end=60&step=15"},
		{"GET", "/api/v1/query_range", "query=time()&start=-9e15&end=9e15&step=9e9", ""},
		{"POST", "/api/v1/query_exemplars", "", "query=test&start=1763850000000&end=1763853600000"},
		{"GET", "/api/v1/query_exemplars", "query=1", ""},
		{"GET", "/api/v1/series", "match[]=up&match[]={org=~\"a.*\"}&limit=1", ""},
		{"GET", "/api/v1/labels", "match[]={__name__!=\"\"}", ""},
		{"GET", "/api/v1/label/org/values", "start=0&end=1e9", ""},
		{"GET", "/api/v1/label/U__org_2e_x/values", "", ""},
		{"GET", "/api/v1/metadata", "limit=-1&limit_per_metric=0&metric=up", ""},
		{"GET", "/api/v1/format_query", "query=sum(rate(x[5m]))by(a)", ""},
		{"GET", "/api/v1/parse_query", "query=-1^2", ""},
		{"GET", "/api/v1/rules", "type=alert", ""},
		{"GET", "/api/v1/status/flags", "", ""},
		{"POST", "/api/v1/read", "", "\x0a\x24hello"},
		{"OPTIONS", "/api/v1/query", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.body)
	}
	d := open(f, &pipeline{store: store()}, func(c *front.Config) { c.Timeout = time.Second })
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://gateway/", strings.NewReader(body))
		if err != nil {
			return // net/http wouldn't have let it in
		}
		req.URL = &url.URL{Scheme: "http", Host: "gateway", Path: path, RawQuery: query}
		if method == http.MethodPost && !strings.HasSuffix(path, "/read") {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		d.log.Reset()
		d.t = t
		got := d.do(req)
		if strings.Contains(d.log.String(), "panic while serving") {
			t.Fatalf("panic: %s", d.log)
		}
		switch {
		case got.status == http.StatusNoContent:
		case strings.HasPrefix(path, "/-/"):
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
