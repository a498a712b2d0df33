// Package differencing answers whether a partner asks too many different
// questions about one thing, such as a metric:
//
//	memory, err := differencing.New(registry, "one metric")
//	err = memory.Check(ctx, logger, differencing.Question{
//		By: "globex", Text: "sum(up)", About: []differencing.Subject{{Name: "up", Selector: "up"}},
//	}, budget, now)
//
// Two answers that differ in a matcher tell what it selects, and a number that
// moves question by question finds a value by halves. What moves may be a
// literal, or be hidden in the shape of an expression, so that any other text
// is another question. What a store holds has no part in it.
package differencing

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Memory remembers which questions each partner asked about what. Its methods
// are safe for concurrent use.
type Memory struct {
	seed maphash.Seed
	one  string // what questions are about, in words

	mu sync.Mutex
	// partners are guarded by mu.
	partners map[memoryKey]*memory

	exceeded *prometheus.CounterVec // by partner and action
}

// Question is one question of a partner.
type Question struct {
	By         tenants.OrgID
	ExchangeID federation.ExchangeID
	// Text is all that makes it another question than others.
	Text string
	// About is what it is about, at least one. It counts as a question for each.
	About []Subject
}

// Subject is a selection that a question makes.
type Subject struct {
	Name     string // of what it is about, such as a metric
	Selector string // what it selects of that
}

// memoryKey is of whom a memory is, and how long it reaches back: policies may
// differ by purpose.
type memoryKey struct {
	by     tenants.OrgID
	within time.Duration
}

const (
	// maxRemembered bounds what is remembered of one partner: about 200 bytes each.
	maxRemembered = 50_000
	// maxAbout is how many subjects one question may have where policy has a
	// budget: none may fill the memory.
	maxAbout = 100
)

// New returns a Memory that is empty. The words say what questions are about, as
// "one metric" and "logs". What is beyond a budget is counted with r, together
// with that of other memories; nil counts nothing.
func New(r prometheus.Registerer, one string) (*Memory, error) {
	m := &Memory{seed: maphash.MakeSeed(), one: one, partners: map[memoryKey]*memory{}, exceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "parley_differencing_exceeded_total",
		Help: "Questions of partners beyond the number that policy lets them ask about one metric, or about logs, by what became of them.",
	}, []string{"partner", "action"})}
	if r == nil {
		return m, nil
	}
	var there prometheus.AlreadyRegisteredError
	switch err := r.Register(m.exceeded); {
	case errors.As(err, &there):
		known, ok := there.ExistingCollector.(*prometheus.CounterVec)
		if !ok {
			return nil, fmt.Errorf("memory of questions: %w", err)
		}
		m.exceeded = known
	case err != nil:
		return nil, fmt.Errorf("memory of questions: %w", err)
	}
	return m, nil
}

// Check remembers a question, and refuses or flags it, as the budget says, if
// with it the partner has asked too many. A budget of none checks nothing. The
// error is a *federation.Error of the kind OverLimit.
func (m *Memory) Check(ctx context.Context, logger *slog.Logger, q Question, b policy.Differencing, now time.Time) error {
	if b.Budget == 0 || !m.exceeds(q, b, now) {
		return nil
	}
	action := "flag"
	if b.Refuse {
		action = "refuse"
	}
	m.exceeded.WithLabelValues(string(q.By), action).Inc()
	logger.WarnContext(ctx, "a partner asks many different questions about one thing", "about", m.one, "partner", q.By, "exchange", q.ExchangeID, "action", action)
	if !b.Refuse {
		return nil
	}
	return federation.Errorf(federation.OverLimit, "at most %d different questions about %s are answered within %s, each counted for its selectors, and none with more than %d of them",
		b.Budget, m.one, model.Duration(b.Within), maxAbout)
}

// exceeds remembers a question, and says whether with it the partner has asked
// more different ones about one thing than the budget has. One that is told to
// be beyond it isn't remembered.
func (m *Memory) exceeds(q Question, b policy.Differencing, now time.Time) bool {
	var asked []askedKey
	for _, about := range q.About {
		if key := (askedKey{maphash.String(m.seed, about.Name), maphash.String(m.seed, q.Text+"\xff"+about.Selector)}); !slices.Contains(asked, key) {
			asked = append(asked, key)
		}
		if len(asked) > maxAbout {
			return true
		}
	}
	return m.memory(memoryKey{q.By, b.Within}, now).exceeds(asked, b.Budget, now)
}

// memory is the one of a key, and forgets those that nothing is in.
func (m *Memory) memory(key memoryKey, now time.Time) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of := m.partners[key]; of != nil {
		return of
	}
	for other, of := range m.partners {
		if of.empty(now) {
			delete(m.partners, other)
		}
	}
	of := newMemory(key.within)
	m.partners[key] = of
	return of
}

// memory is what is remembered of a partner.
type memory struct {
	within time.Duration

	mu sync.Mutex
	// asked is when each question was asked last, in that order, and number how
	// many of them are about a thing. Both are guarded by mu.
	asked  *simplelru.LRU[askedKey, time.Time]
	number map[uint64]int
}

// askedKey is a question about a thing, both hashed.
type askedKey struct{ about, question uint64 }

func newMemory(within time.Duration) *memory {
	asked, err := simplelru.NewLRU[askedKey, time.Time](maxRemembered, nil)
	if err != nil {
		panic(err) // only a size that isn't one
	}
	return &memory{within: within, asked: asked, number: map[uint64]int{}}
}

func (m *memory) empty(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	return m.asked.Len() == 0
}

// forget forgets what was last asked too long ago; mu is held.
func (m *memory) forget(now time.Time) {
	for {
		key, at, ok := m.asked.GetOldest()
		if !ok || now.Sub(at) <= m.within {
			return
		}
		m.asked.RemoveOldest()
		if m.number[key.about]--; m.number[key.about] == 0 {
			delete(m.number, key.about)
		}
	}
}

// exceeds remembers a question, or says that it is one too many. Nothing is
// forgotten before its time: a memory that is full has no place for another one.
func (m *memory) exceeds(asked []askedKey, budget int, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	more, moreAbout := 0, map[uint64]int{}
	for _, key := range asked {
		if m.asked.Contains(key) {
			continue
		}
		more++
		if moreAbout[key.about]++; m.number[key.about]+moreAbout[key.about] > budget {
			return true
		}
	}
	if m.asked.Len()+more > maxRemembered {
		return true
	}
	for _, key := range asked {
		if !m.asked.Contains(key) {
			m.number[key.about]++
		}
		m.asked.Add(key, now)
	}
	return false
}
