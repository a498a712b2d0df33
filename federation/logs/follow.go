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
)

// follow takes entries from the store's own tail. That runs before what is there
// already is read, so that nothing is between them.
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
	t.given = newSeen()
	from, err := p.before(ctx, asked.UnixNano(), t.local.config.Now().Add(aheadOfUs).UnixNano())
	if err != nil {
		return err
	}
	given := t.given
	t.given = nil
	for {
		lines, full := q.length()
		wait := aliveEvery - time.Since(t.last)
		if lines {
			wait = gatherFor - time.Since(t.last)
		}
		if wait > 0 && !full {
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
		entries, dropped, redactions := q.take()
		entries = slices.DeleteFunc(entries, func(e tailEntry) bool { return e.at < from || given.again(e.entry) })
		if err := t.hand(ctx, entries, dropped, redactions); err != nil {
			return err
		}
	}
}

// queue holds entries of a tail until they are given.
type queue struct {
	changed chan struct{} // has something when there is news

	mu      sync.Mutex
	parts   *parts // guarded by mu
	dropped int    // guarded by mu
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
	return v.source.tailRaw(ctx, sel, begun, func(raw rawEntry) error {
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
	if len(p.view.streams) > maxStreams {
		clear(p.view.streams)
	}
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

// length says whether there is something to give, and whether that is a part's
// fill.
func (q *queue) length() (some, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.parts.entries) > 0 || q.dropped > 0, len(q.parts.entries) >= maxPartLines || q.parts.bytes >= maxPartBytes
}

// take returns the entries of a part, in order, how many were left out, and how
// often rules fired.
func (q *queue) take() (entries []tailEntry, dropped int, redactions map[string]uint64) {
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
	dropped, q.dropped = q.dropped, 0
	return entries, dropped, p.view.redactions()
}
