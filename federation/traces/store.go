package traces

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// MaxTraceSpans is how many spans a trace has at most: a trace is held whole,
// and one that never ends would hold all there is.
const MaxTraceSpans = 200_000

// StoreConfig says how much is kept.
type StoreConfig struct {
	// MaxSpans is how many spans are kept; default a million.
	MaxSpans int
	// MaxBytes is about how much memory they take; default 256 MiB.
	MaxBytes int
	// MaxAge is how long after its last span began a trace is kept; default as
	// long as there is room.
	MaxAge time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

const (
	defaultMaxSpans = 1_000_000
	defaultMaxBytes = 256 << 20
	// traceBytes, chunkBytes and spanBytes are counted beside what the spans
	// themselves take.
	traceBytes = 256
	chunkBytes = 48
	spanBytes  = 96
	// maxAhead is how far a clock that is ahead of ours may be: a span of another
	// year would be the last to go.
	maxAhead = time.Hour
)

// Store is a Source in memory. When it is full, the traces go whose last span
// began first. As with Jaeger, a span that comes again is already there; another
// one of the same id is kept beside it.
type Store struct {
	config StoreConfig

	mu     sync.RWMutex
	traces map[pcommon.TraceID]*storedTrace // guarded by mu
	byTime []*storedTrace                   // guarded by mu; in order of latest, then of id
	spans  int                              // guarded by mu; of traces
	bytes  int                              // guarded by mu; of traces
}

// storedTrace is guarded by Store.mu. What chunks and marks hold never changes,
// so that who has taken the slices reads on without it.
type storedTrace struct {
	id     pcommon.TraceID
	latest int64    // when its last span begins
	chunks [][]byte // OTLP, as it came
	marks  []mark
	ids    map[pcommon.SpanID]struct{}
	bytes  int
}

// NewStore returns an empty store.
func NewStore(c StoreConfig) *Store {
	if c.MaxSpans == 0 {
		c.MaxSpans = defaultMaxSpans
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{config: c, traces: map[pcommon.TraceID]*storedTrace{}}
}

// Append writes spans, of any traces, and neither keeps nor changes what it is
// given. Those that it can't take are in a *Rejected; the others are written
// all the same.
func (s *Store) Append(spans ptrace.Traces) error {
	now := s.config.Now()
	refuse := rejections{}
	groups := split(spans, s.oldest(now), now.Add(maxAhead).UnixNano(), refuse)
	for _, g := range groups {
		if err := g.marshal(); err != nil {
			return fmt.Errorf("append to traces store: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range groups {
		if err := s.add(g, refuse); err != nil {
			return fmt.Errorf("append to traces store: %w", err)
		}
	}
	gone := s.dropOld(now)
	for _, g := range groups {
		if gone[g.id] {
			refuse.add(len(g.marks), "older than all that a full store keeps")
		}
	}
	return refuse.err()
}

// oldest is when the last span of a trace that is kept began, at least.
func (s *Store) oldest(now time.Time) int64 {
	if s.config.MaxAge == 0 {
		return 1 // zero is no time
	}
	return now.Add(-s.config.MaxAge).UnixNano()
}

// StoreSize is how much a Store holds.
type StoreSize struct{ Traces, Spans, Bytes int }

// Size is how much there is, of whatever age.
func (s *Store) Size() StoreSize {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return StoreSize{Traces: len(s.traces), Spans: s.spans, Bytes: s.bytes}
}

// add needs mu.
func (s *Store) add(g *group, refuse rejections) error {
	t := s.traces[g.id]
	if t == nil {
		t = &storedTrace{id: g.id, ids: map[pcommon.SpanID]struct{}{}, bytes: traceBytes}
	}
	if g.repeats(t.ids) {
		there, err := unmarshal(t.chunks)
		if err != nil {
			return err
		}
		if err := g.drop(there); err != nil {
			return err
		}
	}
	switch n := len(t.marks) + len(g.marks); {
	case len(g.marks) == 0:
		return nil
	case n > min(MaxTraceSpans, s.config.MaxSpans) || t.bytes+g.bytes() > s.config.MaxBytes:
		refuse.add(len(g.marks), fmt.Sprintf("of a trace of more than the %d spans or %d bytes that are kept",
			min(MaxTraceSpans, s.config.MaxSpans), s.config.MaxBytes))
		g.marks = nil
		return nil
	}
	s.remove(t)
	t.chunks = append(t.chunks, g.chunk)
	t.marks = append(t.marks, g.marks...)
	t.bytes += g.bytes()
	for _, m := range g.marks {
		t.ids[m.id] = struct{}{}
		t.latest = max(t.latest, m.start)
	}
	s.insert(t)
	return nil
}

// insert needs mu.
func (s *Store) insert(t *storedTrace) {
	s.traces[t.id] = t
	s.byTime = slices.Insert(s.byTime, s.place(t), t)
	s.spans += len(t.marks)
	s.bytes += t.bytes
}

// remove needs mu. A trace that isn't there yet is none the less.
func (s *Store) remove(t *storedTrace) {
	if s.traces[t.id] != t {
		return
	}
	delete(s.traces, t.id)
	place := s.place(t)
	s.byTime = slices.Delete(s.byTime, place, place+1)
	s.spans -= len(t.marks)
	s.bytes -= t.bytes
}

// place is where a trace is in byTime, or would be. It needs mu.
func (s *Store) place(t *storedTrace) int {
	place, _ := slices.BinarySearchFunc(s.byTime, t, func(a, b *storedTrace) int {
		return cmp.Or(cmp.Compare(a.latest, b.latest), slices.Compare(a.id[:], b.id[:]))
	})
	return place
}

// dropOld removes what is too old, or more than is kept. It needs mu.
func (s *Store) dropOld(now time.Time) map[pcommon.TraceID]bool {
	gone, oldest := map[pcommon.TraceID]bool{}, s.oldest(now)
	first := 0
	for _, t := range s.byTime {
		if s.spans <= s.config.MaxSpans && s.bytes <= s.config.MaxBytes && t.latest >= oldest {
			break
		}
		first++
		gone[t.id] = true
		delete(s.traces, t.id)
		s.spans -= len(t.marks)
		s.bytes -= t.bytes
	}
	s.byTime = slices.Delete(s.byTime, 0, first)
	return gone
}

func (s *Store) tracesRaw(ctx context.Context, ids []pcommon.TraceID) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		oldest, asked := s.oldest(s.config.Now()), map[pcommon.TraceID]bool{}
		for _, id := range ids {
			if asked[id] {
				continue
			}
			asked[id] = true
			chunks, found := s.trace(id, oldest)
			if found && !give(ctx, chunks, yield) {
				return
			}
		}
	}
}

func (s *Store) trace(id pcommon.TraceID, oldest int64) (chunks [][]byte, found bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.traces[id]
	if t == nil || t.latest < oldest {
		return nil, false
	}
	return t.chunks, true
}

func (s *Store) searchRaw(ctx context.Context, sel selection, seen func(start int64) bool) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		hits := s.hits(sel)
		for len(hits) > 0 {
			n := batch(hits, sel.wanted)
			for _, h := range hits[:n] {
				if !give(ctx, h.chunks, yield) {
					return
				}
			}
			if n < len(hits) && !seen(hits[n-1].latest) {
				return
			}
			hits = hits[n:]
		}
		seen(sel.start)
	}
}

// batch is how many of the hits are given before it is asked whether to go on:
// those that are wanted, and what began at the time of the last of them.
func batch(hits []hit, wanted int) int {
	if wanted <= 0 || wanted >= len(hits) {
		return len(hits)
	}
	n := wanted
	for n < len(hits) && hits[n].latest == hits[n-1].latest {
		n++
	}
	return n
}

// hit is a trace with a span of a selection, as it was when it was looked for.
type hit struct {
	chunks [][]byte
	latest int64 // when the last of these spans begins
}

// hits are the traces with a span of the selection, the latest first.
func (s *Store) hits(sel selection) []hit {
	wanted := sel.marks()
	start := max(sel.start, s.oldest(s.config.Now()))
	s.mu.RLock()
	defer s.mu.RUnlock()
	var hits []hit
	for _, t := range slices.Backward(s.byTime) {
		if t.latest < start {
			break
		}
		if latest, ok := wanted.latest(t.marks); ok {
			hits = append(hits, hit{chunks: t.chunks, latest: latest})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.latest, a.latest) })
	return hits
}

// give yields a trace, or why not, and says whether to go on.
func give(ctx context.Context, chunks [][]byte, yield func(ptrace.Traces, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(ptrace.Traces{}, err)
		return false
	}
	trace, err := unmarshal(chunks)
	if err != nil {
		yield(ptrace.Traces{}, fmt.Errorf("read traces store: %w", err))
		return false
	}
	return yield(trace, nil)
}

func (s *Store) servicesRaw(context.Context) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := map[string]bool{}
	for _, t := range s.byTime {
		for _, m := range t.marks {
			found[m.service.Value()] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// someRaw gives the latest.
func (s *Store) someRaw(_ context.Context, sel selection) ([]ptrace.Traces, error) {
	hits := s.hits(sel)
	if len(hits) == 0 {
		return nil, nil
	}
	trace, err := unmarshal(hits[0].chunks)
	if err != nil {
		return nil, fmt.Errorf("read traces store: %w", err)
	}
	return []ptrace.Traces{trace}, nil
}
