package traces

import (
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// firstWindows is how many windows of the first one's length a search has.
const firstWindows = 16

// backward searches a backend that gives only so many traces at once, and in an
// order of its own: in windows that grow, the latest first. A window in which
// there may be more than was given is halved.
type backward struct {
	selection selection
	// within returns the traces with a span of the selection that begins in the
	// window; others may be among them. It is errTooMuch when there may be more.
	within func(window) (haul, error)
	// longest is how long a window may be; zero is any.
	longest time.Duration
	fails   func(error) error
}

func (b backward) search(seen func(start int64) bool, yield func(ptrace.Traces, error) bool) {
	if b.selection.start >= b.selection.end {
		seen(b.selection.start)
		return
	}
	came := map[pcommon.TraceID]bool{}
	for w := b.first(); w.end > b.selection.start; {
		found, err := b.within(w)
		switch {
		case errors.Is(err, errTooMuch) && w.narrow():
			continue
		case errors.Is(err, errTooMuch):
			yield(ptrace.Traces{}, b.fails(errors.New("more traces begin at once than are given at once")))
			return
		case err != nil:
			yield(ptrace.Traces{}, b.fails(err))
			return
		case !b.yieldLatest(found, w.start, came, yield) || !seen(w.start):
			return
		}
		w = b.before(w)
	}
}

// yieldLatest yields the traces whose last span of the selection begins at start
// or later, the others being for a later window.
func (b backward) yieldLatest(found haul, start int64, came map[pcommon.TraceID]bool, yield func(ptrace.Traces, error) bool) bool {
	ids := slices.SortedFunc(maps.Keys(found.traces), func(a, b pcommon.TraceID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		if latest, ok := b.selection.latest(found.traces[id]); !ok || latest < start || came[id] {
			continue
		}
		came[id] = true
		if !yield(found.traces[id], nil) {
			return false
		}
	}
	return true
}

// window is a time that is looked at: start is included, end isn't.
type window struct{ start, end int64 }

// first is the latest window.
func (b backward) first() window {
	size := b.selection.end - b.selection.start
	if b.selection.wanted > 0 {
		size = max(size/firstWindows, 1)
	}
	return b.upTo(b.selection.end, size)
}

// before is the one before a window, twice as long.
func (b backward) before(w window) window { return b.upTo(w.start, 2*(w.end-w.start)) }

func (b backward) upTo(end, size int64) window {
	if b.longest > 0 {
		size = min(size, int64(b.longest))
	}
	return window{start: max(b.selection.start, end-size), end: end}
}

// narrow takes the later half; false: there is none.
func (w *window) narrow() bool {
	size := (w.end - w.start) / 2
	w.start = w.end - size
	return size > 0
}
