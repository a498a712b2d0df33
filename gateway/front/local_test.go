package front_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parley-gateway/parley/gateway/front"
)

// A browser on the machine is not its user: what a page of elsewhere has it
// send, under a name that points here or across sites, is refused on every path.
func TestPagesOfElsewhereAreRefused(t *testing.T) {
	p := &pipeline{}
	local := open(t, p, func(c *front.Config) { c.LocalOnly = true })
	authenticated := open(t, p)
	for _, c := range []struct {
		host, site string
		status     int
	}{
		{"localhost:9480", "", http.StatusOK},
		{"LOCALHOST", "none", http.StatusOK},
		{"127.0.0.1:9480", "same-origin", http.StatusOK},
		{"127.8.9.10", "", http.StatusOK},
		{"[::1]:9480", "", http.StatusOK},
		{"", "", http.StatusOK},
		{"rebound.example:9480", "", http.StatusForbidden},
		{"rebound.example", "same-origin", http.StatusForbidden},
		{"localhost.rebound.example", "", http.StatusForbidden},
		{"127.0.0.1.rebound.example:9480", "", http.StatusForbidden},
		{"192.0.2.1:9480", "", http.StatusForbidden},
		{"localhost:9480", "cross-site", http.StatusForbidden},
	} {
		for _, path := range []string{"/api/v1/query?query=up", "/-/ready", "/api/v1/status/buildinfo"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = c.host
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			if got := local.do(r.Clone(t.Context())); got.status != c.status {
				t.Errorf("%s of %q, %q: %d, want %d: %s", path, c.host, c.site, got.status, c.status, got.raw)
			}
			if got := authenticated.do(r); got.status != http.StatusOK {
				t.Errorf("%s of %q, %q where users are known: %d %s", path, c.host, c.site, got.status, got.raw)
			}
		}
	}
}
