package logs

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parley-gateway/parley/federation"
)

const (
	// An organization that is gone is asked again after retryFirst, then after
	// longer and longer, at most retryMost. One that denies is after retryDenied, and
	// then at most every retryDeniedMost.
	retryFirst, retryMost        = 500 * time.Millisecond, 15 * time.Second
	retryDenied, retryDeniedMost = 30 * time.Second, 5 * time.Minute
	// A tail that ran for settled, or briefly if it ended as one that goes on, doesn't
	// make the next one wait.
	settled, briefly = 10 * time.Second, 2 * time.Second
	// overlap is for how long before the last line of an organization its lines
	// are asked for again when it is back: they don't all come in order.
	overlap = 5 * time.Second
	// maxRemembered lines of an organization tell those that come again.
	maxRemembered = 10_000
)

// follower keeps one member's tail going.
type follower struct {
	member   TailMember
	index    int
	question Question
	opened   time.Time
	events   chan<- tailEvent
	had      remembered
}

// run asks the member, and asks it again when its tail ends, until ctx ends.
func (f *follower) run(ctx context.Context) {
	wait, denied := retryFirst, retryDenied
	for again := false; ; again = true {
		asked, parts := time.Now(), 0
		recall := f.had.recall()
		err := f.member.Tail(ctx, f.next(again), again, func(r *Released, part federation.Part) error {
			parts++
			entries := recall.without(r.entries)
			f.had.add(entries)
			return f.tell(ctx, tailEvent{entries: entries, part: part})
		})
		ran := time.Since(asked)
		if parts > 0 && ran >= settled {
			wait = retryFirst
		}
		if parts > 0 && ctx.Err() == nil && (err == nil && ran >= briefly || err != nil && !denies(err) && ran >= settled) {
			continue // at once, and it may be that nobody notices
		}
		if err != nil && f.tell(ctx, tailEvent{failed: err}) != nil {
			return
		}
		next := wait
		if err != nil && denies(err) {
			next, denied = denied, min(2*denied, retryDeniedMost)
		} else {
			wait, denied = min(2*wait, retryMost), retryDenied
		}
		if !pause(ctx, next) {
			return
		}
	}
}

// pause waits before a member is asked again, and says whether it is to be.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait + rand.N(wait/4)) // so that not all come back at the same moment
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// denies says whether an error is an answer, which another try won't change soon.
func denies(err error) bool { return federation.StatusOf(err) == federation.Denied }

func (f *follower) tell(ctx context.Context, e tailEvent) error {
	e.index = f.index
	select {
	case f.events <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next is what the member is asked: at first the question, and then for all that
// came since its last line, or since the tail began.
func (f *follower) next(again bool) Question {
	q := f.question
	if !again {
		return q
	}
	q.Backward, q.Limit, q.Start, q.End = false, 0, f.opened, time.Now()
	if from := f.had.from(); from > 0 {
		q.Start = time.Unix(0, from)
	}
	if q.End.Before(q.Start) {
		q.End = q.Start
	}
	return q
}

// remembered are the last entries that a member gave. Entries of the future
// don't make it forget those of now. Its zero value is ready.
type remembered struct {
	seed  maphash.Seed
	last  int64 // the latest time, not after the time it came at
	since int64 // all of this time and later are in entries
	// entries are those since since, in no order; at most twice maxRemembered.
	entries []mark
}

// mark is what is remembered of an entry.
type mark struct {
	at   int64
	hash uint64
}

func (r *remembered) add(entries []Entry) {
	if r.entries == nil {
		r.seed = maphash.MakeSeed()
	}
	now := time.Now().UnixNano()
	for _, e := range entries {
		r.last = max(r.last, min(e.At, now))
		r.entries = append(r.entries, mark{e.At, e.hash(r.seed)})
		if len(r.entries) == 2*maxRemembered {
			r.forget()
		}
	}
}

// seen are the entries that are remembered.
func (r *remembered) seen() *seen {
	s := newSeen()
	if r.entries != nil {
		s.seed = r.seed
	}
	for _, m := range r.entries {
		s.times[m.hash]++
	}
	return s
}

func (r *remembered) forget() {
	slices.SortFunc(r.entries, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	r.since = max(r.since, r.last-overlap.Nanoseconds(), r.entries[len(r.entries)-maxRemembered].at+1)
	first, _ := slices.BinarySearchFunc(r.entries, r.since, func(m mark, at int64) int { return cmp.Compare(m.at, at) })
	r.entries = slices.Clone(r.entries[first:])
}

// from is from when on a member is asked again; 0 when it has given nothing.
func (r *remembered) from() int64 {
	if r.last == 0 {
		return 0
	}
	return max(r.since, r.last-overlap.Nanoseconds())
}

// recall tells entries that come again. The values of pseudonyms may differ from
// one time a member is asked to the next, so an entry that is not the same as any
// counts as one of those given at its very moment.
type recall struct {
	seed  maphash.Seed
	same  map[mark]int
	times map[int64]int
}

func (r *remembered) recall() *recall {
	c := &recall{seed: r.seed, same: map[mark]int{}, times: map[int64]int{}}
	for _, m := range r.entries {
		c.same[m]++
		c.times[m.at]++
	}
	return c
}

// without are the entries but for those that were given before.
func (c *recall) without(entries []Entry) []Entry {
	if len(c.times) == 0 {
		return entries
	}
	entries = slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		m := mark{e.At, e.hash(c.seed)}
		if c.same[m] == 0 {
			return false
		}
		c.same[m]--
		c.times[e.At]--
		return true
	})
	return slices.DeleteFunc(entries, func(e Entry) bool {
		if c.times[e.At] == 0 {
			return false
		}
		c.times[e.At]--
		return true
	})
}
