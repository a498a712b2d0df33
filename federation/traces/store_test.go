package traces

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var storeStart = time.Date(2025, 1, 2, 3, 0, 0, 0, time.UTC)

// spanOf is a span that begins after a while.
func spanOf(trace, span byte, after time.Duration) ptrace.Traces {
	td := ptrace.NewTraces()
	resource := td.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr(serviceName, "shop")
	s := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{15: trace})
	s.SetSpanID(pcommon.SpanID{7: span})
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(storeStart.Add(after)))
	return td
}

func firstSpan(td ptrace.Traces) ptrace.Span {
	return td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
}

func mustAppend(t *testing.T, s *Store, spans ptrace.Traces) {
	t.Helper()
	if err := s.Append(spans); err != nil {
		t.Fatal(err)
	}
}

// held says which traces there are and of how many spans, the latest first.
func held(t *testing.T, s *Store) string {
	t.Helper()
	var out []string
	sel := selection{start: 0, end: math.MaxInt64}
	for trace, err := range s.searchRaw(t.Context(), sel, func(int64) bool { return true }) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d:%d", firstSpan(trace).TraceID()[15], trace.SpanCount()))
	}
	return strings.Join(out, " ")
}

// rejected is what a Store says it didn't take.
func rejected(t *testing.T, s *Store, spans ptrace.Traces) string {
	t.Helper()
	var r *Rejected
	if err := s.Append(spans); !errors.As(err, &r) {
		t.Fatalf("spans that can't be taken, and the error is %v", err)
	}
	return r.Error()
}

func TestStoreIsBounded(t *testing.T) {
	s := NewStore(StoreConfig{MaxSpans: 4})
	for i, after := range []time.Duration{40, 10, 30, 20} {
		mustAppend(t, s, spanOf(byte(i+1), 1, after))
	}
	mustAppend(t, s, spanOf(2, 2, 50)) // the trace of 10 goes on, so that of 20 is the oldest
	if got := held(t, s); got != "2:2 1:1 3:1" {
		t.Errorf("the store of four spans has %s", got)
	}
	if got := rejected(t, s, spanOf(5, 1, 0)); got != "1 spans not taken: 1 older than all that a full store keeps" {
		t.Error(got)
	}
	if got := held(t, s); got != "2:2 1:1 3:1" || s.spans != 4 || len(s.byTime) != len(s.traces) {
		t.Errorf("after what it didn't take, it has %s and counts %d spans", got, s.spans)
	}

	s = NewStore(StoreConfig{MaxBytes: 5000})
	for i := range 100 {
		td := spanOf(byte(i), 1, time.Duration(i))
		firstSpan(td).SetTraceID(pcommon.TraceID{1, 15: byte(i)})
		firstSpan(td).SetName(strings.Repeat("x", 1000))
		mustAppend(t, s, td)
		if s.bytes > 5000 {
			t.Fatalf("the store of 5000 bytes counts %d", s.bytes)
		}
	}
	if got := held(t, s); got != "99:1 98:1" {
		t.Errorf("the store of 5000 bytes has %s", got)
	}
	large := spanOf(1, 1, time.Hour)
	firstSpan(large).SetName(strings.Repeat("x", 5000))
	if got := rejected(t, s, large); !strings.Contains(got, "of a trace of more than") {
		t.Error(got)
	}
	if got := held(t, s); got != "99:1 98:1" {
		t.Errorf("after what it can't hold, the store has %s", got)
	}
	for len(s.byTime) > 0 {
		s.remove(s.byTime[0])
	}
	if s.bytes != 0 || s.spans != 0 || len(s.traces) != 0 {
		t.Errorf("an empty store counts %d bytes, %d spans and %d traces", s.bytes, s.spans, len(s.traces))
	}
}

func TestStoreForgets(t *testing.T) {
	now := storeStart
	s := NewStore(StoreConfig{MaxAge: time.Hour, Now: func() time.Time { return now }})
	mustAppend(t, s, spanOf(1, 1, -time.Minute))
	mustAppend(t, s, spanOf(2, 1, 0))
	if got := rejected(t, s, spanOf(3, 1, -time.Hour-1)); got != "1 spans not taken: 1 older than what is kept" {
		t.Error(got)
	}
	now = now.Add(time.Hour)
	if got := held(t, s); got != "2:1" {
		t.Errorf("after an hour the store has %s", got)
	}
	for _, err := range s.tracesRaw(t.Context(), []pcommon.TraceID{{15: 1}}) {
		t.Errorf("a trace that is too old was had by its id: %v", err)
	}
	mustAppend(t, s, spanOf(4, 1, time.Hour))
	if len(s.traces) != 2 {
		t.Errorf("what is too old is still held: %d traces", len(s.traces))
	}
}

func TestStoreRefusesSpans(t *testing.T) {
	s := NewStore(StoreConfig{})
	for want, spoil := range map[string]func(ptrace.Span){
		"without a trace id": func(s ptrace.Span) { s.SetTraceID(pcommon.TraceID{}) },
		"without a span id":  func(s ptrace.Span) { s.SetSpanID(pcommon.SpanID{}) },
		"without a start":    func(s ptrace.Span) { s.SetStartTimestamp(0) },
		"of the future":      func(s ptrace.Span) { s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(2 * time.Hour))) },
		"nested deeper than": func(s ptrace.Span) { nest(s.Attributes().PutEmpty("a"), MaxNesting+1) },
	} {
		td := spanOf(1, 1, 0)
		good := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty()
		firstSpan(td).CopyTo(good)
		good.SetSpanID(pcommon.SpanID{7: 2})
		spoil(firstSpan(td))
		if got := rejected(t, s, td); !strings.HasPrefix(got, "1 spans not taken: 1 ") || !strings.Contains(got, want) {
			t.Errorf("want %s, got %s", want, got)
		}
	}
	for _, end := range []pcommon.Timestamp{math.MaxInt64 + 1, math.MaxUint64} {
		td := spanOf(1, 1, 0)
		firstSpan(td).SetEndTimestamp(end)
		if got := rejected(t, s, td); !strings.Contains(got, "of the future") {
			t.Error(got)
		}
	}
	if got := held(t, s); got != "1:1" {
		t.Errorf("of those with one that is good, the store has %s", got)
	}
	td := spanOf(2, 1, 0)
	nest(firstSpan(td).Attributes().PutEmpty("a"), MaxNesting)
	mustAppend(t, s, td)
}

// nest makes a value of slices and maps in one another.
func nest(v pcommon.Value, depth int) {
	for i := range depth {
		if i%2 == 0 {
			v = v.SetEmptySlice().AppendEmpty()
		} else {
			v = v.SetEmptyMap().PutEmpty("a")
		}
	}
}

func TestStoreKeepsOneOfTwo(t *testing.T) {
	s := NewStore(StoreConfig{})
	mustAppend(t, s, spanOf(1, 1, 0))
	mustAppend(t, s, spanOf(1, 1, 0))
	both := spanOf(1, 2, 0)
	spanOf(1, 2, 0).ResourceSpans().MoveAndAppendTo(both.ResourceSpans())
	mustAppend(t, s, both)
	if got := held(t, s); got != "1:2" {
		t.Errorf("two spans that came twice are %s", got)
	}
	other := spanOf(1, 1, 0)
	firstSpan(other).SetName("another")
	mustAppend(t, s, other)
	elsewhere := spanOf(1, 1, 0)
	elsewhere.ResourceSpans().At(0).Resource().Attributes().PutStr(serviceName, "bank")
	mustAppend(t, s, elsewhere)
	mustAppend(t, s, other)
	if got := held(t, s); got != "1:4" {
		t.Errorf("others of the same id are not there, or twice: %s", got)
	}
	if s.spans != 4 {
		t.Errorf("the store counts %d spans", s.spans)
	}
}

func TestStoreCopies(t *testing.T) {
	s := NewStore(StoreConfig{})
	td := spanOf(1, 1, 0)
	mustAppend(t, s, td)
	firstSpan(td).SetName("changed after it was given")
	for trace, err := range s.tracesRaw(t.Context(), []pcommon.TraceID{{15: 1}}) {
		if err != nil || firstSpan(trace).Name() != "" {
			t.Errorf("it is called %q: %v", firstSpan(trace).Name(), err)
		}
	}
}

func TestStoreIsReadWhileItIsWritten(t *testing.T) {
	s := NewStore(StoreConfig{MaxSpans: 500})
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			for n := range 500 {
				td := spanOf(byte(r.IntN(50)), byte(n), time.Duration(r.IntN(1000)))
				var rejected *Rejected
				if err := s.Append(td); err != nil && !errors.As(err, &rejected) {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		if got := held(t, s); strings.Contains(got, ":0") {
			t.Error(got)
		}
	}
	writers.Wait()
	if s.spans > 500 || len(s.traces) != len(s.byTime) {
		t.Errorf("it counts %d spans, %d and %d traces", s.spans, len(s.traces), len(s.byTime))
	}
}
