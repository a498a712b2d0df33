package audit

import (
	"sync"
	"time"

	"github.com/parley-gateway/parley/gateway"
)

// defaultWindow is how long refusals are counted before they are recorded.
const defaultWindow = 10 * time.Second

// refusals counts the questions that are turned away again and again, so that
// who may ask nothing can't fill the disk: of one asker for one reason a window
// has two records, the first question whole and the number of the others. There
// are as many counts at once as trust domains that could connect times reasons.
type refusals struct {
	record        func(Record) error
	stop, stopped chan struct{}

	mu     sync.Mutex
	counts map[sameRefusal]*repetition // guarded by mu; of the window that runs
	closed bool                        // guarded by mu
}

// sameRefusal is what refusals have in common that are counted together.
type sameRefusal struct{ org, trustDomain, reason string }

// repetition is what followed a refusal within a window.
type repetition struct {
	first Record // recorded already
	Repeats
}

func countRefusals(window time.Duration, record func(Record) error) *refusals {
	r := &refusals{
		record: record, stop: make(chan struct{}), stopped: make(chan struct{}),
		counts: map[sameRefusal]*repetition{},
	}
	go r.run(window)
	return r
}

func (r *refusals) run(window time.Duration) {
	defer close(r.stopped)
	tick := time.NewTicker(window)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.flush()
		case <-r.stop:
			r.flush()
			return
		}
	}
}

// close records what was counted and ends the counting.
func (r *refusals) close() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stop)
	}
	<-r.stopped
}

// first says whether the exchange is to be recorded itself. Otherwise it has
// been counted.
func (r *refusals) first(x gateway.Exchange) bool {
	if x.TurnedAway == "" {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return true
	}
	key := same(x)
	c, ok := r.counts[key]
	if !ok {
		r.counts[key] = &repetition{first: summary(x)}
		return true
	}
	c.add(Repeats{Count: 1, First: Time(x.Start), Last: Time(x.Start)})
	return false
}

// forget makes the next question the first one, since this one couldn't be
// recorded.
func (r *refusals) forget(x gateway.Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.counts[same(x)]; ok && c.Count == 0 {
		delete(r.counts, same(x))
	}
}

// flush ends the window. What can't be recorded is counted on in the next.
func (r *refusals) flush() {
	r.mu.Lock()
	counts := r.counts
	r.counts = map[sameRefusal]*repetition{}
	r.mu.Unlock()
	for key, c := range counts {
		if c.Count == 0 {
			continue
		}
		record := c.first
		record.Time, record.Repeats = c.First, &c.Repeats
		if r.record(record) == nil { // why not is in the log of the journal
			continue
		}
		r.mu.Lock()
		if newer, ok := r.counts[key]; ok {
			c.add(newer.Repeats)
		}
		r.counts[key] = c
		r.mu.Unlock()
	}
}

// add counts more.
func (r *Repeats) add(more Repeats) {
	switch {
	case more.Count == 0:
		return
	case r.Count == 0:
		*r = more
		return
	}
	r.Count += more.Count
	if time.Time(more.First).Before(time.Time(r.First)) {
		r.First = more.First
	}
	if time.Time(more.Last).After(time.Time(r.Last)) {
		r.Last = more.Last
	}
}

func same(x gateway.Exchange) sameRefusal {
	return sameRefusal{org: string(x.Principal.Org), trustDomain: x.Principal.Workload.TrustDomain().Name(), reason: x.TurnedAway}
}

// summary is of a refused exchange what others that are counted with it share.
func summary(x gateway.Exchange) Record {
	whole := Of(x)
	return Record{
		Version: whole.Version, Exchange: whole.Exchange, Door: whole.Door, Org: whole.Org,
		Principal: Principal{Org: whole.Principal.Org, Workload: whole.Principal.Workload},
		Signal:    whole.Signal, Outcome: whole.Outcome, ErrorKind: whole.ErrorKind, Reason: x.TurnedAway,
	}
}
