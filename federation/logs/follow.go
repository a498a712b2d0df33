package logs

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// A tail that is read more slowly than lines come holds so many lines and bytes
// of them. What comes then is left out, and counted.
const (
	maxQueueLines = 8192
	maxQueueBytes = 8 << 20
	// aheadOfUs is how far clocks may be ahead of ours: what was written with a time
	// to come is there already, too.
	aheadOfUs = time.Minute
	// maxStreams are remembered by a view that lasts.
	maxStreams = 10_000
	// leftOutFor is how long before a tail looked last that may have been written
	// which it hasn't got, and hears now that the store left out.
	leftOutFor = 30 * time.Second
)

// follow takes entries from the store's own tail. That runs before what is there
// already is read, so that nothing is between them. What it leaves out is read,
// too: it may be the hidden that it had no room for, and a tail that then ended,
// or had gaps, would show it.
func (t *tail) follow(ctx context.Context, v *view, o policy.Obligations) error {
	own, err := t.local.view(o, t.by) // both are used at the same time
	if err != nil {
		return err
	}
	gathered, err := t.parts(own)
	if err != nil {
		return err
	}
	p, err := t.parts(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	asked := t.local.config.Now()
	q := &queue{changed: make(chan struct{}, 1), parts: gathered}
	begun, ended := make(chan struct{}), make(chan struct{})
	var failed error // when ended is closed
	go func() {
		defer close(ended)
		failed = q.fill(ctx, t.selector, sync.OnceFunc(func() { close(begun) }))
	}()
	defer func() { cancel(); <-ended }()
	select {
	case <-begun:
	case <-ended:
		return failed
	}
	t.given, t.had = newSeen(), &remembered{}
	from, err := p.before(ctx, asked.UnixNano(), t.local.config.Now().Add(aheadOfUs).UnixNano())
	if err != nil {
		return err
	}
	given := t.given
	t.given = nil
	looked := asked // what came before was in the queue then, or found no room
	var again time.Time
	counted := time.Now()
	for {
		lines, full, leftOut := q.length()
		wait := aliveEvery - time.Since(t.last)
		switch {
		case leftOut:
			wait = gatherFor - min(time.Since(t.last), time.Since(again))
		case lines:
			wait = gatherFor - time.Since(t.last)
		}
		if wait > 0 && (!full || leftOut) {
			timer := time.NewTimer(wait)
			select {
			case <-q.changed:
			case <-timer.C:
			case <-ended:
				timer.Stop()
				return failed
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
			timer.Stop()
			continue
		}
		since := looked.Add(-leftOutFor).UnixNano()
		looked = t.local.config.Now()
		if leftOut {
			again = time.Now()
			q.forget()
			if len(given.times) > maxReread {
				given = newSeen()
			}
			t.given = given
			if err := t.again(ctx, max(from, since)); err != nil {
				return err
			}
			t.given = nil
			continue
		}
		dropped := 0
		if time.Since(counted) >= gatherFor { // if the store leaves out some of a burst as well, all of it is read
			dropped, counted = q.count(), time.Now()
		}
		entries, redactions := q.take()
		entries = slices.DeleteFunc(entries, func(e tailEntry) bool { return e.at < from || given.again(e.entry) })
		if err := t.hand(ctx, entries, dropped, redactions); err != nil {
			return err
		}
	}
}

// again gives what there is from a time on and wasn't given, as far as that is
// known.
func (t *tail) again(ctx context.Context, from int64) error {
	o, err := t.obligations(ctx)
	if err != nil {
		return err
	}
	v, err := t.local.view(o, t.by)
	if err != nil {
		return err
	}
	p, err := t.parts(v)
	if err != nil {
		return err
	}
	p.known = t.had.seen()
	if err := p.read(ctx, max(from, t.had.from()), t.local.config.Now().Add(aheadOfUs).UnixNano()); err != nil {
		return err
	}
	if len(p.entries) == 0 && time.Since(t.last) < aliveEvery {
		return nil
	}
	return p.flush(ctx)
}

// queue holds entries of a tail until they are given.
type queue struct {
	changed chan struct{} // has something when there is news

	mu      sync.Mutex
	parts   *parts // guarded by mu
	dropped int    // guarded by mu
	leftOut bool   // by the store; guarded by mu
}

// fill takes entries from the store until ctx or the store's tail ends.
func (q *queue) fill(ctx context.Context, selector *logql.LogSelector, begun func()) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	sel := selectionOf(selector, 0, 0)
	asked := sel.matchers
	v := q.parts.view
	var possible bool
	if sel.matchers, possible = v.labels.Narrow(asked); !possible || len(v.datasets) == 0 {
		begun()
		<-ctx.Done() // nothing that is written will be in the view
		return ctx.Err()
	}
	v.filterBefore(&sel)
	sel.holds = func(stream labels.Labels) bool { return q.holds(stream, asked) }
	return v.source.tailRaw(ctx, sel, begun, q.lost, func(raw rawEntry) error {
		defer q.tell()
		return q.offer(raw, asked)
	})
}

func (q *queue) tell() {
	select {
	case q.changed <- struct{}{}:
	default: // it has been told, and hasn't looked yet
	}
}

// offer takes an entry if it is of the view and the pipeline leaves it.
func (q *queue) offer(raw rawEntry, asked []*labels.Matcher) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.parts
	p.view.forget()
	e, ok, err := p.view.see(raw, raw.at, asked)
	if err != nil || !ok {
		return err
	}
	entry, ok := p.process(e)
	switch {
	case !ok:
	case len(p.entries) == maxQueueLines || p.bytes+entry.bytes() > maxQueueBytes:
		q.dropped++
	default:
		p.entries, p.bytes = append(p.entries, entry), p.bytes+entry.bytes()
	}
	return nil
}

// holds says whether entries of a stream are of the view, if only by an error.
func (q *queue) holds(stream labels.Labels, asked []*labels.Matcher) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := q.parts.view
	v.forget()
	s, err := v.stream(stream)
	return err != nil || len(s.member) > 0 && redact.Matches(asked, s.visible)
}

// forget keeps what is remembered of streams from growing for as long as a view
// lasts.
func (v *view) forget() {
	if len(v.streams) > maxStreams {
		clear(v.streams)
	}
}

// lost is told of entries that the store left out.
func (q *queue) lost() {
	q.mu.Lock()
	q.leftOut = true
	q.mu.Unlock()
	q.tell()
}

// forget is called before the store is read for what it left out, and with it for
// what found no room here.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leftOut, q.dropped = false, 0
}

// length says whether there is something to give, whether that is a part's fill,
// and whether the store left out entries.
func (q *queue) length() (some, full, leftOut bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.parts.entries) > 0 || q.dropped > 0, len(q.parts.entries) >= maxPartLines || q.parts.bytes >= maxPartBytes, q.leftOut
}

// count returns how many entries found no room since it was called last.
func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped := q.dropped
	q.dropped = 0
	return dropped
}

// take returns the entries of a part, in order, and how often rules fired.
func (q *queue) take() (entries []tailEntry, redactions map[string]uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.parts
	slices.SortStableFunc(p.entries, compareTailEntries)
	entries, p.entries, p.bytes = p.entries, nil, 0
	if n := fill(entries); n < len(entries) {
		entries, p.entries = entries[:n:n], slices.Clone(entries[n:])
		for _, e := range p.entries {
			p.bytes += e.bytes()
		}
	}
	return entries, p.view.redactions()
}
