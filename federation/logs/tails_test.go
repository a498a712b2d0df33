package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// link is the way to a member, which can be cut.
type link struct {
	org *tailedOrg

	mu    sync.Mutex
	cut   chan struct{} // closed while there is no way; guarded by mu
	asked int           // guarded by mu
}

func newLink(o *tailedOrg) *link { return &link{org: o, cut: make(chan struct{})} }

// cuts ends tails over the link, and lets none begin.
func (l *link) cuts() { l.mu.Lock(); defer l.mu.Unlock(); close(l.cut) }

func (l *link) mends() { l.mu.Lock(); defer l.mu.Unlock(); l.cut = make(chan struct{}) }

// times is how often a tail was asked for.
func (l *link) times() int { l.mu.Lock(); defer l.mu.Unlock(); return l.asked }

func (l *link) tail(ctx context.Context, q Question, _ bool, give func(*Released, federation.Part) error) error {
	gone := federation.Errorf(federation.Unavailable, "can't be reached")
	l.mu.Lock()
	cut := l.cut
	l.asked++
	l.mu.Unlock()
	select {
	case <-cut:
		return gone
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-cut:
			cancel(gone)
		case <-ctx.Done():
		}
	}()
	by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())}
	err := l.org.local.Tail(ctx, q, l.org.decide, by, give)
	if context.Cause(ctx) == gone { //nolint:errorlint // it is that very one
		return gone
	}
	return err
}

// follows begins a tail of several organizations.
func follows(t *testing.T, q Question, links ...*link) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{cancel: cancel, ended: make(chan error, 1), fired: map[string]uint64{}}
	var members []TailMember
	for _, l := range links {
		members = append(members, TailMember{Org: l.org.local.config.Org, Tail: l.tail})
	}
	go func() {
		_, err := NewFederated(0, nil).Tail(ctx, q, members, func(released *Released, c federation.Completeness) error {
			r.took(released, c...)
			r.wait(t)
			return ctx.Err()
		})
		r.ended <- err
	}()
	synctest.Wait()
	return r
}

func TestTailsAreMergedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, globex := newTailed(t, "acme", showing()), newTailed(t, "globex", showing())
		var want []string
		for n := range 40 {
			o := []*tailedOrg{acme, globex}[n*7%3%2]
			o.writes(fmt.Sprint("before ", n))
			want = append(want, fmt.Sprint(o.local.config.Org, " before ", n))
			sleeps(time.Millisecond)
		}
		want = want[len(want)-25:] // the last of both together
		r := follows(t, tailOf(`{service="checkout"}`, 25), newLink(acme), newLink(globex))
		same(t, "what was there", r.has(), want...)
		for n := range 100 {
			o := []*tailedOrg{acme, globex}[n*11%5%2]
			o.writes(fmt.Sprint("line ", n))
			want = append(want, fmt.Sprint(o.local.config.Org, " line ", n))
			sleeps(5 * time.Millisecond)
		}
		sleeps(gatherFor + 2*reorderFor)
		synctest.Wait()
		same(t, "what came", r.has(), want...)
		r.stops(t)
	})
}

// A partner goes and comes back: it is told, and no line is lost or comes twice.
func TestTailSurvivesAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, globex := newTailed(t, "acme", showing()), newTailed(t, "globex", showing())
		way := newLink(globex)
		r := follows(t, tailOf(`{service="checkout"}`, 25), newLink(acme), way)
		var want []string
		write := func(n int) {
			for range n {
				for _, o := range []*tailedOrg{acme, globex} {
					line := fmt.Sprint("line ", len(want))
					o.writes(line)
					want = append(want, string(o.local.config.Org)+" "+line)
				}
				sleeps(137 * time.Millisecond)
			}
		}
		write(200)
		way.cuts()
		write(300)
		if got := strings.Join(r.words(), ", "); !strings.HasSuffix(got, "globex is unreachable") {
			t.Errorf("it was said that %s", got)
		}
		way.mends()
		write(300)
		sleeps(time.Minute)
		synctest.Wait()
		if got := strings.Join(r.words(), ", "); !strings.HasSuffix(got, "globex is unreachable, globex is complete") {
			t.Errorf("it was said that %s", got)
		}
		// What came while globex was gone comes when it is back.
		got := r.has()
		slices.Sort(got)
		slices.Sort(want)
		same(t, "what came", got, want...)

		// A way that is mended before anybody knows is nobody's concern.
		said := len(r.words())
		way.cuts()
		way.mends()
		synctest.Wait()
		write(10)
		sleeps(time.Minute)
		synctest.Wait()
		if len(r.words()) != said {
			t.Errorf("it was said that %v", r.words()[said:])
		}
		if len(r.has()) != len(want) {
			t.Errorf("%d lines came of %d", len(r.has()), len(want))
		}
		r.stops(t)
	})
}

// Values whose pseudonyms are of one question have others when it is asked
// again. Their lines don't come twice for that.
func TestTailOfPseudonymsOfAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := showing()
		d.Obligations.Datasets[0].Labels["pod"] = policy.LabelRule{Mode: policy.Pseudonym}
		globex := newTailed(t, "globex", d)
		way := newLink(globex)
		r := follows(t, tailOf(`{service="checkout"}`, 25), way)
		for n := range 300 {
			if n == 150 {
				way.cuts()
				synctest.Wait()
				way.mends()
			}
			globex.writes(fmt.Sprint("line ", n), "service", "checkout", "pod", fmt.Sprint(n%3))
			sleeps(100 * time.Millisecond)
		}
		sleeps(time.Minute)
		synctest.Wait()
		got := r.has()
		slices.Sort(got)
		if n := len(slices.Compact(slices.Clone(got))); n != 300 || len(got) != 300 {
			t.Errorf("%d lines came, %d of them different", len(got), n)
		}
		r.stops(t)
	})
}

func TestTailOfMembersThatHaveNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, globex := newTailed(t, "acme", showing()), newTailed(t, "globex", policy.Decision{})
		acme.writes("line")
		r := follows(t, tailOf(`{service="checkout"}`, 25), newLink(acme), newLink(globex))
		same(t, "said", r.words(), "acme is complete", "globex is denied")
		same(t, "came", r.has(), "acme line")
		// The day comes on which it may be seen.
		globex.decides(showing())
		globex.writes("of the time before")
		sleeps(2 * retryDenied)
		synctest.Wait()
		same(t, "said", r.words(), "acme is complete", "globex is denied", "globex is complete")
		same(t, "came", r.has(), "acme line", "globex of the time before")
		r.stops(t)

		nobody := follows(t, tailOf(`{service="checkout"}`, 25), newLink(newTailed(t, "initech", policy.Decision{})))
		if err := <-nobody.ended; err == nil || federation.AsError(err).Kind != federation.Refused {
			t.Errorf("a tail of nothing ended with %v", err)
		}
		elsewhere := follows(t, tailOf(`{org="nowhere"}`, 25), newLink(acme))
		same(t, "said of a question that concerns nobody", elsewhere.words())
		elsewhere.stops(t)
	})
}

// A member that doesn't answer doesn't keep the others' lines.
func TestTailOfAMemberThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := newTailed(t, "acme", showing())
		acme.writes("line")
		hangs := TailMember{Org: "globex", Tail: func(ctx context.Context, _ Question, _ bool, _ func(*Released, federation.Part) error) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		r := &reader{cancel: cancel, ended: make(chan error, 1), fired: map[string]uint64{}}
		go func() {
			_, err := NewFederated(0, nil).Tail(ctx, tailOf(`{service="checkout"}`, 5), []TailMember{hangs, {Org: "acme", Tail: newLink(acme).tail}},
				func(released *Released, c federation.Completeness) error { r.took(released, c...); return nil })
			r.ended <- err
		}()
		sleeps(openWithin)
		synctest.Wait()
		same(t, "came", r.has(), "acme line")
		same(t, "said", r.words(), "acme is complete", "globex is timeout")
		r.stops(t)
	})
}

// However much one member has already, no more is held than there is room for, and
// of it what is wanted.
func TestTailOfAMemberThatFloods(t *testing.T) {
	const written = 3 * maxReordered
	for _, c := range []struct {
		limit    int // 0: all
		at, left int // how many lines came at once, and when the other's time was over
	}{{limit: 0, at: maxReordered, left: written}, {limit: 10, at: 0, left: 10}} {
		synctest.Test(t, func(t *testing.T) {
			waits := func(ctx context.Context, _ Question, _ bool, _ func(*Released, federation.Part) error) error {
				<-ctx.Done()
				return ctx.Err()
			}
			floods := func(ctx context.Context, q Question, again bool, give func(*Released, federation.Part) error) error {
				for n := range int64(written) {
					if err := give(&Released{entries: []Entry{{At: n}}}, federation.Part{Status: federation.Complete}); err != nil {
						return err
					}
				}
				return waits(ctx, q, again, give)
			}
			q := tailOf(`{service="checkout"}`, c.limit)
			q.Backward = c.limit > 0
			ctx, cancel := context.WithCancel(t.Context())
			r := &reader{cancel: cancel, ended: make(chan error, 1)}
			go func() {
				_, err := NewFederated(0, nil).Tail(ctx, q, []TailMember{{Org: "acme", Tail: floods}, {Org: "globex", Tail: waits}},
					func(released *Released, c federation.Completeness) error { r.took(released, c...); return nil })
				r.ended <- err
			}()
			synctest.Wait()
			if n := len(r.has()); n < c.at || c.at == 0 && n > 0 {
				t.Errorf("limit %d: %d lines came at once, want %d", c.limit, n, c.at)
			}
			sleeps(openWithin + 2*reorderFor)
			synctest.Wait()
			if n := len(r.has()); n != c.left || r.entries[n-1].At != written-1 {
				t.Errorf("limit %d: %d lines came, want the last %d", c.limit, n, c.left)
			}
			r.stops(t)
		})
	}
}

// A member that says again and again that it left out lines is told of a few times
// a second, and with all that it left out.
func TestTailOfAMemberThatLeavesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const said = 10_000
		leavesOut := TailMember{Org: "globex", Tail: func(ctx context.Context, _ Question, _ bool, give func(*Released, federation.Part) error) error {
			for range said {
				if err := give(&Released{}, federation.Part{Status: federation.Partial, Dropped: 1}); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		r := &reader{cancel: cancel, ended: make(chan error, 1)}
		var given atomic.Int64
		go func() {
			_, err := NewFederated(0, nil).Tail(ctx, tailOf(`{service="checkout"}`, 5), []TailMember{leavesOut},
				func(released *Released, c federation.Completeness) error {
					given.Add(1)
					r.took(released, c...)
					return nil
				})
			r.ended <- err
		}()
		sleeps(2 * reorderFor)
		synctest.Wait()
		if n := given.Load(); n > 3 {
			t.Errorf("%d parts were given for lines left out at one moment", n)
		}
		if r.leftOut() != said {
			t.Errorf("it was said that %d lines were left out, not %d", r.leftOut(), said)
		}
		r.stops(t)
	})
}

func TestEntriesThatComeAgain(t *testing.T) {
	entry := func(at int64, line string) Entry {
		e := Entry{At: at}
		e.Line, e.Stream = line, labels.FromStrings("service", "checkout")
		return e
	}
	synctest.Test(t, func(t *testing.T) {
		var had remembered
		now := time.Now().UnixNano()
		had.add([]Entry{entry(now-10, "a"), entry(now-5, "b"), entry(now-5, "b"), entry(now+time.Hour.Nanoseconds(), "of the future")})
		if from := had.from(); from != now-overlap.Nanoseconds() {
			t.Errorf("it is asked again from %d, want %d", from, now-overlap.Nanoseconds())
		}
		again := had.recall()
		left := again.without([]Entry{
			entry(now-10, "a, and otherwise"), entry(now-7, "late"), entry(now-5, "b"), entry(now-5, "c"), entry(now-5, "d"), entry(now, "new"),
			entry(now+time.Hour.Nanoseconds(), "of the future"),
		})
		var lines []string
		for _, e := range left {
			lines = append(lines, e.Line)
		}
		same(t, "left", lines, "late", "d", "new")

		had = remembered{}
		for n := range 10 * maxRemembered {
			had.add([]Entry{entry(now-time.Second.Nanoseconds()+int64(n), "x")})
		}
		if len(had.entries) > 2*maxRemembered || had.from() > had.last {
			t.Errorf("%d are remembered, from %d of %d", len(had.entries), had.from(), had.last)
		}
	})
}

// A burst that the store's own tail can't pass on is read from the store instead.
func TestTailOfABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := showing()
		d.Obligations.Limits.Lines = 1_000_000
		globex := newTailed(t, "globex", d)
		source := &losing{Store: globex.store, loses: func(rawEntry) bool { return false }}
		globex.local.config.Source = source
		way := newLink(globex)
		r := follows(t, tailOf(`{service="checkout"}`, 0), way)
		const written = 10 * tailBuffer
		for n := range written {
			at := time.Now().Add(time.Duration(n) * time.Microsecond) // no time passes, so that nothing is read meanwhile
			if err := globex.store.Append(at, fmt.Sprint("line ", n), labels.FromStrings("service", "checkout"), labels.EmptyLabels()); err != nil {
				t.Fatal(err)
			}
		}
		sleeps(time.Minute)
		synctest.Wait()
		got := r.has()
		n := len(got)
		slices.Sort(got)
		// What the tail left out before it ended may come after all.
		if n+r.leftOut() < written || len(slices.Compact(got)) != n {
			t.Errorf("of %d lines %d came and %d were left out; it was said that %q", written, n, r.leftOut(), r.words())
		}
		if len(r.words()) > 0 { // of one member nothing is said here but changes
			t.Errorf("it was said that %q", r.words())
		}
		if way.times() != 1 {
			t.Errorf("the tail was asked for %d times", way.times())
		}
		if source.reads.Load() < 2 {
			t.Error("the store's tail passed on all of it: the test is blind")
		}
		r.stops(t)
	})
}
