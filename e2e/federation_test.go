package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/front"
)

// world is three organizations. acme asks.
type world struct {
	// story is the test that servers live as long as, also those started later.
	story                 *testing.T
	acme, globex, initech *org
	// at is a moment that everybody has scraped; what happens later doesn't
	// change an answer about it.
	at time.Time
}

func (w *world) orgs() []*org { return []*org{w.acme, w.globex, w.initech} }

// TestFederation is one long story, told in order.
func TestFederation(t *testing.T) {
	w := newWorld(t)
	for _, chapter := range []struct {
		title string
		tell  func(*testing.T, *world)
	}{
		{"promtool gets what the three Prometheus servers say", promtoolAsks},
		{"what is hidden is nowhere", hiddenIsNowhere},
		{"a right guess is worth no more than a wrong one", guessesAreWorthNothing},
		{"labels that are hidden are not there", hiddenLabels},
		{"exemplars come without what is hidden", exemplars},
		{"a Prometheus reads the federated view", remoteRead},
		{"both sides have evidence of an exchange", evidence},
		{"the purpose counts", purposes},
		{"trust bundles come from their endpoints", bundles},
		{"a gateway is killed and comes back", killed},
		{"an agreement is revoked and renewed", revoked},
		{"a Prometheus is down", backendDown},
		{"SIGTERM ends a gateway", terminated},
	} {
		if !t.Run(chapter.title, func(t *testing.T) { chapter.tell(t, w) }) {
			return // what follows builds on it
		}
	}
}

func newWorld(t *testing.T) *world {
	w := &world{story: t, acme: newOrg(t, "acme"), globex: newOrg(t, "globex"), initech: newOrg(t, "initech")}
	w.acme.certified(t)
	for _, o := range w.orgs() {
		for _, partner := range w.orgs() {
			if partner != o {
				o.agrees(t, partner)
			}
		}
		o.scrapes(t)
		o.serves(t)
	}
	// Rates need two scrapes of every target of everybody.
	const scraped = `count by (org) (count_over_time(up[1m]) > 2) and on (org) count by (org) (count_over_time(orders_total[1m]) > 2)`
	want := map[string]string{`{org="acme"}`: "4", `{org="globex"}`: "4", `{org="initech"}`: "4"}
	eventually(t, func() string {
		w.at = time.Now().Truncate(time.Millisecond)
		r := w.acme.asks(t, scraped, w.at)
		if r.status != http.StatusOK {
			return r.body
		}
		return cmp.Diff(want, r.vector(t))
	})
	return w
}

// bundles waits until every gateway, also the first to start, has its partners'
// bundles from where they serve them, and not only as they were handed over.
func bundles(t *testing.T, w *world) {
	for _, o := range w.orgs() {
		eventually(t, func() string {
			r := asks(t, o.url(), "/-/ready", nil)
			if r.status != http.StatusOK || strings.Count(r.body, "bundle of ") != 2 || strings.Contains(r.body, "detail") {
				return r.body
			}
			return ""
		})
	}
}

func promtoolAsks(t *testing.T, w *world) {
	// What is visible of everybody, and its sums without what is hidden.
	for ours, theirs := range map[string]string{
		`sum by (org, region) (orders_total)`:                                            `sum by (region) (orders_total)`,
		`sum by (org, region) (rate(orders_total[10s]))`:                                 `sum by (region) (rate(orders_total[10s]))`,
		`max by (org) (orders_total)`:                                                    `max(orders_total)`,
		`count by (org, mode) (node_cpu_seconds_total)`:                                  `count by (mode) (node_cpu_seconds_total)`,
		`sum by (org, job) (up)`:                                                         `sum by (job) (up)`,
		`histogram_quantile(0.5, sum by (org, le) (rate(order_seconds_bucket[10s])))`:    `histogram_quantile(0.5, sum by (le) (rate(order_seconds_bucket[10s])))`,
		`sum by (org, region) (order_seconds)`:                                           `sum by (region) (order_seconds)`,
		`histogram_quantile(0.9, sum by (org) (order_seconds{region=~"e.*"}))`:           `histogram_quantile(0.9, sum(order_seconds{region=~"e.*"}))`,
		`topk by (org) (1, sum by (org, region) (orders_total))`:                         `topk(1, sum by (region) (orders_total))`,
		`sum by (org) (orders_total) / on (org) group_left count by (org) (up == 1) > 0`: `sum(orders_total) / count(up == 1) > 0`,
	} {
		var instant, ranged []map[string]string
		start := w.at.Add(-2 * time.Second)
		for _, o := range w.orgs() {
			instant = append(instant, promtoolInstant(t, o.prometheus.URL, o.name, theirs, w.at))
			ranged = append(ranged, promtoolRange(t, o.prometheus.URL, o.name, theirs, start, w.at, "250ms"))
		}
		want := together(instant...)
		if len(want) < 3 {
			t.Errorf("%s: the three have only %v", theirs, want)
		}
		if diff := cmp.Diff(want, promtoolInstant(t, w.acme.url(), "", ours, w.at)); diff != "" {
			t.Errorf("%s (-asked directly +asked through acme's gateway):\n%s", ours, diff)
		}
		if diff := cmp.Diff(together(ranged...), promtoolRange(t, w.acme.url(), "", ours, start, w.at, "250ms")); diff != "" {
			t.Errorf("%s over a range (-asked directly +asked through acme's gateway):\n%s", ours, diff)
		}
	}
	r := w.acme.asks(t, `sum by (org, region) (orders_total)`, w.at)
	wantStatuses(t, r, nil)
	if a := r.answer(t); len(a.Warnings) > 0 || len(a.Infos) != 1 || !strings.Contains(a.Infos[0], "Redacted by the owner.") {
		t.Errorf("warnings %q and infos %q beside a complete answer", a.Warnings, a.Infos)
	}
}

// wantStatuses asserts that everybody's part is complete but for those named.
func wantStatuses(t *testing.T, r reply, but map[string]federation.Status) {
	t.Helper()
	if diff := cmp.Diff(statuses(but), r.statuses(t)); diff != "" {
		t.Errorf("completeness (-want +got):\n%s\n%s", diff, r.header.Get(front.CompletenessHeader))
	}
}

func statuses(but map[string]federation.Status) map[string]federation.Status {
	want := map[string]federation.Status{"acme": federation.Complete, "globex": federation.Complete, "initech": federation.Complete}
	for name, status := range but {
		want[name] = status
	}
	return want
}

// becomes waits until an answer about orders is complete but for those named,
// and returns it.
func (w *world) becomes(t *testing.T, but map[string]federation.Status) reply {
	t.Helper()
	var r reply
	eventually(t, func() string {
		r = w.acme.asks(t, `sum by (org) (orders_total)`, w.at)
		return cmp.Diff(statuses(but), r.statuses(t))
	})
	return r
}

// isWithout asserts that the answer has everybody's orders but one's, and says so.
func isWithout(t *testing.T, w *world, r reply, missing *org, status federation.Status) {
	t.Helper()
	var want []map[string]string
	for _, o := range w.orgs() {
		if o != missing {
			want = append(want, promtoolInstant(t, o.prometheus.URL, o.name, `sum(orders_total)`, w.at))
		}
	}
	if diff := cmp.Diff(together(want...), r.vector(t)); diff != "" {
		t.Errorf("the others' answer (-want +got):\n%s", diff)
	}
	reason := missing.name + " is " + string(status)
	if a := r.answer(t); len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], reason) {
		t.Errorf("warnings %q, want one with %q", a.Warnings, reason)
	}
	series := w.acme.asks(t, `count by (org, status) (parley_completeness{status!="complete"})`, time.Now())
	if diff := cmp.Diff(map[string]string{`{org="` + missing.name + `", status="` + string(status) + `"}`: "1"}, series.vector(t)); diff != "" {
		t.Errorf("parley_completeness (-want +got):\n%s", diff)
	}
	if strict := w.acme.asks(t, `sum by (org) (orders_total)`, w.at, front.PartialHeader, "refuse"); strict.status < 400 ||
		!strings.Contains(strict.answer(t).Error, missing.name) {
		t.Errorf("who wants no partial answer got %d %s", strict.status, strict.body)
	}
}

// records are what an organization's gateway recorded of an exchange.
func records(t *testing.T, o *org, exchange string) []audit.Record {
	t.Helper()
	var out []audit.Record
	for record, err := range audit.Read(os.DirFS(filepath.Join(o.dir, "audit"))) {
		if err != nil {
			t.Fatal(err)
		}
		if record.Exchange == exchange {
			out = append(out, record)
		}
	}
	return out
}

func evidence(t *testing.T, w *world) {
	const question = `sum by (org, region) (rate(orders_total[10s]))`
	r := w.acme.asks(t, question, w.at, front.CaseHeader, "INC-42")
	exchange := r.header.Get(front.ExchangeHeader)
	if exchange == "" {
		t.Fatalf("no exchange id in %v", r.header)
	}
	asked := records(t, w.acme, exchange)
	if len(asked) != 1 || asked[0].Door != "front" || asked[0].Query != question || asked[0].Outcome != "answered" || len(asked[0].Completeness) != 3 {
		t.Errorf("acme recorded %+v", asked)
	}
	for _, o := range []*org{w.globex, w.initech} {
		answered := records(t, o, exchange)
		if len(answered) == 0 {
			t.Errorf("%s recorded nothing of %s", o.name, exchange)
		}
		for _, record := range answered {
			p := record.Principal
			if record.Door != "peer" || p.Org != "acme" || p.Workload != "spiffe://acme.example/parley" || p.Purpose != "slo-review" || p.Case != "INC-42" ||
				!record.Decision.Allow || record.Decision.Revision == "" || record.Series != len(regions) || !strings.Contains(record.Query, "orders_total") {
				t.Errorf("%s recorded %+v", o.name, record)
			}
		}
	}
	// The gateways' own numbers are metrics like others: globex lets acme see
	// what it answered.
	eventually(t, func() string {
		r := w.acme.asks(t, `sum by (partner) (parley_questions_total{org="globex",direction="answered",outcome="answered"}) > 0`, time.Now())
		if _, ok := r.vector(t)[`{partner="acme"}`]; !ok {
			return "globex's gateway counting acme's questions, in " + r.body
		}
		return ""
	})
}

func purposes(t *testing.T, w *world) {
	r := w.acme.asks(t, `sum by (org) (orders_total)`, w.at, front.PurposeHeader, "incident-response")
	wantStatuses(t, r, map[string]federation.Status{"globex": federation.Denied})
	if part := r.completeness(t)["globex"]; part.Reason != federation.NotAllowed {
		t.Errorf("globex refuses with %q, want no more than %q", part.Reason, federation.NotAllowed)
	}
	r = w.acme.asks(t, `sum by (org) (orders_total)`, w.at, front.PurposeHeader, "curiosity")
	wantStatuses(t, r, map[string]federation.Status{"globex": federation.Denied, "initech": federation.Denied})
}

func killed(t *testing.T, w *world) {
	w.becomes(t, nil)
	w.globex.gateway.Kill(t)
	r := w.becomes(t, map[string]federation.Status{"globex": federation.Unreachable})
	isWithout(t, w, r, w.globex, federation.Unreachable)
	w.globex.serves(w.story)
	w.becomes(t, nil)
}

func revoked(t *testing.T, w *world) {
	file := filepath.Join(w.initech.dir, w.initech.agreement(w.acme))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r := w.becomes(t, map[string]federation.Status{"initech": federation.Denied})
	isWithout(t, w, r, w.initech, federation.Denied)
	if part := r.completeness(t)["initech"]; part.Reason != federation.NotAllowed {
		t.Errorf("initech refuses with %q, want no more than %q", part.Reason, federation.NotAllowed)
	}
	w.initech.write(t, w.initech.agreement(w.acme), string(text))
	w.becomes(t, nil)
}

func backendDown(t *testing.T, w *world) {
	w.globex.prometheus.Kill(t)
	r := w.becomes(t, map[string]federation.Status{"globex": federation.Unreachable})
	const sentence = "the metrics store can't be read now"
	if part := r.completeness(t)["globex"]; part.Reason != sentence {
		t.Errorf("globex is unreachable because %q, want %q", part.Reason, sentence)
	}
	if strings.Contains(r.body, w.globex.prometheus.Address) {
		t.Errorf("the answer tells where globex's Prometheus is: %s", r.body)
	}
	// Their own users hear it as an error, as everything they have is missing.
	own := w.globex.asks(t, `sum by (region) (orders_total{org="globex"})`, w.at)
	if own.status != http.StatusServiceUnavailable || !strings.Contains(own.answer(t).Error, sentence) {
		t.Errorf("globex's own user got %d %s", own.status, own.body)
	}
	if out := w.globex.gateway.Output(); strings.Contains(out, "panic") || !strings.Contains(out, "connection refused") {
		t.Errorf("globex's gateway doesn't say in its log that nobody answers there:\n%s", out)
	}
}

// terminated ends gateways while others hold connections to them.
func terminated(t *testing.T, w *world) {
	for _, o := range w.orgs() {
		began := time.Now()
		o.gateway.Stop(t)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s's gateway took %s to end", o.name, took)
		}
		if code := o.gateway.ExitCode(); code != 0 {
			t.Errorf("%s's gateway ended with %d:\n%s", o.name, code, o.gateway.Output())
		}
		for _, bad := range []string{"panic", "secret-"} {
			if strings.Contains(o.gateway.Output(), bad) {
				t.Errorf("%q is in the log of %s's gateway", bad, o.name)
			}
		}
	}
}
