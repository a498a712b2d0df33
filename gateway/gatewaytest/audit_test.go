package gatewaytest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

// Without evidence nothing leaves, be the record lost or only its
// confirmation, and when there is evidence again everything does.
func TestAuditCanNotBeWritten(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]int32{"before the record": gatewaytest.Before, "after the record": gatewaytest.After} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := three(t)
			acme, globex := world.Org("acme"), world.Org("globex")
			auditor := globex.FailingAuditor()
			world.Start()
			everybodyAnswers(t, acme)
			disclosed := func() float64 {
				return globex.Metric("parley_disclosed_series_total") + globex.Metric("parley_disclosed_bytes_total")
			}
			before := disclosed()

			auditor.Fails(when)
			reply := acme.Asks(byOrg)
			missing(t, reply, "globex", federation.Unreachable, "evidence of the exchange can't be recorded now")
			statusSeries(t, acme, "globex", federation.Unreachable)
			if n := disclosed(); n != before {
				t.Errorf("globex counted %v series and bytes disclosed, %v before", n, before)
			}
			if failed := globex.Metric("parley_questions_total", "partner", "acme", "outcome", "failed"); failed < 1 {
				t.Errorf("globex counted %v failures", failed)
			}
			if ready, checks := globex.Ready(); ready || checks["audit"].OK || !strings.Contains(checks["audit"].Detail, "no space left") {
				t.Errorf("globex is ready: %v %+v", ready, checks["audit"])
			}
			// A refusal leaves evidence, or is not told.
			refusal := acme.Asks(byOrg, "X-Parley-Purpose", "incident-response").Completeness(t)["globex"]
			if refusal.Status != federation.Unreachable {
				t.Errorf("globex is %+v", refusal)
			}
			// Its own users are no exception.
			own := globex.Asks(byOrg)
			if own.Code != http.StatusServiceUnavailable || len(own.Answer(t).Data.Result) > 0 || strings.Contains(string(own.Body), "no space") {
				t.Errorf("globex's own user got %d %s", own.Code, own.Body)
			}

			auditor.Fails(gatewaytest.Never)
			everybodyAnswers(t, acme)
			everybodyAnswers(t, globex)
			if ready, checks := globex.Ready(); !ready {
				t.Errorf("globex is not ready: %+v", checks)
			}
		})
	}
}

// One question has one id, and both sides' evidence tells the same of it.
func TestBothSidesRecordTheSame(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme := world.Org("acme")
	for _, reply := range []gatewaytest.Reply{
		acme.Asks(byOrg),
		acme.AsksRange("avg by (region) (rate(http_requests_total[5m]))", time.Minute), // two questions to each
		acme.Asks(`http_requests_total{org="globex"}`),
		acme.Asks(`sum(http_requests_total{user="gus"})`),
	} {
		asker := exchange(t, acme, reply)
		if len(asker) != 1 || asker[0].Door != gateway.FrontDoor {
			t.Fatalf("acme recorded %+v", asker)
		}
		for _, part := range asker[0].Completeness {
			if part.Org == "acme" {
				continue
			}
			owner := world.Org(part.Org)
			var series, samples, bytes int
			for _, r := range exchange(t, owner, reply) {
				if r.Door != gateway.PeerDoor || r.Org != part.Org || r.Principal.Org != "acme" || r.Principal.Workload != "spiffe://acme.example/parley" {
					t.Errorf("%s recorded %+v", part.Org, r)
				}
				if r.Outcome == gateway.Answered != r.Decision.Allow || r.Decision.Revision == "" {
					t.Errorf("%s decided %+v and %s", part.Org, r.Decision, r.Outcome)
				}
				series, samples, bytes = series+r.Series, samples+r.Samples, bytes+r.Bytes
			}
			if part.Series != series || part.Samples != samples || part.Bytes != bytes {
				t.Errorf("of %s acme recorded %d series, %d samples, %d bytes; %s itself %d, %d, %d",
					asker[0].Query, part.Series, part.Samples, part.Bytes, part.Org, series, samples, bytes)
			}
		}
	}
}

// /metrics and the audit log are two views of the same exchanges.
func TestMetricsAgreeWithTheRecords(t *testing.T) {
	t.Parallel()
	world := three(t)
	globex, initech := world.Org("globex"), world.Org("initech")
	initech.Releases("acme", `{"allow": false}`)
	world.Start()
	acme := world.Org("acme")
	acme.Asks(byOrg)
	acme.AsksRange("avg by (region) (rate(http_requests_total[5m]))", time.Minute)
	acme.Get("/api/v1/label/region/values", map[string][]string{"start": {"1767322800"}, "end": {"1767324585"}})
	globex.Asks(byOrg)

	type flow struct {
		partner, direction                 string
		answered, partial, refused, failed float64
		series, samples, bytes             float64
	}
	for _, o := range []*gatewaytest.Org{acme, globex, initech} {
		flows := map[[2]string]*flow{}
		add := func(partner tenants.OrgID, direction string, outcome gateway.Outcome, series, samples, bytes int) {
			key := [2]string{string(partner), direction}
			if flows[key] == nil {
				flows[key] = &flow{partner: string(partner), direction: direction}
			}
			f := flows[key]
			*map[gateway.Outcome]*float64{gateway.Answered: &f.answered, gateway.Partially: &f.partial, gateway.Refused: &f.refused, gateway.Failed: &f.failed}[outcome]++
			f.series, f.samples, f.bytes = f.series+float64(series), f.samples+float64(samples), f.bytes+float64(bytes)
		}
		for _, r := range o.Audited() {
			add(r.Principal.Org, "answered", r.Outcome, r.Series, r.Samples, r.Bytes)
			for _, part := range r.Completeness {
				outcome := map[federation.Status]gateway.Outcome{federation.Complete: gateway.Answered, federation.Denied: gateway.Refused}[part.Status]
				if r.Door == gateway.FrontDoor && part.Org != o.ID {
					add(part.Org, "asked", outcome, part.Series, part.Samples, part.Bytes)
				}
			}
		}
		if len(flows) < 2 {
			t.Fatalf("%s has records of %d flows only", o.ID, len(flows))
		}
		for _, want := range flows {
			with := []string{"partner", want.partner, "direction", want.direction, "signal", "metrics"}
			got := flow{
				partner: want.partner, direction: want.direction,
				answered: o.Metric("parley_questions_total", append(with, "outcome", "answered")...),
				partial:  o.Metric("parley_questions_total", append(with, "outcome", "partial")...),
				refused:  o.Metric("parley_questions_total", append(with, "outcome", "refused")...),
				failed:   o.Metric("parley_questions_total", append(with, "outcome", "failed")...),
				series:   o.Metric("parley_disclosed_series_total", with...),
				samples:  o.Metric("parley_disclosed_samples_total", with...),
				bytes:    o.Metric("parley_disclosed_bytes_total", with...),
			}
			if diff := cmp.Diff(*want, got, cmp.AllowUnexported(flow{})); diff != "" {
				t.Errorf("%s and %s (-audit +metrics):\n%s", o.ID, want.partner, diff)
			}
			if want.partner == string(o.ID) {
				continue
			}
			for _, flow := range []string{"sent", "received"} {
				if flow == "sent" && want.direction == "answered" && want.answered == 0 {
					continue // gRPC doesn't say how long a mere refusal is
				}
				if wire := o.Metric("parley_wire_bytes_total", "partner", want.partner, "direction", want.direction, "flow", flow); wire == 0 {
					t.Errorf("%s counted no bytes %s on the wire with %s (%s)", o.ID, flow, want.partner, want.direction)
				}
			}
		}
	}
}

// Whoever is refused is told the same; the record has each one's own reason.
func TestRefusalsLookTheSameFromOutside(t *testing.T) {
	t.Parallel()
	world := gatewaytest.New(t, "acme", "globex", "initech", "hooli", "umbrella")
	globex := world.Org("globex")
	globex.Holds(requests("gus")...)
	globex.Agrees("initech", func(a *gatewaytest.Agreement) { a.NotAfter = time.Now().Add(-time.Minute) })
	globex.Agrees("hooli", func(a *gatewaytest.Agreement) { a.Purposes = []string{"capacity"} })
	globex.Releases("umbrella", `{"allow": false, "reasons": ["not them"]}`)
	globex.Decides("acme", `decision := {"allow": true, "datasets": []} if input.principal.purpose == "never"`)
	globex.Start()
	told := map[string]bool{}
	for _, c := range []struct {
		org    tenants.OrgID
		path   string
		reason string
	}{
		{"initech", "/parley", string(tenants.Expired)},
		{"hooli", "/parley", string(tenants.PurposeNotAgreed)},
		{"umbrella", "/parley", "denied by policy: not them"},
		{"acme", "/parley", "denied by policy: "},
		{"acme", "/parley/other", string(tenants.WrongWorkload)},
	} {
		_, part, err := world.Caller(world.Org(c.org).Issue(c.path, time.Hour), "globex", "").Asks(instant("up"))
		refused(t, err)
		part.Cost.Latency = 0
		told[err.Error()+part.Reason] = true
		record := last(t, globex)
		if record.Outcome != gateway.Refused || record.ErrorKind != federation.Refused || !strings.Contains(record.Reason, c.reason) {
			t.Errorf("%s: recorded %+v, want the reason %q", c.org, record, c.reason)
		}
	}
	if len(told) != 1 {
		t.Errorf("told apart: %v", told)
	}
}
