package gatewaytest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

// byRegion asks for two series of globex and of acme.
const byRegion = "count by (org, region) (http_requests_total)"

// Limits are the owner's. Who meets one is told which, and the others answer.
func TestOverLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limits string
		asks   func(*gatewaytest.Org) gatewaytest.Reply
		told   string
		reason tenants.Reason
	}{
		{
			"{series: 1}", func(o *gatewaytest.Org) gatewaytest.Reply {
				return o.Asks(byRegion)
			},
			"the answer has more than 1 series; ask for fewer, or aggregate", tenants.OverSeries,
		},
		{
			"{samples: 40}", func(o *gatewaytest.Org) gatewaytest.Reply { return o.AsksRange(byRegion, time.Minute) },
			"the answer has more than 40 samples; ask for less time, a larger step or fewer series", tenants.OverSamples,
		},
		{
			"{samples: 10}", func(o *gatewaytest.Org) gatewaytest.Reply { return o.AsksRange(byOrg, time.Minute) },
			"the answer would have at least 30 samples for each series, and the limit is 10 samples; ask for less time or a larger step", tenants.OverSamples,
		},
		{
			"{bytes: 900}", func(o *gatewaytest.Org) gatewaytest.Reply { return o.AsksRange(byRegion, time.Minute) },
			"the answer has more than 900 bytes; ask for less time, a larger step or fewer series", tenants.OverBytes,
		},
		{
			"{bytes: 100}", func(o *gatewaytest.Org) gatewaytest.Reply { return o.AsksRange(byOrg, time.Minute) },
			"the answer would have at least 480 bytes for each series, and the limit is 100 bytes; ask for less time or a larger step", tenants.OverBytes,
		},
		{
			"{range: 10m}", func(o *gatewaytest.Org) gatewaytest.Reply { return o.Asks("count_over_time(http_requests_total[11m])") },
			"the question spans 11m, at most 10m are agreed", tenants.OverRange,
		},
	} {
		t.Run(c.limits, func(t *testing.T) {
			t.Parallel()
			world := three(t)
			acme, globex := world.Org("acme"), world.Org("globex")
			globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = c.limits })
			world.Start()
			reply := c.asks(acme)
			parts := reply.Completeness(t)
			if part := parts["globex"]; part.Status != federation.Denied || !strings.Contains(part.Reason, c.told) || part.Cost.Series != 0 {
				t.Errorf("globex is %+v", part)
			}
			if parts["acme"].Status != federation.Complete || parts["initech"].Status != federation.Complete || strings.Contains(string(reply.Body), `"org":"globex"`) {
				t.Errorf("the others: %+v %s", parts, reply.Body)
			}
			record := exchange(t, globex, reply)
			if len(record) != 1 || record[0].Outcome != gateway.Refused || record[0].ErrorKind != federation.OverLimit ||
				record[0].Series != 0 || record[0].Bytes != 0 || !strings.Contains(record[0].Reason, string(c.reason)) {
				t.Errorf("globex recorded %+v", record)
			}
			// The same limits don't keep globex's own users.
			if part := c.asks(globex).Completeness(t)["globex"]; part.Status != federation.Complete {
				t.Errorf("globex to its own users is %+v", part)
			}
		})
	}
}

// What floors refuse is in the question's text and policy, so the partner is told.
func TestFloorsAreTold(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	globex.Releases("acme", `{"allow": true, "resolution": "5m", "functions": ["sum", "rate"], "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {"region": "keep"}}]}`)
	for _, c := range []struct {
		asks func() gatewaytest.Reply
		told string
	}{
		{func() gatewaytest.Reply { return acme.AsksRange(byOrg, 15*time.Second) }, "the resolution is 5m"},
		{func() gatewaytest.Reply { return acme.Asks("sum by (org) (rate(http_requests_total[1m]))") }, "the resolution is 5m"},
		{func() gatewaytest.Reply { return acme.Asks("max by (org) (http_requests_total)") }, "max is not among the functions"},
	} {
		acme.Eventually("it is told that "+c.told, func() bool {
			part := c.asks().Completeness(t)["globex"]
			return part.Status == federation.Denied && strings.Contains(part.Reason, c.told)
		})
	}
}

func TestMoreQuestionsThanAgreedPerMinute(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 2}" })
	world.Start()
	everybodyAnswers(t, acme)
	everybodyAnswers(t, acme)
	reply := acme.Asks(byOrg)
	missing(t, reply, "globex", federation.Denied, "more than 2 questions a minute")
	statusSeries(t, acme, "globex", federation.Denied)
	if record := exchange(t, globex, reply); len(record) != 1 || !strings.Contains(record[0].Reason, string(tenants.OverRate)) {
		t.Errorf("globex recorded %+v", record)
	}
	// What acme asks too often, initech doesn't.
	everybodyAnswers(t, world.Org("initech"))
	// A new agreement counts at once.
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1000}" })
	becomes(t, acme, federation.Complete)
}

// Who asks on and on what isn't answered fills no disk: some of it is recorded
// whole, the rest as a number, and nothing is lost.
func TestRefusalsDontFillTheAuditLog(t *testing.T) {
	t.Parallel()
	world := gatewaytest.New(t, "acme", "globex")
	globex := world.Org("globex")
	globex.Holds(requests("gus")...)
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1}" })
	globex.Start()
	caller := world.Caller(world.Org("acme").Issue("/parley", time.Hour), "globex", "")
	long := instant(`up{job="` + strings.Repeat("x", 60_000) + `"}`)
	const times = 100
	start := time.Now()
	for range times {
		if _, _, err := caller.Asks(long); err == nil {
			t.Error("an answer")
		}
	}
	refused := globex.Metric("parley_questions_total", "partner", "acme", "outcome", "refused")
	globex.Stop()
	// Two for each window of ten seconds, however long this machine took, and one
	// for what every minute may be asked.
	took := time.Since(start)
	atMost := 2*(int(took/(10*time.Second))+1) + int(took/time.Minute) + 1
	lines, recorded := 0, 0
	for _, r := range globex.Audited() {
		if r.Outcome != gateway.Refused {
			continue
		}
		lines++
		recorded++
		if r.Repeats != nil {
			recorded += r.Repeats.Count - 1
		}
		if len(r.Query) > 1024 {
			t.Errorf("a record holds %d bytes of the query", len(r.Query))
		}
	}
	if float64(recorded) != refused || recorded != times {
		t.Errorf("%d refusals are recorded, %v counted, of %d questions", recorded, refused, times)
	}
	if lines > atMost {
		t.Errorf("%d lines about %d refusals in %s, want at most %d", lines, recorded, took, atMost)
	}
}

// What would be too much whatever there is, globex's store isn't asked. It would
// never answer.
func TestTooMuchIsNotAskedOfTheStore(t *testing.T) {
	t.Parallel()
	for name, decision := range map[string]string{
		"rows": releaseRequests,
		"cells": `{"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "aggregate",
			"dimensions": ["region"], "units": ["user"], "k": 2}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := three(t)
			acme, globex := world.Org("acme"), world.Org("globex")
			backend := gatewaytest.NewBackend(t)
			globex.Source = backend.Source()
			globex.Releases("acme", decision)
			globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{samples: 100}" })
			acme.QueryTimeout = time.Minute
			world.Start()

			const expr = "sum by (org) (rate(http_requests_total[5m]))"
			reply := acme.AsksRange(expr, 15*time.Second)
			const told = "the answer would have at least 120 samples for each series, and the limit is 100 samples; ask for less time or a larger step"
			if part := reply.Completeness(t)["globex"]; part.Status != federation.Denied || part.Reason != told {
				t.Errorf("globex is %+v", part)
			}
			if record := exchange(t, globex, reply); len(record) != 1 || !strings.Contains(record[0].Reason, string(tenants.OverSamples)) {
				t.Errorf("globex recorded %+v", record)
			}
			if asked := backend.Waiting() + backend.Abandoned(); asked > 0 {
				t.Errorf("globex's store was asked %d times", asked)
			}
			// With a larger step it is.
			backend.Release()
			if part := acme.AsksRange(expr, 30*time.Second).Completeness(t)["globex"]; part.Status != federation.Complete {
				t.Errorf("half as many: %+v", part)
			}
		})
	}
}

func TestMoreQuestionsAtOnceThanAgreed(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	backend := gatewaytest.NewBackend(t)
	globex.Source = backend.Source()
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{concurrent: 1}" })
	world.Start()

	first := make(chan gatewaytest.Reply, 1)
	go func() { first <- acme.Asks(byOrg) }()
	globex.Eventually("the first question is under way", func() bool { return backend.Waiting() == 1 })
	reply := acme.Asks(byOrg)
	missing(t, reply, "globex", federation.Denied, "1 questions are under way already")
	if record := exchange(t, globex, reply); len(record) != 1 || !strings.Contains(record[0].Reason, string(tenants.OverConcurrency)) {
		t.Errorf("globex recorded %+v", record)
	}
	backend.Release()
	if part := (<-first).Completeness(t)["globex"]; part.Status != federation.Complete {
		t.Errorf("the first question: %+v", part)
	}
	if part := acme.Asks(byOrg).Completeness(t)["globex"]; part.Status != federation.Complete {
		t.Errorf("the third question: %+v", part)
	}
}

// The owner decides on its agreement: who asks under one that is over, or for
// a purpose that isn't in it, is told what everybody is told.
func TestOutsideTheOwnersAgreement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*gatewaytest.Agreement)
		reason tenants.Reason
	}{
		"expired":            {func(a *gatewaytest.Agreement) { a.NotAfter = time.Now().Add(-time.Minute) }, tenants.Expired},
		"undeclared purpose": {func(a *gatewaytest.Agreement) { a.Purposes = []string{"incident-response"} }, tenants.PurposeNotAgreed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := three(t)
			acme, globex := world.Org("acme"), world.Org("globex")
			globex.Agrees("acme", c.change)
			world.Start()
			reply := acme.Asks(byOrg)
			missing(t, reply, "globex", federation.Denied, federation.NotAllowed)
			statusSeries(t, acme, "globex", federation.Denied)
			record := exchange(t, globex, reply)
			if len(record) != 1 || record[0].Outcome != gateway.Refused || record[0].ErrorKind != federation.Refused ||
				!strings.Contains(record[0].Reason, string(c.reason)) || record[0].Principal.Org != "acme" {
				t.Errorf("globex recorded %+v", record)
			}
		})
	}
}

// What our own agreement doesn't cover isn't even asked.
func TestOutsideTheAskersAgreement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*gatewaytest.Agreement)
		purpose string
		said    string
	}{
		"expired": {
			change: func(a *gatewaytest.Agreement) { a.NotAfter = time.Now().Add(-time.Minute) },
			said:   "our agreement does not cover it: refused: " + string(tenants.Expired),
		},
		"undeclared purpose": {
			change: func(a *gatewaytest.Agreement) { a.Purposes = []string{"capacity"} },
			said:   "our agreement names neither the purpose slo-review nor a broader one; it is for capacity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := three(t)
			acme := world.Org("acme")
			acme.Agrees("globex", c.change)
			world.Start()
			missing(t, acme.Asks(byOrg), "globex", federation.Denied, c.said)
			if n := len(world.Org("globex").Audited()); n != 0 {
				t.Errorf("globex was asked %d times", n)
			}
		})
	}
	t.Run("a purpose nobody agreed to", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		world.Start()
		reply := world.Org("acme").Asks(byOrg, front.PurposeHeader, "curiosity")
		if diff := cmp.Diff(without("globex", "initech"), reply.Vector(t)); diff != "" {
			t.Error(diff)
		}
		for _, org := range []tenants.OrgID{"globex", "initech"} {
			if part := reply.Completeness(t)[org]; part.Status != federation.Denied || !strings.Contains(part.Reason, "curiosity") {
				t.Errorf("%s is %+v", org, part)
			}
		}
	})
}
