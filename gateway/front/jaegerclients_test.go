package front_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// travels answers questions about traces as a gateway does: from the stores of
// acme, which shows all it has, and globex, which shows where requests enter and
// leave, while initech is away.
type travels struct {
	federated *traces.Federated
	members   []traces.Member
}

func newTravels(t testing.TB) *travels {
	t.Helper()
	out := &travels{federated: traces.NewFederated(traces.FederatedConfig{})}
	whole := policy.Dataset{Release: policy.Row, Spans: []policy.Selector{{}}, Span: policy.Span{Mode: policy.SpanFull}}
	edge := policy.Dataset{Release: policy.Row, Spans: []policy.Selector{{}}, Span: policy.Span{Mode: policy.SpanBoundary}, Labels: map[string]policy.LabelRule{
		"name": {Mode: policy.Keep}, "status": {Mode: policy.Keep}, "resource.service.name": {Mode: policy.Keep}, "span.user.id": {Mode: policy.Pseudonym},
	}}
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		dataset := map[tenants.OrgID]policy.Dataset{"acme": whole, "globex": edge}[org]
		store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return begun.Add(time.Hour) }})
		if err := store.Append(travelsOf(org)); err != nil {
			t.Fatal(err)
		}
		local, err := traces.NewLocal(traces.LocalConfig{Org: org, Source: store, Secret: make([]byte, 32), Now: func() time.Time { return begun.Add(time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		open := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{dataset}}}
		out.members = append(out.members, traces.Member{Org: org, Own: org == "acme", Ask: func(ctx context.Context, q traces.Question) (*traces.Released, federation.Part, error) {
			return local.Answer(ctx, q, open, federation.Asking{Org: "acme", ExchangeID: "018bcfe5-6800-7c54-9d31-5f0e6c8a4b17"})
		}})
	}
	out.members = append(out.members, traces.Member{Org: "initech", Ask: func(context.Context, traces.Question) (*traces.Released, federation.Part, error) {
		return nil, federation.Part{}, federation.Errorf(federation.Unavailable, "can't be reached")
	}})
	return out
}

func (tr *travels) Ask(ctx context.Context, q gateway.Question) (front.Result, error) {
	asked, ok := q.Asked.(traces.Question)
	if !ok {
		return front.Result{}, federation.Errorf(federation.BadQuestion, "only questions about traces are answered here")
	}
	released, completeness, err := tr.federated.Answer(ctx, asked, tr.members)
	if err != nil {
		return front.Result{Completeness: completeness}, federation.AsError(err)
	}
	return front.Result{Released: released, Completeness: completeness}, nil
}

// travelsOf are an organization's spans: of a payment that goes from acme's web to
// globex's pay, and of a sweep that is acme's alone and has nothing around it.
func travelsOf(org tenants.OrgID) ptrace.Traces {
	td := ptrace.NewTraces()
	add := func(service string) func(trace, id, parent byte, name string, kind ptrace.SpanKind, from, took int) ptrace.Span {
		resource := td.ResourceSpans().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", service)
		resource.Resource().Attributes().PutStr("host.name", service+"-0")
		scope := resource.ScopeSpans().AppendEmpty()
		scope.Scope().SetName("sdk")
		scope.Scope().SetVersion("1.2")
		return func(trace, id, parent byte, name string, kind ptrace.SpanKind, from, took int) ptrace.Span {
			s := scope.Spans().AppendEmpty()
			s.SetTraceID(pcommon.TraceID{0: 0xaa, 15: trace})
			s.SetSpanID(pcommon.SpanID{7: id})
			s.SetParentSpanID(pcommon.SpanID{7: parent})
			s.SetName(name)
			s.SetKind(kind)
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(begun.Add(time.Duration(from) * time.Millisecond)))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(begun.Add(time.Duration(from+took) * time.Millisecond)))
			return s
		}
	}
	if org == "globex" {
		pay := add("pay")
		charge := pay(1, 3, 2, "POST /charge", ptrace.SpanKindServer, 20, 50)
		charge.Attributes().PutStr("user.id", "ann@example.com")
		charge.Status().SetCode(ptrace.StatusCodeError)
		charge.Status().SetMessage("card 4111 declined")
		pay(1, 4, 3, "check rules", ptrace.SpanKindInternal, 30, 20).Attributes().PutStr("db.statement", "select 1")
		return td
	}
	web := add("web")
	root := web(1, 1, 0, "GET /checkout", ptrace.SpanKindServer, 0, 100)
	root.Attributes().PutInt("http.response.status_code", 502)
	root.Attributes().PutBool("retried", true)
	root.Attributes().PutDouble("share", 0.5)
	root.Attributes().PutInt("huge", 1<<60)
	root.Attributes().PutEmptyBytes("raw").FromRaw([]byte{1, 2})
	root.Attributes().PutEmptySlice("tags").AppendEmpty().SetStr("red")
	root.Status().SetCode(ptrace.StatusCodeError)
	root.Status().SetMessage("upstream")
	root.TraceState().FromRaw("a=b")
	event := root.Events().AppendEmpty()
	event.SetName("exception")
	event.SetTimestamp(root.StartTimestamp() + 5_000)
	event.Attributes().PutStr("exception.type", "Upstream")
	link := root.Links().AppendEmpty()
	link.SetTraceID(pcommon.TraceID{0: 0xbb, 15: 9})
	link.SetSpanID(pcommon.SpanID{7: 9})
	web(1, 2, 1, "POST", ptrace.SpanKindClient, 10, 70).Status().SetCode(ptrace.StatusCodeOk)
	cron := add("cron/night")
	cron(2, 1, 7, `sweep "a\b"`, ptrace.SpanKindInternal, 500, 20).Attributes().PutStr(`odd "key"`, "x\\y")
	return td
}

// jaegerDoor is a front door at which it is an hour after the first span.
func jaegerDoor(t testing.TB) *door {
	t.Helper()
	tr := newTravels(t)
	return open(t, &pipeline{}, func(c *front.Config) {
		c.Answerer, c.Now = tr, func() time.Time { return begun.Add(time.Hour) }
	})
}

// The requests that Grafana's Jaeger data source and Jaeger's UI send, each with
// the answer that they get: testdata/jaeger.txt, as testdata/loki.txt.
func TestRequestsOfJaegerClients(t *testing.T) {
	d := jaegerDoor(t)
	golden := readGolden(t, "testdata/jaeger.txt")
	for i, g := range golden {
		path, query, _ := strings.Cut(g.request, "?")
		got := httptest.NewRecorder()
		d.handler.ServeHTTP(got, httptest.NewRequest(http.MethodGet, path+"?"+encoded(t, query), nil))
		golden[i].answer = []string{http.StatusText(got.Code), strings.TrimSpace(got.Body.String())}
		if diff := cmp.Diff(g.answer, golden[i].answer); diff != "" {
			t.Errorf("%s\n%s (-want +got):\n%s", g.name, g.request, diff)
		}
	}
	if *updateGolden {
		writeGolden(t, "testdata/jaeger.txt", golden)
	}
}
