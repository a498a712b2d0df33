package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/policy"
)

// TestLogsPushDown asks the same of one Loki twice: once it may evaluate what is
// the same over its raw entries, once all of them are read and go through the
// view.
func TestLogsPushDown(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	loki := startPlainLoki(t)
	start := time.Unix(1767323000, 0).Truncate(time.Minute)
	tenant := "pushed-" + strconv.FormatUint(uint64(r.Uint32()), 10)
	streams := map[string]*servers.LokiStream{}
	for _, e := range logqltest.Entries(r, 700, start, time.Second) {
		stream := e.Stream
		if r.IntN(4) == 0 {
			stream = labels.NewBuilder(stream).Set("org", "someone").Set("user_id", "u-1").Labels()
		}
		s := streams[stream.String()]
		if s == nil {
			s = &servers.LokiStream{Labels: stream.Map()}
			streams[stream.String()] = s
		}
		s.Entries = append(s.Entries, servers.LokiEntry{Time: time.Unix(0, e.At), Line: e.Line, Metadata: e.Metadata.Map()})
	}
	for _, s := range streams {
		loki.Push(t, tenant, *s)
	}
	calls := &lokiCalls{tenant: tenant, next: &http.Transport{}}
	t.Cleanup(calls.next.CloseIdleConnections)
	pushing, viewing := logsOf(t, loki, calls, false), logsOf(t, loki, &lokiCalls{tenant: tenant, next: calls.next}, true)
	all := logsPolicies(start)
	pushed, answered := 0, 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		g := logqltest.Across(r, "globex", "globex", "globex|acme")
		ofPolicy := 0
		for i := range 160 {
			query := g.Metric()
			switch i % 3 {
			case 0:
				query = g.SumOfRange()
			case 1:
				query = dashboard(r)
			}
			q := logs.Question{Kind: policy.Range, Expression: query, Start: start.Add(time.Minute), End: start.Add(10 * time.Minute), Step: 20 * time.Second}
			if r.IntN(3) == 0 {
				q.Kind, q.Start, q.Step = policy.Instant, q.End, 0
			}
			lines := i%4 == 3
			if lines {
				q = logs.Question{Kind: policy.Range, Expression: g.Log(), Start: start, End: start.Add(11 * time.Minute), Limit: 1 + r.IntN(900), Backward: r.IntN(2) == 0}
				query = q.Expression
			}
			before := calls.evaluated.Load()
			got, gotErr := pointsOf(t, pushing, q, all[name])
			wasPushed := calls.evaluated.Load() > before
			want, wantErr := pointsOf(t, viewing, q, all[name])
			if strings.Contains(query, "topk") || strings.Contains(query, "bottomk") {
				got, want = valuesOf(got), valuesOf(want)
			}
			if diff := differenceOf(got, gotErr, want, wantErr); diff != "" {
				t.Errorf("%s: %s\npushed down %t\n%s", name, query, wasPushed, diff)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") && lines && gotErr == nil {
				t.Errorf("%s: %s: lines in another order", name, query)
			}
			if wasPushed && len(want) > 0 {
				ofPolicy++
			}
			if len(want) > 0 {
				answered++
			}
		}
		t.Logf("%s: %d answered by the server", name, ofPolicy)
		if never := strings.HasPrefix(name, "never"); never != (ofPolicy == 0) {
			t.Errorf("%s: %d questions were pushed down", name, ofPolicy)
		}
		pushed += ofPolicy
	}
	t.Logf("%d answers with something, %d from the server", answered, pushed)
	if pushed < 80 || answered < 300 {
		t.Error("the test is blind")
	}
}

// dashboard is a query as panels have them.
func dashboard(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	return "sum" + pick("", " by (app)", " by (org, app)", " by (env, org)", " by (pod)", " by (user_id)") + " (" + pick("rate", "count_over_time", "bytes_rate") +
		"(" + pick(`{app="shop"}`, `{app=~".+"}`, `{env="prod"}`, `{format="json", org="globex"}`, `{user_id="u-1"}`) +
		pick("", ` |= "error"`, ` != "error"`, ` |= "ann"`, ` | json | __error__="" | status >= 500`, ` | level="error"`) + "[1m]))"
}

// logsPolicies are policies of which some hide nothing, some labels, some parts
// of lines. Under some the server may never evaluate: where datasets overlap, or
// what is younger or between two moments is hidden.
func logsPolicies(start time.Time) map[string]policy.Obligations {
	keep := policy.LabelRule{Mode: policy.Keep}
	lines := policy.Line{Mode: policy.LineKeep}
	of := func(d ...policy.Dataset) policy.Obligations { return policy.Obligations{Datasets: d} }
	everything := policy.Dataset{Name: "all", Release: policy.Row, Streams: []policy.Selector{{}}, Others: keep, Line: lines}
	production := everything
	production.Streams = []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "env", "prod")}}
	some := everything
	some.Others, some.Labels = policy.LabelRule{}, map[string]policy.LabelRule{"app": keep, "env": keep, "format": keep, "level": keep, "user_id": {Mode: policy.Pseudonym}}
	masked := some
	masked.Line = policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{Masks: []policy.Mask{{Name: "email"}}}}}
	none := some
	none.Line = policy.Line{Mode: policy.LineNone}
	denied := everything
	denied.Name, denied.Release, denied.Streams = "auth", policy.Deny, []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "app", "auth")}}
	late := of(everything)
	late.NotAfter = start.Add(5 * time.Minute)
	coarse := of(everything)
	coarse.Resolution = 30 * time.Second
	return map[string]policy.Obligations{
		"everything": of(everything), "production": of(production), "some labels": of(some), "masked lines": of(masked), "no lines": of(none),
		"some denied": of(everything, denied), "never: two datasets": of(production, some), "never: time ends": late, "never: time is coarse": coarse,
	}
}

// lokiCalls asks as a tenant, and counts the questions that are for numbers.
type lokiCalls struct {
	tenant    string
	next      *http.Transport
	evaluated atomic.Int64
}

func (c *lokiCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Query().Get("query"), "{") {
		c.evaluated.Add(1)
	}
	r = r.Clone(r.Context())
	r.Header.Set("X-Scope-OrgID", c.tenant)
	return c.next.RoundTrip(r)
}

func logsOf(t *testing.T, loki servers.Loki, calls *lokiCalls, noPushDown bool) *logs.Local {
	t.Helper()
	base, err := url.Parse(loki.URL)
	if err != nil {
		t.Fatal(err)
	}
	source, err := logs.NewLoki(logs.LokiConfig{URL: base, Client: &http.Client{Transport: calls}, NoPushDown: noPushDown})
	if err != nil {
		t.Fatal(err)
	}
	local, err := logs.NewLocal(logs.LocalConfig{Org: "globex", Source: source, Secret: []byte(strings.Repeat("s", 32))})
	if err != nil {
		t.Fatal(err)
	}
	return local
}

func pointsOf(t *testing.T, l *logs.Local, q logs.Question, o policy.Obligations) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	released, _, err := l.Answer(ctx, q, policy.Decision{Allow: true, Obligations: o}, federation.Asking{Org: "acme", ExchangeID: partner.ExchangeID})
	if err != nil {
		return nil, err
	}
	if released.Numbers() == nil {
		var all []string
		for _, e := range released.Entries() {
			all = append(all, entryText(strconv.FormatInt(e.At, 10), e.Line, e.Stream, e.Metadata, e.Parsed))
		}
		return all, nil
	}
	matrix, err := released.Numbers().Matrix()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range matrix {
		for _, p := range s.Floats {
			all = append(all, pointText(s.Metric, p.T, p.F))
		}
	}
	slices.Sort(all)
	return all, nil
}
