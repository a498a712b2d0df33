package attacks

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/tools/pinned"
)

// arena is where attacks are made: one store with all worlds, and the servers
// that answer from it.
type arena struct {
	worlds  []*world
	grounds []*ground
	// owner asks globex's gateway as one of its own people.
	owner  asker
	random *rand.Rand
	alpha  float64
}

// ground is one place to ask at.
type ground struct {
	name   string
	policy string // empty where there is none of parley's
	door   string
	// asks returns who asks there; a secret's own policy has a purpose of its own.
	asks func(unhidden string) asker
}

// hides says whether a policy hides something there.
func (g *ground) hides() bool { return g.policy != "" && g.policy != Unhidden }

// purposes are those for which globex answers by each policy.
var purposes = map[string]string{Rows: "slo-review", Cells: "capacity", CoarseCells: "capacity-review", Events: "audit", Floors: "incident-response", Spans: "traces", Boundary: "boundary"}

// newArena starts the servers, a label proxy among them if it is wanted.
func newArena(t testing.TB, n int, r *rand.Rand, proxied bool) *arena {
	t.Helper()
	end := time.Now().Truncate(time.Minute)
	a := &arena{worlds: newWorlds(n, end, r), random: r}
	prometheus := a.prometheus(t)
	free := freeAddresses(t, 6)
	globex, acme := newOrg(t, "globex", free[0], free[1]), newOrg(t, "acme", free[2], free[3])
	globex.agrees(t, acme, globexAnswersAcme)
	acme.agrees(t, globex, "")
	globex.serves(t, fmt.Sprintf("metrics: {prometheus: {url: %q}, max_samples: %d}\ntraces: {store: {otlp_http_listen: %q}}", prometheus.URL, maxSamples, free[5]))
	acme.serves(t, "metrics: {tsdb: {dir: tsdb}}")
	sendTraces(t, free[5], a.worlds)

	transport := &http.Transport{MaxIdleConnsPerHost: 2 * atOnce}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	conn := dialPeer(t, acme, globex)
	a.owner = overHTTP{client: client, base: globex.url()}
	at := func(base string) func(string) asker {
		return func(string) asker { return overHTTP{client: client, base: base} }
	}
	a.grounds = []*ground{{name: Direct, asks: func(string) asker {
		return bySignal{metrics: overHTTP{client: client, base: prometheus.URL}, traces: a.owner}
	}}}
	if proxied {
		a.grounds = append(a.grounds, &ground{name: LabelProxy, asks: at(labelProxy(t, free[4], prometheus.URL))})
	}
	for _, policy := range []string{Unhidden, Rows, Cells, CoarseCells, Events, Floors, Spans, Boundary} {
		purpose := func(unhidden string) string { return cmp.Or(purposes[policy], unhidden) }
		a.grounds = append(a.grounds,
			&ground{Ground(policy, Front), policy, Front, func(unhidden string) asker {
				return overHTTP{client: client, base: acme.url(), purpose: purpose(unhidden)}
			}},
			&ground{Ground(policy, Peer), policy, Peer, func(unhidden string) asker {
				return overPeer{conn: conn, purpose: purpose(unhidden)}
			}})
	}
	return a
}

// bySignal asks one or the other.
type bySignal struct{ metrics, traces asker }

func (b bySignal) ask(ctx context.Context, q question) (reply, error) {
	if asksTraces(q.path) {
		return b.traces.ask(ctx, q)
	}
	return b.metrics.ask(ctx, q)
}

// prometheus starts globex's, with what is scraped from denied targets too.
func (a *arena) prometheus(t testing.TB) *servers.Server {
	t.Helper()
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, world := range a.worlds {
			if r.URL.Path == "/"+world.service {
				_, _ = fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s gauge\n%[1]s 1\n", helpedMetric(world), world.named(helped))
			}
		}
	}))
	t.Cleanup(exporter.Close)
	var targets, rules strings.Builder
	for _, w := range a.worlds {
		fmt.Fprintf(&targets, "      - targets: [%q]\n        labels: {__metrics_path__: /%s, service: %s, tenant: %s, pod: %s}\n",
			strings.TrimPrefix(exporter.URL, "http://"), w.service, w.service, internal, w.named(targeted))
		fmt.Fprintf(&rules, "      - alert: overdue\n        expr: vector(1)\n        labels: {service: %s, tenant: %s, owner: %s}\n", w.service, internal, w.named(owning))
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte("groups:\n  - name: payroll\n    interval: 1s\n    rules:\n"+rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := servers.Prometheus(t, servers.PrometheusConfig{
		Data: store(t, a.worlds),
		Config: `
global: {scrape_interval: 2s}
rule_files: [` + file + `]
scrape_configs:
  - job_name: denied
    static_configs:
` + targets.String(),
		Flags: []string{
			"--enable-feature=exemplar-storage,promql-experimental-functions", fmt.Sprint("--query.max-samples=", maxSamples),
		},
	})
	ready := overHTTP{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, base: p.URL}
	eventually(t, func() string {
		r, err := ready.ask(t.Context(), question{path: "/api/v1/query", form: url.Values{"query": {`count(up == 1) + count(ALERTS)`}}})
		if v, _ := r.value(); err != nil || int(v) != 2*len(a.worlds) {
			return fmt.Sprint("targets and alerts of all worlds, instead of ", r.body, err)
		}
		return ""
	})
	return p
}

// helpedMetric is a denied metric with a help text.
func helpedMetric(w *world) string { return "internal_" + w.service + "_info" }

// labelProxy starts prom-label-proxy, which lets through what has the label
// tenant of what is shared.
func labelProxy(t testing.TB, address, upstream string) string {
	t.Helper()
	bin, err := pinned.Build(t.Context(), "prom-label-proxy", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return servers.Start(t, address, "/healthz", filepath.Join(bin, "prom-label-proxy"),
		"-insecure-listen-address="+address, "-upstream="+upstream, "-label=tenant", "-label-value="+shared, "-enable-label-apis").URL
}

// eventually waits until nothing is missing any more.
func eventually(t testing.TB, missing func() string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		what := missing()
		if what == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not within 30s: %s", what)
		case <-again.C:
		}
	}
}

// attempt is an attack in one world on one ground.
type attempt struct {
	context.Context
	*world
	asker asker
	owner asker

	seen []string
	err  error // the first failure to ask at all
}

// put asks a question.
func (a *attempt) put(q question) reply {
	r, err := a.asker.ask(a, q)
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("%s %v: %w", q.path, q.form, err)
	}
	seen := r.canonical(a.world)
	if asksTraces(q.path) {
		seen = ofAnyWorld(seen)
	}
	a.seen = append(a.seen, seen)
	return r
}

// asks asks for an expression at the end of the data. SERVICE stands for the
// matcher of the world.
func (a *attempt) asks(expression string) reply { return a.asksAt(expression, a.end) }

func (a *attempt) asksAt(expression string, at time.Time) reply {
	return a.put(question{path: "/api/v1/query", form: url.Values{"query": {a.of(expression)}, "time": {seconds(at)}}})
}

// asksRange asks for an expression from start to end.
func (a *attempt) asksRange(expression string, start, end time.Time, step time.Duration) reply {
	return a.put(question{path: "/api/v1/query_range", form: url.Values{
		"query": {a.of(expression)}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}})
}

// lists asks a listing for what selectors match in the last half hour.
func (a *attempt) lists(path string, selectors ...string) reply {
	form := url.Values{"start": {seconds(a.end.Add(-30 * time.Minute))}, "end": {seconds(a.end)}}
	for _, s := range selectors {
		form.Add("match[]", a.of(s))
	}
	return a.put(question{path: path, form: form})
}

func (a *attempt) of(expression string) string {
	return strings.ReplaceAll(expression, "SERVICE", fmt.Sprintf("service=%q", a.service))
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// atOnce is how many worlds are attacked at once.
const atOnce = 8

// run makes an attack in every world on a ground.
func (a *arena) run(t testing.TB, k *attack, g *ground) Got {
	t.Helper()
	attempts := make([]*attempt, len(a.worlds))
	guesses := make([]int, len(a.worlds))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, w := range a.worlds {
		attempts[i] = &attempt{Context: t.Context(), world: w, asker: g.asks(k.of.unhidden), owner: a.owner}
		if k.guess == nil {
			continue
		}
		group.Go(func() error {
			guesses[i] = k.guess(attempts[i])
			return attempts[i].err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("%s on %s: %v", k.name, g.name, err)
	}
	out := Got{Trials: len(a.worlds)}
	alpha := a.alpha
	if k.watch != nil {
		guesses, out.Slower = a.timed(t, k, attempts)
		alpha = timedAlpha
	}
	truth, seen := make([]int, len(a.worlds)), make([]string, len(a.worlds))
	for i, w := range a.worlds {
		truth[i], seen[i] = w.truth[k.of], strings.Join(attempts[i].seen, "\n")
		if guesses[i] == truth[i] {
			out.Right++
		}
	}
	out.Bits = Learned(k.of.values, out.Right, out.Trials, alpha)
	out.Ways = len(slices.Compact(slices.Sorted(slices.Values(seen))))
	if g.hides() && out.Bits == 0 {
		out.Seen = Distinguishable(truth, seen, a.random, a.alpha)
	}
	return out
}
