package traceql

import (
	"bytes"
	"cmp"
	"iter"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Trace is an index of the spans of one trace. They have numbers, in the order
// in which they stand in it.
type Trace struct {
	spans []Span
	// parents are the numbers of the spans' parents, -1 where there is none in the
	// trace. They make no circles.
	parents  []int
	children []int // how many
	order    []int // all spans, each after its parent
	root     int   // -1 of a trace without spans
	start    pcommon.Timestamp
	duration int64 // from the first start to the last end
}

// Span is a span with what it stands in.
type Span struct {
	Resource ptrace.ResourceSpans
	Scope    ptrace.ScopeSpans
	Span     ptrace.Span
}

// Spans yields all spans, in the order in which they stand there.
func Spans(traces ptrace.Traces) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					if !yield(Span{resource, scope, span}) {
						return
					}
				}
			}
		}
	}
}

// NewTrace returns an index of spans, which mustn't change while it is used. A
// span's parent is the first with that id. Where spans are said to be one
// another's parents, the earliest is taken to have none.
func NewTrace(spans ptrace.Traces) *Trace {
	t := &Trace{root: -1, spans: slices.Collect(Spans(spans))}
	t.findParents()
	t.findOrder()
	t.findRoot()
	return t
}

// Len is how many spans there are.
func (t *Trace) Len() int { return len(t.spans) }

// Span is the one of a number.
func (t *Trace) Span(i int) Span { return t.spans[i] }

// Parent is the number of the span's parent, -1 if there is none in the trace.
func (t *Trace) Parent(i int) int { return t.parents[i] }

// Root is the number of the trace's root: the earliest span whose parent isn't
// in the trace. It is -1 of a trace without spans.
func (t *Trace) Root() int { return t.root }

func (t *Trace) findParents() {
	byID := make(map[pcommon.SpanID]int, len(t.spans))
	for i, s := range t.spans {
		if _, ok := byID[s.Span.SpanID()]; !ok {
			byID[s.Span.SpanID()] = i
		}
	}
	t.parents = make([]int, len(t.spans))
	for i, s := range t.spans {
		t.parents[i] = -1
		id := s.Span.ParentSpanID()
		if parent, ok := byID[id]; ok && !id.IsEmpty() {
			t.parents[i] = parent
		}
	}
}

// findOrder goes up from each span to one that has its place, and opens the
// circles that it meets.
func (t *Trace) findOrder() {
	const unseen, onPath, placed = 0, 1, 2
	state := make([]uint8, len(t.spans))
	var path []int
	for i := range t.spans {
		path = path[:0]
		at := i
		for at >= 0 && state[at] == unseen {
			state[at] = onPath
			path = append(path, at)
			at = t.parents[at]
		}
		if at >= 0 && state[at] == onPath {
			path = t.opened(path, at)
		}
		for len(path) > 0 {
			last := path[len(path)-1]
			path = path[:len(path)-1]
			state[last] = placed
			t.order = append(t.order, last)
		}
	}
	t.children = make([]int, len(t.spans))
	for _, parent := range t.parents {
		if parent >= 0 {
			t.children[parent]++
		}
	}
}

// opened is a path that ends in a circle, which begins with the span met again,
// reordered so that it ends with the circle's earliest span, which from now on
// has no parent.
func (t *Trace) opened(path []int, met int) []int {
	begin := len(path) - 1
	for path[begin] != met {
		begin--
	}
	circle := path[begin:]
	earliest := 0
	for i := range circle {
		if t.earlier(circle[i], circle[earliest]) {
			earliest = i
		}
	}
	t.parents[circle[earliest]] = -1
	// Each span of a path is below the next. Those of the circle after the earliest
	// are now below its first.
	return slices.Concat(path[:begin], circle[earliest+1:], circle[:earliest+1])
}

// earlier says whether a span is before another: by start, then id, then
// number.
func (t *Trace) earlier(a, b int) bool {
	x, y := t.spans[a].Span, t.spans[b].Span
	xid, yid := x.SpanID(), y.SpanID()
	return cmp.Or(cmp.Compare(x.StartTimestamp(), y.StartTimestamp()), bytes.Compare(xid[:], yid[:]), cmp.Compare(a, b)) < 0
}

// Start is when the first span begins.
func (t *Trace) Start() time.Time { return t.start.AsTime() }

// Duration is from the start of the first span to the end of the last.
func (t *Trace) Duration() time.Duration { return time.Duration(t.duration) }

func (t *Trace) findRoot() {
	var last pcommon.Timestamp
	for i, s := range t.spans {
		if t.parents[i] < 0 && (t.root < 0 || t.earlier(i, t.root)) {
			t.root = i
		}
		start, end := s.Span.StartTimestamp(), s.Span.EndTimestamp()
		if i == 0 || start < t.start {
			t.start = start
		}
		last = max(last, end)
	}
	t.duration = between(t.start, last)
}

// between is how many nanoseconds there are from one time to a later one; else
// none.
func between(from, to pcommon.Timestamp) int64 {
	if to <= from {
		return 0
	}
	return int64(min(uint64(to-from), math.MaxInt64))
}
