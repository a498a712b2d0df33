package traces_test

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
)

// naive answers a question from traces as they are: all of them at once, without
// windows, stopping early or any policy.
func naive(t testing.TB, copied []traces.Trace, q traces.Question) *traces.Released {
	t.Helper()
	if q.Kind == policy.Trace {
		return traces.Received(traces.Answer{Traces: slices.DeleteFunc(slices.Clone(copied), func(c traces.Trace) bool { return !slices.Contains(q.IDs, c.ID) })})
	}
	expr, err := traceql.Parse(cmp.Or(q.Expression, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	within := func(s traceql.Span) bool {
		at := s.Span.StartTimestamp().AsTime()
		return !at.Before(q.Start) && at.Before(q.End)
	}
	meets := func(indexed *traceql.Trace, i int) bool {
		return within(indexed.Span(i)) && slices.ContainsFunc(expr.Filters(), func(f *traceql.Filter) bool { return f.Matches(indexed, i) })
	}
	var answer traces.Answer
	last := map[pcommon.TraceID]time.Time{}
	for _, c := range copied {
		indexed := traceql.NewTrace(c.Spans)
		for i := range indexed.Len() {
			if !meets(indexed, i) {
				continue
			}
			if at := indexed.Span(i).Span.StartTimestamp().AsTime(); at.After(last[c.ID]) {
				last[c.ID] = at
			}
			tell(&answer, q, indexed, i)
		}
		if _, met := last[c.ID]; q.Kind == policy.Search && met && len(expr.Select(indexed)) > 0 {
			answer.Traces = append(answer.Traces, c)
		}
	}
	slices.SortFunc(answer.Traces, func(a, b traces.Trace) int {
		return cmp.Or(last[b.ID].Compare(last[a.ID]), bytes.Compare(a.ID[:], b.ID[:]))
	})
	if q.Kind == policy.Search {
		answer.Traces = answer.Traces[:min(len(answer.Traces), q.Limit)]
	}
	slices.Sort(answer.Names)
	answer.Names = cut(slices.Compact(answer.Names), q.Limit)
	slices.SortFunc(answer.Values, traces.CompareValues)
	answer.Values = cut(slices.Compact(answer.Values), q.Limit)
	slices.SortFunc(answer.Operations, traces.CompareOperations)
	answer.Operations = cut(slices.Compact(answer.Operations), q.Limit)
	slices.SortFunc(answer.Dependencies, traces.CompareDependencies)
	return traces.Received(answer)
}

func cut[T any](all []T, limit int) []T {
	if limit > 0 {
		return all[:min(len(all), limit)]
	}
	return all
}

// tell adds what a listing tells of a span.
func tell(answer *traces.Answer, q traces.Question, t *traceql.Trace, i int) {
	service := func(i int) string {
		name, _ := t.Span(i).Resource.Resource().Attributes().Get("service.name")
		return name.Str()
	}
	switch q.Kind {
	case policy.LabelNames:
		for _, a := range t.Attributes(i) {
			if q.Label == "" || string(a.Scope) == q.Label {
				answer.Names = append(answer.Names, a.String())
			}
		}
	case policy.LabelValues:
		a, _ := traceql.ParseAttribute(q.Label)
		for _, v := range t.Values(i, a) {
			kind := v.Type().String()
			if kind == "status" || kind == "kind" {
				kind = "keyword"
			}
			answer.Values = append(answer.Values, traces.Value{Type: kind, Text: v.String()})
		}
	case policy.Operations:
		if q.Label == "" || service(i) == q.Label {
			answer.Operations = append(answer.Operations, traces.Operation{Service: service(i), Name: t.Span(i).Span.Name(), Kind: t.Span(i).Span.Kind(), Org: "globex"})
		}
	case policy.Dependencies:
		up := t.Parent(i)
		if up < 0 || service(up) == service(i) {
			return
		}
		d := traces.Dependency{Parent: service(up), Child: service(i), ParentOrg: "globex", ChildOrg: "globex", Calls: 1}
		if known := slices.IndexFunc(answer.Dependencies, func(k traces.Dependency) bool { return traces.CompareDependencies(k, d) == 0 }); known >= 0 {
			answer.Dependencies[known].Calls++
			return
		}
		answer.Dependencies = append(answer.Dependencies, d)
	}
}
