package front_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// onlyAs is an Authenticator that knows everybody in one way.
type onlyAs tenants.UserProof

func (p onlyAs) User(*http.Request) (tenants.User, error) {
	switch proof := tenants.UserProof(p); proof {
	case "nobody":
		return tenants.User{}, errors.New("no such token")
	case "":
		return tenants.User{}, nil
	case tenants.ProvenBySVID:
		return tenants.User{Subject: "spiffe://acme.example/web", Proof: proof}, nil
	default:
		return tenants.User{Subject: "ada", Proof: proof}, nil
	}
}

// A browser on the machine is not its user: what a page of elsewhere has it
// send, under a name that points here or across sites, is refused on every
// path, be nobody asked who they are or a proxy on this machine believed.
func TestPagesOfElsewhereAreRefused(t *testing.T) {
	const browser = "127.0.0.1:50000"
	for _, c := range []struct {
		remote, host, site string
		refused            bool
	}{
		{browser, "localhost:9480", "", false},
		{browser, "LOCALHOST", "none", false},
		{browser, "127.0.0.1:9480", "same-origin", false},
		{browser, "127.8.9.10", "", false},
		{browser, "[::1]:9480", "", false},
		{browser, "", "", false},
		{browser, "parley.acme.example:9480", "", false},
		{browser, "Parley.Acme.Example", "same-origin", false},
		{browser, "parley.acme.example", "cross-site", true},
		{browser, "rebound.example:9480", "", true},
		{browser, "rebound.example", "same-origin", true},
		{browser, "localhost.rebound.example", "", true},
		{browser, "127.0.0.1.rebound.example:9480", "", true},
		{browser, "192.0.2.1:9480", "", true},
		{browser, "localhost:9480", "cross-site", true},
		{"[::1]:50000", "rebound.example", "", true},
		{"[::ffff:127.0.0.1]:50000", "rebound.example", "", true},
		{"@", "rebound.example", "", true},
		// From other machines it is another's business, such as a proxy's.
		{"192.0.2.1:50000", "rebound.example", "cross-site", false},
	} {
		for _, path := range []string{"/api/v1/query?query=up", "/-/ready", "/api/v1/status/buildinfo", "/nowhere"} {
			for proof, believed := range map[tenants.UserProof]bool{
				"": true, tenants.StatedByProxy: true, "nobody": true, tenants.ProvenByJWT: false, tenants.ProvenBySVID: false,
			} {
				p := &pipeline{}
				door := open(t, p, func(c *front.Config) {
					c.LocalOnly, c.Hosts, c.Authenticator = true, []string{"parley.acme.example"}, onlyAs(proof)
				})
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.RemoteAddr, r.Host = c.remote, c.host
				if c.site != "" {
					r.Header.Set("Sec-Fetch-Site", c.site)
				}
				got := door.do(r)
				if refused := got.status == http.StatusForbidden; refused != (c.refused && believed) {
					t.Errorf("%s of %q, %q from %s, known by %q: %d %s", path, c.host, c.site, c.remote, proof, got.status, got.raw)
				}
				if got.status == http.StatusForbidden && len(p.questions()) > 0 {
					t.Errorf("%s of %q: asked all the same", path, c.host)
				}
			}
		}
	}
}

// Where nothing of this machine is believed, its name is nobody's business.
func TestNamesOfADoorThatKnowsItsUsers(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/query?query=up", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "rebound.example"
	if got := open(t, &pipeline{}).do(r); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.raw)
	}
}
