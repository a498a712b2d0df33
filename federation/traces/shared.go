package traces

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/policy"
)

// sharedOf is what is seen of a span's resource and scope. A resource that shows
// no service is of one that is called as the organization.
func (r *redacted) sharedOf(n *node) sharedSeen {
	key := sharedKey{scope: n.scope, of: n.membership}
	if seen, ok := r.shared[key]; ok {
		return seen
	}
	seen := sharedSeen{resource: ptrace.NewResourceSpans(), scope: ptrace.NewScopeSpans()}
	r.attributes(n.membership, resourcePrefix, n.resource.Attributes(), seen.resource.Resource().Attributes())
	from, to := n.scope.Scope(), seen.scope.Scope()
	if name, shown := r.value(n.membership, policy.SpanScopeName, from.Name()); shown {
		to.SetName(name)
	}
	if version, shown := r.value(n.membership, policy.SpanScopeVersion, from.Version()); shown {
		to.SetVersion(version)
	}
	r.attributes(n.membership, scopePrefix, from.Attributes(), to.Attributes())
	if n.membership.span.Mode == policy.SpanFull {
		seen.resource.Resource().SetDroppedAttributesCount(n.resource.DroppedAttributesCount())
		seen.resource.SetSchemaUrl(valid(n.schema))
		to.SetDroppedAttributesCount(from.DroppedAttributesCount())
		seen.scope.SetSchemaUrl(valid(n.scope.SchemaUrl()))
	}
	r.identify(&seen)
	r.shared[key] = seen
	return seen
}

// identify completes a resource, and says what makes it, and a scope, the same as
// another.
func (r *redacted) identify(seen *sharedSeen) {
	attributes := seen.resource.Resource().Attributes()
	if service, ok := attributes.Get(serviceName); !ok || service.AsString() == "" {
		attributes.PutStr(serviceName, string(r.org))
	}
	attributes.PutStr(OrgAttribute, string(r.org))
	sortAttributes(attributes)
	seen.ofResource = encoded(seen.resource)
	alone := ptrace.NewResourceSpans()
	seen.scope.CopyTo(alone.ScopeSpans().AppendEmpty())
	seen.ofScope = encoded(alone)
}

// encoded is OTLP's form, by which what is the same is known.
func encoded(rs ptrace.ResourceSpans) string {
	one := ptrace.NewTraces()
	rs.CopyTo(one.ResourceSpans().AppendEmpty())
	var marshaler ptrace.ProtoMarshaler
	text, err := marshaler.MarshalTraces(one)
	if err != nil {
		panic(err) // of what was just made; Local makes it an internal error
	}
	return string(text)
}

// withhold adds what stands for folded spans.
func (r *redacted) withhold(w *withheld) {
	span := ptrace.NewSpan()
	span.SetTraceID(r.trace)
	span.SetSpanID(w.id)
	if w.anchor != none {
		span.SetParentSpanID(r.nodes[w.anchor].span.SpanID())
	}
	span.SetKind(ptrace.SpanKindInternal)
	span.SetName(WithheldName)
	span.SetStartTimestamp(pcommon.Timestamp(w.start))
	span.SetEndTimestamp(pcommon.Timestamp(w.end))
	if w.tellCount {
		span.Attributes().PutInt(FoldedAttribute, int64(w.count))
	}
	span.Attributes().PutStr(RedactionAttribute, string(Withheld))
	span.Attributes().PutStr(StatusAttribute, StatusWithheld)
	seen := sharedSeen{resource: ptrace.NewResourceSpans(), scope: ptrace.NewScopeSpans()}
	r.identify(&seen)
	r.spans = append(r.spans, redactedSpan{shared: seen, span: span})
}

// ordered is the trace: spans in order of start and id, each resource and scope
// once, in order of their first spans.
func (r *redacted) ordered() (ptrace.Traces, bool) {
	if len(r.spans) == 0 {
		return ptrace.Traces{}, false
	}
	slices.SortFunc(r.spans, compareRedacted)
	out := ptrace.NewTraces()
	resources := map[string]ptrace.ResourceSpans{}
	scopes := map[[2]string]ptrace.ScopeSpans{}
	for _, s := range r.spans {
		rs, ok := resources[s.shared.ofResource]
		if !ok {
			rs = out.ResourceSpans().AppendEmpty()
			s.shared.resource.CopyTo(rs)
			resources[s.shared.ofResource] = rs
		}
		key := [2]string{s.shared.ofResource, s.shared.ofScope}
		scope, ok := scopes[key]
		if !ok {
			scope = rs.ScopeSpans().AppendEmpty()
			s.shared.scope.CopyTo(scope)
			scopes[key] = scope
		}
		s.span.MoveTo(scope.Spans().AppendEmpty())
	}
	return out, true
}

// compareRedacted is the order of spans, by what is seen of them alone.
func compareRedacted(a, b redactedSpan) int {
	aid, bid := a.span.SpanID(), b.span.SpanID()
	order := cmp.Or(cmp.Compare(a.span.StartTimestamp(), b.span.StartTimestamp()), bytes.Compare(aid[:], bid[:]))
	if order != 0 {
		return order
	}
	return strings.Compare(a.encoded(), b.encoded())
}

// encoded is all that is seen of a span.
func (s redactedSpan) encoded() string {
	alone := ptrace.NewResourceSpans()
	s.span.CopyTo(alone.ScopeSpans().AppendEmpty().Spans().AppendEmpty())
	return s.shared.ofResource + s.shared.ofScope + encoded(alone)
}
