package traces

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Partners whose gateways make of their answers whatever hurts others.

// spansIn adds spans of a kind to a piece, which carry a value.
func spansIn(p piece, n int, kind ptrace.SpanKind, attribute, value string) piece {
	p.spans = ptrace.NewTraces()
	spans := p.spans.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetTraceID(p.id)
		s.SetSpanID(numbered(i + 1))
		s.SetKind(kind)
		s.SetStartTimestamp(pcommon.Timestamp(1000 + i))
		s.SetEndTimestamp(pcommon.Timestamp(2000 + i))
		s.Attributes().PutStr(attribute, value)
	}
	return p
}

// What spans may hang on is no list of all there is with the same value.
func TestManySpansOfOneValue(t *testing.T) {
	const calls, entries = 200, 10_000
	var ids []pcommon.TraceID
	var pieces []piece
	for i := range calls {
		ids = append(ids, pcommon.TraceID{1, byte(i >> 8), byte(i)})
		pieces = append(pieces, spansIn(piece{org: "acme", own: true, id: ids[i]}, 1, ptrace.SpanKindClient, "order", "same"))
	}
	ids = append(ids, pcommon.TraceID{2})
	pieces = append(pieces, spansIn(piece{org: "globex", id: pcommon.TraceID{2}}, entries, ptrace.SpanKindServer, "order", "same"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := grow(ids, pieces, []string{"order"}, &holders{})
	runtime.ReadMemStats(&after)
	const most = 64 << 20 // a candidate of each pair would be 130 MiB at least
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("it took %d MiB", took>>20)
	}
	if len(f.joins) != entries {
		t.Errorf("%d joins", len(f.joins))
	}
}

// toldTo are the questions that each organization is asked when acme asks for a
// trace.
func toldTo(t *testing.T, answers map[tenants.OrgID]ptrace.Traces, agreed map[tenants.OrgID][]string) (map[tenants.OrgID][]Question, *Released) {
	t.Helper()
	var mu sync.Mutex
	told := map[tenants.OrgID][]Question{}
	var members []Member
	for org, spans := range answers {
		members = append(members, Member{Org: org, Own: org == "acme", Ask: func(_ context.Context, q Question) (*Released, federation.Part, error) {
			mu.Lock()
			defer mu.Unlock()
			told[org] = append(told[org], q)
			out := &Released{}
			if q.Kind == policy.Trace && q.IDs[0] == (pcommon.TraceID{1}) && spans.SpanCount() > 0 {
				own := ptrace.NewTraces()
				spans.CopyTo(own)
				out.traces = []Trace{{ID: q.IDs[0], Spans: own}}
			}
			return out, federation.Part{Org: org, Status: federation.Complete}, nil
		}})
	}
	f := NewFederated(FederatedConfig{Correlation: func(org tenants.OrgID) []string { return agreed[org] }})
	released, _, err := f.Answer(context.Background(), Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, members)
	if err != nil {
		t.Fatal(err)
	}
	return told, released
}

// calling is a client span of trace 1.
func calling(id byte, at time.Time) ptrace.Traces {
	out := ptrace.NewTraces()
	s := spanIn(out, 1, id, 0, uint64(at.UnixNano()), uint64(at.Add(time.Second).UnixNano()))
	s.SetKind(ptrace.SpanKindClient)
	return out
}

func theSpan(t ptrace.Traces) ptrace.Span {
	return t.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
}

var lately = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Looking for values tells them: of an attribute only those are asked with whom it
// was agreed, and of a traceparent all, but for what is none.
func TestValuesAreToldToThoseWithWhomTheyWereAgreed(t *testing.T) {
	own, theirs := calling(1, lately), calling(2, lately)
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	theSpan(own).Attributes().PutStr("order", "order-4711")
	theSpan(own).Attributes().PutStr(Traceparent, traceparent)
	theSpan(theirs).Attributes().PutStr(Traceparent, "whatever globex wants initech to know")
	told, _ := toldTo(t, map[tenants.OrgID]ptrace.Traces{"acme": own, "globex": theirs, "initech": ptrace.NewTraces()},
		map[tenants.OrgID][]string{"globex": {"order"}})
	text := func(org tenants.OrgID) string { return fmt.Sprint(told[org]) }
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		if !strings.Contains(text(org), "order-4711") {
			t.Errorf("%s isn't asked for the order: %s", org, text(org))
		}
	}
	if strings.Contains(text("initech"), "order") || !strings.Contains(text("initech"), traceparent) {
		t.Errorf("initech is told: %s", text("initech"))
	}
	for org := range told {
		if strings.Contains(text(org), "whatever") {
			t.Errorf("%s is told: %s", org, text(org))
		}
	}
}

// A partner with spans of all times doesn't make others look at all times.
func TestTimesThatCantBeMakeNobodyLookFar(t *testing.T) {
	absurd := calling(2, time.Unix(1, 0))
	theSpan(absurd).SetEndTimestamp(latest)
	for name, answers := range map[string]map[tenants.OrgID]ptrace.Traces{
		"beside our own": {"acme": calling(1, lately), "globex": absurd, "initech": ptrace.NewTraces()},
		"alone":          {"acme": ptrace.NewTraces(), "globex": absurd, "initech": ptrace.NewTraces()},
	} {
		t.Run(name, func(t *testing.T) {
			told, _ := toldTo(t, answers, nil)
			searches := 0
			for _, q := range told["initech"] {
				if q.Kind != policy.Search {
					continue
				}
				searches++
				if q.End.Sub(q.Start) > 73*time.Hour {
					t.Errorf("initech is asked to look from %s to %s", q.Start, q.End)
				}
				if name != "alone" && (q.Start.After(lately) || q.End.Before(lately)) {
					t.Errorf("initech isn't asked for the time of the trace, but from %s to %s", q.Start, q.End)
				}
			}
			if searches == 0 {
				t.Error("initech wasn't asked")
			}
		})
	}
}

// Of a hundred thousand traces that a partner links to, a few are followed, and
// some of the others named.
func TestManyLinks(t *testing.T) {
	theirs := calling(1, lately)
	at := uint64(lately.UnixNano())
	inner := spanIn(theirs, 1, 2, 1, at, at+1)
	inner.SetKind(ptrace.SpanKindClient)
	links := inner.Links()
	for i := range 100_000 {
		link := links.AppendEmpty()
		link.SetTraceID(pcommon.TraceID{9, byte(i >> 16), byte(i >> 8), byte(i)})
		link.SetSpanID(pcommon.SpanID{1})
	}
	told, released := toldTo(t, map[tenants.OrgID]ptrace.Traces{"acme": ptrace.NewTraces(), "globex": theirs, "initech": ptrace.NewTraces()}, nil)
	if n := len(released.traces[0].Report.Unfollowed); n == 0 || n > maxJoined {
		t.Errorf("%d trace ids are named that weren't followed", n)
	}
	asked := 0
	for _, q := range told["initech"] {
		asked += len(q.IDs)
	}
	if asked > 1+maxJoined {
		t.Errorf("initech was asked for %d traces", asked)
	}
}

// What called acme isn't a partner's alone to say: the trace that acme is asked for
// would be the partner's, and so would its time.
func TestAPartnersLinkTakesNoRoot(t *testing.T) {
	for _, own := range []bool{true, false} {
		acme, globex := ptrace.NewTraces(), ptrace.NewTraces()
		spanIn(acme, 1, 1, 0, 1000, 2000).SetKind(ptrace.SpanKindServer)
		spanIn(globex, 2, 9, 0, 1, 9_000_000).SetKind(ptrace.SpanKindClient)
		link := globex.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{1})
		link.SetSpanID(pcommon.SpanID{1})
		ids := []pcommon.TraceID{{1}, {2}}
		f := grow(ids, []piece{{org: "acme", own: own, id: ids[0], spans: acme}, {org: "globex", id: ids[1], spans: globex}}, nil, &holders{})
		if joined := len(f.joins) > 0; joined == own {
			t.Errorf("with acme ourselves %t: %+v", own, f.joins)
		}
	}
}
