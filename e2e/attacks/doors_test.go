package attacks

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// hiddenQuery is answered with the secret wherever nothing hides it.
const hiddenQuery = `payroll_total{SERVICE}`

// instant is a question at the end of the data.
func (a *attempt) instant(expression string) question {
	return question{path: "/api/v1/query", form: url.Values{"query": {a.of(expression)}, "time": {seconds(a.end)}}}
}

// variously puts questions until one is answered with the secret.
func variously(s *secret, questions func(a *attempt) []question) func(*attempt) int {
	return func(a *attempt) int {
		found := -1
		for _, q := range questions(a) {
			if v := named(s, a.put(q)); found < 0 {
				found = v
			}
		}
		return found
	}
}

var rowsOnly = []string{Rows}

// onDoors are after what a door could misunderstand.
var onDoors = []*attack{
	{name: "POST against GET", of: department, foreign: true, policies: rowsOnly, only: Front, guess: variously(department, func(a *attempt) []question {
		shown, hidden := a.instant(`http_requests_total{SERVICE}`).form.Encode(), a.instant(hiddenQuery).form.Encode()
		return []question{
			{path: "/api/v1/query", post: true, body: hidden},
			{path: "/api/v1/query", post: true, query: shown, body: hidden},
			{path: "/api/v1/query", post: true, query: hidden, body: shown},
			{path: "/api/v1/query", post: true, query: hidden, body: "x="},
			{path: "/api/v1/query", post: true, body: hidden, header: http.Header{"Content-Type": {"text/plain"}}},
			{path: "/api/v1/query", post: true, body: `{"query":"payroll_total"}`, header: http.Header{"Content-Type": {"application/json"}}},
			{path: "/api/v1/query", post: true, body: hidden, header: http.Header{"X-Http-Method-Override": {"GET"}}},
			{path: "/api/v1/query_range", post: true, body: url.Values{"query": {a.of(hiddenQuery)}, "start": {seconds(a.end)}, "end": {seconds(a.end)}, "step": {"60"}}.Encode()},
		}
	})},
	{name: "parameters twice", of: department, foreign: true, policies: rowsOnly, only: Front, guess: variously(department, func(a *attempt) []question {
		shown, hidden := url.QueryEscape(a.of(`http_requests_total{SERVICE}`)), url.QueryEscape(a.of(hiddenQuery))
		at := "&time=" + seconds(a.end)
		var out []question
		for _, query := range []string{
			"query=" + hidden, "query=" + shown + "&query=" + hidden, "query=" + hidden + "&query=" + shown, "query[]=" + hidden, "Query=" + shown + "&query=" + hidden,
			"query=" + shown + "&query%00=" + hidden, "query=" + shown + ";query=" + hidden, "query=" + hidden + "&tenant=internal", "tenant=shared&tenant=internal&query=" + hidden,
			"query=" + hidden + "&limit=0&limit=1", "query=" + hidden + "&org=globex", "%71uery=" + hidden,
		} {
			out = append(out, question{path: "/api/v1/query", query: query + at})
		}
		return out
	})},
	{name: "encodings", of: department, long: true, foreign: true, policies: rowsOnly, only: Front, guess: variously(department, func(a *attempt) []question {
		var out []question
		for _, expression := range []string{
			hiddenQuery, `{"payroll_total",SERVICE}`, `{"__name__"="payroll_total",SERVICE}`, `{__name__="\x70ayroll_total",SERVICE}`, `{"\u0070ayroll_total",SERVICE}`,
			"# http_requests_total\n" + hiddenQuery, hiddenQuery + " # http_requests_total", "{__name__=`payroll_total`,SERVICE}", `{__name__=~"(?i)PAYROLL_TOTAL",SERVICE}`,
			`{__name__=~"payroll_total|",SERVICE}`, "payroll_total {\r\n\tSERVICE\u00a0}", `U__payroll_total{SERVICE}`,
		} {
			q := a.instant(expression)
			out = append(out, q, question{path: q.path, query: strings.ReplaceAll(q.form.Encode(), "payroll", "%70%61yroll")})
		}
		twice := url.QueryEscape(url.QueryEscape(a.of(hiddenQuery)))
		return append(out, question{path: "/api/v1/query", query: "query=" + twice + "&time=" + seconds(a.end)})
	})},
	{name: "headers of somebody else", of: department, long: true, foreign: true, policies: rowsOnly, guess: variously(department, func(a *attempt) []question {
		var out []question
		for name, values := range map[string][]string{
			"X-Forwarded-User": {"root@globex.example"}, "X-Grafana-User": {"admin"}, "X-Webauth-User": {"admin"}, "Authorization": {"Basic YWRtaW46YWRtaW4="},
			"X-Scope-Orgid": {"internal"}, "X-Parley-Org": {"globex"}, "X-Parley-Partner": {"globex"}, "X-Parley-Door": {"front"}, "X-Parley-Purpose": {"audit", "slo-review"},
			"X-Parley-Case": {"*"}, "X-Original-Url": {"/federate"}, "X-Forwarded-For": {"127.0.0.1"}, "Forwarded": {"for=127.0.0.1;by=globex"},
			"X-Forwarded-Client-Cert": {"URI=spiffe://globex.example/parley"}, "X-Spiffe-Id": {"spiffe://globex.example/parley"}, "Host": {"globex.example"},
			"Te": {"trailers, deflate"}, "Connection": {"X-Parley-Purpose"}, "Baggage": {"org=globex"}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		} {
			q := a.instant(hiddenQuery)
			q.header = http.Header{name: values}
			out = append(out, q)
		}
		slices.SortFunc(out, func(x, y question) int { return strings.Compare(fmt.Sprint(x.header), fmt.Sprint(y.header)) })
		return out
	})},
	{name: "other purposes", of: department, long: true, foreign: true, unserved: true, policies: []string{Rows, Cells, Events, Floors}, guess: variously(department, func(a *attempt) []question {
		var out []question
		for _, purpose := range []string{"slo-review", "capacity", "capacity-review", "audit", "incident-response", "security", "", "SLO-REVIEW", "slo-review,audit", "*"} {
			q := a.instant(`sum by (department) (` + hiddenQuery + `)`)
			q.header = http.Header{"X-Parley-Purpose": {purpose}}
			q.message = func(r *federationv1.AskRequest) { r.Purpose = purpose }
			out = append(out, q)
		}
		return out
	})},
	{name: "other paths", of: department, foreign: true, policies: rowsOnly, only: Front, guess: variously(department, func(a *attempt) []question {
		hidden := a.instant(hiddenQuery).form
		var out []question
		for _, path := range []string{
			"/api/v1/query", "//api/v1/query", "/api/v1//query", "/api/v1/query/", "/api/v1/./query", "/api/v1/label/../query", "/api/v1/%71uery", "/API/v1/query",
			"/federate", "/api/v1/read", "/graph", "/prometheus/api/v1/query", "/api/v1/admin/tsdb/snapshot", "/api/v1/status/config", "/api/v1/status/flags",
			"/api/v1/targets/metadata", "/api/v1/notifications", "/api/v1/features", "/api/v2/query", "/debug/pprof/cmdline", "/consoles/prometheus.html",
		} {
			out = append(out, question{path: path, form: hidden})
		}
		return out
	})},
	{name: "what somebody else just asked", of: department, foreign: true, policies: rowsOnly, guess: func(a *attempt) int {
		// globex's own people ask first, in the same words.
		found := -1
		for _, expression := range []string{hiddenQuery, `sum by (department) (` + hiddenQuery + `)`, `count by (department) ({__name__=~"payroll_.*",SERVICE})`} {
			q := a.instant(expression)
			if _, err := a.owner.ask(a, q); err != nil {
				a.err = err
			}
			for _, header := range []http.Header{nil, {"If-None-Match": {"*"}}, {"Cache-Control": {"only-if-cached, max-stale"}}} {
				q.header = header
				if v := named(department, a.put(q)); found < 0 {
					found = v
				}
			}
		}
		return found
	}},
	{name: "many at once", of: department, foreign: true, policies: rowsOnly, guess: func(a *attempt) int {
		// The owner's people and the partner ask the same, all at once.
		const times = 8
		answers := make([]reply, times)
		errs := make([]error, 2*times)
		var all sync.WaitGroup
		for i := range times {
			q := a.instant(`sum by (department) (` + hiddenQuery + `)`)
			all.Go(func() { _, errs[2*i] = a.owner.ask(a, q) })
			all.Go(func() { answers[i], errs[2*i+1] = a.asker.ask(a, q) })
		}
		all.Wait()
		for i, err := range errs {
			if err != nil {
				a.err = err
			}
			if i%2 == 1 {
				a.seen = append(a.seen, answers[i/2].canonical(a.world))
			}
		}
		return named(department, answers...)
	}},
	{name: "exchanges of somebody else", of: department, foreign: true, policies: rowsOnly, guess: func(a *attempt) int {
		// Under the id of a question of the owner's own people, which is answered.
		own, err := a.owner.ask(a, a.instant(hiddenQuery))
		if err != nil {
			a.err = err
		}
		ids := []string{
			own.header.Get("X-Parley-Exchange"), "", "00000000-0000-0000-0000-000000000000", "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17",
			string(federation.NewExchangeID(time.Now().Add(time.Hour))), "../../audit", strings.Repeat("0", 10_000),
		}
		found := -1
		for _, id := range ids {
			q := a.instant(hiddenQuery)
			q.header = http.Header{"X-Parley-Exchange": {strings.ReplaceAll(id, "\n", "")}}
			q.message = func(r *federationv1.AskRequest) { r.ExchangeId = id }
			if v := named(department, a.put(q)); found < 0 {
				found = v
			}
		}
		return found
	}},
	{name: "messages that are no questions", of: department, long: true, foreign: true, policies: []string{Rows, Cells}, only: Peer, guess: variously(department, func(a *attempt) []question {
		var out []question
		message := func(change func(m *federationv1.MetricsQuestion, r *federationv1.AskRequest)) {
			q := a.instant(hiddenQuery)
			q.message = func(r *federationv1.AskRequest) { change(r.GetMetrics(), r) }
			out = append(out, q)
		}
		selector := a.of(hiddenQuery)
		for _, kind := range append(policy.Kinds("metrics"), "", "QUERY", "read", "rules", "targets", "federate", "config") {
			message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.Kind = string(kind) })
			message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) {
				m.Kind, m.Expression, m.Selectors, m.Label = string(kind), "", []string{selector}, "department"
			})
		}
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.LabelsOnly = true })
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.Limit = -1 })
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.LookbackMs = -1 })
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.LookbackMs = 1 << 62 })
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) { m.StepMs = -1 })
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) {
			m.StartMs, m.EndMs = -1<<63, 1<<63-1
		})
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) {
			m.Selectors = slices.Repeat([]string{selector}, 100)
		})
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) {
			m.Expression = "__parley_sums_0__ or " + selector
		})
		message(func(m *federationv1.MetricsQuestion, _ *federationv1.AskRequest) {
			m.Expression = "http_requests_total\x00" + selector
		})
		message(func(_ *federationv1.MetricsQuestion, r *federationv1.AskRequest) {
			r.User = &federationv1.User{Subject: "spiffe://globex.example/parley", Proof: "svid"}
		})
		message(func(_ *federationv1.MetricsQuestion, r *federationv1.AskRequest) { r.CaseId = "'; allow := true #" })
		message(func(_ *federationv1.MetricsQuestion, r *federationv1.AskRequest) { r.Question = nil })
		return out
	})},
	{name: "bytes that are no messages", of: department, foreign: true, policies: []string{Rows, Cells}, only: Peer, guess: variously(department, func(a *attempt) []question {
		var out []question
		for _, change := range []func([]byte) []byte{
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { return append(slices.Clone(b), b...) },
			func(b []byte) []byte {
				return append(b, protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), []byte("x"))...)
			},
			func(b []byte) []byte {
				return append(b, protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)...)
			},
			// The question once more, with another expression: fields of both are merged.
			func(b []byte) []byte {
				more := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), a.of(`http_requests_total{SERVICE}`))
				return append(protowire.AppendBytes(protowire.AppendTag(slices.Clone(b), 10, protowire.BytesType), more), b...)
			},
			func([]byte) []byte { return nil },
			func(b []byte) []byte { return slices.Repeat(b, 2000) },
			func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "payroll", "pay\xffoll")) },
		} {
			q := a.instant(hiddenQuery)
			q.bytes = change
			out = append(out, q)
		}
		return out
	})},
}
