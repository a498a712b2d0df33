package traces_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

// everything releases all spans as they are.
func everything() policy.Obligations {
	return policy.Obligations{Datasets: []policy.Dataset{
		{Name: "all", Release: policy.Row, Spans: []policy.Selector{{}}, Span: policy.Span{Mode: policy.SpanFull}},
	}}
}

// answerOf is globex's answer to acme.
func answerOf(t testing.TB, source traces.Source, o policy.Obligations, q traces.Question) *traces.Released {
	t.Helper()
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: source, Secret: testSecret, Now: func() time.Time { return worldStart.Add(2 * worldLength) }})
	if err != nil {
		t.Fatal(err)
	}
	by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(worldStart)}
	released, _, err := local.Answer(context.Background(), q, policy.Decision{Allow: true, Obligations: o}, by)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return released
}

// bytesOf is all of an answer. Without what parley says of redactions it can be
// compared with that of a copy, which is not redacted once more.
func bytesOf(t testing.TB, r *traces.Released, saying bool) []byte {
	t.Helper()
	var out bytes.Buffer
	var marshaler ptrace.ProtoMarshaler
	for _, trace := range r.Traces() {
		spans := ptrace.NewTraces()
		trace.Spans.CopyTo(spans)
		if !saying {
			forget(spans)
		}
		text, err := marshaler.MarshalTraces(spans)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(trace.ID.String())
		out.Write(text)
	}
	out.WriteString(strings.Join(r.Names(), "\xff"))
	for _, v := range r.Values() {
		out.WriteString("\xff" + v.Type + "\xff" + v.Text)
	}
	for _, o := range r.Operations() {
		out.WriteString("\xff" + o.Service + "\xff" + o.Name + o.Kind.String())
	}
	for _, d := range r.Dependencies() {
		out.WriteString("\xff" + d.Parent + "\xff" + d.Child + string(rune(d.Calls)))
	}
	return out.Bytes()
}

// forget takes away what parley says of spans.
func forget(spans ptrace.Traces) {
	for _, rs := range spans.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				span.Attributes().Remove(traces.RedactionAttribute)
				span.Attributes().Remove(traces.FoldedAttribute)
			}
		}
	}
}

// redactedCopy is a store that holds what the view of another one does, without
// what parley says of it.
func redactedCopy(t testing.TB, source traces.Source, ids []pcommon.TraceID) *traces.Store {
	t.Helper()
	s := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return worldStart.Add(2 * worldLength) }})
	for _, trace := range answerOf(t, source, worldPolicy(), traces.Question{Kind: policy.Trace, IDs: ids}).Traces() {
		forget(trace.Spans)
		for _, rs := range trace.Spans.ResourceSpans().All() {
			rs.Resource().Attributes().Remove(traces.OrgAttribute)
		}
		unexport(trace.Spans)
		if err := s.Append(trace.Spans); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// unexport gives attributes the names that they have in a store.
func unexport(spans ptrace.Traces) {
	for _, rs := range spans.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				const exported = "exported_" + traces.RedactionAttribute
				if value, ok := span.Attributes().Get(exported); ok {
					text := value.Str()
					span.Attributes().Remove(exported)
					span.Attributes().PutStr(traces.RedactionAttribute, text)
				}
			}
		}
	}
}

const worlds = 400

// The answer through policy over the full store equals the answer without policy
// over a physically redacted copy.
func TestAnswersEqualThoseOfARedactedCopy(t *testing.T) {
	redacted := 0
	for seed := range uint64(worlds) {
		w := newWorld(seed, seed)
		full := w.store(t)
		copied := redactedCopy(t, full, w.ids())
		for _, q := range questionsOf(w) {
			got, want := answerOf(t, full, worldPolicy(), q), answerOf(t, copied, everything(), q)
			if !bytes.Equal(bytesOf(t, got, false), bytesOf(t, want, false)) {
				t.Fatalf("world %d, %+v:\nthrough policy: %s\nof the copy:    %s", seed, q, shownAs(t, got), shownAs(t, want))
			}
			if raw := answerOf(t, full, everything(), q); !bytes.Equal(bytesOf(t, raw, false), bytesOf(t, want, false)) {
				redacted++
			}
		}
	}
	if redacted < worlds/2 {
		t.Errorf("only %d answers differ from those without policy: the test is blind", redacted)
	}
}

// Stores that differ only in what is hidden give the same bytes.
func TestHiddenDifferencesDontShow(t *testing.T) {
	differ := 0
	for seed := range uint64(worlds) {
		a, b := newWorld(seed, 2*seed), newWorld(seed, 2*seed+1)
		one, other := a.store(t), b.store(t)
		for _, q := range questionsOf(a, b) {
			got, want := answerOf(t, one, worldPolicy(), q), answerOf(t, other, worldPolicy(), q)
			if !bytes.Equal(bytesOf(t, got, true), bytesOf(t, want, true)) {
				t.Fatalf("world %d, %+v:\n%s\n%s", seed, q, shownAs(t, got), shownAs(t, want))
			}
			if !bytes.Equal(bytesOf(t, answerOf(t, one, everything(), q), true), bytesOf(t, answerOf(t, other, everything(), q), true)) {
				differ++
			}
		}
	}
	if differ < worlds/2 {
		t.Errorf("only %d answers differ without policy: the test is blind", differ)
	}
}

// questionsOf are questions about worlds, of every kind.
func questionsOf(worlds ...*world) []traces.Question {
	var ids []pcommon.TraceID
	seen := map[pcommon.TraceID]bool{}
	for _, w := range worlds {
		for _, id := range w.ids() {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return []traces.Question{{Kind: policy.Trace, IDs: ids}}
}

func shownAs(t testing.TB, r *traces.Released) string {
	t.Helper()
	var out strings.Builder
	var marshaler ptrace.JSONMarshaler
	for _, trace := range r.Traces() {
		text, err := marshaler.MarshalTraces(trace.Spans)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		out.WriteString("\n")
	}
	return out.String()
}
