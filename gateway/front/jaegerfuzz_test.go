package front_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/gateway/front"
)

// jaegerPaths are the endpoints, so that fuzzing needn't find them by chance.
var jaegerPaths = []string{
	"api/services", "api/services/web/operations", "api/operations", "api/traces", "api/traces/aa000000000000000000000000000001", "api/dependencies",
	"api/v3/services", "api/v3/operations", "api/v3/traces", "api/v3/traces/aa000000000000000000000000000001", "api/v3/trace-summaries",
}

// Whatever is sent, the answer is JSON of the shape that Jaeger's clients read, has
// no trace without spans, and a status that isn't a defect.
func FuzzJaeger(f *testing.F) {
	for _, seed := range []struct {
		which       uint8
		path, query string
	}{
		{0, "", ""},
		{1, "", "prettyPrint=true"},
		{2, "", "service=web&spanKind=client"},
		{2, "", "service=%22&spanKind=%7B"},
		{3, "", "service=web&operation=GET /checkout&tags={\"a\":\"b\"}&tag=c:d&tag=e&minDuration=1ms&maxDuration=1us"},
		{3, "", "service=web&limit=0&start=-1&end=9223372036854775807"},
		{3, "", "traceID=1&traceID=aa000000000000000000000000000001&start=1700000000000&end=1700003600000000"},
		{3, "", "tags={\"\":\"\"}"},
		{3, "", "tags=[1]&tags=null"},
		{4, "", "start=1700000000000&end=1700003600000"},
		{4, "", "end=0"},
		{5, "", "endTs=1700003600000&lookback=9223372036854"},
		{7, "", "service=web&span_kind=server&spanKind=client"},
		{8, "", "query.service_name=web&query.start_time_min=2023-11-14T22:13:20Z&query.start_time_max=0001-01-01T00:00:00Z"},
		{9, "", "start_time=2023-11-14T22:13:20Z"},
		{10, "", "query.serviceName=web&query.searchDepth=-5&query.attributes={}"},
		{255, "api/services/%2F/operations", ""},
		{255, "api/traces/", ""},
		{255, "api/traces/zz", "raw=1"},
	} {
		f.Add(seed.which, seed.path, seed.query)
	}
	tr := newTravels(f)
	d := open(f, &pipeline{}, func(c *front.Config) {
		c.Answerer, c.Timeout = tr, time.Second
		c.Now = func() time.Time { return begun.Add(time.Hour) }
	})
	f.Fuzz(func(t *testing.T, which uint8, path, query string) {
		if int(which) < len(jaegerPaths) {
			path = jaegerPaths[which]
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{Scheme: "http", Host: "gateway", Path: "/jaeger/" + path, RawQuery: query}
		d.log.Reset()
		rec := httptest.NewRecorder()
		d.handler.ServeHTTP(rec, req)
		var answer struct {
			Data   json.RawMessage
			Errors []struct{ Msg string }
			Error  struct{ Message string }
		}
		err := json.Unmarshal(rec.Body.Bytes(), &answer)
		failed := rec.Code != http.StatusOK
		switch {
		case strings.Contains(d.log.String(), "panic while serving"):
			t.Fatalf("panic: %s", d.log)
		case err != nil || !strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json"):
			t.Fatalf("%d, not JSON: %q", rec.Code, rec.Body)
		case rec.Code == http.StatusInternalServerError:
			t.Fatalf("a defect: %s", rec.Body)
		case failed && answer.Error.Message == "" && (len(answer.Errors) == 0 || answer.Errors[0].Msg == ""):
			t.Fatalf("%d without a word: %s", rec.Code, rec.Body)
		case !failed && !strings.HasPrefix(path, "api/v3/") && string(answer.Data) == "null":
			t.Fatalf("no data: %s", rec.Body)
		}
		var found []struct{ Spans []json.RawMessage }
		if failed || !strings.HasPrefix(path, "api/traces") || json.Unmarshal(answer.Data, &found) != nil {
			return
		}
		for _, trace := range found {
			if len(trace.Spans) == 0 {
				t.Fatalf("a trace without spans: %s", rec.Body)
			}
		}
	})
}
