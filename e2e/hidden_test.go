package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/gateway/front"
)

// leaks are the things of partners that are in a text and must not be.
func (w *world) leaks(text string) []string {
	found := regexp.MustCompile(`secret[-_](globex|initech)[-_]\w+`).FindAllString(text, -1)
	for _, o := range []*org{w.globex, w.initech} {
		// Values of the label instance.
		for _, address := range []string{o.node.Address, o.shop.address(), o.prometheus.Address, o.front} {
			if strings.Contains(text, address) {
				found = append(found, address)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// whole is all of a reply as text.
func (r reply) whole(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := r.header.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String() + r.body
}

func hiddenIsNowhere(t *testing.T, w *world) {
	span := url.Values{"start": {seconds(w.at.Add(-time.Minute))}, "end": {seconds(w.at)}}
	with := func(values url.Values, more ...string) url.Values {
		out := url.Values{}
		for name, v := range values {
			out[name] = v
		}
		for pair := range slices.Chunk(more, 2) {
			out.Add(pair[0], pair[1])
		}
		return out
	}
	visible := map[string]int{}
	for _, q := range []struct {
		path string
		form url.Values
	}{
		{"/api/v1/labels", span},
		{"/api/v1/labels", nil},
		{"/api/v1/labels", with(span, "match[]", `{org="globex"}`)},
		{"/api/v1/label/__name__/values", span},
		{"/api/v1/label/customer/values", span},
		{"/api/v1/label/instance/values", span},
		{"/api/v1/label/job/values", nil},
		{"/api/v1/label/nodename/values", span},
		{"/api/v1/label/" + secretName("globex", "ward") + "/values", span},
		{"/api/v1/series", with(span, "match[]", `{org=~".+"}`)},
		{"/api/v1/series", with(span, "match[]", `orders_total`, "match[]", `up`)},
		{"/api/v1/series", with(span, "match[]", `{__name__=~".*salary"}`)},
		{"/api/v1/metadata", nil},
		{"/api/v1/metadata", url.Values{"metric": {secretName("globex", "salary")}}},
		{"/api/v1/query_exemplars", with(span, "query", `orders_total`)},
		{"/api/v1/query_exemplars", with(span, "query", `{__name__=~".+"}`)},
		{"/api/v1/query", url.Values{"query": {`{__name__=~".+"}`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`{__name__=~".+",org!="acme"}`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`up`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`orders_total`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`orders_total{org="initech"}`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`orders_total{org="globex"}`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`count by (customer, instance, cpu, nodename) ({__name__=~".+"})`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`orders_total * on (region) group_left (customer) orders_total`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`up / on (job) node_cpu_seconds_total`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`label_replace(up, "job", "$1", "instance", "(.*)")`}, "time": {seconds(w.at)}}},
		{"/api/v1/query", url.Values{"query": {`count_values("region", node_cpu_seconds_total)`}, "time": {seconds(w.at)}}},
		{"/api/v1/query_range", with(span, "query", `{org=~"globex|initech",customer!=""}`, "step", "5")},
		{"/api/v1/query_range", with(span, "query", `rate(orders_total[10s])`, "step", "5")},
		{"/api/v1/targets", nil},
		{"/api/v1/status/tsdb", nil},
		{"/api/v1/rules", nil},
		{"/federate", url.Values{"match[]": {`{__name__=~".+"}`}}},
		{"/-/ready", nil},
		{"/metrics", nil},
	} {
		r := asks(t, w.acme.url(), q.path, q.form)
		if q.path != "/-/ready" { // which tells the operator where partners are
			if found := w.leaks(r.whole(t)); len(found) > 0 {
				t.Errorf("%s %v has %q:\n%.2000s", q.path, q.form, found, r.whole(t))
			}
		}
		if r.status >= 500 {
			t.Errorf("%s %v: %d %s", q.path, q.form, r.status, r.body)
		}
		if r.status == http.StatusOK {
			for _, org := range []string{"globex", "initech"} {
				if strings.Contains(r.body, org) {
					visible[org]++
				}
			}
		}
	}
	for _, org := range []string{"globex", "initech"} {
		if visible[org] < 8 {
			t.Errorf("%s is in only %d answers: the test is blind", org, visible[org])
		}
	}
	// Their own people see what acme doesn't, so there was something to find.
	own := w.globex.asks(t, `count by (customer, instance) (orders_total{org="globex"})`, w.at)
	if len(w.leaks(own.body)) == 0 {
		t.Errorf("globex doesn't see its own customers: %s", own.body)
	}
	if own := asks(t, w.globex.url(), "/api/v1/metadata", nil); !strings.Contains(own.body, secret("globex", "help")) {
		t.Errorf("globex doesn't see its own metadata: %s", own.body)
	}
}

// guessesAreWorthNothing asks for hidden values that are there and for others
// that aren't: byte for byte the same.
func guessesAreWorthNothing(t *testing.T, w *world) {
	for _, probe := range []string{
		`count(orders_total{org="globex",customer="GUESS"})`,
		`sum by (org) (orders_total{customer!="GUESS"})`,
		`sum(orders_total{org="initech",customer="GUESS"})`,
		`absent(orders_total{org="globex",customer=~"GUESS.*"})`,
		`scalar(orders_total{org="globex",customer="GUESS"}) > bool 1`,
		`sum by (org) (up) unless on () sum(orders_total{org="globex",customer="GUESS"})`,
		`count({org="globex",employee="GUESS"})`,
	} {
		right, wrong := secret("globex", "ada"), secret("globex", "zoe")
		if strings.Contains(probe, "initech") {
			right, wrong = secret("initech", "ada"), secret("initech", "zoe")
		}
		for path, form := range map[string]url.Values{
			"/api/v1/query":           {"time": {seconds(w.at)}},
			"/api/v1/query_exemplars": {"start": {seconds(w.at.Add(-time.Minute))}, "end": {seconds(w.at)}},
		} {
			said := func(guess string) string {
				form.Set("query", strings.ReplaceAll(probe, "GUESS", guess))
				r := asks(t, w.acme.url(), path, form)
				if r.status != http.StatusOK {
					t.Errorf("%s %s: %d %s", path, form, r.status, r.body)
				}
				return strings.ReplaceAll(r.body, guess, "GUESS")
			}
			if diff := cmp.Diff(said(wrong), said(right)); diff != "" {
				t.Errorf("%s %s (-wrong guess +right guess):\n%s", path, probe, diff)
			}
		}
	}
}

func hiddenLabels(t *testing.T, w *world) {
	if got := promtoolLines(t, "labels", w.acme.url(), "org"); !slices.Equal(got, []string{"acme\n", "globex\n", "initech\n"}) {
		t.Errorf("organizations: %q", got)
	}
	// Names: those of initech's metrics that its policy releases to acme.
	start, end := "--start="+seconds(w.at.Add(-time.Minute)), "--end="+seconds(w.at)
	names := promtoolLines(t, "labels", start, end, `--match={org="initech"}`, w.acme.url(), "__name__")
	want := []string{
		"node_cpu_seconds_total\n", "order_seconds\n", "order_seconds_bucket\n", "order_seconds_count\n", "order_seconds_sum\n", "orders_total\n", "up\n",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names of initech's metrics (-want +got):\n%s", diff)
	}
	// Values of a pseudonymized label can't be told apart from any others, and
	// those of one that is dropped aren't there.
	pseudonym := regexp.MustCompile(`^p-[a-z2-7]{20}\n$`)
	for who, c := range map[string]struct {
		label string
		want  int
	}{"globex": {"instance", 4}, "initech": {"customer", len(customers)}} {
		got := promtoolLines(t, "labels", start, end, `--match={org="`+who+`"}`, w.acme.url(), c.label)
		if len(got) != c.want || slices.ContainsFunc(got, func(v string) bool { return !pseudonym.MatchString(v) }) {
			t.Errorf("%s of %s: %q", c.label, who, got)
		}
	}
	for who, label := range map[string]string{"globex": "customer", "initech": "instance"} {
		if got := promtoolLines(t, "labels", start, end, `--match={org="`+who+`"}`, w.acme.url(), label); len(got) > 1 || len(got) == 1 && got[0] != "\n" {
			t.Errorf("%s of %s: %q", label, who, got)
		}
	}
	series := strings.Join(promtoolLines(t, "series", start, end, `--match=up{org=~"globex|initech"}`, w.acme.url()), "")
	if n := strings.Count(series, "\n"); n != 8 || len(w.leaks(series)) > 0 || strings.Count(series, `instance="p-`) != 4 {
		t.Errorf("series:\n%s", series)
	}
	// Series that differ only in what is hidden must not be merged unnoticed:
	// the error says what to do, in the words of the policy.
	r := w.acme.asks(t, `orders_total{org="globex"}`, w.at)
	if a := r.answer(t); r.status != http.StatusUnprocessableEntity || !strings.HasPrefix(a.Error, "globex: ") ||
		!strings.Contains(a.Error, "aggregate them away, for example with sum by (") {
		t.Errorf("series that differ in what is hidden: %d %s", r.status, r.body)
	}
}

func exemplars(t *testing.T, w *world) {
	r := asks(t, w.acme.url(), "/api/v1/query_exemplars", url.Values{
		"query": {`orders_total`}, "start": {seconds(w.at.Add(-time.Minute))}, "end": {seconds(time.Now())},
	})
	for _, want := range []string{`"org":"acme"`, `"org":"globex"`, `"org":"initech"`, `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`, secret("acme", "ada")} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %s in the exemplars: %.3000s", want, r.body)
		}
	}
	if found := w.leaks(r.whole(t)); len(found) > 0 {
		t.Errorf("%q in the exemplars: %s", found, r.body)
	}
}

// remoteRead has a fourth Prometheus read what acme may see of all three.
func remoteRead(t *testing.T, w *world) {
	reader := servers.Prometheus(t, servers.PrometheusConfig{Config: `
scrape_configs: []
remote_read:
  - url: ` + w.acme.url() + `/api/v1/read
    read_recent: true
    headers: {` + front.CaseHeader + `: INC-7}
`})
	const question = `sum by (org, job) (up)`
	if diff := cmp.Diff(promtoolInstant(t, w.acme.url(), "", question, w.at), promtoolInstant(t, reader.URL, "", question, w.at)); diff != "" {
		t.Errorf("-asked +read:\n%s", diff)
	}
	read := asks(t, reader.URL, "/api/v1/query", url.Values{"query": {`{org=~".+",job="shop"}`}, "time": {seconds(w.at)}})
	if found := w.leaks(read.body); len(found) > 0 {
		t.Errorf("%q was read: %s", found, read.body)
	}
}
