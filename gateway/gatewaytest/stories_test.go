package gatewaytest_test

import (
	"flag"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Stories wait more than they compute: for time to be up, for an SVID to
	// expire.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// requests are the request counters of each user's pod, in eu and us by turns.
func requests(users ...string) []metricstest.Series {
	var out []metricstest.Series
	for i, user := range users {
		values := make([]float64, metricstest.Samples)
		for j := range values {
			values[j] = float64(j * (i + 1) * 15)
		}
		out = append(out, metricstest.Series{
			Labels: labels.FromStrings("__name__", "http_requests_total", "region", []string{"eu", "us"}[i%2], "user", user, "pod", "pod-"+user),
			Values: values,
		})
	}
	return out
}

const releaseRequests = `{"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "pod": "pseudonym"}}]}`

// three are acme, globex and initech with requests of their users, which each
// releases to the others by region. They are not started yet.
func three(t *testing.T) *gatewaytest.World {
	t.Helper()
	world := gatewaytest.New(t, "acme", "globex", "initech")
	world.Org("acme").Holds(requests("ann", "abe")...)
	world.Org("globex").Holds(requests("gus", "gil", "gem")...)
	world.Org("initech").Holds(requests("ida")...)
	for _, owner := range []tenants.OrgID{"acme", "globex", "initech"} {
		for _, asker := range []tenants.OrgID{"acme", "globex", "initech"} {
			if owner != asker {
				world.Org(owner).Releases(asker, releaseRequests)
			}
		}
	}
	return world
}

// byOrg asks for one number of each organization, whose values are these.
const byOrg = "sum by (org) (round(rate(http_requests_total[5m])))"

var ratesByOrg = map[string]string{`{org="acme"}`: "3", `{org="globex"}`: "6", `{org="initech"}`: "1"}

// without is the numbers when an organization is missing.
func without(missing ...tenants.OrgID) map[string]string {
	out := map[string]string{}
	for ls, v := range ratesByOrg {
		out[ls] = v
	}
	for _, org := range missing {
		delete(out, `{org="`+string(org)+`"}`)
	}
	return out
}

// everybodyAnswers asserts that the federation works.
func everybodyAnswers(t *testing.T, o *gatewaytest.Org) {
	t.Helper()
	reply := o.Asks(byOrg)
	if diff := cmp.Diff(ratesByOrg, reply.Vector(t)); diff != "" {
		t.Fatalf("not everybody answers (-want +got):\n%s\n%s", diff, reply.Header.Get(front.CompletenessHeader))
	}
	for org, part := range reply.Completeness(t) {
		if part.Status != federation.Complete || part.Reason != "" {
			t.Fatalf("%s is %s: %s", org, part.Status, part.Reason)
		}
	}
	if a := reply.Answer(t); len(a.Warnings) > 0 {
		t.Fatalf("a warning beside a whole answer: %q", a.Warnings)
	}
}

// missing asserts that a reply has the others' answer and says, in the header
// and in words, that org is missing and why.
func missing(t *testing.T, reply gatewaytest.Reply, org tenants.OrgID, status federation.Status, reason string) {
	t.Helper()
	if diff := cmp.Diff(without(org), reply.Vector(t)); diff != "" {
		t.Errorf("the others' answer (-want +got):\n%s", diff)
	}
	parts := reply.Completeness(t)
	for name, part := range parts {
		want := federation.Complete
		if name == org {
			want = status
		}
		if part.Status != want {
			t.Errorf("%s is %s (%s), want %s", name, part.Status, part.Reason, want)
		}
	}
	part := parts[org]
	if !strings.Contains(part.Reason, reason) {
		t.Errorf("%s is %s because %q, want something with %q", org, part.Status, part.Reason, reason)
	}
	if part.Cost.Series != 0 || part.Cost.Samples != 0 || !part.Coverage.Start.IsZero() {
		t.Errorf("%s is missing and contributed %+v", org, part)
	}
	words := "This answer is incomplete: " + string(org) + " is " + string(status) + " (" + part.Reason + ")."
	if diff := cmp.Diff([]string{words}, reply.Answer(t).Warnings); diff != "" {
		t.Errorf("in words (-want +got):\n%s", diff)
	}
}

// statusSeries asserts that parley_completeness, which alert rules use, says
// the same as missing does of the header.
func statusSeries(t *testing.T, asker *gatewaytest.Org, org tenants.OrgID, status federation.Status) {
	t.Helper()
	want := map[string]string{}
	for _, o := range []tenants.OrgID{"acme", "globex", "initech"} {
		s := federation.Complete
		if o == org {
			s = status
		}
		want[labels.FromStrings("org", string(o), "status", string(s)).String()] = "1"
	}
	if diff := cmp.Diff(want, asker.AsksNow("count by (org, status) (parley_completeness)", patience).Vector(t)); diff != "" {
		t.Errorf("parley_completeness (-want +got):\n%s", diff)
	}
}

// last is the newest record of a gateway, which there must be.
func last(t *testing.T, o *gatewaytest.Org) audit.Record {
	t.Helper()
	all := o.Audited()
	if len(all) == 0 {
		t.Fatalf("%s recorded nothing", o.ID)
	}
	return all[len(all)-1]
}

// exchange returns the record that a gateway has of a reply's exchange.
func exchange(t *testing.T, o *gatewaytest.Org, reply gatewaytest.Reply) []audit.Record {
	t.Helper()
	var out []audit.Record
	for _, r := range o.Audited() {
		if r.Exchange == reply.Header.Get(front.ExchangeHeader) {
			out = append(out, r)
		}
	}
	return out
}

func TestThreeOrganizationsAreOneAnswer(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme := world.Org("acme")
	reply := acme.Asks("round(sum by (org, region) (rate(http_requests_total[5m])))")
	want := map[string]string{
		`{org="acme", region="eu"}`: "1", `{org="acme", region="us"}`: "2",
		`{org="globex", region="eu"}`: "4", `{org="globex", region="us"}`: "2",
		`{org="initech", region="eu"}`: "1",
	}
	if diff := cmp.Diff(want, reply.Vector(t)); diff != "" {
		t.Error(diff)
	}
	for org, part := range reply.Completeness(t) {
		if part.Status != federation.Complete {
			t.Errorf("%s is %s: %s", org, part.Status, part.Reason)
		}
	}
	hidden := acme.Asks(`count by (user) (http_requests_total{org="globex",user=~"g.*"})`)
	if len(hidden.Vector(t)) != 0 || strings.Contains(string(hidden.Body), "gus") {
		t.Errorf("a hidden label was found: %s", hidden.Body)
	}
	// The same from the others' side.
	everybodyAnswers(t, world.Org("globex"))
	everybodyAnswers(t, world.Org("initech"))
}

// Who wants a whole answer or none gets none, and hears why.
func TestPartialAnswersAreRefusedOnRequest(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme := world.Org("acme")
	if reply := acme.Asks(byOrg, front.PartialHeader, "refuse"); reply.Code != http.StatusOK {
		t.Fatalf("a whole answer: %d %s", reply.Code, reply.Body)
	}
	world.Org("globex").Stop()
	reply := acme.Asks(byOrg, front.PartialHeader, "refuse")
	answer := reply.Answer(t)
	if reply.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Error, "globex is unreachable (can't be reached)") {
		t.Errorf("%d %s", reply.Code, reply.Body)
	}
	if len(answer.Data.Result) > 0 {
		t.Errorf("an error with data: %s", reply.Body)
	}
	record := last(t, acme)
	if record.Outcome != "failed" || record.ErrorKind != federation.Unavailable || record.Series != 0 || record.Bytes != 0 {
		t.Errorf("recorded %+v", record)
	}
	for _, part := range record.Completeness {
		if want := map[tenants.OrgID]federation.Status{"acme": "complete", "globex": "unreachable", "initech": "complete"}[part.Org]; part.Status != want {
			t.Errorf("recorded %s as %s", part.Org, part.Status)
		}
	}
}
