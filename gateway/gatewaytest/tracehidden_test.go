package gatewaytest_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

var (
	tracesSeed      = flag.Int64("traces.seed", 1, "seed of the random attacks on traces; 0 takes one from the clock")
	tracesQuestions = flag.Int("traces.questions", 80, "how many random attacks on traces are made at each door")
)

// tracesRandom is what is random of a test.
func tracesRandom(t *testing.T, test uint64) *rand.Rand {
	t.Helper()
	seed := *tracesSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -traces.seed=%d)", seed, seed)
	return rand.New(rand.NewPCG(uint64(seed), test))
}

// showingTraces hides nothing.
const showingTraces = `{"allow": true, "pseudonym_epoch": "1d", "datasets": [{"name": "all", "spans": ["{}"], "release": "row", "span": "full"}]}`

// hidingWorlds are two stories that differ in what globex hides from acme.
func hidingWorlds(t *testing.T, decision string) (worlds []*gatewaytest.World, ids []pcommon.TraceID) {
	t.Helper()
	for hidden := range uint64(2) {
		w := gatewaytest.New(t, "acme", "globex")
		globex := w.Org("globex")
		store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
		for seed := range uint64(40) {
			made := tracestest.NewWorld(seed, 2*seed+hidden)
			ids = append(ids, made.IDs()...)
			for _, trace := range made.Traces() {
				if err := store.Append(trace); err != nil {
					t.Fatal(err)
				}
			}
		}
		globex.Traces = store
		globex.Releases("acme", decision)
		globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1000000, range: 100y}" })
		w.Start()
		worlds = append(worlds, w)
	}
	return worlds, ids
}

// receivedTraces is all that a partner gets.
func receivedTraces(t *testing.T, c *gatewaytest.Caller, q traces.Question) string {
	t.Helper()
	released, part, err := c.AsksTraces(q)
	part.Cost.Latency = 0
	if err != nil {
		e := federation.AsError(err)
		return fmt.Sprint(e.Kind, " ", e.Message, part)
	}
	text := fmt.Sprintf("%+v %q %q %v %v\n", part, released.Names(), released.Values(), released.Operations(), released.Dependencies())
	var marshaler ptrace.JSONMarshaler
	for _, trace := range released.Traces() {
		spans, err := marshaler.MarshalTraces(trace.Spans)
		if err != nil {
			t.Fatal(err)
		}
		text += trace.ID.String() + " " + string(spans) + "\n"
	}
	return text
}

// TestThePeerDoorTellsNoHiddenTraces asks two worlds the same that differ in what
// globex's policy hides from acme: not a byte differs of what acme is sent. Where
// the policy hides nothing, much does.
func TestThePeerDoorTellsNoHiddenTraces(t *testing.T) {
	t.Parallel()
	hiding, ids := hidingWorlds(t, tracestest.Decision)
	showing, _ := hidingWorlds(t, showingTraces)
	caller := func(w *gatewaytest.World) *gatewaytest.Caller {
		return w.Caller(w.Org("acme").Issue("/parley", time.Hour), "globex", "")
	}
	one, other, open, openOther := caller(hiding[0]), caller(hiding[1]), caller(showing[0]), caller(showing[1])
	r := tracesRandom(t, 4)
	a := tracestest.NewAttacker(r)
	differ := 0
	for range *tracesQuestions {
		var q traces.Question
		switch r.IntN(6) {
		case 0:
			q = traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{ids[r.IntN(len(ids))]}}
		case 1:
			q = a.Listing([]policy.Kind{policy.LabelNames, policy.LabelValues, policy.Operations, policy.Dependencies}[r.IntN(4)])
		default:
			q = a.Search()
		}
		if got, want := receivedTraces(t, one, q), receivedTraces(t, other, q); got != want {
			t.Errorf("%+v\n%s", q, cmp.Diff(got, want))
		}
		if receivedTraces(t, open, q) != receivedTraces(t, openOther, q) {
			differ++
		}
	}
	t.Logf("%d of %d differ where nothing is hidden", differ, *tracesQuestions)
	if differ < *tracesQuestions/3 {
		t.Errorf("%d of %d attacks succeed where nothing is hidden: the test is blind", differ, *tracesQuestions)
	}
}

// tracesProbe is a request to one of the doors for traces.
func tracesProbe(r *rand.Rand, a *tracestest.Attacker, ids []pcommon.TraceID) (path string, parameters url.Values, header []string) {
	q := a.Search()
	v := url.Values{"start": {strconv.FormatInt(q.Start.Unix(), 10)}, "end": {strconv.FormatInt(q.End.Unix()+1, 10)}}
	id := ids[r.IntN(len(ids))].String()
	of := func(all ...string) string { return all[r.IntN(len(all))] }
	service := of(tracestest.Web, tracestest.Open, tracestest.Core, tracestest.Vault, tracestest.Batch, tracestest.Secret, "globex")
	switch r.IntN(14) {
	case 0:
		return of("/tempo/api/traces/", "/jaeger/api/traces/", "/jaeger/api/v3/traces/", "/api/parley/v1/traces/") + id, nil, nil
	case 1:
		return "/tempo/api/v2/traces/" + id, nil, []string{"Accept", "application/protobuf"}
	case 2, 3:
		v.Set("q", q.Expression)
		v.Set("limit", strconv.Itoa(q.Limit))
		return of("/tempo/api/search", "/api/parley/v1/traces"), v, nil
	case 4:
		v.Set("q", a.Listing(policy.LabelNames).Expression)
		return of("/tempo/api/v2/search/tags", "/tempo/api/search/tags"), v, nil
	case 5:
		v.Set("q", a.Listing(policy.LabelValues).Expression)
		return "/tempo/api/v2/search/tag/" + url.PathEscape(a.Listing(policy.LabelValues).Label) + "/values", v, nil
	case 6:
		return of("/jaeger/api/services", "/jaeger/api/v3/services"), nil, nil
	case 7:
		return "/jaeger/api/services/" + service + "/operations", nil, nil
	case 8:
		return of("/jaeger/api/operations", "/jaeger/api/v3/operations"), url.Values{"service": {service}}, nil
	case 9:
		return "/jaeger/api/dependencies", url.Values{
			"endTs": {strconv.FormatInt(q.End.UnixMilli(), 10)}, "lookback": {strconv.FormatInt(q.End.Sub(q.Start).Milliseconds()+1, 10)},
		}, nil
	case 10, 11:
		v := url.Values{
			"start": {strconv.FormatInt(q.Start.UnixMicro(), 10)}, "end": {strconv.FormatInt(q.End.UnixMicro(), 10)},
			"service": {service}, "limit": {strconv.Itoa(q.Limit)},
		}
		switch r.IntN(4) {
		case 0:
			v.Set("operation", tracestest.Word(r))
		case 1:
			v.Set("tags", fmt.Sprintf(`{%q:%q}`, of("http.route", "user.id", "db.statement", "error", "k8s.pod.name"), tracestest.Word(r)))
		case 2:
			v.Set(of("minDuration", "maxDuration"), of("10ms", "300ms"))
		}
		return "/jaeger/api/traces", v, nil
	}
	return of("/jaeger/api/v3/traces", "/jaeger/api/v3/trace-summaries"), url.Values{
		"query.service_name": {service}, "query.start_time_min": {q.Start.Format(time.RFC3339Nano)}, "query.start_time_max": {q.End.Format(time.RFC3339Nano)},
		"query.search_depth": {strconv.Itoa(q.Limit)},
	}, nil
}

// kindOf is a path without what is asked for in it.
func kindOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); len(path)-i > 32 {
		return path[:i]
	}
	return path
}

// TestNoTracesEndpointTellsHiddenDifferences asks at acme's doors, in two worlds
// that differ in what globex hides: not a byte of an answer differs.
func TestNoTracesEndpointTellsHiddenDifferences(t *testing.T) {
	t.Parallel()
	hiding, ids := hidingWorlds(t, tracestest.Decision)
	showing, _ := hidingWorlds(t, showingTraces)
	r := tracesRandom(t, 5)
	a := tracestest.NewAttacker(r)
	differ, answered := map[string]int{}, map[string]int{}
	for range *tracesQuestions {
		path, parameters, header := tracesProbe(r, a, ids)
		kind := kindOf(path)
		ask := func(worlds []*gatewaytest.World) (one, other gatewaytest.Reply) {
			return worlds[0].Org("acme").Get(path, parameters, header...), worlds[1].Org("acme").Get(path, parameters, header...)
		}
		one, other := ask(hiding)
		if one.Code != other.Code || !bytes.Equal(one.Body, other.Body) {
			t.Errorf("%s %v\n%s", path, parameters, cmp.Diff(string(one.Body), string(other.Body)))
		}
		if a, b := shape(one.Header), shape(other.Header); a != b {
			t.Errorf("%s %v\n %s\n %s", path, parameters, a, b)
		}
		if one.Code == http.StatusOK && len(one.Body) > 300 {
			answered[kind]++
		}
		if one, other := ask(showing); one.Code != other.Code || !bytes.Equal(one.Body, other.Body) {
			differ[kind]++
		}
	}
	t.Logf("where nothing is hidden differ: %v; something is in %v", differ, answered)
	for _, kind := range []string{
		"/tempo/api/v2/traces", "/tempo/api/search", "/api/parley/v1/traces", "/jaeger/api/traces", "/jaeger/api/v3/traces", "/jaeger/api/v3/trace-summaries", "/jaeger/api/dependencies",
	} {
		if differ[kind] == 0 || answered[kind] == 0 {
			t.Errorf("%s: %d attacks succeed where nothing is hidden, %d are answered: the test is blind", kind, differ[kind], answered[kind])
		}
	}
}
