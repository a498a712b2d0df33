package traces_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

func storeOf(t testing.TB, w *tracestest.World) *traces.Store {
	t.Helper()
	s := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	for _, trace := range w.Traces() {
		if err := s.Append(trace); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// everything releases all spans as they are.
func everything() policy.Obligations {
	return policy.Obligations{Datasets: []policy.Dataset{
		{Name: "all", Release: policy.Row, Spans: []policy.Selector{{}}, Span: policy.Span{Mode: policy.SpanFull}},
	}}
}

// answerOf is globex's answer to acme.
func answerOf(t testing.TB, source traces.Source, o policy.Obligations, q traces.Question) *traces.Released {
	t.Helper()
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: source, Secret: testSecret, Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	if err != nil {
		t.Fatal(err)
	}
	by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(tracestest.Start)}
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
				span.Attributes().Remove(traces.StatusAttribute)
			}
		}
	}
}

// redactedCopy is a store that holds what the view of another one does, without
// what parley says of it.
func redactedCopy(t testing.TB, source traces.Source, seed uint64, ids []pcommon.TraceID) *traces.Store {
	t.Helper()
	s := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	for _, trace := range answerOf(t, source, policyOf(seed), traces.Question{Kind: policy.Trace, IDs: ids}).Traces() {
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

var (
	firstWorld = flag.Int64("traces.seed", 1, "the first of the random worlds; 0 takes one from the clock")
	worlds     = flag.Int("traces.worlds", 150, "how many random worlds there are")
)

// seeds are those of the worlds, each of which is told by its own.
func seeds(t *testing.T) iter.Seq[uint64] {
	t.Helper()
	first := *firstWorld
	if first == 0 {
		first = time.Now().UnixNano()
	}
	t.Logf("worlds from %d on (repeat with -traces.seed=%d)", first, first)
	return func(yield func(uint64) bool) {
		for i := range *worlds {
			if !yield(uint64(first) + uint64(i)) {
				return
			}
		}
	}
}

// policyOf is the policy of a world: with bounds of time in some, and coarse times
// in others.
func policyOf(seed uint64) policy.Obligations {
	o := tracestest.Policy()
	switch seed % 4 {
	case 1:
		o.NotBefore, o.NotAfter = tracestest.Start.Add(tracestest.Length/4), tracestest.Start.Add(tracestest.Length/2)
	case 2:
		o.Resolution = 100 * time.Millisecond
	case 3:
		o.Resolution, o.NotBefore = 7*time.Second, tracestest.Start.Add(tracestest.Length/3)
	}
	return o
}

// The answer through policy over the full store equals the answer without policy
// over a physically redacted copy.
func TestAnswersEqualThoseOfARedactedCopy(t *testing.T) {
	redacted, found := 0, 0
	for seed := range seeds(t) {
		w := tracestest.NewWorld(seed, seed)
		full := storeOf(t, w)
		copied := answerOf(t, full, policyOf(seed), traces.Question{Kind: policy.Trace, IDs: w.IDs()}).Traces()
		for _, q := range questionsOf(seed, w) {
			got, want := answerOf(t, full, policyOf(seed), q), naive(t, copied, q)
			if !bytes.Equal(bytesOf(t, got, true), bytesOf(t, want, true)) {
				t.Fatalf("world %d, %+v:\nthrough policy: %s\nof the copy:    %s", seed, q, shownAs(t, got), shownAs(t, want))
			}
			if q.Kind == policy.Search && len(got.Traces()) > 0 {
				found++
			}
			if !bytes.Equal(bytesOf(t, answerOf(t, full, everything(), q), false), bytesOf(t, got, false)) {
				redacted++
			}
		}
	}
	t.Logf("%d of %d answers differ without policy, %d searches found something", redacted, 11**worlds, found)
	if found < *worlds {
		t.Errorf("only %d searches found something: the test is blind", found)
	}
	if redacted < 5**worlds {
		t.Errorf("only %d answers differ from those without policy: the test is blind", redacted)
	}
}

// With coarse times many traces begin at once, and which of them are found is decided
// by what is seen: not by which of them really was the last.
func TestCoarseTimesHideTheOrder(t *testing.T) {
	o := everything()
	o.Resolution = time.Minute
	for _, order := range [][]byte{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}} {
		store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(time.Hour) }})
		for i, id := range order {
			spans := ptrace.NewTraces()
			span := spans.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			span.SetTraceID(pcommon.TraceID{id})
			span.SetSpanID(pcommon.SpanID{id})
			at := pcommon.NewTimestampFromTime(tracestest.Start.Add(time.Duration(1+i) * time.Second))
			span.SetStartTimestamp(at)
			span.SetEndTimestamp(at)
			if err := store.Append(spans); err != nil {
				t.Fatal(err)
			}
		}
		q := traces.Question{Kind: policy.Search, Expression: "{}", Limit: 1, Start: tracestest.Start, End: tracestest.Start.Add(time.Hour)}
		if found := answerOf(t, store, o, q).Traces(); len(found) != 1 || found[0].ID != (pcommon.TraceID{1}) {
			t.Errorf("recorded in the order %v, and found %v", order, found)
		}
	}
}

// What the view shows of a store can be stored, and looks the same through a view
// that hides nothing: it is a store's trace like any other.
func TestTheViewIsAStore(t *testing.T) {
	for seed := range seeds(t) {
		w := tracestest.NewWorld(seed, seed)
		q := traces.Question{Kind: policy.Trace, IDs: w.IDs()}
		full := storeOf(t, w)
		got, want := answerOf(t, full, policyOf(seed), q), answerOf(t, redactedCopy(t, full, seed, w.IDs()), everything(), q)
		if !bytes.Equal(bytesOf(t, got, false), bytesOf(t, want, false)) {
			t.Fatalf("world %d:\nthrough policy: %s\nstored:         %s", seed, shownAs(t, got), shownAs(t, want))
		}
	}
}

// Stores that differ only in what is hidden give the same bytes.
func TestHiddenDifferencesDontShow(t *testing.T) {
	differ := 0
	for seed := range seeds(t) {
		a, b := tracestest.NewWorld(seed, 2*seed), tracestest.NewWorld(seed, 2*seed+1)
		one, other := storeOf(t, a), storeOf(t, b)
		for _, q := range questionsOf(seed, a, b) {
			got, want := answerOf(t, one, policyOf(seed), q), answerOf(t, other, policyOf(seed), q)
			if !bytes.Equal(bytesOf(t, got, true), bytesOf(t, want, true)) {
				t.Fatalf("world %d, %+v:\n%s\n%s", seed, q, shownAs(t, got), shownAs(t, want))
			}
			if !bytes.Equal(bytesOf(t, answerOf(t, one, everything(), q), true), bytesOf(t, answerOf(t, other, everything(), q), true)) {
				differ++
			}
		}
	}
	t.Logf("%d of %d answers differ without policy", differ, 11**worlds)
	if differ < 5**worlds {
		t.Errorf("only %d answers differ without policy: the test is blind", differ)
	}
}

// questionsOf are questions about worlds, of every kind.
func questionsOf(seed uint64, worlds ...*tracestest.World) []traces.Question {
	var ids []pcommon.TraceID
	seen := map[pcommon.TraceID]bool{}
	for _, w := range worlds {
		for _, id := range w.IDs() {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	a := tracestest.NewAttacker(rand.New(rand.NewPCG(seed, 3)))
	out := []traces.Question{{Kind: policy.Trace, IDs: ids}}
	for range 6 {
		out = append(out, a.Search())
	}
	return append(out, a.Listing(policy.LabelNames), a.Listing(policy.LabelValues), a.Listing(policy.Operations), a.Listing(policy.Dependencies))
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
	fmt.Fprintf(&out, "%q %q %v %v", r.Names(), r.Values(), r.Operations(), r.Dependencies())
	return out.String()
}
