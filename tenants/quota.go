package tenants

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Quota counts what each partner takes: questions under way, tails that run and
// questions a minute. Its zero value is ready, and it is safe for concurrent use.
//
//	release, err := quota.Acquire(agreement, tenants.Limits{}, now)
//	if err != nil {
//		return err // a *Refusal
//	}
//	defer release()
type Quota struct {
	mu sync.Mutex
	// partners has those that asked within the last minutes: a partner that
	// has nothing under way and a full bucket is like one that never asked.
	partners map[OrgID]*allowance
	swept    time.Time
}

// allowance is what one partner has taken. Quota.mu guards it.
type allowance struct {
	underWay int
	tails    int
	bucket   *rate.Limiter
	lastUsed time.Time
}

// idle is after how long every bucket is full again: each holds a minute's worth.
const idle = time.Minute

// Acquire takes one question from what the partner of the agreement may ask
// and returns release, to be called when the question has ended; calling it
// again does nothing. The limits are the agreement's with their defaults,
// tightened by the given ones, whose zero changes nothing; a change of them
// counts from this question on.
//
// The error is a *Refusal with the reason OverConcurrency or OverRate; a
// refused question takes nothing.
func (q *Quota) Acquire(a Agreement, tighter Limits, now time.Time) (release func(), err error) {
	return q.acquire(a, tighter, now, func(p *allowance, l Limits) (*int, int, string) {
		return &p.underWay, l.Concurrent, "%d questions are under way already"
	})
}

// AcquireTail is Acquire for a tail, which is one question a minute like others,
// and then one of the tails that may run at once.
func (q *Quota) AcquireTail(a Agreement, tighter Limits, now time.Time) (release func(), err error) {
	return q.acquire(a, tighter, now, func(p *allowance, l Limits) (*int, int, string) {
		return &p.tails, l.Tails, "%d tails run already"
	})
}

// acquire takes one question. of returns which number it counts among, how many
// there may be, and how it is said that there are.
func (q *Quota) acquire(a Agreement, tighter Limits, now time.Time, of func(*allowance, Limits) (n *int, most int, full string)) (func(), error) {
	limits := a.Limits.OrDefault().Tighten(tighter)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweep(now)
	p := q.of(a.Partner, limits, now)
	p.lastUsed = now
	n, most, full := of(p, limits)
	if *n >= most {
		return nil, overLimit(OverConcurrency, a.Partner, full, most)
	}
	if !p.bucket.AllowN(now, 1) {
		return nil, overLimit(OverRate, a.Partner, "more than %d questions a minute", limits.QueriesPerMinute)
	}
	*n++
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		*n--
	}), nil
}

// of returns the partner's allowance, adapted to the limits.
func (q *Quota) of(partner OrgID, l Limits, now time.Time) *allowance {
	perSecond := rate.Limit(float64(l.QueriesPerMinute) / time.Minute.Seconds())
	p, ok := q.partners[partner]
	if !ok {
		if q.partners == nil {
			q.partners = map[OrgID]*allowance{}
		}
		p = &allowance{bucket: rate.NewLimiter(perSecond, l.QueriesPerMinute)}
		q.partners[partner] = p
	}
	if p.bucket.Burst() != l.QueriesPerMinute {
		p.bucket.SetLimitAt(now, perSecond)
		p.bucket.SetBurstAt(now, l.QueriesPerMinute)
	}
	return p
}

// sweep forgets, once in a while, the partners that are idle.
func (q *Quota) sweep(now time.Time) {
	if now.Sub(q.swept).Abs() < idle {
		return
	}
	q.swept = now
	for org, p := range q.partners {
		if p.underWay == 0 && p.tails == 0 && now.Sub(p.lastUsed) > idle {
			delete(q.partners, org)
		}
	}
}
