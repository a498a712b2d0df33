package gatewaytest_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/gateway/identity"
)

// Why a question is asked travels with it: into the owner's decision and into
// both sides' evidence.
func TestPurposeAndCaseTravel(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	globex.Decides("acme", `default decision := {"allow": false, "reasons": ["no incident"]}

decision := `+releaseRequests+` if {
	input.principal.purpose == "incident-response"
	startswith(input.principal.case, "INC-")
}`)
	world.Start()
	missing(t, acme.Asks(byOrg), "globex", federation.Denied, federation.NotAllowed)
	missing(t, acme.Asks(byOrg, front.PurposeHeader, "incident-response"), "globex", federation.Denied, federation.NotAllowed)
	missing(t, acme.Asks(byOrg, front.CaseHeader, "INC-7"), "globex", federation.Denied, federation.NotAllowed)

	reply := acme.Asks(byOrg, front.PurposeHeader, "incident-response", front.CaseHeader, "INC-7")
	if diff := cmp.Diff(ratesByOrg, reply.Vector(t)); diff != "" {
		t.Error(diff)
	}
	for _, o := range []interface{ Audited() []audit.Record }{acme, globex} {
		record := o.Audited()[len(o.Audited())-1]
		if p := record.Principal; p.Org != "acme" || p.Purpose != "incident-response" || p.Case != "INC-7" || record.Exchange != reply.Header.Get(front.ExchangeHeader) {
			t.Errorf("%s recorded %+v", record.Org, record)
		}
	}
	for _, bad := range [][]string{{front.PurposeHeader, "Incident Response"}, {front.CaseHeader, "INC 7"}, {front.PartialHeader, "perhaps"}} {
		if reply := acme.Asks(byOrg, bad...); reply.Code != http.StatusBadRequest || !strings.Contains(reply.Answer(t).Error, bad[0]) {
			t.Errorf("%v: %d %s", bad, reply.Code, reply.Body)
		}
	}
}

// An agreement about a purpose is one about the narrower ones, on both sides and
// for policy; each side's own words count there alone.
func TestAgreementsCoverNarrowerPurposes(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	acme.Agrees("globex", func(a *gatewaytest.Agreement) {
		a.Purposes, a.Terms = []string{"service-provision"}, "{refunds: [payment-management]}"
	})
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Purposes = []string{"service-optimisation", "payment-management"} })
	globex.Decides("acme", `default decision := {"allow": false}

decision := `+releaseRequests+` if "service-optimisation" in input.principal.purposes`)
	world.Start()
	for purpose, want := range map[string]federation.Status{
		"slo-review":           federation.Complete, // below both
		"service-optimisation": federation.Complete,
		"service-provision":    federation.Denied, // too broad for globex
		"payment-management":   federation.Denied, // globex's policy releases nothing for it
		"refunds":              federation.Denied, // a word that globex doesn't have
		"marketing":            federation.Denied,
	} {
		part := acme.Asks(byOrg, front.PurposeHeader, purpose).Completeness(t)["globex"]
		if part.Status != want {
			t.Errorf("%s: globex is %+v, want %s", purpose, part, want)
		}
		asked := !strings.Contains(part.Reason, "our agreement")
		if asked != (purpose != "marketing") {
			t.Errorf("%s: globex was asked: %t", purpose, asked)
		}
	}
}

// Whom acme's Grafana says it asks for, globex's policy and record know. Who
// isn't named by the trusted proxy isn't let in.
func TestUserOfATrustedProxyTravels(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	acme.Authentication = func(*identity.Verifier) (*identity.Authenticator, error) {
		return identity.NewAuthenticator(identity.AuthConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	}
	globex.Decides("acme", `default decision := {"allow": false, "reasons": ["only ada may"]}

decision := `+releaseRequests+` if {
	input.principal.user == "ada"
	input.principal.proof == "proxy"
}`)
	world.Start()
	if diff := cmp.Diff(ratesByOrg, acme.Asks(byOrg, identity.ProxyUserHeader, "ada").Vector(t)); diff != "" {
		t.Error(diff)
	}
	if p := last(t, globex).Principal; p.User != "ada" || p.Proof != "proxy" || p.Org != "acme" {
		t.Errorf("globex recorded %+v", p)
	}
	if p := last(t, acme).Principal; p.User != "ada" || p.Proof != "proxy" {
		t.Errorf("acme recorded %+v", p)
	}
	missing(t, acme.Asks(byOrg, identity.ProxyUserHeader, "bob"), "globex", federation.Denied, federation.NotAllowed)
	if record := last(t, globex); record.Principal.User != "bob" || record.Outcome != gateway.Refused {
		t.Errorf("globex recorded %+v", record)
	}
	recorded := len(globex.Audited())
	if reply := acme.Asks(byOrg); reply.Code != http.StatusUnauthorized {
		t.Errorf("nobody got %d %s", reply.Code, reply.Body)
	}
	// A page in a browser beside Grafana isn't Grafana, whatever address its
	// name has today.
	if reply := acme.Asks(byOrg, identity.ProxyUserHeader, "ada", "Host", "rebound.example"); reply.Code != http.StatusForbidden {
		t.Errorf("a page of elsewhere got %d %s", reply.Code, reply.Body)
	}
	// initech doesn't trust proxies: the header says nothing there.
	if reply := world.Org("initech").Asks(byOrg, identity.ProxyUserHeader, "ada"); reply.Code != http.StatusOK || last(t, globex).Principal.User != "" {
		t.Errorf("initech: %d, globex recorded %+v", reply.Code, last(t, globex).Principal)
	}
	if n := len(globex.Audited()); n != recorded+1 {
		t.Errorf("globex was asked %d times", n-recorded)
	}
}
