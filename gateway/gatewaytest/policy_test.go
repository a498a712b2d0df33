package gatewaytest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
)

const regions = `count by (org, region) (http_requests_total{org="globex"})`

// What a policy says now is what the next answer follows, on open connections
// and without restart.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	byRegion := map[string]string{`{org="globex", region="eu"}`: "2", `{org="globex", region="us"}`: "1"}
	if diff := cmp.Diff(byRegion, acme.Asks(regions).Vector(t)); diff != "" {
		t.Fatal(diff)
	}
	before := last(t, globex).Decision.Revision

	globex.Releases("acme", `{"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {}}]}`)
	hidden := map[string]string{`{org="globex"}`: "3"}
	acme.Eventually("the region is hidden", func() bool { return cmp.Equal(hidden, acme.Asks(regions).Vector(t)) })
	if after := last(t, globex).Decision.Revision; after == before || after == "" {
		t.Errorf("the revision is %q still", after)
	}

	globex.Releases("acme", `{"allow": true, "datasets": [{"name": "eu", "series": ["http_requests_total{region=\"eu\"}"], "release": "row", "labels": {"region": "keep"}}]}`)
	acme.Eventually("us is hidden", func() bool {
		return cmp.Equal(map[string]string{`{org="globex", region="eu"}`: "2"}, acme.Asks(regions).Vector(t))
	})
	globex.Releases("acme", releaseRequests)
	acme.Eventually("all is as before", func() bool { return cmp.Equal(byRegion, acme.Asks(regions).Vector(t)) })
	if after := last(t, globex).Decision.Revision; after != before {
		t.Errorf("the same policy has the revision %q and had %q", after, before)
	}
}

// A policy that does not load changes nothing, loudly.
func TestPolicyIsBroken(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	everybodyAnswers(t, acme)
	for _, c := range []struct{ decision, problem string }{
		{`{"allow": true, `, "non-terminated object"},
		{`{"allow": true, "datasets": [{"name": "all", "series": ["up"], "release": "everything"}]}`, "release"},
		{`{"allow": true, "datasets": [], "round_to": 10}`, "round_to"},
	} {
		globex.Releases("acme", c.decision)
		globex.Eventually("a policy that is broken is noticed", func() bool {
			ready, checks := globex.Ready()
			detail := checks["policy"].Detail
			return ready && strings.Contains(detail, "kept from before") && strings.Contains(detail, "acme.rego") && strings.Contains(detail, c.problem)
		})
		if v := globex.Metric("parley_policy_last_reload_successful"); v != 0 {
			t.Errorf("%s: parley_policy_last_reload_successful is %v", c.problem, v)
		}
		if !strings.Contains(globex.Log.String(), "policy does not load; the previous one stays") {
			t.Errorf("%s: the log doesn't say so", c.problem)
		}
		everybodyAnswers(t, acme)
	}
	globex.Releases("acme", releaseRequests)
	globex.Eventually("all is well", func() bool {
		ready, _ := globex.Ready()
		return ready && globex.Metric("parley_policy_last_reload_successful") == 1
	})
	everybodyAnswers(t, acme)
}

// So does an agreement: everybody's stays as it was, but one whose file is gone.
func TestAgreementIsBroken(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex, initech := world.Org("acme"), world.Org("globex"), world.Org("initech")
	everybodyAnswers(t, acme)
	globex.Scribbles("acme")
	globex.Eventually("it is noticed", func() bool {
		ready, checks := globex.Ready()
		return ready && strings.Contains(checks["agreements"].Detail, "acme.yml")
	})
	if v := globex.Metric("parley_agreements_last_reload_successful"); v != 0 {
		t.Errorf("parley_agreements_last_reload_successful is %v", v)
	}
	everybodyAnswers(t, acme)
	everybodyAnswers(t, initech)

	globex.Revokes("initech") // somebody's typing error doesn't keep initech in
	initech.Eventually("initech is out", func() bool {
		return initech.Asks(byOrg).Completeness(t)["globex"].Status == federation.Denied
	})
	everybodyAnswers(t, acme)

	globex.Agrees("acme", nil)
	globex.Agrees("initech", nil)
	globex.Eventually("all is well", func() bool {
		ready, _ := globex.Ready()
		return ready && globex.Metric("parley_agreements_last_reload_successful") == 1 && globex.Metric("parley_agreements") == 2
	})
	everybodyAnswers(t, acme)
	becomes(t, initech, federation.Complete)
}

// A policy may say what an organization's users ask of whom.
func TestOurOwnPolicyKeepsUsFromAsking(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme := world.Org("acme")
	acme.Policy("ask.rego", `package parley.ask

default decision := {"allow": false, "reasons": ["globex is asked for incidents only"]}

decision := {"allow": true} if input.owner != "globex"

decision := {"allow": true} if {
	input.owner == "globex"
	input.principal.purpose == "incident-response"
}
`)
	world.Start()
	missing(t, acme.Asks(byOrg), "globex", federation.Denied, "our own policy does not allow asking it: globex is asked for incidents only")
	if n := len(world.Org("globex").Audited()); n != 0 {
		t.Errorf("globex was asked %d times", n)
	}
	if part := acme.Asks(byOrg, "X-Parley-Purpose", "incident-response").Completeness(t)["globex"]; part.Status != federation.Complete {
		t.Errorf("globex is %+v", part)
	}
}

// A policy bounds the time of what it releases. Who asks for more gets what
// there is and is told so; who asks for none of it gets nothing.
func TestPolicyBoundsTime(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	bounded := func(from, to string) string {
		return strings.Replace(releaseRequests, `"allow": true`, `"allow": true, "not_before": "`+from+`", "not_after": "`+to+`"`, 1)
	}
	globex.Releases("acme", bounded("2026-01-02T03:20:00Z", "2026-01-02T03:25:00Z"))
	world.Start()
	reply := acme.AsksRange(byOrg, time.Minute)
	part := reply.Completeness(t)["globex"]
	want := "2026-01-02 03:20:00 +0000 UTC to 2026-01-02 03:25:00 +0000 UTC"
	if got := part.Coverage.Start.String() + " to " + part.Coverage.End.String(); part.Status != federation.Complete || got != want {
		t.Errorf("globex is %s and covers %s, want %s", part.Status, got, want)
	}

	globex.Releases("acme", bounded("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"))
	acme.Eventually("nothing of the time is released", func() bool {
		return acme.AsksRange(byOrg, time.Minute).Completeness(t)["globex"].Coverage.Start.IsZero()
	})
	reply = acme.AsksRange(byOrg, time.Minute)
	if part := reply.Completeness(t)["globex"]; part.Status != federation.Complete || part.Cost.Series != 0 {
		t.Errorf("globex is %+v", part)
	}
	if strings.Contains(string(reply.Body), `"org":"globex"`) {
		t.Errorf("data of globex: %s", reply.Body)
	}
}
