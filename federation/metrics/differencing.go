package metrics

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// differencing remembers which questions each partner asked about each metric.
// Two answers that differ in a matcher tell what it selects, and a number that
// moves question by question finds a value by halves. What moves may be a
// literal, or be hidden in the shape of an expression, so that any other text
// is another question. What the store holds has no part in it. Its methods are
// safe for concurrent use.
type differencing struct {
	seed maphash.Seed

	mu sync.Mutex
	// memories are guarded by mu.
	memories map[memoryKey]*memory

	exceeded *prometheus.CounterVec // by partner and action
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
	// maxMetrics is about how many metrics one question may be where policy has a
	// budget: none may fill the memory.
	maxMetrics = 100
)

func newDifferencing(r prometheus.Registerer) (*differencing, error) {
	d := &differencing{seed: maphash.MakeSeed(), memories: map[memoryKey]*memory{}, exceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "parley_differencing_exceeded_total",
		Help: "Questions of partners beyond the number that policy lets them ask about one metric, by what became of them.",
	}, []string{"partner", "action"})}
	if r == nil {
		return d, nil
	}
	if err := r.Register(d.exceeded); err != nil {
		return nil, fmt.Errorf("memory of questions: %w", err)
	}
	return d, nil
}

// checkDifferencing refuses, or flags, one of too many questions about a metric.
// The question has a text, and selects by some selectors.
func (l *Local) checkDifferencing(ctx context.Context, q Question, text string, selectors [][]*labels.Matcher, o policy.Obligations, by Asking) error {
	if o.Differencing.Budget == 0 || !l.differencing.exceeds(by.Org, q, text, selectors, o.Differencing, l.config.Now()) {
		return nil
	}
	action := "flag"
	if o.Differencing.Refuse {
		action = "refuse"
	}
	l.differencing.exceeded.WithLabelValues(string(by.Org), action).Inc()
	l.config.Logger.WarnContext(ctx, "a partner asks many different questions about one metric", "partner", by.Org, "exchange", by.ExchangeID, "action", action)
	if !o.Differencing.Refuse {
		return nil
	}
	return federation.Errorf(federation.OverLimit, "at most %d different questions about one metric are answered within %s, and none about more than %d metrics",
		o.Differencing.Budget, model.Duration(o.Differencing.Within), maxMetrics)
}

// checkListing is checkDifferencing of a question that has no expression.
func (l *Local) checkListing(ctx context.Context, q Question, o policy.Obligations, by Asking) error {
	text := q.Label
	var selectors [][]*labels.Matcher
	for _, s := range q.Selectors {
		text += "\xff" + FormatSelector(s)
		selectors = append(selectors, s)
	}
	switch {
	case len(selectors) > 0:
	case q.Kind == policy.Metadata:
		selectors = [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, q.Label)}}
	default:
		selectors = [][]*labels.Matcher{nil}
	}
	return l.checkDifferencing(ctx, q, text, selectors, o, by)
}

// exceeds remembers a question, and says whether with it the partner has asked
// more different ones about a metric than the budget has. One that is told to be
// beyond it isn't remembered.
func (d *differencing) exceeds(by tenants.OrgID, q Question, text string, selectors [][]*labels.Matcher, b policy.Differencing, now time.Time) bool {
	kind := q.Kind
	if kind == policy.Range {
		kind = policy.Instant // the same at other times
	}
	question := maphash.String(d.seed, fmt.Sprintf("%s\xff%t\xff%s\xff%s", kind, q.LabelsOnly, q.Lookback, text))
	var asked []askedKey
	for _, s := range selectors {
		if key := (askedKey{d.metric(s), question}); !slices.Contains(asked, key) {
			asked = append(asked, key)
		}
		if len(asked) > maxMetrics {
			return true
		}
	}
	return d.memory(memoryKey{by, b.Within}, now).exceeds(asked, b.Budget, now)
}

// metric is that of a selector, hashed. Those that name none have one together.
func (d *differencing) metric(selector []*labels.Matcher) uint64 {
	for _, m := range selector {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			return maphash.String(d.seed, m.Value)
		}
	}
	return maphash.String(d.seed, "")
}

// memory is the one of a key, and forgets those that nothing is in.
func (d *differencing) memory(key memoryKey, now time.Time) *memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.memories[key]
	if m != nil {
		return m
	}
	for other, m := range d.memories {
		if m.empty(now) {
			delete(d.memories, other)
		}
	}
	m = newMemory(key.within)
	d.memories[key] = m
	return m
}

// memory is what is remembered of a partner.
type memory struct {
	within time.Duration

	mu sync.Mutex
	// asked is when each question was asked last, in that order, and number how
	// many of them are about a metric. Both are guarded by mu.
	asked  *simplelru.LRU[askedKey, time.Time]
	number map[uint64]int
}

// askedKey is a question about a metric, both hashed.
type askedKey struct{ metric, question uint64 }

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
		if m.number[key.metric]--; m.number[key.metric] == 0 {
			delete(m.number, key.metric)
		}
	}
}

// exceeds remembers a question, or says that it is one too many. Nothing is
// forgotten before its time: a memory that is full has no place for another one.
func (m *memory) exceeds(asked []askedKey, budget int, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	more := 0
	for _, key := range asked {
		if m.asked.Contains(key) {
			continue
		}
		if more++; m.number[key.metric] >= budget {
			return true
		}
	}
	if m.asked.Len()+more > maxRemembered {
		return true
	}
	for _, key := range asked {
		if !m.asked.Contains(key) {
			m.number[key.metric]++
		}
		m.asked.Add(key, now)
	}
	return false
}
