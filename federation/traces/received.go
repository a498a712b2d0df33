package traces

import (
	"errors"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/tenants"
)

// ValueTypes are the types of a Value.
var ValueTypes = []string{"string", "int", "float", "bool", "duration", "keyword"}

// CheckReceived returns the id of a trace that a partner's gateway sent, when all
// of it is as the view of that organization would have it: spans of one trace
// with ids of their own, and nothing that parley says but of that organization.
// The error says what isn't, and quotes nothing.
func CheckReceived(org tenants.OrgID, spans ptrace.Traces) (pcommon.TraceID, error) {
	var id pcommon.TraceID
	for _, rs := range spans.ResourceSpans().All() {
		if whose, ok := rs.Resource().Attributes().Get(OrgAttribute); !ok || whose.Type() != pcommon.ValueTypeStr || whose.Str() != string(org) {
			return id, errors.New("spans that aren't its own: their parley.org names another organization, or none")
		}
		if !says(rs.Resource().Attributes(), OrgAttribute) {
			return id, errSaid
		}
		for _, ss := range rs.ScopeSpans().All() {
			if !says(ss.Scope().Attributes()) {
				return id, errSaid
			}
			for _, span := range ss.Spans().All() {
				if id.IsEmpty() {
					id = span.TraceID()
				}
				if err := checkSpan(span, id); err != nil {
					return id, err
				}
			}
		}
	}
	if id.IsEmpty() {
		return id, errors.New("a trace without spans")
	}
	return id, nil
}

var errSaid = errors.New("attributes that only the asker's gateway gives")

// checkSpan checks one span of a trace.
func checkSpan(span ptrace.Span, trace pcommon.TraceID) error {
	switch {
	case span.TraceID() != trace || trace.IsEmpty():
		return errors.New("a trace with spans of another")
	case span.SpanID().IsEmpty():
		return errors.New("a span without an id")
	case span.Kind() < ptrace.SpanKindUnspecified || span.Kind() > ptrace.SpanKindConsumer:
		return errors.New("a span of a kind that there isn't")
	case span.EndTimestamp() < span.StartTimestamp():
		return errors.New("a span that ends before it begins")
	case !says(span.Attributes(), RedactionAttribute, StatusAttribute, FoldedAttribute):
		return errSaid
	}
	if how, ok := span.Attributes().Get(RedactionAttribute); ok {
		if how.Type() != pcommon.ValueTypeStr || !slices.Contains([]Redaction{Attributes, Shape, Boundary, Withheld}, Redaction(how.Str())) {
			return errors.New("a redaction that there isn't")
		}
	}
	if folded, ok := span.Attributes().Get(FoldedAttribute); ok && (folded.Type() != pcommon.ValueTypeInt || folded.Int() < 0) {
		return errors.New("folded spans that aren't a number of them")
	}
	for _, event := range span.Events().All() {
		if !says(event.Attributes()) {
			return errSaid
		}
	}
	for _, link := range span.Links().All() {
		if !says(link.Attributes()) {
			return errSaid
		}
	}
	return nil
}

// says tells whether parley says nothing in attributes but under the names given,
// and once under each: which of two counts would depend on who reads them.
func says(attributes pcommon.Map, names ...string) bool {
	for key, value := range attributes.All() {
		if !strings.HasPrefix(key, attributePrefix) {
			continue
		}
		if first, _ := attributes.Get(key); first != value || !slices.Contains(names, key) {
			return false
		}
	}
	return true
}
