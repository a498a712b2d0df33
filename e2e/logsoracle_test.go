package e2e

import (
	"flag"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

var logsQueries = flag.Int("e2e.logs", 5000, "how many random queries TestLogsOracle compares")

// everyLine lets a partner see all of an owner's logs.
const everyLine = `{"allow": true, "datasets": [{"name": "all", "streams": ["{}"], "release": "row", "labels": {"*": "keep"}, "line": "keep"}]}`

// union is a federation of three gateways, and one real Loki that holds what
// the three of them hold.
type union struct {
	loki   servers.Loki
	tenant string
	world  *gatewaytest.World
	client *http.Client
	start  time.Time // of the first entry; there are some for ten minutes
}

func newUnion(t *testing.T, r *rand.Rand) *union {
	t.Helper()
	orgs := []tenants.OrgID{"acme", "globex", "initech"}
	u := &union{
		loki: startLogQLLoki(t), tenant: "union-" + strconv.FormatUint(uint64(r.Uint32()), 10), world: gatewaytest.New(t, orgs...),
		client: &http.Client{Transport: &http.Transport{}}, start: time.Unix(1767323000, 0).Truncate(time.Minute),
	}
	t.Cleanup(u.client.CloseIdleConnections)
	stores := map[tenants.OrgID]*logs.Store{}
	for _, org := range orgs {
		stores[org] = u.world.Org(org).Writes()
		if org != "acme" {
			u.world.Org(org).Releases("acme", everyLine)
			u.world.Org(org).Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1000000, range: 100y}" })
		}
	}
	streams := map[string]*servers.LokiStream{}
	for _, e := range logqltest.Entries(r, 900, u.start, 700*time.Millisecond) {
		if strings.Contains(e.Line, `""`) {
			continue // above range aggregations a label that is empty isn't there
		}
		org := orgs[r.IntN(len(orgs))]
		if err := stores[org].Append(time.Unix(0, e.At), e.Line, e.Stream, e.Metadata); err != nil {
			t.Fatal(err)
		}
		stream := labels.NewBuilder(e.Stream).Set("org", string(org)).Labels()
		s := streams[stream.String()]
		if s == nil {
			s = &servers.LokiStream{Labels: stream.Map()}
			streams[stream.String()] = s
		}
		s.Entries = append(s.Entries, servers.LokiEntry{Time: time.Unix(0, e.At), Line: e.Line, Metadata: e.Metadata.Map()})
	}
	for _, s := range streams {
		u.loki.Push(t, u.tenant, *s)
	}
	u.world.Start()
	return u
}

// ask asks the Loki, and the gateways at acme's front door.
func (u *union) ask(t *testing.T, parameters url.Values) (want []string, wantErr error, got []string, gotErr error) {
	t.Helper()
	want, wantErr = askLoki(t, u.client, u.loki.URL, u.tenant, parameters)
	got, gotErr = askLoki(t, u.client, u.world.Org("acme").URL(), "", parameters)
	if query := parameters.Get("query"); strings.HasPrefix(query, "topk") || strings.HasPrefix(query, "bottomk") {
		got, want = valuesOf(got), valuesOf(want) // which of equal ones are among them is left open
	}
	return want, wantErr, got, gotErr
}

// TestLogsOracle asks both the same random questions.
func TestLogsOracle(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(uint64(seed), 6))
	u := newUnion(t, r)
	g := logqltest.Across(r, "acme", "globex", "initech|acme")
	same, empty, failed, refused, knowingly := 0, 0, 0, map[string]int{}, map[string]int{}
	for range *logsQueries {
		query := g.Metric()
		if r.IntN(2) == 0 {
			query = g.Log()
		}
		parameters := url.Values{
			"query": {query}, "direction": {[]string{"forward", "backward"}[r.IntN(2)]}, "limit": {[]string{"1", "7", "100", "5000"}[r.IntN(4)]}, "step": {"20s"},
			"start": {strconv.FormatInt(u.start.Add(time.Duration(r.IntN(2)*r.IntN(90_000))*time.Millisecond).UnixNano(), 10)},
			"end":   {strconv.FormatInt(u.start.Add(12*time.Minute-time.Duration(r.IntN(2)*r.IntN(90_000))*time.Millisecond).UnixNano(), 10)},
		}
		want, wantErr, got, gotErr := u.ask(t, parameters)
		if why := refusedByName(query, gotErr); why != "" && wantErr == nil {
			refused[why]++
			continue
		}
		diff := differenceOf(got, gotErr, want, wantErr)
		if why := differsKnowingly(query, got, want, wantErr); diff != "" && why != "" {
			knowingly[why]++
			continue
		}
		switch {
		case diff != "":
			t.Errorf("%s\n direction %s limit %s\n%s", strings.ReplaceAll(query, "\n", " "), parameters.Get("direction"), parameters.Get("limit"), diff)
		case wantErr != nil:
			failed++
		case len(want) == 0:
			empty++
		default:
			same++
		}
	}
	t.Logf("%d queries: %d with the same answer, %d with none, %d refused by both, refused by us: %v, otherwise: %v", *logsQueries, same, empty, failed, refused, knowingly)
	others := 0
	for _, n := range knowingly {
		others += n
	}
	if same < *logsQueries/3 || others > *logsQueries/50 {
		t.Error("that shows too little")
	}
}

// valuesOf are points without their labels.
func valuesOf(points []string) []string {
	var out []string
	for _, p := range points {
		out = append(out, p[strings.LastIndex(p, "} at ")+1:])
	}
	slices.Sort(out)
	return out
}

// differsKnowingly is why our answer is another one than Loki's, if it is one of
// the reasons that the documents name; see LOGQL.md.
func differsKnowingly(query string, got, want []string, wantErr error) string {
	ends := func(text string) bool {
		return slices.ContainsFunc(got, func(point string) bool { return strings.HasSuffix(point, text) })
	}
	switch {
	case unclear(want):
		return "a label that is empty isn't there"
	case wantErr != nil && len(got) == 0 && strings.Contains(wantErr.Error(), "matching"):
		return "with nothing on one side, nothing need match on the other"
	case strings.Contains(query, "std") && ends("NaN"):
		return "to Loki a single NaN deviates by 0"
	case strings.Contains(query, "avg") && ends("Inf"):
		return "to Loki an average with infinity is none"
	}
	return ""
}

// refusedByName is why a gateway doesn't answer what a Loki does, if it is one
// of the reasons that the documents name.
func refusedByName(query string, err error) string {
	if err == nil {
		return ""
	}
	for _, refusal := range []struct{ of, says, why string }{
		{"", "no stage may set it", "sets the label org"},
		{"label_replace", "the expression can't be evaluated", "label_replace makes two series one"},
	} {
		if strings.Contains(query, refusal.of) && strings.Contains(err.Error(), refusal.says) {
			return refusal.why
		}
	}
	return ""
}
