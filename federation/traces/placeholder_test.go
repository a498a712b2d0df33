package traces

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// A missing parent has a placeholder, which says who could hold it and why it isn't
// there: what became of asking for it.
func TestWhySpansAreMissing(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	complete := federation.Part{Status: federation.Complete}
	for name, test := range map[string]struct {
		kind            ptrace.SpanKind // of the span whose parent is missing
		globex, initech federation.Part
		orgs            []tenants.OrgID
		org             tenants.OrgID
		reason          MissingReason
		sampling        tenants.SamplingProbability // agreed with globex
	}{
		"denied": {
			kind: ptrace.SpanKindServer, globex: federation.Part{Status: federation.Denied}, initech: complete,
			orgs: []tenants.OrgID{"globex"}, reason: MissingDenied,
		},
		"unreachable": {
			kind: ptrace.SpanKindServer, globex: federation.Part{Status: federation.Unreachable}, initech: federation.Part{Status: federation.Timeout},
			orgs: []tenants.OrgID{"globex", "initech"}, reason: MissingUnreachable,
		},
		"older than what is shown": {
			kind: ptrace.SpanKindServer, globex: complete,
			initech: federation.Part{Status: federation.Complete, Coverage: policy.Window{Start: at.Add(time.Hour), End: at.Add(2 * time.Hour)}},
			orgs:    []tenants.OrgID{"initech"}, reason: MissingRetention,
		},
		"not kept, as agreed": {
			kind: ptrace.SpanKindServer, globex: complete, initech: complete, sampling: 0.5,
			orgs: []tenants.OrgID{"globex"}, reason: MissingSampled,
		},
		"kept, as agreed": {
			kind: ptrace.SpanKindServer, globex: complete, initech: complete, sampling: 1,
			orgs: []tenants.OrgID{"acme", "globex", "initech"}, reason: MissingUnknown,
		},
		"nobody knows": {
			kind: ptrace.SpanKindServer, globex: complete, initech: complete,
			orgs: []tenants.OrgID{"acme", "globex", "initech"}, reason: MissingUnknown,
		},
		"within one organization": {
			kind: ptrace.SpanKindInternal, globex: complete, initech: complete,
			orgs: []tenants.OrgID{"acme"}, org: "acme", reason: MissingUnknown,
		},
		"within one organization, or of one that calls it": {
			kind: ptrace.SpanKindInternal, globex: federation.Part{Status: federation.Denied}, initech: complete,
			orgs: []tenants.OrgID{"globex"}, reason: MissingDenied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			acme := ptrace.NewTraces()
			start := uint64(at.UnixNano())
			spanIn(acme, 1, 1, 0, start, start+100)
			spanIn(acme, 1, 2, 3, start+10, start+50).SetKind(test.kind)
			answering := func(org tenants.OrgID, part federation.Part, spans ...Trace) Member {
				return Member{Org: org, Ask: func(context.Context, Question) (*Released, federation.Part, error) {
					if part.Status != federation.Complete {
						kind := map[federation.Status]federation.Kind{
							federation.Denied: federation.Refused, federation.Timeout: federation.DeadlineExceeded, federation.Unreachable: federation.Unavailable,
						}[part.Status]
						return nil, part, federation.Errorf(kind, "no")
					}
					return &Released{traces: spans}, part, nil
				}}
			}
			released, completeness, err := NewFederated(FederatedConfig{Sampling: func(org tenants.OrgID) tenants.SamplingProbability {
				if org == "globex" {
					return test.sampling
				}
				return 0
			}}).Answer(t.Context(), Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, []Member{
				answering("initech", test.initech), answering("globex", test.globex), answering("acme", complete, Trace{ID: pcommon.TraceID{1}, Spans: acme}),
			})
			if err != nil || len(released.Traces()) != 1 || completeness[1].Status != test.globex.Status {
				t.Fatalf("%v, %v", completeness, err)
			}
			got := released.Traces()[0]
			placeholder, ok := allSpans(t, got)[pcommon.SpanID{3}]
			if !ok || placeholder.ParentSpanID() != (pcommon.SpanID{1}) || uint64(placeholder.StartTimestamp()) != start+10 {
				t.Fatalf("no placeholder, or another: %v", placeholder)
			}
			attributes := placeholder.Attributes().AsRaw()
			if attributes[PlaceholderAttribute] != string(test.reason) || attributes[RedactionAttribute] != string(Placeholder) {
				t.Errorf("its attributes are %v", attributes)
			}
			said, _ := allSpans(t, got)[pcommon.SpanID{1}].Attributes().Get(CompletenessAttribute)
			if want := cmp.Or(completeness.Missing(), "complete"); said.Str() != want {
				t.Errorf("the trace says %q, not %q", said.Str(), want)
			}
			m := got.Report.Missing
			if len(m) != 1 || m[0].Reason != test.reason || !slices.Equal(m[0].Orgs, test.orgs) || m[0].Span.Org != test.org || m[0].Children != 1 {
				t.Errorf("missing is %+v", m)
			}
		})
	}
}

// Who doesn't answer is in the completeness; if nobody does there is no answer.
func TestNobodyAnswers(t *testing.T) {
	refused := Member{Org: "globex", Ask: func(context.Context, Question) (*Released, federation.Part, error) {
		return nil, federation.Part{}, federation.Errorf(federation.Refused, federation.NotAllowed)
	}}
	for _, q := range []Question{
		{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}},
		{Kind: policy.Search, Expression: "{}", Limit: 1},
		{Kind: policy.LabelNames},
	} {
		_, completeness, err := NewFederated(FederatedConfig{}).Answer(t.Context(), q, []Member{refused})
		if federation.AsError(err).Kind != federation.Refused || len(completeness) != 1 || completeness[0].Status != federation.Denied {
			t.Errorf("%s: %v, %v", q.Kind, completeness, err)
		}
	}
}

// Whose a missing span would be isn't sure where two organizations have spans inside
// of it.
func TestMissingOfOneOrAnother(t *testing.T) {
	h := &holders{parts: federation.Completeness{{Org: "acme", Status: federation.Complete}, {Org: "globex", Status: federation.Complete}}}
	ids := []pcommon.TraceID{{1}}
	for _, test := range []struct {
		orgs []tenants.OrgID
		want tenants.OrgID
	}{
		{[]tenants.OrgID{"acme"}, "acme"},
		{[]tenants.OrgID{"acme", "acme"}, "acme"},
		{[]tenants.OrgID{"acme", "globex"}, ""},
		{[]tenants.OrgID{"acme", "globex", "acme"}, ""},
	} {
		var pieces []piece
		for i, org := range test.orgs {
			spans := ptrace.NewTraces()
			spanIn(spans, 1, byte(i+1), 9, 1, 5).SetKind(ptrace.SpanKindInternal)
			pieces = append(pieces, piece{org: org, id: ids[0], spans: spans})
		}
		got := grow(ids, pieces, nil, h).stitch(ids, nil, h)
		if len(got) != 1 || len(got[0].Report.Missing) != 1 || got[0].Report.Missing[0].Span.Org != test.want || got[0].Report.Missing[0].Children != len(test.orgs) {
			t.Errorf("%v: %+v", test.orgs, got[0].Report.Missing)
		}
	}
}
