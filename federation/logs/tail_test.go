package logs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// The tests run in bubbles of testing/synctest: time passes when all wait, so a
// minute is no time and the order of things is the same each time.

// sleeps lets so much of a bubble's time pass.
func sleeps(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // it is no real time

// tailedOrg is an organization whose logs acme may tail.
type tailedOrg struct {
	t     *testing.T
	local *Local
	store *Store

	mu       sync.Mutex
	decision policy.Decision // guarded by mu
}

// showing is a decision on the logs of everything: service is kept, level is
// kept, and of lines e-mail addresses are masked.
func showing() policy.Decision {
	return policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Name: "all", Release: policy.Row, Streams: []policy.Selector{{labels.MustNewMatcher(labels.MatchNotEqual, "service", "payroll")}},
		Labels: map[string]policy.LabelRule{"service": {Mode: policy.Keep}, "level": {Mode: policy.Keep}},
		Line:   policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{Masks: []policy.Mask{{Name: string(policy.EmailDetector)}}}}},
	}}}}
}

// denying is a decision like showing, whose hidden streams a source can't leave
// out by itself: of payroll, those of people.
func denying() policy.Decision {
	d := showing()
	d.Obligations.Datasets[0].Streams = []policy.Selector{{labels.MustNewMatcher(labels.MatchNotEqual, "service", "")}}
	d.Obligations.Datasets = append(d.Obligations.Datasets, policy.Dataset{Name: "people", Release: policy.Deny, Streams: []policy.Selector{{
		labels.MustNewMatcher(labels.MatchEqual, "service", "payroll"), labels.MustNewMatcher(labels.MatchNotEqual, "person", ""),
	}}})
	return d
}

func newTailed(t *testing.T, org tenants.OrgID, d policy.Decision) *tailedOrg {
	t.Helper()
	store := NewStore(StoreConfig{})
	local, err := NewLocal(LocalConfig{Org: org, Source: store, Secret: []byte(strings.Repeat("s", minSecret))})
	if err != nil {
		t.Fatal(err)
	}
	return &tailedOrg{t: t, local: local, store: store, decision: d}
}

func (o *tailedOrg) writes(line string, stream ...string) {
	o.t.Helper()
	if len(stream) == 0 {
		stream = []string{"service", "checkout"}
	}
	if err := o.store.Append(time.Now(), line, labels.FromStrings(stream...), labels.EmptyLabels()); err != nil {
		o.t.Fatal(err)
	}
}

func (o *tailedOrg) decides(d policy.Decision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decision = d
}

// decide gives times as policy does: from what is now.
func (o *tailedOrg) decide(context.Context) (policy.Decision, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.decision
	if delay := d.Obligations.Delay; delay > 0 {
		d.Obligations.NotAfter = time.Now().Add(-delay)
	}
	if age := d.Obligations.MaxAge; age > 0 {
		d.Obligations.NotBefore = time.Now().Add(-age)
	}
	return d, nil
}

// tailOf is a question for what is written from now on, and the last lines
// before.
func tailOf(expr string, limit int) Question {
	return Question{Kind: policy.Tail, Expression: expr, Start: time.Now().Add(-time.Hour), End: time.Now(), Limit: limit, Backward: true}
}

// reader is who reads a tail.
type reader struct {
	cancel context.CancelFunc
	ended  chan error

	mu      sync.Mutex
	slow    time.Duration                       // guarded by mu; how long a part takes
	lines   []string                            // guarded by mu
	entries []Entry                             // guarded by mu
	dropped int                                 // guarded by mu
	said    []string                            // guarded by mu; what became of organizations
	status  map[tenants.OrgID]federation.Status // guarded by mu
	fired   map[string]uint64                   // guarded by mu
}

func (r *reader) took(released *Released, parts ...federation.Part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range released.Entries() {
		r.lines = append(r.lines, e.Stream.Get(federation.OrgLabel)+" "+e.Line)
		r.entries = append(r.entries, e)
	}
	for _, p := range parts {
		r.dropped += p.Dropped
		if r.status == nil {
			r.status = map[tenants.OrgID]federation.Status{}
		}
		if len(parts) > 1 && r.status[p.Org] != p.Status {
			r.said = append(r.said, string(p.Org)+" is "+string(p.Status))
		}
		r.status[p.Org] = p.Status
	}
	for rule, n := range released.Redactions() {
		r.fired[rule] += n
	}
}

func (r *reader) wait(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	slow := r.slow
	r.mu.Unlock()
	sleeps(slow)
}

func (r *reader) has() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// all are the entries that came.
func (r *reader) all() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// leftOut is how many lines were said to be.
func (r *reader) leftOut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// masked is how often an address was.
func (r *reader) masked() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fired["mask email"]
}

// words are what was said of organizations.
func (r *reader) words() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// asked begins a tail of one organization.
func (o *tailedOrg) asked(q Question) *reader {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	r := &reader{cancel: cancel, ended: make(chan error, 1), fired: map[string]uint64{}}
	by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())}
	go func() {
		r.ended <- o.local.Tail(ctx, q, o.decide, by, func(released *Released, p federation.Part) error {
			r.took(released, p)
			r.wait(o.t)
			return ctx.Err()
		})
	}()
	synctest.Wait()
	return r
}

// stops ends a tail that runs.
func (r *reader) stops(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the tail had ended with %v", err)
	}
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestTailGivesWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		globex := newTailed(t, "globex", showing())
		for n := range 4 {
			globex.writes(fmt.Sprint("before ", n))
			sleeps(time.Second)
		}
		r := globex.asked(tailOf(`{service="checkout"} != "not that"`, 3))
		same(t, "at first", r.has(), "globex before 1", "globex before 2", "globex before 3")

		sleeps(gatherFor)
		globex.writes("order of ann@example.com")
		globex.writes("not that")
		globex.writes("salary of ann", "service", "payroll")
		synctest.Wait()
		if got := r.has(); len(got) != 4 || got[3] != "globex order of <email>" {
			t.Errorf("a line that follows nothing comes at once: got %q", got)
		}
		globex.writes("gathered 1")
		globex.writes("gathered 2")
		sleeps(gatherFor)
		synctest.Wait()
		if got := r.has(); len(got) != 6 {
			t.Errorf("got %q", got)
		}
		if r.masked() != 1 {
			t.Errorf("rules fired %v", r.masked())
		}
		r.stops(t)

		r = globex.asked(tailOf(`{service="checkout"} | line_format "x"`, 0))
		same(t, "without what was before", r.has())
		globex.writes("after")
		sleeps(gatherFor)
		synctest.Wait()
		same(t, "after", r.has(), "globex x")
		r.stops(t)
	})
}

// What comes late, with an earlier time, comes all the same.
func TestTailGivesWhatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		globex := newTailed(t, "globex", showing())
		start := time.Now()
		sleeps(time.Minute)
		r := globex.asked(tailOf(`{service="checkout"}`, 10))
		if err := globex.store.Append(start, "late", labels.FromStrings("service", "checkout"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
		sleeps(gatherFor)
		synctest.Wait()
		same(t, "got", r.has(), "globex late")
		r.stops(t)
	})
}

// Policy shows what is old enough: a delay, and intervals that are over.
func TestTailShowsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delayed := showing()
		delayed.Obligations.Delay = 5 * time.Minute
		globex := newTailed(t, "globex", delayed)
		globex.writes("before")
		sleeps(time.Minute)
		r := globex.asked(tailOf(`{service="checkout"}`, 10))
		globex.writes("after")
		sleeps(4*time.Minute - time.Second)
		synctest.Wait()
		same(t, "too early", r.has())
		sleeps(2*time.Second + pollEvery)
		synctest.Wait()
		same(t, "five minutes after the first", r.has(), "globex before")
		sleeps(time.Minute + pollEvery)
		synctest.Wait()
		same(t, "five minutes after the second", r.has(), "globex before", "globex after")
		r.stops(t)

		coarse := showing()
		coarse.Obligations.Resolution = time.Minute
		globex = newTailed(t, "globex", coarse)
		sleeps(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // a whole minute
		r = globex.asked(tailOf(`{service="checkout"}`, 10))
		sleeps(10 * time.Second)
		globex.writes("at ten seconds")
		sleeps(40 * time.Second)
		synctest.Wait()
		same(t, "before the minute is over", r.has())
		sleeps(10*time.Second + pollEvery)
		synctest.Wait()
		same(t, "when it is over", r.has(), "globex at ten seconds")
		if at := time.Unix(0, r.all()[0].At); !at.Equal(at.Truncate(time.Minute)) {
			t.Errorf("it is at %s", at)
		}
		r.stops(t)
	})
}

// untailed is a store without tails, as a Loki is for streams of all kinds.
type untailed struct{ *Store }

func (untailed) tailRaw(context.Context, selection, func(), func(), func(rawEntry) error) error {
	return errNoTail
}

// Where a store has no tail it is read again and again, and what comes a little
// late comes all the same, once.
func TestTailWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		globex := newTailed(t, "globex", showing())
		globex.local.config.Source = untailed{globex.store}
		for n := range 4 {
			globex.writes(fmt.Sprint("before ", n))
			sleeps(time.Second)
		}
		r := globex.asked(tailOf(`{service=~".+"}`, 2))
		same(t, "at first", r.has(), "globex before 2", "globex before 3")
		late := func(ago time.Duration, line, pod string) {
			t.Helper()
			if err := globex.store.Append(time.Now().Add(-ago), line, labels.FromStrings("service", "checkout", "pod", pod), labels.EmptyLabels()); err != nil {
				t.Fatal(err)
			}
		}
		globex.writes("after")
		sleeps(2 * pollEvery)
		late(5*time.Second, "late", "a")
		late(5*time.Second, "late", "b") // the same, as far as may be seen
		late(time.Minute, "too late", "a")
		sleeps(5 * pollEvery)
		synctest.Wait()
		same(t, "later", r.has(), "globex before 2", "globex before 3", "globex after", "globex late", "globex late")
		r.stops(t)
	})
}

// Of what there was already only the last moments are read again, and remembered.
func TestEntriesThatAreReadOnce(t *testing.T) {
	given := newRead()
	given.forget(1000)
	for at := range int64(1010) {
		if e := (Entry{At: at}); !given.isNew(e) {
			t.Errorf("the entry of %d was there before", at)
		}
	}
	if len(given.known) != 10 {
		t.Errorf("%d entries are remembered, want those of the last 10 moments", len(given.known))
	}
	given.again()
	if given.isNew(Entry{At: 1005}) {
		t.Error("an entry that is read again is new")
	}
}

func TestTailThatIsReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := showing()
		d.Obligations.Limits.Lines = 1_000_000
		globex := newTailed(t, "globex", d)
		r := globex.asked(tailOf(`{service="checkout"}`, 10))
		r.mu.Lock()
		r.slow = time.Hour
		r.mu.Unlock()
		sleeps(gatherFor)
		const written = 3 * maxQueueLines
		for n := range written {
			globex.writes(fmt.Sprint("line ", n))
			synctest.Wait() // the store's own tail isn't what is slow
		}
		r.mu.Lock()
		r.slow = 0
		r.mu.Unlock()
		sleeps(2 * time.Hour)
		synctest.Wait()
		if n := len(r.has()); r.leftOut() == 0 || n+r.leftOut() != written || n < maxQueueLines {
			t.Errorf("%d lines came and %d were left out, of %d", n, r.leftOut(), written)
		}
		r.stops(t)
	})
}

func TestTailKeepsToLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := showing()
		d.Obligations.Limits.Lines = 10
		globex := newTailed(t, "globex", d)
		for n := range 20 {
			globex.writes(fmt.Sprint("before ", n))
			sleeps(time.Second)
		}
		r := globex.asked(tailOf(`{service="checkout"}`, 1000))
		if n := len(r.has()); n != 10 {
			t.Errorf("%d lines came of those that were there", n)
		}
		sleeps(gatherFor)
		globex.writes("one more than a minute has")
		sleeps(aliveEvery)
		synctest.Wait()
		if n := len(r.has()); n != 10 || r.leftOut() != 1 {
			t.Errorf("%d lines came, %d were left out", n, r.leftOut())
		}
		sleeps(time.Minute)
		globex.writes("of the next minute")
		sleeps(gatherFor)
		synctest.Wait()
		if got := r.has(); len(got) != 11 || r.leftOut() != 1 {
			t.Errorf("%d lines came, %d were left out", len(got), r.leftOut())
		}
		r.stops(t)
	})
}

func TestTailRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := showing()
		none.Obligations.Datasets[0].Line = policy.Line{Mode: policy.LineNone}
		few := showing()
		few.Obligations.Differencing = policy.Differencing{Budget: 1, Within: time.Hour, Refuse: true}
		numbers := showing()
		numbers.Obligations.Functions = []string{"count_over_time"}
		for _, c := range []struct {
			expr string
			d    policy.Decision
			kind federation.Kind
			want string
		}{
			{`count_over_time({service="checkout"}[5m])`, showing(), federation.BadQuestion, "a tail is of lines"},
			{`{service=`, showing(), federation.BadQuestion, ""},
			{`{service="checkout"} | label_format org="x"`, showing(), federation.BadQuestion, "org"},
			{`{service="checkout"}`, policy.Decision{}, federation.Refused, federation.NotAllowed},
			{`{service="checkout"}`, none, federation.NeedsAggregation, "no lines of this are released"},
			{`{service="checkout"} |= "b"`, few, federation.OverLimit, ""},
			{`{service="checkout"}`, numbers, federation.NeedsAggregation, "not answered, only numbers by"},
		} {
			globex := newTailed(t, "globex", c.d)
			if c.kind == federation.OverLimit {
				globex.asked(tailOf(`{service="checkout"}`, 10)).stops(t) // the one that the budget has room for
				globex.asked(tailOf(`{service="checkout"}`, 10)).stops(t) // which is the same
			}
			r := globex.asked(tailOf(c.expr, 10))
			var e *federation.Error
			if err := <-r.ended; !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Message, c.want) {
				t.Errorf("%s: %v", c.expr, err)
			}
		}
	})
}

// losing is a store whose tail leaves out entries, as a Loki's does.
type losing struct {
	*Store
	loses func(rawEntry) bool
	reads atomic.Int64
}

func (s *losing) selectRaw(ctx context.Context, sel selection, take func(rawEntry) error) error {
	s.reads.Add(1)
	return s.Store.selectRaw(ctx, sel, take)
}

func (s *losing) tailRaw(ctx context.Context, sel selection, begun, leftOut func(), take func(rawEntry) error) error {
	sel.holds = nil // it isn't told
	return s.Store.tailRaw(ctx, sel, begun, leftOut, func(e rawEntry) error {
		if s.loses(e) {
			leftOut()
			return nil
		}
		return take(e)
	})
}

// What a store's own tail leaves out is read, and comes once, whoever's it is. The
// tail goes on.
func TestTailFindsWhatIsLeftOut(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			globex := newTailed(t, "globex", denying())
			n := uint64(0)
			source := &losing{Store: globex.store, loses: func(rawEntry) bool { n++; return n%(2+seed%4) == 0 }}
			globex.local.config.Source = source
			write := func(name string) {
				globex.writes(name)
				globex.writes(name+" of another pod", "service", "checkout", "pod", "a")
				globex.writes(name+" of another pod", "service", "checkout", "pod", "b") // the same, as far as may be seen
				globex.writes("hidden", "service", "payroll", "person", name)
			}
			for n := range 10 {
				write(fmt.Sprint("before ", n))
				sleeps(time.Second)
			}
			asked := tailOf(`{service=~".+"}`, 1000)
			reader := globex.asked(asked)
			for n := range 200 {
				write(fmt.Sprint("line ", n))
				sleeps(time.Duration(r.IntN(500)) * time.Millisecond)
			}
			sleeps(10 * time.Second)
			synctest.Wait()
			got, want := reader.has(), globex.queried(asked.Expression, asked.Start)
			slices.Sort(got)
			slices.Sort(want)
			same(t, "what came", got, want...)
			if len(want) != 3*210 || source.reads.Load() < 3 || reader.leftOut() > 0 {
				t.Errorf("of %d lines %d were left out, after %d reads", len(want), reader.leftOut(), source.reads.Load())
			}
			reader.stops(t)
		})
	}
}

// Hidden entries that a store's tail has no room for don't end the tail, and
// show in nothing that it gives.
func TestTailOfAHiddenBurst(t *testing.T) {
	for name, source := range map[string]func(*Store) Source{
		"a store": func(s *Store) Source { return s },
		"a Loki": func(s *Store) Source {
			return &losing{Store: s, loses: func(e rawEntry) bool { return e.stream.Get("service") == "payroll" }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quiet, bursts := newTailed(t, "globex", denying()), newTailed(t, "globex", denying())
				bursts.local.config.Source = source(bursts.store)
				burst := func(n int) {
					for n := range n {
						at := time.Now().Add(time.Duration(n)) // no time passes
						if err := bursts.store.Append(at, "hidden", labels.FromStrings("service", "payroll", "person", "ann"), labels.EmptyLabels()); err != nil {
							t.Fatal(err)
						}
					}
				}
				way := []*link{newLink(quiet), newLink(bursts)}
				readers := []*reader{follows(t, tailOf(`{service=~".+"}`, 5), way[0]), follows(t, tailOf(`{service=~".+"}`, 5), way[1])}
				for n := range 60 {
					if n == 20 {
						burst(20 * tailBuffer)
					}
					burst(10)
					if n%4 == 0 {
						quiet.writes(fmt.Sprint("line ", n))
						bursts.writes(fmt.Sprint("line ", n))
					}
					sleeps(2 * time.Second)
					synctest.Wait()
					same(t, fmt.Sprint("after ", n), readers[1].has(), readers[0].has()...)
				}
				for i, r := range readers {
					if len(r.has()) != 15 || len(r.words()) > 0 || r.leftOut() > 0 || way[i].times() != 1 {
						t.Errorf("tail %d: %d lines came, %d were left out, it was asked for %d times, and said that %q", i, len(r.has()), r.leftOut(), way[i].times(), r.words())
					}
					r.stops(t)
				}
			})
		})
	}
}

// A store that leaves out entries all the time doesn't keep the tail from saying
// that it is there, nor make it say so more often.
func TestTailIsAliveWhateverIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		globex := newTailed(t, "globex", denying())
		source := &losing{Store: globex.store, loses: func(rawEntry) bool { return true }}
		globex.local.config.Source = source
		ctx, cancel := context.WithCancel(t.Context())
		var parts atomic.Int64
		ended := make(chan error, 1)
		go func() {
			by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())}
			ended <- globex.local.Tail(ctx, tailOf(`{service=~".+"}`, 5), globex.decide, by, func(*Released, federation.Part) error {
				parts.Add(1)
				return nil
			})
		}()
		for range 600 {
			globex.writes("hidden", "service", "payroll", "person", "ann")
			sleeps(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := parts.Load(); n < 10 || n > 13 {
			t.Errorf("%d parts came in a minute", n)
		}
		if n := source.reads.Load(); n < 10 || n > 62 {
			t.Errorf("the store was read %d times in a minute", n)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the tail ended with %v", err)
		}
	})
}

// What policy says counts for what comes next, not for the next tail.
func TestTailFollowsPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		globex := newTailed(t, "globex", showing())
		r := globex.asked(tailOf(`{service="checkout"}`, 10))
		sleeps(gatherFor)
		globex.decides(policy.Decision{})
		globex.writes("nobody sees this")
		var e *federation.Error
		if err := <-r.ended; !errors.As(err, &e) || e.Kind != federation.Refused {
			t.Errorf("the tail ended with %v", err)
		}
		same(t, "got", r.has())

		epoch := showing()
		epoch.Obligations.Epoch = time.Hour
		globex.decides(epoch)
		r = globex.asked(tailOf(`{service="checkout"}`, 0))
		if err := <-r.ended; err != nil {
			t.Errorf("at the end of the epoch of its pseudonyms the tail ended with %v", err)
		}
		if at := time.Now(); !at.Equal(at.Truncate(time.Hour)) {
			t.Errorf("it ended at %s", at)
		}
	})
}

// A decision that shows less, as what was there already is given, counts for the
// next part.
func TestTailOfThePastFollowsPolicy(t *testing.T) {
	for name, shows := range map[string]struct {
		first, then func(*policy.Obligations, time.Time)
		from, upTo  time.Duration // what is shown then, before the time of the tail
	}{
		"not_after": {
			first: func(o *policy.Obligations, now time.Time) { o.NotAfter = now.Add(-10 * time.Minute) },
			then:  func(o *policy.Obligations, now time.Time) { o.NotAfter = now.Add(-40 * time.Minute) },
			from:  time.Hour, upTo: 40 * time.Minute,
		},
		"delay": {
			first: func(o *policy.Obligations, _ time.Time) { o.Delay = 10 * time.Minute },
			then:  func(o *policy.Obligations, _ time.Time) { o.Delay = 40 * time.Minute },
			from:  time.Hour, upTo: 40 * time.Minute,
		},
		"not_before, of whole intervals": {
			first: func(o *policy.Obligations, _ time.Time) { o.Resolution = 7 * time.Minute },
			then: func(o *policy.Obligations, now time.Time) {
				o.Resolution, o.NotBefore = 7*time.Minute, now.Add(-30*time.Minute)
			},
			from: 30*time.Minute - 7*time.Minute, upTo: 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := showing()
				globex := newTailed(t, "globex", d)
				q := tailOf(`{service="checkout"}`, 0)
				for n := range 2000 {
					globex.writes(fmt.Sprint("line ", n))
					sleeps(1800 * time.Millisecond)
				}
				now := time.Now()
				q.Start, q.End, q.Backward = now.Add(-time.Hour), now, false
				shows.first(&d.Obligations, now)
				globex.decides(d)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(now)}
				parts, lines := 0, 0
				err := globex.local.Tail(ctx, q, globex.decide, by, func(released *Released, _ federation.Part) error {
					if parts++; parts == 1 {
						shows.then(&d.Obligations, now)
						globex.decides(d)
						return nil
					}
					for _, e := range released.Entries() {
						if at := time.Unix(0, e.At); at.Before(now.Add(-shows.from)) || at.After(now.Add(-shows.upTo)) {
							t.Errorf("%q is of %s before, and isn't shown any more", e.Line, now.Sub(at))
							cancel()
							return ctx.Err()
						}
						lines++
					}
					if lines > 0 && shows.upTo == 0 {
						cancel()
					}
					return ctx.Err()
				})
				if parts == 0 || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("after %d parts the tail ended with %v", parts, err)
				}
			})
		})
	}
}

// Two stores that differ in what is hidden alone give the same tail, to the
// byte and the moment.
func TestHiddenDifferencesDontShowInTails(t *testing.T) {
	came := 0
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			d := showing()
			one, other := newTailed(t, "globex", d), newTailed(t, "globex", d)
			switch seed % 5 {
			case 4:
				one.local.config.Source, other.local.config.Source = untailed{one.store}, untailed{other.store}
			case 1:
				d.Obligations.Delay = 7 * time.Second
			case 2:
				d.Obligations.Resolution = 5 * time.Second
			case 3:
				d.Obligations.MaxAge = 20 * time.Second
				d.Obligations.Limits.Lines = 15
			}
			expr := []string{
				`{org="globex"} |= "ann"`, `{org="globex"} != "ann"`, `{org="globex"} |~ "[a-m]@"`, `{service=~".+", pod="a"}`,
				`{org="globex"} | logfmt | user="ann"`, `{org="globex"} | line_format "{{.pod}} {{__line__}}"`, `{service=~".+"} != "cy"`,
				`{org="globex"} | regexp "(?P<who>\\w+)@" | who != ""`, `{service="payroll"}`, `{org="globex", level="info"} | drop level`,
			}[int(seed/5)%10]
			one.decides(d)
			other.decides(d)
			write := func() {
				service, level := []string{"checkout", "cart"}[r.IntN(2)], []string{"info", "error"}[r.IntN(2)]
				name := func() string { return []string{"ann", "bob", "cy"}[r.IntN(3)] }
				for _, o := range []*tailedOrg{one, other} {
					o.writes(fmt.Sprintf("user=%s@example.com took", name()), "service", service, "level", level, "pod", name())
					for range r.IntN(3) {
						o.writes("ann@example.com earns", "service", "payroll", "level", name())
					}
				}
			}
			for range 30 {
				write()
				sleeps(time.Duration(r.IntN(1000)) * time.Millisecond)
			}
			asked := tailOf(expr, 1000)
			readers := []*reader{one.asked(asked), other.asked(asked)}
			for range 60 {
				write()
				sleeps(time.Duration(r.IntN(1500)) * time.Millisecond)
				synctest.Wait()
				if diff := cmp.Diff(readers[0].all(), readers[1].all(), cmp.Comparer(labels.Equal)); diff != "" {
					t.Fatalf("%s (-one +other):\n%s", expr, diff)
				}
			}
			if readers[0].leftOut() != readers[1].leftOut() {
				t.Errorf("%s: %d and %d lines were left out", expr, readers[0].leftOut(), readers[1].leftOut())
			}
			came += len(readers[0].all())
			// Nothing more is written, so what isn't shown yet is soon.
			sleeps(30 * time.Second)
			for i, r := range readers {
				r.stops(t)
				if d.Obligations.MaxAge == 0 {
					o := []*tailedOrg{one, other}[i]
					same(t, expr, r.has(), o.queried(expr, asked.Start)...)
				}
			}
		})
	}
	if came < 500 {
		t.Errorf("only %d lines came: the test is blind", came)
	}
}

// queried is what a query gives from a time on.
func (o *tailedOrg) queried(expr string, start time.Time) []string {
	o.t.Helper()
	d, _ := o.decide(o.t.Context())
	q := Question{Kind: policy.Range, Expression: expr, Start: start, End: time.Now(), Limit: 1000}
	released, _, err := o.local.Answer(o.t.Context(), q, d, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())})
	if err != nil {
		o.t.Fatal(err)
	}
	var lines []string
	for _, e := range released.Entries() {
		lines = append(lines, e.Stream.Get(federation.OrgLabel)+" "+e.Line)
	}
	return lines
}
