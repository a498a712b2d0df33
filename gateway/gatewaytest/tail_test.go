package gatewaytest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

const releaseTail = `{"allow": true, "datasets": [{"name": "checkout", "streams": ["{service=\"checkout\"}"], "release": "row",
	"labels": {"service": "keep"}, "line": [{"mask": ["email"]}]}]}`

// tailing are acme and globex, of which each shows the other what its checkout
// writes.
func tailing(t *testing.T) (world *gatewaytest.World, acme, globex *gatewaytest.Org) {
	t.Helper()
	world = gatewaytest.New(t, "acme", "globex")
	acme, globex = world.Org("acme"), world.Org("globex")
	acme.Writes()
	globex.Writes()
	acme.Releases("globex", releaseTail)
	globex.Releases("acme", releaseTail)
	return world, acme, globex
}

func says(o *gatewaytest.Org, text string) { o.Says(text, "service", "checkout", "pod", "p1") }

// records are those of tails, by what they are of.
func records(t *testing.T, o *gatewaytest.Org) map[gateway.TailStage][]audit.Record {
	t.Helper()
	out := map[gateway.TailStage][]audit.Record{}
	for _, r := range o.Audited() {
		if r.Tail != nil {
			out[r.Tail.Stage] = append(out[r.Tail.Stage], r)
		}
	}
	return out
}

func TestTailOfTwoOrganizations(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	says(globex, "before, by ann@example.com")
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	acme.Eventually("what was there comes", func() bool { return tail.Has("globex", "before, by <email>") })
	says(acme, "at acme, by abe@example.com")
	says(globex, "at globex, by gus@example.com")
	globex.Says("salaries", "service", "payroll")
	acme.Eventually("lines come", func() bool {
		return tail.Has("acme", "at acme, by abe@example.com") && tail.Has("globex", "at globex, by <email>")
	})
	if n := globex.Metric("parley_tails", "partner", "acme"); n != 1 {
		t.Errorf("globex says that %v tails run", n)
	}
	for _, l := range tail.Lines() {
		if l.Labels.Get("org") == "globex" && (l.Labels.Has("pod") || l.Labels.Get("service") != "checkout") {
			t.Errorf("globex' line has %s", l.Labels)
		}
	}
	if parts := tail.Reply.Completeness(t); parts["globex"].Status != federation.Complete || len(parts["globex"].Notices) == 0 {
		t.Errorf("completeness %+v", parts)
	}
	tail.Close()

	// Both sides have the evidence under one id: what left was recorded before.
	for _, o := range []*gatewaytest.Org{acme, globex} {
		o.Eventually("the end is recorded", func() bool { return len(records(t, o)[gateway.TailEnded]) == 1 })
	}
	for _, o := range []*gatewaytest.Org{acme, globex} {
		o.Eventually("no tail runs any more", func() bool { return o.Metric("parley_tails") == 0 })
	}
	opened, ended := records(t, globex)[gateway.TailOpened], records(t, globex)[gateway.TailEnded]
	if len(opened) != 1 || opened[0].Lines != 1 || opened[0].Door != gateway.PeerDoor || opened[0].Redactions["mask email"] != 1 {
		t.Errorf("globex recorded the opening %+v", opened)
	}
	asked := records(t, acme)[gateway.TailOpened]
	if len(asked) != 1 || asked[0].Exchange != opened[0].Exchange || asked[0].Kind != policy.Tail || asked[0].Query != `{service="checkout"}` {
		t.Errorf("acme recorded the opening %+v", asked)
	}
	for _, o := range []*gatewaytest.Org{acme, globex} {
		lines, bytes := 0, 0
		for _, stage := range []gateway.TailStage{gateway.TailOpened, gateway.TailGoesOn} {
			for _, r := range records(t, o)[stage] {
				lines, bytes = lines+r.Lines, bytes+r.Bytes
			}
		}
		end := records(t, o)[gateway.TailEnded][0]
		if end.Tail.Lines != lines || end.Tail.Bytes != bytes || lines == 0 || end.Lines != 0 {
			t.Errorf("%s recorded %d lines and %d bytes, and at the end %+v of %d lines", o.ID, lines, bytes, end.Tail, end.Lines)
		}
	}
	if ended[0].Outcome != gateway.Answered || ended[0].Latency <= 0 {
		t.Errorf("globex recorded the end %+v", ended[0])
	}
	if n := globex.Metric("parley_disclosed_lines_total", "partner", "acme", "direction", "answered"); n != 2 {
		t.Errorf("globex counts %v lines", n)
	}
	if n := globex.Metric("parley_questions_total", "partner", "acme", "direction", "answered", "outcome", "answered"); n != 1 {
		t.Errorf("globex counts %v questions", n)
	}
}

// A partner's gateway that is started again doesn't end the tail: that says so,
// and has what was written meanwhile.
func TestTailSurvivesARestart(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })
	strict := acme.Tails(`{service="checkout"}`, 0, front.PartialHeader, "refuse")
	globex.Stop()
	if err := strict.Ended(); !strings.Contains(err.Error(), "would be partial") {
		t.Errorf("a tail for who wants all or nothing ended with %v", err)
	}
	acme.Eventually("it is told", func() bool { return tail.Status("globex") == federation.Unreachable })
	says(globex, "two")
	says(acme, "meanwhile")
	acme.Eventually("the others go on", func() bool { return tail.Has("acme", "meanwhile") })
	globex.Start()
	acme.Eventually("it is told", func() bool { return tail.Status("globex") == federation.Complete })
	says(globex, "three")
	acme.Eventually("nothing is lost", func() bool { return tail.Has("globex", "two") && tail.Has("globex", "three") })
	if got := tail.Texts(); len(got) != 4 {
		t.Errorf("something came twice: %q", got)
	}
	if n := tail.Notices(); len(n) != 2 || !strings.Contains(n[0], "globex is unreachable") || !strings.Contains(n[1], "globex is back") {
		t.Errorf("the notices are %q", n)
	}
	tail.Close()
	// The tail was asked for again under another id, which is in acme's records.
	again := records(t, globex)[gateway.TailOpened]
	acme.Eventually("the id is recorded", func() bool {
		return slices.ContainsFunc(records(t, acme)[gateway.TailGoesOn], func(r audit.Record) bool {
			return slices.ContainsFunc(r.Completeness, func(p audit.Part) bool { return string(p.Exchange) == again[len(again)-1].Exchange })
		})
	})
	if last := again[len(again)-1].Exchange; again[0].Exchange == last {
		t.Errorf("globex was asked under %s again", last)
	}
}

// What ends a tail at the owner ends it now.
func TestTailFollowsPolicyAndAgreement(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })

	// Another policy is another view: the tail goes on under it.
	globex.Releases("acme", strings.Replace(releaseTail, `"service": "keep"`, `"service": "keep", "pod": "keep"`, 1))
	acme.Eventually("what is kept now comes", func() bool {
		says(globex, fmt.Sprint("two ", time.Now().UnixNano()))
		lines := tail.Lines()
		return lines[len(lines)-1].Labels.Has("pod")
	})
	globex.Releases("acme", `{"allow": false}`)
	acme.Eventually("a denial ends it", func() bool { return tail.Status("globex") == federation.Denied })
	says(globex, "nobody sees this")
	tail.Close()
	for _, l := range tail.Texts() {
		if strings.Contains(l, "nobody") {
			t.Errorf("after the denial came %q", l)
		}
	}

	globex.Releases("acme", releaseTail)
	globex.Eventually("policy is loaded", func() bool {
		return strings.Contains(string(acme.AsksLogs(`{service="checkout", org="globex"}`).Body), `"success"`)
	})
	tail = acme.Tails(`{service="checkout"}`, 0)
	acme.Eventually("it goes on", func() bool { return tail.Reply.Completeness(t)["globex"].Status == federation.Complete })
	globex.Revokes("acme")
	acme.Eventually("a revoked agreement ends it", func() bool { return tail.Status("globex") == federation.Denied })
	tail.Close()
	globex.Eventually("it is recorded why", func() bool {
		return slices.ContainsFunc(records(t, globex)[gateway.TailEnded], func(r audit.Record) bool { return r.Outcome == gateway.Refused && r.ErrorKind == federation.Refused })
	})
}

func TestTailsOfOnePartnerAreLimited(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{tails: 2}" })
	world.Start()
	var tails []*gatewaytest.Tail
	for range 3 {
		tails = append(tails, acme.Tails(`{service="checkout"}`, 0))
	}
	if p := tails[1].Reply.Completeness(t)["globex"]; p.Status != federation.Complete {
		t.Errorf("the second one has %+v", p)
	}
	if p := tails[2].Reply.Completeness(t)["globex"]; p.Status != federation.Denied || !strings.Contains(p.Reason, "2 tails run already") {
		t.Errorf("the third one has %+v", p)
	}
	tails[0].Close()
	globex.Eventually("there is room again", func() bool {
		tail := acme.Tails(`{service="checkout"}`, 0)
		defer tail.Close()
		return tail.Reply.Completeness(t)["globex"].Status == federation.Complete
	})
}

// What is refused is refused before there is a WebSocket.
func TestTailIsRefused(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	globex.Releases("acme", `{"allow": false}`)
	world.Start()
	for _, c := range []struct {
		expr string
		code int
		says string
		with []string
	}{
		{`count_over_time({service="checkout"}[5m])`, http.StatusBadRequest, "a tail is of lines", nil},
		{`{service=`, http.StatusBadRequest, "", nil},
		{`{service="checkout", org="globex"}`, http.StatusForbidden, "no agreement or policy allows this", nil},
		{`{service="checkout"}`, http.StatusServiceUnavailable, "partial", []string{"X-Parley-Partial", "refuse"}},
		{`{service="checkout"}`, http.StatusForbidden, "", []string{"Origin", "http://elsewhere.example"}},
	} {
		tail := acme.Tails(c.expr, 10, c.with...)
		if tail.Reply.Code != c.code || !strings.Contains(string(tail.Reply.Body), c.says) {
			t.Errorf("%s: %d %s", c.expr, tail.Reply.Code, tail.Reply.Body)
		}
	}
	if r := acme.Get("/loki/api/v1/tail", map[string][]string{"query": {`{service="checkout"}`}}); r.Code != http.StatusUpgradeRequired {
		t.Errorf("without a WebSocket: %d %s", r.Code, r.Body)
	}
}

// A gateway that ends tells who reads, and records it.
func TestTailEndsWithItsGateway(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })
	begun := time.Now()
	acme.Stop()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the gateway took %s to end", took)
	}
	if err := tail.Ended(); !strings.Contains(err.Error(), "being shut down") {
		t.Errorf("the tail ended with %v", err)
	}
	if ended := records(t, acme)[gateway.TailEnded]; len(ended) != 1 || ended[0].Outcome != gateway.Failed {
		t.Errorf("acme recorded %+v", ended)
	}
	globex.Eventually("globex recorded it", func() bool { return len(records(t, globex)[gateway.TailEnded]) == 1 })
}

// Nothing leaves that can't be recorded.
func TestTailWithoutEvidence(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	disk := globex.FailingAuditor()
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })
	disk.Fails(gatewaytest.Before)
	says(globex, "two")
	acme.Eventually("the tail ends", func() bool { return tail.Status("globex") == federation.Unreachable })
	disk.Fails(gatewaytest.Never)
	acme.Eventually("it goes on", func() bool { return tail.Has("globex", "two") })
	tail.Close()
}

// Who shows an SVID that has expired meanwhile gets nothing more, on a tail that
// runs as on a question.
func TestTailOfAnExpiredSVID(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	acme.SVIDTTL = 6 * time.Second
	world.Start()
	tail := acme.Tails(`{service="checkout"}`, 10)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })
	acme.StopsRenewing()
	acme.Eventually("globex gives no more", func() bool {
		s := tail.Status("globex")
		return s == federation.Denied || s == federation.Unreachable
	})
	says(globex, "nobody sees this")
	says(acme, "our own")
	acme.Eventually("our own lines go on", func() bool { return tail.Has("acme", "our own") })
	tail.Close()
	if tail.Has("globex", "nobody sees this") {
		t.Error("a line came after the SVID had expired")
	}
}

// A reader that doesn't read for a while loses nothing that the store still has, or
// is told how much was left out. Nobody holds it for the reader.
func TestTailThatNobodyReads(t *testing.T) {
	t.Parallel()
	world, acme, globex := tailing(t)
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{lines: 1000000}" })
	world.Start()
	tail := acme.Tails(`{service="checkout", org="globex"}`, 0)
	says(globex, "one")
	acme.Eventually("a line comes", func() bool { return tail.Has("globex", "one") })
	tail.Stalls()
	const written = 2_000 // 20 MB, more than connections hold
	text := strings.Repeat("x", 10_000)
	for n := range written {
		says(globex, fmt.Sprint(n, " ", text))
	}
	tail.Resumes()
	acme.Eventually("lines or the number of the others come", func() bool {
		return len(tail.Lines())+tail.Dropped() > written
	})
	t.Logf("%d lines came, %d were left out, and it was said %q", len(tail.Lines()), tail.Dropped(), tail.Notices())
	tail.Close()
}

// What is shown in an emergency ends with it.
func TestTailOfAnEmergency(t *testing.T) {
	t.Parallel()
	e := newEmergency(t, "{policy: parley.partners.acme_emergency, longest: 1h}")
	e.globex.Writes()
	e.globex.Policy("emergency.rego", `package parley.partners.acme_emergency
decision := {"allow": true, "datasets": [
	{"name": "requests", "series": ["http_requests_total"], "release": "row", "labels": {"region": "keep", "user": "keep"}},
	{"name": "checkout", "streams": ["{service=\"checkout\"}"], "release": "row", "labels": {"service": "keep"}, "line": "keep"},
]} if input.principal.break_glass`)
	e.start()
	tail := e.acme.Tails(`{service="checkout"}`, 10, append(e.is("ada"), front.CaseHeader, "INC-7", front.BreakGlassHeader, why)...)
	says(e.globex, "by ann@example.com")
	e.acme.Eventually("lines come as they are", func() bool { return tail.Has("globex", "by ann@example.com") })
	if notices := tail.Reply.Completeness(t)["globex"].Notices; !slices.ContainsFunc(notices, func(n string) bool { return strings.Contains(n, "under a break-glass grant until") }) {
		t.Errorf("the notices are %q", notices)
	}
	e.later.Store(int64(2 * time.Hour))
	e.acme.Eventually("the grant ends it", func() bool { return tail.Status("globex") == federation.Denied })
	says(e.globex, "nobody sees this")
	ended := records(t, e.globex)[gateway.TailEnded]
	if len(ended) != 1 || !strings.Contains(ended[0].Reason, string(tenants.BreakGlassEnded)) || ended[0].BreakGlass == nil {
		t.Errorf("globex recorded %+v", ended)
	}
	tail.Close()
	if tail.Has("globex", "nobody sees this") {
		t.Error("a line came after the emergency")
	}
}
