package front_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/gateway/front"
)

// tempoPaths are the endpoints, so that fuzzing needn't find them by chance; a
// number beyond them stands for the path that is given.
var tempoPaths = []string{
	"api/search", "api/search/tags", "api/v2/search/tags", "api/search/tag/service.name/values", "api/v2/search/tag/name/values",
	"api/traces/1", "api/v2/traces/1", "api/metrics/query",
}

// Whatever is sent, the answer is one that Tempo's clients read: JSON or
// protobuf, and an error in words.
func FuzzTempo(f *testing.F) {
	for _, seed := range []struct {
		which               uint8
		path, query, accept string
	}{
		{0, "", "q={kind=server}>>{status=error}|select(.a)&limit=2&spss=1&start=1700000000&end=1700003600", ""},
		{0, "", "tags=a%3D\"b+c\"+status.code%3Derror+d%3D1e5&minDuration=1ms&maxDuration=1h", ""},
		{0, "", "tags=%22&q=", ""},
		{0, "", "start=-1&end=99999999999999999999", ""},
		{1, "", "scope=span&limit=0&maxStaleValues=x", ""},
		{2, "", "scope=none&q={.a=%22b%26%26%22%26%26c=}", ""},
		{3, "", "q={}", ""},
		{4, "", "q={.a%3D`&limit=5", ""},
		{5, "", "start=1700000000", "application/protobuf"},
		{6, "", "end=1700000000", "application/protobuf"},
		{6, "", "", "application/json"},
		{7, "", "q={}|rate()&step=1", ""},
		{255, "api/v2/search/tag/span.\"a/b\"/values", "", ""},
		{255, "api/search/tag//values", "", ""},
		{255, "api/traces/%F0%9F%98%80", "", ""},
		{255, "api/echo", "", ""},
	} {
		f.Add(seed.which, seed.path, seed.query, seed.accept)
	}
	d := tracesDoor(f, journeys())
	f.Fuzz(func(t *testing.T, which uint8, path, query, accept string) {
		if int(which) < len(tempoPaths) {
			path = tempoPaths[which]
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{Scheme: "http", Host: "gateway", Path: "/tempo/" + path, RawQuery: query}
		req.Header.Set("Accept", accept)
		d.log.Reset()
		rec := httptest.NewRecorder()
		d.handler.ServeHTTP(rec, req)
		contentType := rec.Header().Get("Content-Type")
		switch {
		case strings.Contains(d.log.String(), "panic while serving"):
			t.Fatalf("panic: %s", d.log)
		case rec.Code == http.StatusInternalServerError || rec.Code == http.StatusServiceUnavailable:
			t.Fatalf("a defect: %s", rec.Body)
		case rec.Code == http.StatusOK && strings.HasPrefix(contentType, "application/json") && !json.Valid(rec.Body.Bytes()):
			t.Fatalf("not JSON: %q", rec.Body)
		case rec.Code != http.StatusOK && (!strings.HasPrefix(contentType, "text/plain") || rec.Body.Len() == 0):
			t.Fatalf("%d, %s: %q", rec.Code, contentType, rec.Body)
		case rec.Header().Get(front.ExchangeHeader) == "" && rec.Code == http.StatusOK:
			t.Fatal("an answer without an exchange id")
		}
	})
}
