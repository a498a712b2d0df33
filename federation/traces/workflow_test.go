package traces

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// anOrder is the trace of an order: acme's shop calls globex's bank, which takes so
// long, and says no or not.
func anOrder(t *testing.T, id byte, bank time.Duration, refused bool) Trace {
	t.Helper()
	const network = 2 * time.Millisecond
	fragments := []ptrace.Traces{ptrace.NewTraces(), ptrace.NewTraces()}
	end := uint64(10*time.Millisecond + bank)
	root := spanIn(fragments[0], id, 1, 0, 0, end)
	root.SetName("POST /order")
	call := spanIn(fragments[0], id, 2, 1, uint64(5*time.Millisecond), end-uint64(3*time.Millisecond))
	call.SetKind(ptrace.SpanKindClient)
	call.Attributes().PutInt("http.response.status_code", 402)
	pay := spanIn(fragments[1], id, 3, 2, uint64(6*time.Millisecond), end-uint64(4*time.Millisecond))
	pay.SetKind(ptrace.SpanKindServer)
	pay.SetName("pay")
	for i, service := range []string{"shop", "bank"} {
		fragments[i].ResourceSpans().At(0).Resource().Attributes().PutStr(serviceName, service)
	}
	if refused {
		for _, s := range []ptrace.Span{root, call, pay} {
			s.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	if got := time.Duration(call.EndTimestamp()-call.StartTimestamp()) - time.Duration(pay.EndTimestamp()-pay.StartTimestamp()); got != network {
		t.Fatal(got)
	}
	return stitched(t, fragments...)[0]
}

func TestSummarize(t *testing.T) {
	var all []Trace
	for i := range 100 {
		all = append(all, anOrder(t, byte(i+1), time.Duration(i+1)*10*time.Millisecond, i%20 == 0))
	}
	slices.Reverse(all)
	got := Summarize(all)
	if len(got) != 1 || got[0].Traces != 100 || got[0].String() != "shop: POST /order" || got[0].Org != "acme" {
		t.Fatalf("%+v", got)
	}
	w := got[0]
	const ms = time.Millisecond
	if want := (Quantiles{510 * ms, 960 * ms, 1000 * ms, pcommon.TraceID{100}}); w.Durations != want {
		t.Errorf("durations are %+v, not %+v", w.Durations, want)
	}
	exactly := func(d time.Duration) Interval { return Interval{d, d} }
	bank := func(percent int) Interval { return exactly(time.Duration(percent) * 10 * ms) }
	want := []WorkflowShare{
		{"globex", "", bank(50), bank(95), bank(99), exactly(5050 * 10 * ms)},
		{"acme", "", exactly(8 * ms), exactly(8 * ms), exactly(8 * ms), exactly(800 * ms)},
		{"acme", "globex", exactly(2 * ms), exactly(2 * ms), exactly(2 * ms), exactly(200 * ms)},
	}
	if !slices.Equal(w.Spent, want) {
		t.Errorf("spent are\n%v, not\n%v", w.Spent, want)
	}
	hop := Hop{"acme", "globex", "shop", "bank", "pay", 100, Quantiles{502 * ms, 952 * ms, 992 * ms, pcommon.TraceID{100}}}
	if !slices.Equal(w.Slowest, []Hop{hop}) {
		t.Errorf("hops are %+v", w.Slowest)
	}
	if len(w.Errors) != 1 || w.Errors[0].Org != "globex" || w.Errors[0].Operation != "pay" || w.Errors[0].Traces != 5 {
		t.Errorf("errors are %+v", w.Errors)
	}
}

// Spans of a partner that last for centuries are most of the time, and no less than
// none.
func TestSummarizeCenturies(t *testing.T) {
	var all []Trace
	for i := range 3 {
		all = append(all, anOrder(t, byte(i+1), 110*365*24*time.Hour, false))
	}
	w := Summarize(all)[0]
	if w.Spent[0].Org != "globex" || w.Spent[0].Total.Min <= 0 || w.Spent[0].Total.Max < w.Spent[0].Total.Min {
		t.Errorf("spent are %v", w.Spent)
	}
}

// Who names the workflow in a span has it named so, wherever it begins.
func TestWorkflowsByID(t *testing.T) {
	var all []Trace
	for i := range 6 {
		fragment := ptrace.NewTraces()
		spanIn(fragment, byte(i+1), 1, 0, 1, 9).SetName(fmt.Sprintf("operation %d", i))
		if i%2 == 0 {
			spanIn(fragment, byte(i+1), 2, 1, 2, 3).Attributes().PutStr(WorkflowAttribute, "refund")
		}
		all = append(all, stitched(t, fragment)...)
	}
	all = append(all, Trace{Spans: ptrace.NewTraces()}) // not stitched
	var names []string
	for _, w := range Summarize(all) {
		names = append(names, fmt.Sprint(w.WorkflowName, " ", w.Traces))
	}
	want := []string{": operation 1 1", ": operation 3 1", ": operation 5 1", "refund 3"}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("workflows are %q", names)
	}
}
