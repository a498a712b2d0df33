package bench

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"golang.org/x/sync/errgroup"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// What partners release of their traces to acme.
const (
	releaseSomeOfSpans = `decision := {"allow": true, "pseudonym_epoch": "1d", "datasets": [{"name": "all", "spans": ["{}"], "release": "row", "span": "attributes", "labels": {
	"name": "keep", "status": "keep", "resource.service.name": "keep", "span.http.request.method": "keep", "span.http.route": "keep", "span.http.response.status_code": "keep",
	"span.user.id": "pseudonym"}}]}`
	releaseAllOfSpans = `decision := {"allow": true, "datasets": [{"name": "all", "spans": ["{}"], "release": "row", "span": "full"}]}`
)

// traceQuestion is what is asked of Jaeger's API.
type traceQuestion struct {
	name, path string
	spans      int // of the gateway's answer
}

// BenchmarkTraces asks acme's gateway for what three organizations have of traces,
// against their three Jaegers, asked directly and at once (x-direct), and against
// the one alone that has most of it (x-slowest).
func BenchmarkTraces(b *testing.B) {
	start := time.Now().Add(-30 * time.Minute).Truncate(time.Second)
	c := newClient(b)
	var orgs []*org
	for _, name := range []string{"acme", "globex", "initech"} {
		o, jaeger := newOrg(b, name), servers.StartJaeger(b, servers.JaegerConfig{V2: true})
		pushSpans(b, c, jaeger, name, start)
		o.server = jaeger.Server
		o.stores = "metrics: {tsdb: {dir: tsdb}}\n" + fmt.Sprintf(`traces: {jaeger: {grpc: "%s", insecure: true}}`, jaeger.QueryGRPC)
		orgs = append(orgs, o)
	}
	federate(b, "traces", orgs, map[string]string{"acme": `decision := {"allow": false}`, "globex": releaseSomeOfSpans, "initech": releaseAllOfSpans}, nil)
	perCall := 0
	for _, n := range spansOf {
		perCall += n
	}
	search := url.Values{
		"service": {"api"}, "tags": {`{"http.response.status_code":"500"}`}, "limit": {"20"},
		"start": {strconv.FormatInt(start.UnixMicro(), 10)}, "end": {strconv.FormatInt(start.Add(tracesSpan).UnixMicro(), 10)},
	}
	for _, q := range []traceQuestion{
		{"small", "/api/traces/" + traceOf(7).String(), perCall + 1},
		{"leaving", "/api/traces/" + traceOf(leavingTrace).String(), perCall + 1},
		{"large", "/api/traces/" + traceOf(smallTraces).String(), largeCalls*perCall + 1},
		{"search", "/api/traces?" + search.Encode(), 20 * (perCall + 1)},
	} {
		b.Run(q.name, func(b *testing.B) { measureTraces(b, c, q, orgs) })
	}
}

func measureTraces(b *testing.B, c client, q traceQuestion, orgs []*org) {
	ctx, acme := b.Context(), orgs[0]
	ours := "http://" + acme.front + "/jaeger" + q.path
	body, err := c.get(ctx, ours, whole)
	if err != nil {
		b.Fatal(err)
	}
	if got := strings.Count(string(body), `"operationName"`); got != q.spans {
		b.Fatalf("the gateway answers with %d spans, not %d", got, q.spans)
	}
	directly := 0
	for _, o := range orgs {
		body, err := c.get(ctx, o.server.URL+q.path, nil)
		if err != nil {
			b.Fatal(err)
		}
		directly += strings.Count(string(body), `"operationName"`)
	}
	if directly != q.spans {
		b.Fatalf("the Jaegers answer with %d spans, not %d", directly, q.spans)
	}
	compare(b, orgs, acme, minTurns,
		func() error { return c.discard(ctx, ours) },
		func() error {
			var group errgroup.Group
			for _, o := range orgs {
				group.Go(func() error { return c.discard(ctx, o.server.URL+q.path) })
			}
			return group.Wait()
		},
		side{"x-slowest", func() error { return c.discard(ctx, orgs[1].server.URL+q.path) }})
}

// BenchmarkStitch puts together in this process a trace of 100,000 spans that three
// organizations answered with: what hangs on what, clocks, who spent the time. The
// memory is that of the spans, and all that was allocated meanwhile.
func BenchmarkStitch(b *testing.B) {
	const calls = 10_000
	federated := traces.NewFederated(traces.FederatedConfig{JoinAfter: -1})
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var took []time.Duration
	var most uint64
	for b.Loop() {
		b.StopTimer()
		var before, made, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		members := answering(record(1, calls, start))
		runtime.GC()
		runtime.ReadMemStats(&made)
		b.StartTimer()
		began := time.Now()
		released, _, err := federated.Answer(b.Context(), traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{traceOf(1)}}, members)
		took = append(took, time.Since(began))
		b.StopTimer()
		runtime.ReadMemStats(&after)
		if err != nil {
			b.Fatal(err)
		}
		if got := released.Disclosed().Spans; got != 10*calls+1 || len(released.Traces()[0].Report.Missing) > 0 {
			b.Fatalf("%d spans: %+v", got, released.Traces()[0].Report.Missing)
		}
		most = max(most, made.HeapAlloc-before.HeapAlloc+after.TotalAlloc-made.TotalAlloc)
		b.StartTimer()
	}
	b.ReportMetric(float64(median(took)), "ns/op")
	b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
}

// answering are organizations that answer with what they recorded.
func answering(j *journey) []traces.Member {
	var out []traces.Member
	for _, org := range []tenants.OrgID{"acme", "globex", "initech"} {
		spans := j.all[string(org)]
		for _, rs := range spans.ResourceSpans().All() {
			rs.Resource().Attributes().PutStr(traces.OrgAttribute, string(org))
		}
		out = append(out, traces.Member{Org: org, Own: org == "acme", Ask: func(context.Context, traces.Question) (*traces.Released, federation.Part, error) {
			return traces.Received(traces.Answer{Traces: []traces.Trace{{ID: j.trace, Spans: spans}}}), federation.Part{Org: org, Status: federation.Complete}, nil
		}})
	}
	return out
}

// BenchmarkSpans has in this process views in each mode read from an embedded store
// and make of spans what may be seen, in spans a second and core.
func BenchmarkSpans(b *testing.B) {
	store := traces.NewStore(traces.StoreConfig{})
	start := time.Now().Add(-time.Hour)
	var ids []pcommon.TraceID
	spans := 0
	for i := range traces.MaxAsked {
		all := ptrace.NewTraces()
		for _, part := range record(i, 1, start).all {
			part.ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
		}
		ids, spans = append(ids, traceOf(i)), spans+all.SpanCount()
		if err := store.Append(all); err != nil {
			b.Fatal(err)
		}
	}
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: store, Secret: lineSecret})
	if err != nil {
		b.Fatal(err)
	}
	for _, mode := range []policy.SpanMode{policy.SpanFull, policy.SpanAttributes, policy.SpanShape, policy.SpanBoundary, policy.SpanHidden} {
		b.Run(mode.String(), func(b *testing.B) {
			d := policy.Decision{Allow: true, Obligations: policy.Obligations{Epoch: 24 * time.Hour, Datasets: []policy.Dataset{{
				Name: "all", Release: policy.Row, Spans: []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "resource.service.name", ".*")}}, Span: policy.Span{Mode: mode},
			}}}}
			if mode == policy.SpanAttributes || mode == policy.SpanBoundary {
				keep := policy.LabelRule{Mode: policy.Keep}
				d.Obligations.Datasets[0].Labels = map[string]policy.LabelRule{
					"name": keep, "status": keep, "resource.service.name": keep, "span.http.request.method": keep, "span.http.route": keep,
					"span.http.response.status_code": keep, "span.user.id": {Mode: policy.Pseudonym},
				}
			}
			b.ReportMetric(aSecondOfACore(b, spans, func() {
				if _, _, err := local.Answer(b.Context(), traces.Question{Kind: policy.Trace, IDs: ids}, d, lineAsking); err != nil {
					b.Fatal(err)
				}
			}), "spans/s/core")
		})
	}
}
