package logs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// TailMember is an organization whose tail can be had, our own among them.
type TailMember = federation.TailMember[Question, *Released]

// The times of tails of several organizations.
const (
	// openWithin is for how long a tail waits for all organizations to begin.
	openWithin = 5 * time.Second
	// reorderFor is how long a line waits for earlier ones of others.
	reorderFor = time.Second
	// So many lines and bytes wait at most, be it for an organization that has not
	// begun; then they are given as they are.
	maxReordered      = 10_000
	maxReorderedBytes = 8 << 20
)

// Tail merges the members' tails in order of time, as far as lines of one moment
// come at about the same time: a line waits a second for earlier ones. give gets
// with each part what became of each member, their costs and lines left out being
// those of the part. The first part is what there was already.
//
// A member whose tail ends is asked again, at first at once and then less and less
// often, for what came since. Only when it isn't there at once give is told, and
// then again when it is back. When give is slow, nothing more is read, and owners
// count what they leave out.
//
// The error is that of give or of ctx, or why no member has a tail, and then there
// was no part; the completeness is the last one.
func (f *Federated) Tail(ctx context.Context, q Question, members []TailMember, give func(*Released, federation.Completeness) error) (federation.Completeness, error) {
	request, err := q.Request()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &tailMerge{question: q, give: give, events: make(chan tailEvent), heard: make([]bool, len(members))}
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b TailMember) int { return strings.Compare(string(a.Org), string(b.Org)) })
	for i, member := range members {
		m.parts = append(m.parts, federation.Part{Org: member.Org, Status: federation.NotAsked, Reason: "the question does not concern it"})
		if !concerns(member.Org, request.Selectors) {
			continue
		}
		m.parts[i].Status, m.parts[i].Reason = federation.Timeout, "has not answered yet"
		m.waiting++
		one := &follower{member: member, index: i, question: q, opened: time.Now(), events: m.events}
		running.Go(func() { one.run(ctx) })
	}
	err = m.run(ctx)
	return m.completeness(), err
}

// tailEvent is news of one member.
type tailEvent struct {
	index   int
	entries []Entry
	part    federation.Part
	failed  error // it has no tail now; nil: it gave a part
}

// tailMerge puts the parts of members together. One goroutine has it.
type tailMerge struct {
	question Question
	give     func(*Released, federation.Completeness) error
	events   chan tailEvent

	parts   []federation.Part // by index of the member; costs since the last part
	heard   []bool            // by index; whether there was news of the member
	waiting int               // members that haven't been heard of
	live    bool              // some member gave a part
	failed  error             // the first one
	held    []heldEntry
	bytes   int  // of held
	changed bool // there is something to tell at once, beside entries
	leftOut bool // parts have lines left out, to be told with the next tick
}

// heldEntry is an entry that waits for earlier ones.
type heldEntry struct {
	Entry
	index int // of the member
	came  time.Time
}

func (m *tailMerge) run(ctx context.Context) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(reorderFor / 4)
	defer tick.Stop()
	for {
		ripe := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-m.events:
			m.take(e)
		case <-tick.C:
			ripe = true
		}
		if !ripe && !m.changed && !m.full() {
			continue
		}
		if entries := m.ripe(time.Now()); len(entries) > 0 || m.changed || ripe && m.leftOut {
			if err := m.hand(entries); err != nil {
				return err
			}
		}
	}
}

// open gives the first part: what members have already, the last of it if the
// question wants only so much.
func (m *tailMerge) open(ctx context.Context) error {
	late := time.NewTimer(openWithin)
	defer late.Stop()
	for waiting := true; waiting && m.waiting > 0; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-m.events:
			m.take(e)
			if m.full() {
				m.sort()
				waiting = !m.full()
			}
		case <-late.C:
			waiting = false
		}
	}
	if !m.live && m.failed != nil {
		return m.failed
	}
	m.sort()
	entries := m.held
	m.held, m.bytes = nil, 0
	return m.hand(entries)
}

// sort puts what there is already in order, and leaves of it what is wanted.
func (m *tailMerge) sort() {
	slices.SortStableFunc(m.held, compareHeld)
	if more := len(m.held) - m.question.Limit; m.question.Backward && more > 0 {
		for _, e := range m.held[:more] {
			m.bytes -= e.bytes()
		}
		m.held = slices.Delete(m.held, 0, more)
	}
}

// full says whether no more entries may wait.
func (m *tailMerge) full() bool { return len(m.held) >= maxReordered || m.bytes >= maxReorderedBytes }

// take takes down the news of a member.
func (m *tailMerge) take(e tailEvent) {
	if !m.heard[e.index] {
		m.heard[e.index] = true
		m.waiting--
	}
	p := &m.parts[e.index]
	if e.failed != nil {
		failed := federation.AsError(e.failed)
		if m.failed == nil {
			m.failed = failed
		}
		m.changed = m.changed || p.Status != federation.StatusOf(failed) || p.Reason != failed.Message
		p.Status, p.Reason = federation.StatusOf(failed), failed.Message
		return
	}
	m.live = true
	m.changed = m.changed || p.Status != federation.Complete
	m.leftOut = m.leftOut || e.part.Dropped > 0
	p.Status, p.Reason, p.Exchange = federation.Complete, "", e.part.Exchange
	p.Dropped += e.part.Dropped
	p.Cost.Lines += e.part.Cost.Lines
	p.Cost.Bytes += e.part.Cost.Bytes
	if len(e.part.Notices) > 0 {
		p.Notices = e.part.Notices
	}
	if e.part.Coverage != (policy.Window{}) {
		p.Coverage = e.part.Coverage
	}
	now := time.Now()
	for _, entry := range e.entries {
		m.held = append(m.held, heldEntry{entry, e.index, now})
		m.bytes += entry.bytes()
	}
}

// ripe takes out, in order, the entries that have waited long enough and those
// before them; all of them if there are too many.
func (m *tailMerge) ripe(now time.Time) []heldEntry {
	isRipe := func(e heldEntry) bool { return now.Sub(e.came) >= reorderFor }
	n := len(m.held)
	if !m.full() {
		if !slices.ContainsFunc(m.held, isRipe) {
			return nil
		}
		slices.SortStableFunc(m.held, compareHeld)
		for !isRipe(m.held[n-1]) {
			n--
		}
	} else {
		slices.SortStableFunc(m.held, compareHeld)
	}
	out := m.held[:n:n]
	m.held = slices.Clone(m.held[n:])
	for _, e := range out {
		m.bytes -= e.bytes()
	}
	return out
}

// compareHeld is the order of entries: time, then organization, whose own
// entries are in order.
func compareHeld(a, b heldEntry) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.index, b.index))
}

// hand gives entries with what became of the members.
func (m *tailMerge) hand(entries []heldEntry) error {
	out := &Released{}
	for _, e := range entries {
		out.entries = append(out.entries, e.Entry)
	}
	err := m.give(out, m.completeness())
	for i := range m.parts {
		m.parts[i].Cost, m.parts[i].Dropped = federation.Cost{}, 0
	}
	m.changed, m.leftOut = false, false
	return err
}

func (m *tailMerge) completeness() federation.Completeness {
	return slices.Clone(federation.Completeness(m.parts))
}
