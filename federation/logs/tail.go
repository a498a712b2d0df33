package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// The times and sizes of tails.
const (
	// gatherFor is for how long lines that follow others are gathered into one part.
	gatherFor = time.Second
	// aliveEvery is how often a part comes at least, be it without lines.
	aliveEvery = 5 * time.Second
	// pollEvery is how often a store is read of which there is no tail.
	pollEvery = 2 * time.Second
	// lateFor is for how long an entry that comes late is still found then.
	lateFor = 10 * time.Second

	// maxReread entries are remembered, to be told when they are read again.
	maxReread = 200_000

	// A part has at most so many lines and, but for a last one, bytes.
	maxPartLines = 512
	maxPartBytes = 512 << 10
	// maxTailLine is the longest line of a tail, in bytes.
	maxTailLine = 1 << 20
)

// Tail gives the entries of the view that are written from now on, and before
// them what the question wants of those that are there. Each part is given under
// the decision of its moment. It ends without an error when the tail has to be
// asked again to go on; an error is a *federation.Error, or that of give.
//
// Where policy shows entries at once they come from the store's own tail. Where
// it shows them later, because of a delay or a resolution, or where the store has
// no tail of such streams, the store is read again and again: what is written with
// a time that was read more than lateFor ago is then left out.
func (l *Local) Tail(ctx context.Context, q Question, decide federation.Decide, by federation.Asking, give func(*Released, federation.Part) error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			_, err = l.failed(ctx, by, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	err = l.tail(ctx, q, decide, by, give)
	var given *giveError
	switch {
	case errors.As(err, &given):
		return given.error
	case errors.Is(err, federation.ErrAskAgain):
		return nil
	}
	_, err = l.failed(ctx, by, err)
	return err
}

// giveError is an error of give.
type giveError struct{ error }

func (l *Local) tail(ctx context.Context, q Question, decide federation.Decide, by federation.Asking, give func(*Released, federation.Part) error) error {
	expr, err := q.parse()
	if err != nil {
		return err
	}
	selector, ok := expr.(*logql.LogSelector)
	if !ok || q.Kind != policy.Tail {
		return federation.Errorf(federation.BadQuestion, "%q is not a kind of tail", q.Kind)
	}
	t := &tail{local: l, q: q, selector: selector, by: by, decide: decide, give: give, limit: perMinute{began: l.config.Now()}}
	o, err := t.obligations(ctx)
	if err != nil {
		return err
	}
	t.later = shownLater(o)
	v, err := l.view(o, by)
	if err == nil {
		err = l.allowed(ctx, q, o, by)
	}
	if err == nil {
		err = v.refuseLines(selector)
	}
	if err != nil {
		return err
	}
	t.notices, t.coverage = v.notices(q), v.coverage(q)
	if o.Epoch > 0 {
		made, err := by.ExchangeID.Time()
		if err != nil {
			return err
		}
		// The pseudonyms of an epoch end with it.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, made.Truncate(o.Epoch).Add(o.Epoch), federation.ErrAskAgain)
		defer cancel()
	}
	if t.later {
		err = t.poll(ctx, v)
	} else if err = t.follow(ctx, v, o); errors.Is(err, errNoTail) {
		err = t.poll(ctx, v)
	}
	if cause := context.Cause(ctx); errors.Is(cause, federation.ErrAskAgain) {
		return cause
	}
	return err
}

// shownLater says whether entries are in the view only some time after they
// were written.
func shownLater(o policy.Obligations) bool { return o.Resolution > 0 || !o.NotAfter.IsZero() }

// tail is a tail that is running. It is not safe for concurrent use.
type tail struct {
	local    *Local
	q        Question
	selector *logql.LogSelector
	by       federation.Asking
	decide   federation.Decide
	give     func(*Released, federation.Part) error

	// later is whether the tail reads the store again and again.
	later    bool
	notices  []string
	coverage policy.Window
	limit    perMinute
	given    *seen       // of what is read; nil: not needed
	had      *remembered // of all; nil: not needed
	begun    bool        // the first part was given
	last     time.Time   // when the last part was given
}

// obligations are those of the decision as it is now.
func (t *tail) obligations(ctx context.Context) (policy.Obligations, error) {
	d, err := t.decide(ctx)
	if err != nil {
		return policy.Obligations{}, err
	}
	if !d.Allow {
		return policy.Obligations{}, federation.Errorf(federation.Refused, federation.NotAllowed)
	}
	o := d.Obligations.Of(tenants.Logs)
	t.limit.most = o.Limits.OrDefault()
	return o, nil
}

// tailEntry is an entry of the view, and what the pipeline makes of it.
type tailEntry struct {
	visibleEntry
	entry Entry
}

func (e tailEntry) bytes() int { return e.entry.bytes() + entryBytes }

// compareTailEntries is the order of entries of one organization.
func compareTailEntries(a, b tailEntry) int {
	return cmp.Or(cmp.Compare(a.at, b.at), compareEntries(a.visibleEntry, b.visibleEntry))
}

// hand gives a part, under the decision of now.
func (t *tail) hand(ctx context.Context, entries []tailEntry, dropped int, redactions map[string]uint64) error {
	o, err := t.obligations(ctx)
	if err != nil {
		return err
	}
	if shownLater(o) != t.later {
		return federation.ErrAskAgain
	}
	out := &Released{redactions: redactions}
	var told []Entry // given, or counted as left out
	now := t.local.config.Now()
	for _, e := range entries {
		switch {
		case !o.NotAfter.IsZero() && e.at > o.NotAfter.UnixNano():
			return federation.ErrAskAgain // it is shown later than when it was read
		case !o.NotBefore.IsZero() && e.at-o.Resolution.Nanoseconds() < o.NotBefore.UnixNano():
			continue // not in the view any more
		}
		told = append(told, e.entry)
		switch {
		case len(e.entry.Line) > maxTailLine, !t.limit.takes(now, e.entry):
			dropped++
		default:
			out.entries = append(out.entries, e.entry)
		}
	}
	if t.given != nil {
		for _, e := range told {
			t.given.add(e)
		}
	}
	if t.had != nil {
		t.had.add(told)
	}
	part := federation.Part{Org: t.local.config.Org, Status: federation.Complete, Cost: out.Disclosed(), Dropped: dropped}
	if dropped > 0 {
		part.Status, part.Reason = federation.Partial, "lines were left out: more came than could be passed on, or than the limits of lines and bytes let pass in a minute"
	}
	if !t.begun {
		part.Notices, part.Coverage = t.notices, t.coverage
		t.begun = true
	}
	if err := t.give(out, part); err != nil {
		return &giveError{err}
	}
	t.last = time.Now()
	return nil
}

// perMinute bounds what of a tail leaves in a minute: as much as one answer may
// hold.
type perMinute struct {
	most         tenants.Limits
	began        time.Time
	lines, bytes int
}

func (p *perMinute) takes(now time.Time, e Entry) bool {
	if now.Sub(p.began) >= time.Minute || now.Before(p.began) {
		p.began, p.lines, p.bytes = now, 0, 0
	}
	bytes := e.bytes()
	if p.lines+1 > p.most.Lines || p.bytes+bytes > p.most.Bytes {
		return false
	}
	p.lines++
	p.bytes += bytes
	return true
}

// parts gathers entries that are read into parts.
type parts struct {
	*tail
	pipeline *logql.Pipeline
	view     *view
	given    *readEntries // nil: nothing is read again
	known    *seen        // isn't given again; nil: there is nothing
	entries  []tailEntry
	bytes    int
}

func (t *tail) parts(v *view) (*parts, error) {
	pipeline, err := logql.NewPipeline(t.selector)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	return &parts{tail: t, pipeline: pipeline, view: v}, nil
}

// read reads the view from one time on and up to another, forward, and gives
// what there is but for the last part.
func (p *parts) read(ctx context.Context, from, to int64) error {
	return p.view.entries(ctx, selectionOf(p.selector, from, to), func(e visibleEntry) error {
		entry, ok := p.process(e)
		if !ok || p.given != nil && !p.given.isNew(entry.entry) || p.known != nil && p.known.again(entry.entry) {
			return nil
		}
		if p.entries, p.bytes = append(p.entries, entry), p.bytes+entry.bytes(); len(p.entries) < maxPartLines && p.bytes < maxPartBytes {
			return nil
		}
		return p.flush(ctx)
	})
}

// newest reads the last so many entries of the view between two times. whole
// says that there are no others.
func (p *parts) newest(ctx context.Context, from, to int64, most int) (whole bool, err error) {
	if most == 0 {
		return false, nil
	}
	sel := selectionOf(p.selector, from, to)
	sel.backward, sel.wanted, whole = true, most, true
	err = p.view.entries(ctx, sel, func(e visibleEntry) error {
		entry, ok := p.process(e)
		if !ok {
			return nil
		}
		if p.bytes += entry.bytes(); len(p.entries) == most || p.bytes > maxHeld {
			whole = false
			return errEnough
		}
		if p.given != nil {
			p.given.isNew(entry.entry)
		}
		p.entries = append(p.entries, entry)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	slices.Reverse(p.entries)
	return whole, err
}

func (p *parts) process(e visibleEntry) (tailEntry, bool) {
	entry, ok := p.pipeline.Process(e.at, e.line, e.stream, e.metadata)
	return tailEntry{e, Entry{At: e.at, Entry: entry}}, ok
}

// flush gives what was gathered, in parts.
func (p *parts) flush(ctx context.Context) error {
	redactions := p.view.redactions()
	for {
		n := fill(p.entries)
		if err := p.hand(ctx, p.entries[:n], 0, redactions); err != nil {
			return err
		}
		if p.entries, redactions = p.entries[n:], nil; len(p.entries) == 0 {
			p.entries, p.bytes = nil, 0
			return nil
		}
	}
}

// fill is how many of the entries a part has.
func fill(entries []tailEntry) int {
	n, bytes := 0, 0
	for n < len(entries) && n < maxPartLines && bytes < maxPartBytes {
		bytes += entries[n].bytes()
		n++
	}
	return n
}

// redactions are how often rules fired since it was called last.
func (v *view) redactions() map[string]uint64 {
	var out map[string]uint64
	for _, c := range v.fired.Counts() {
		if out == nil {
			out = map[string]uint64{}
		}
		out[c.Rule] = c.Times
	}
	v.fired.Reset()
	return out
}

// before gives what there is already: up to when the tail was asked for what the
// question wants of it, and from then on up to a time everything. It returns from
// which time on entries are new, or among those given.
func (p *parts) before(ctx context.Context, asked, to int64) (from int64, err error) {
	from = p.q.Start.UnixNano()
	if p.q.Backward {
		whole, err := p.newest(ctx, from, asked, min(p.q.Limit, p.limit.most.Lines))
		if err != nil {
			return 0, err
		}
		switch {
		case whole:
		case len(p.entries) > 0:
			from = p.entries[0].at
		default:
			from = max(from, asked)
		}
	} else {
		asked = from
	}
	if err := p.read(ctx, max(from, asked), to); err != nil {
		return 0, err
	}
	return from, p.flush(ctx)
}

// poll reads the view again and again, each time what became visible since, and
// what is a little older once more for entries that came late.
func (t *tail) poll(ctx context.Context, v *view) error {
	given := newRead()
	given.forget(t.whole(v) - lateFor.Nanoseconds()) // earlier entries are read once
	read, from := int64(0), int64(0)                 // up to where the view was read, and from where on
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		p, err := t.parts(v)
		if err != nil {
			return err
		}
		p.given = given
		upTo := t.whole(v)
		switch {
		case !t.begun:
			from, err = p.before(ctx, upTo, upTo)
		case upTo > read:
			given.again()
			err = p.read(ctx, max(from, read-lateFor.Nanoseconds()), upTo)
		}
		if read = max(read, upTo); err == nil && (len(p.entries) > 0 || time.Since(t.last) >= aliveEvery) {
			err = p.flush(ctx)
		}
		if err != nil {
			return err
		}
		if given.forget(read - lateFor.Nanoseconds()); len(given.known) > maxReread {
			given, from = newRead(), read // what comes late is left out
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		o, err := t.obligations(ctx)
		if err != nil {
			return err
		}
		if shownLater(o) != t.later {
			return federation.ErrAskAgain
		}
		if v, err = t.local.view(o, t.by); err != nil {
			return err
		}
	}
}

// whole is the time before which the view, with a resolution, has all that it will
// have but for what comes late.
func (t *tail) whole(v *view) int64 {
	newest := min(v.newest, t.local.config.Now().UnixNano())
	if v.resolution > 0 {
		newest -= newest % v.resolution
	}
	return newest + 1
}

// readEntries are entries that were read, to tell those that are read again. Of
// entries that are the same it knows how many there were.
type readEntries struct {
	seed  maphash.Seed
	since int64 // entries before aren't read again, and not known
	known map[uint64]*readEntry
}

type readEntry struct {
	at         int64
	had, reads int // how many there were, and how many were read this time
}

func newRead() *readEntries {
	return &readEntries{seed: maphash.MakeSeed(), since: math.MinInt64, known: map[uint64]*readEntry{}}
}

// again begins to read once more.
func (r *readEntries) again() {
	for _, e := range r.known {
		e.reads = 0
	}
}

// isNew says whether an entry that is read hasn't been read before.
func (r *readEntries) isNew(e Entry) bool {
	if e.At < r.since {
		return true
	}
	hash := e.hash(r.seed)
	known := r.known[hash]
	if known == nil {
		known = &readEntry{at: e.At}
		r.known[hash] = known
	}
	if known.reads++; known.reads <= known.had {
		return false
	}
	known.had++
	return true
}

// forget lets entries before a time go.
func (r *readEntries) forget(before int64) {
	r.since = before
	maps.DeleteFunc(r.known, func(_ uint64, e *readEntry) bool { return e.at < before })
}

// seen are entries that were given, to tell those that come again.
type seen struct {
	seed  maphash.Seed
	times map[uint64]int
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), times: map[uint64]int{}} }

func (s *seen) add(e Entry) { s.times[e.hash(s.seed)]++ }

// again says whether an entry is one that was added, once for each time.
func (s *seen) again(e Entry) bool {
	hash := e.hash(s.seed)
	switch n := s.times[hash]; n {
	case 0:
		return false
	case 1:
		delete(s.times, hash)
	default:
		s.times[hash] = n - 1
	}
	return true
}
