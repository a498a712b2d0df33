package e2e

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql/traceqltest"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

var tracesQuestions = flag.Int("e2e.traces", 150, "how many random questions TestTracesOracle asks of each Jaeger")

// everyMode shows something of spans in each way that there is, by service.
const everyMode = `{"allow": true, "pseudonym_epoch": "1d", "datasets": [
	{"name": "web", "spans": ["{\"resource.service.name\"=\"web\"}"], "release": "row", "span": "attributes", "labels": {
		"name": "keep", "status": "keep", "resource.service.name": "keep", "span.http.route": "keep", "span.user.id": "pseudonym",
		"span.foo": "keep", "event.foo": "keep", "resource.bar": "keep", "span.bar": "pseudonym", "link.bar": "keep", "event.name": "keep",
		"span.http.status": {"generalize": {"regex": "(.)..", "replacement": "${1}xx"}}}},
	{"name": "open", "spans": ["{\"resource.service.name\"=\"open\"}"], "release": "row", "span": "full"},
	{"name": "core", "spans": ["{\"resource.service.name\"=\"core\"}"], "release": "row", "span": "boundary", "counts": true,
		"labels": {"name": "keep", "span.foo": "keep", "resource.service.name": "keep"}},
	{"name": "vault", "spans": ["{\"resource.service.name\"=\"vault\"}"], "release": "row", "span": "boundary", "durations": "withheld"},
	{"name": "batch", "spans": ["{\"resource.service.name\"=\"batch\"}"], "release": "row", "span": "shape"},
	{"name": "secret", "spans": ["{\"resource.service.name\"=\"secret\"}"], "release": "deny"}]}`

// gatewayOn is acme's and globex's gateway, of which globex's has its traces in a
// source and shows them in every mode.
type gatewayOn struct {
	acme   *gatewaytest.Org
	caller *gatewaytest.Caller
}

func newGatewayOn(t *testing.T, source traces.Source) gatewayOn {
	t.Helper()
	w := gatewaytest.New(t, "acme", "globex")
	globex := w.Org("globex")
	globex.Traces = source
	globex.Releases("acme", everyMode)
	globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1000000, range: 100y}" })
	w.Start()
	return gatewayOn{w.Org("acme"), w.Caller(w.Org("acme").Issue("/parley", time.Hour), "globex", "")}
}

// tells is all that a partner is told, and what it gets; nil with an error.
func (g gatewayOn) tells(t *testing.T, q traces.Question) (text string, released *traces.Released) {
	t.Helper()
	released, part, err := g.caller.AsksTraces(q)
	part.Cost.Latency = 0
	if err != nil {
		e := federation.AsError(err)
		return fmt.Sprint(e.Kind, " ", e.Message, part), nil
	}
	text = fmt.Sprintf("%+v %q %q %v %v\n", part, released.Names(), released.Values(), released.Operations(), released.Dependencies())
	var marshaler ptrace.JSONMarshaler
	for _, trace := range released.Traces() {
		spans, err := marshaler.MarshalTraces(trace.Spans)
		if err != nil {
			t.Fatal(err)
		}
		text += trace.ID.String() + " " + string(spans) + "\n"
	}
	return text, released
}

// TestTracesOracle asks the same random questions of two gateways that hide some of
// the same traces: one has them in a real Jaeger, one in memory. Not a byte differs
// of what they answer. What is found is also what a slow evaluation finds in the
// traces as they are shown.
func TestTracesOracle(t *testing.T) {
	for name, v2 := range map[string]bool{"version 1": false, "version 2": true} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seedOf(t)), 9))
			newTracesOracle(t, r, v2).asks(t, r)
		})
	}
}

type tracesOracle struct {
	onJaeger, inMemory gatewayOn
	ids                []pcommon.TraceID
	shown              []traces.Trace
}

func newTracesOracle(t *testing.T, r *rand.Rand, v2 bool) *tracesOracle {
	t.Helper()
	jaeger := servers.StartJaeger(t, servers.JaegerConfig{V2: v2})
	conn, err := grpc.NewClient(jaeger.QueryGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	source, err := traces.NewJaeger(traces.JaegerConfig{GRPC: conn})
	if err != nil {
		t.Fatal(err)
	}
	store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	o := &tracesOracle{}
	for _, trace := range oracleTraces(r, v2) {
		o.ids = append(o.ids, linesOf(trace)[0].TraceID())
		if err := store.Append(trace); err != nil {
			t.Fatal(err)
		}
		var marshaler ptrace.JSONMarshaler
		body, err := marshaler.MarshalTraces(trace)
		if err != nil {
			t.Fatal(err)
		}
		sendOTLP(t, jaeger.OTLPHTTP, string(body))
	}
	o.onJaeger, o.inMemory = newGatewayOn(t, source), newGatewayOn(t, store)
	for _, id := range o.ids {
		q := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}
		want, shown := o.inMemory.tells(t, q)
		eventually(t, func() string {
			got, _ := o.onJaeger.tells(t, q)
			return cmp.Diff(want, got)
		})
		o.shown = append(o.shown, shown.Traces()...)
	}
	return o
}

// oracleTraces are of the services of everyMode: some as a policy's tests have them,
// and some of what TraceQL's tests are about.
func oracleTraces(r *rand.Rand, v2 bool) []ptrace.Traces {
	var out []ptrace.Traces
	for range 5 {
		out = append(out, tracestest.NewWorld(r.Uint64(), r.Uint64()).Traces()...)
	}
	for range 30 {
		trace := traceqltest.Trace(r, 12)
		if trace.SpanCount() > 0 {
			place(r, trace)
			out = append(out, trace)
		}
	}
	for _, trace := range out {
		asKept(trace)
		if !v2 {
			asVersion1(trace)
		}
	}
	return out
}

// place gives a trace an id, services and a time of its own.
func place(r *rand.Rand, trace ptrace.Traces) {
	var id pcommon.TraceID
	binary.BigEndian.PutUint64(id[:], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	start := pcommon.NewTimestampFromTime(tracestest.Start.Add(time.Duration(r.Int64N(int64(tracestest.Length)))))
	services := []string{tracestest.Web, tracestest.Open, tracestest.Open, tracestest.Core, tracestest.Vault, tracestest.Batch, tracestest.Secret}
	for _, rs := range trace.ResourceSpans().All() {
		rs.Resource().Attributes().PutStr("service.name", services[r.IntN(len(services))])
	}
	for _, l := range linesOf(trace) {
		l.SetTraceID(id)
		l.SetStartTimestamp(start + l.StartTimestamp())
		l.SetEndTimestamp(start + l.EndTimestamp())
		for _, e := range l.Events().All() {
			e.SetTimestamp(start + e.Timestamp())
		}
	}
}

// asKept makes all spans last, as both versions want it.
func asKept(trace ptrace.Traces) {
	for _, l := range linesOf(trace) {
		l.SetEndTimestamp(max(l.EndTimestamp(), l.StartTimestamp()+1))
	}
}

// asVersion1 takes away what Jaeger's first version has no place for.
func asVersion1(trace ptrace.Traces) {
	for _, rs := range trace.ResourceSpans().All() {
		scalars(rs.Resource().Attributes())
		for _, ss := range rs.ScopeSpans().All() {
			ss.Scope().Attributes().Clear()
			if ss.Scope().Name() == "" {
				ss.Scope().SetVersion("")
			}
		}
	}
	for _, l := range linesOf(trace) {
		scalars(l.Attributes())
		l.TraceState().FromRaw("")
		if l.Status().Code() != ptrace.StatusCodeError {
			l.Status().SetMessage("")
		}
		for _, e := range l.Events().All() {
			scalars(e.Attributes())
		}
		for _, link := range l.Links().All() {
			link.TraceState().FromRaw("")
			link.Attributes().Clear()
			link.Attributes().PutStr("opentracing.ref_type", "follows_from")
		}
	}
}

func scalars(attributes pcommon.Map) {
	attributes.RemoveIf(func(_ string, v pcommon.Value) bool {
		return v.Type() == pcommon.ValueTypeSlice || v.Type() == pcommon.ValueTypeMap || v.Type() == pcommon.ValueTypeEmpty
	})
}

func (o *tracesOracle) asks(t *testing.T, r *rand.Rand) {
	attacker, generator := tracestest.NewAttacker(r), traceqltest.New(r)
	found, refused := 0, 0
	for range *tracesQuestions {
		var q traces.Question
		naive := (*traceqltest.Query)(nil)
		switch r.IntN(6) {
		case 0:
			q = attacker.Search()
		case 1:
			q = attacker.Listing([]policy.Kind{policy.LabelNames, policy.LabelValues, policy.Operations, policy.Dependencies}[r.IntN(4)])
		default:
			query := generator.Query()
			q = attacker.Search()
			q.Expression = query.Text
			if r.IntN(2) == 0 {
				q.Start, q.End, q.Limit = tracestest.Start, tracestest.Start.Add(2*tracestest.Length), 1000
				naive = &query
			}
		}
		want, shown := o.inMemory.tells(t, q)
		if got, _ := o.onJaeger.tells(t, q); got != want {
			t.Errorf("%s %s from %s to %s, %d (-in memory +on Jaeger)\n%s", q.Kind, q.Expression, q.Start, q.End, q.Limit, cmp.Diff(want, got))
		}
		if shown == nil {
			refused++
			continue
		}
		if cost := shown.Disclosed(); cost.Spans+cost.Series > 0 {
			found++
		}
		if naive != nil {
			o.holds(t, *naive, shown.Traces())
		}
		if q.Kind == policy.Search {
			o.sameAtTheFront(t, q)
		}
	}
	t.Logf("%d questions of %d traces, %d of which something is shown: %d found something, %d were refused", *tracesQuestions, len(o.ids), len(o.shown), found, refused)
	if found < *tracesQuestions/3 || refused > *tracesQuestions/10 {
		t.Error("that shows too little")
	}
}

// holds compares what was found with what a query selects among all that is shown.
func (o *tracesOracle) holds(t *testing.T, query traceqltest.Query, found []traces.Trace) {
	t.Helper()
	var want, got []string
	for _, trace := range o.shown {
		if len(query.Select(trace.Spans)) > 0 {
			want = append(want, trace.ID.String())
		}
	}
	for _, trace := range found {
		got = append(got, trace.ID.String())
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-naive +found):\n%s", query.Text, diff)
	}
}

// sameAtTheFront asks at acme's front doors, where what globex answers is stitched.
func (o *tracesOracle) sameAtTheFront(t *testing.T, q traces.Question) {
	t.Helper()
	form := url.Values{
		"q": {q.Expression}, "limit": {strconv.Itoa(q.Limit)}, "spss": {"5"},
		"start": {strconv.FormatInt(q.Start.Unix(), 10)}, "end": {strconv.FormatInt(q.End.Unix()+1, 10)},
	}
	want, got := o.inMemory.acme.Get("/tempo/api/search", form), o.onJaeger.acme.Get("/tempo/api/search", form)
	if want.Code != http.StatusOK || got.Code != want.Code || string(got.Body) != string(want.Body) {
		t.Errorf("%s at the front doors: %d, %d (-in memory +on Jaeger)\n%s", q.Expression, want.Code, got.Code, cmp.Diff(string(want.Body), string(got.Body)))
	}
}
