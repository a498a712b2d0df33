package traces

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// asked are the questions that members were asked.
type asked []Question

func (a asked) searches() (out []string) {
	for _, q := range a {
		if q.Kind == policy.Search {
			out = append(out, q.Expression)
		}
	}
	return out
}

// holding is a member with spans, which answers searches as it is told.
func (a *asked) holding(spans ptrace.Traces, search func(context.Context, Question) (*Released, federation.Part, error)) Member {
	return Member{Org: "acme", Own: true, Ask: func(ctx context.Context, q Question) (*Released, federation.Part, error) {
		*a = append(*a, q)
		if q.Kind == policy.Search {
			return search(ctx, q)
		}
		out := &Released{}
		for _, id := range q.IDs {
			_, pieces := inPieces([]ptrace.Traces{spans})
			for _, p := range pieces {
				if p.id == id {
					p.spans.ResourceSpans().At(0).ScopeSpans().At(0).Spans().RemoveIf(func(s ptrace.Span) bool { return s.TraceID() != id })
					out.traces = append(out.traces, Trace{ID: id, Spans: p.spans})
				}
			}
		}
		return out, federation.Part{Status: federation.Complete}, nil
	}}
}

func byFirstID(t *testing.T, f *Federated, m Member) (Trace, federation.Completeness) {
	t.Helper()
	released, completeness, err := f.Answer(t.Context(), Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, []Member{m})
	if err != nil || len(released.Traces()) != 1 {
		t.Fatal(completeness, err)
	}
	return released.Traces()[0], completeness
}

// Who can't be searched, or not in time, gave what was asked for but maybe not all
// of it.
func TestWhoCannotBeSearchedIsPartial(t *testing.T) {
	spans := ptrace.NewTraces()
	spanIn(spans, 1, 1, 0, 1, 9).SetKind(ptrace.SpanKindClient)
	for want, search := range map[string]func(context.Context, Question) (*Released, federation.Part, error){
		"no policy allows it": func(context.Context, Question) (*Released, federation.Part, error) {
			return nil, federation.Part{}, federation.Errorf(federation.Refused, "no policy allows it")
		},
		"the question ran out of time": func(ctx context.Context, _ Question) (*Released, federation.Part, error) {
			<-ctx.Done()
			return nil, federation.Part{}, ctx.Err()
		},
	} {
		var a asked
		trace, completeness := byFirstID(t, NewFederated(FederatedConfig{JoinPatience: time.Millisecond}), a.holding(spans, search))
		part := completeness[0]
		if part.Status != federation.Partial || part.Reason != "it could not be asked for what goes on under other trace ids: "+want || trace.Spans.SpanCount() != 1 {
			t.Errorf("%+v", part)
		}
	}
}

// Nobody is searched for what can't be: where everything is known, or a database was
// called; or if it isn't wanted.
func TestSearchesAreSpared(t *testing.T) {
	none := func(context.Context, Question) (*Released, federation.Part, error) {
		return &Released{}, federation.Part{Status: federation.Complete}, nil
	}
	for name, test := range map[string]struct {
		change func(client ptrace.Span, all ptrace.Traces)
		config FederatedConfig
		want   []string
	}{
		"a call that went somewhere": {
			change: func(s ptrace.Span, _ ptrace.Traces) {
				s.Attributes().PutStr(Traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			},
			want: []string{`{link:traceID = "01000000000000000000000000000000" || span.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`},
		},
		"to a server":   {change: func(_ ptrace.Span, all ptrace.Traces) { spanIn(all, 1, 3, 2, 3, 4).SetKind(ptrace.SpanKindServer) }},
		"to a database": {change: func(s ptrace.Span, _ ptrace.Traces) { s.Attributes().PutStr("db.system", "postgresql") }},
		"not agreed": {
			change: func(s ptrace.Span, _ ptrace.Traces) {
				s.Attributes().PutStr(Traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			},
			config: FederatedConfig{Restarts: func(tenants.OrgID) bool { return false }},
		},
		"not wanted": {change: func(ptrace.Span, ptrace.Traces) {}, config: FederatedConfig{JoinAfter: -1}},
		"agreed attributes, as they are written": {
			change: func(s ptrace.Span, _ ptrace.Traces) { s.Attributes().PutStr(`order "id"`, "a\"\n") },
			config: FederatedConfig{Correlation: func(tenants.OrgID) []string { return []string{`order "id"`} }},
			want:   []string{`{link:traceID = "01000000000000000000000000000000" || span."order \"id\"" = "a\"\n"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			spans := ptrace.NewTraces()
			spanIn(spans, 1, 1, 0, 1, 9)
			client := spanIn(spans, 1, 2, 1, 2, 5)
			client.SetKind(ptrace.SpanKindClient)
			test.change(client, spans)
			var a asked
			byFirstID(t, NewFederated(test.config), a.holding(spans, none))
			if got := a.searches(); !slices.Equal(got, test.want) {
				t.Errorf("searched for %q, not %q", got, test.want)
			}
			for _, expression := range test.want {
				if _, err := parse(expression); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A trace that goes on and on is followed three times, and then it is said that it
// goes on.
func TestHowFarTracesAreFollowed(t *testing.T) {
	spans := ptrace.NewTraces()
	for trace := byte(1); trace < 9; trace++ {
		link := spanIn(spans, trace, trace, 0, 1, 9).Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{trace + 1})
		link.SetSpanID(pcommon.SpanID{trace + 1})
	}
	var a asked
	trace, _ := byFirstID(t, NewFederated(FederatedConfig{}), a.holding(spans, nil))
	if trace.Spans.SpanCount() != 1+maxRounds || !slices.Equal(trace.Report.Unfollowed, []pcommon.TraceID{{maxRounds + 2}}) {
		t.Errorf("%d spans, unfollowed %v", trace.Spans.SpanCount(), trace.Report.Unfollowed)
	}

	wide := ptrace.NewTraces()
	spanIn(wide, 1, 9, 0, 1, 9)
	client := spanIn(wide, 1, 1, 9, 1, 9)
	client.SetKind(ptrace.SpanKindClient)
	client.Attributes().PutStr("db.system", "postgresql")
	for other := range byte(maxJoined + 4) {
		link := client.Links().AppendEmpty()
		link.SetTraceID(pcommon.TraceID{other + 2})
		link.SetSpanID(pcommon.SpanID{1})
	}
	a = nil
	trace, _ = byFirstID(t, NewFederated(FederatedConfig{}), a.holding(wide, nil))
	if len(a) != 2 || len(a[1].IDs) != maxJoined || len(trace.Report.Unfollowed) != 4 || strings.Contains(a[1].Asked().Query, "{") {
		t.Errorf("asked %v, unfollowed %v", a, trace.Report.Unfollowed)
	}
}
