package metrics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// asking is one question under way: what was asked of each member, once, and
// what came of it.
type asking struct {
	ctx     context.Context
	members []*member // sorted by organization; the slice doesn't change
	running sync.WaitGroup
	// unfit: the plan has a part that can't be a partner's, or one with a series
	// of both floats and histograms, which the distributed engine can't read.
	unfit atomic.Bool
}

// member is a Member in one question.
type member struct {
	Member
	// dropped: failed in part, so it is out of the answer as a whole. Changed
	// only between evaluations.
	dropped atomic.Bool

	mu    sync.Mutex
	asked map[string]*pending // guarded by mu; by question
}

// pending is an answer that may still be on its way.
type pending struct {
	done     chan struct{}
	released *Released // these three are set before done is closed
	part     federation.Part
	err      error
}

func newAsking(ctx context.Context, members []Member) *asking {
	a := &asking{ctx: ctx}
	for _, m := range members {
		a.members = append(a.members, &member{Member: m, asked: map[string]*pending{}})
	}
	slices.SortFunc(a.members, func(x, y *member) int { return strings.Compare(string(x.Org), string(y.Org)) })
	return a
}

// start asks a member, unless the same was asked before.
func (a *asking) start(m *member, q Question) *pending {
	key := fmt.Sprintf("%s\xff%s\xff%d\xff%d\xff%d\xff%d\xff%s\xff%d\xff%t", q.Kind, q.Expression,
		q.Start.UnixMilli(), q.End.UnixMilli(), q.Step, q.Lookback, q.Label, q.Limit, q.LabelsOnly)
	for _, s := range q.Selectors {
		key += "\xff" + FormatSelector(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.asked[key]; ok {
		return p
	}
	p := &pending{done: make(chan struct{})}
	m.asked[key] = p
	a.running.Go(func() {
		defer close(p.done)
		p.released, p.part, p.err = m.Ask(a.ctx, q)
	})
	return p
}

// here evaluates a question that reads no series, without asking anyone.
func (a *asking) here(q Question, engine *promql.Engine) *pending {
	p := &pending{done: make(chan struct{})}
	a.running.Go(func() {
		defer close(p.done)
		empty := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })
		matrix, err := run(a.ctx, engine, empty, q.Expression, q)
		if err != nil {
			p.err = err
			return
		}
		p.released, p.err = releaseMatrix(matrix)
	})
	return p
}

// nothing is an answer without series, of a question that isn't asked.
func nothing() *pending {
	p := &pending{done: make(chan struct{}), released: &Released{}}
	close(p.done)
	return p
}

func (p *pending) wait() (*Released, error) {
	<-p.done
	return p.released, p.err
}

// all asks every member that is still in the answer the same and returns the
// answers there are.
func (a *asking) all(q Question) []*Released {
	started := make([]*pending, 0, len(a.members))
	for _, m := range a.members {
		if !m.dropped.Load() && concerns(m, q.Selectors) {
			started = append(started, a.start(m, q))
		}
	}
	var out []*Released
	for _, p := range started {
		if released, err := p.wait(); err == nil {
			out = append(out, released)
		}
	}
	return out
}

// wait returns when nothing runs any more.
func (a *asking) wait() { a.running.Wait() }

// underWay says whether anything was asked of anyone.
func (a *asking) underWay() bool {
	return slices.ContainsFunc(a.members, func(m *member) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.asked) > 0
	})
}

// dropTorn drops the members of which some questions failed and some didn't,
// and says whether there were any.
func (a *asking) dropTorn() bool {
	torn := false
	for _, m := range a.members {
		if m.dropped.Load() {
			continue
		}
		answered, failed := m.results()
		if answered > 0 && failed != nil {
			m.dropped.Store(true)
			torn = true
		}
	}
	return torn
}

// results counts the answers and returns the first failure, in the order of
// the questions' text.
func (m *member) results() (answered int, failed error) {
	for _, p := range m.sorted() {
		switch {
		case p.err == nil:
			answered++
		case failed == nil:
			failed = p.err
		}
	}
	return answered, failed
}

func (m *member) sorted() []*pending {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]string, 0, len(m.asked))
	for key := range m.asked {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := make([]*pending, len(keys))
	for i, key := range keys {
		out[i] = m.asked[key]
		<-out[i].done
	}
	return out
}

// nothingButFailures returns an error when members were asked and all failed.
func (a *asking) nothingButFailures() error {
	var first error
	for _, m := range a.members {
		answered, failed := m.results()
		if answered > 0 && failed == nil {
			return nil
		}
		first = cmp.Or(first, failed)
	}
	return first
}

// completeness is one part for each member.
func (a *asking) completeness() federation.Completeness {
	out := make(federation.Completeness, 0, len(a.members))
	for _, m := range a.members {
		out = append(out, m.part())
	}
	return out
}

// part sums up what a member contributed.
func (m *member) part() federation.Part {
	var parts []federation.Part
	for _, p := range m.sorted() {
		parts = append(parts, p.part)
	}
	out := federation.Sum(m.Org, parts)
	if _, failed := m.results(); failed != nil {
		out.Coverage = policy.Window{}
		out.Status, out.Reason = federation.StatusOf(failed), federation.AsError(failed).Message
	}
	return out
}

// concernsOnly returns our own organization's member when no other can
// contribute: it then answers the whole question.
func (a *asking) concernsOnly(expr parser.Expr) (*member, bool) {
	selectors := selectorsOf(expr)
	if len(selectors) == 0 || slices.ContainsFunc(selectors, func(s policy.Selector) bool { return selectsCompleteness(s) }) {
		return nil, false
	}
	var only *member
	for _, m := range a.members {
		if concerns(m, selectors) {
			if only != nil {
				return nil, false
			}
			only = m
		}
	}
	return only, only != nil && only.Own
}

// concerns says whether one of the selectors can match at the member; no
// selectors are all.
func concerns(m *member, selectors []policy.Selector) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s policy.Selector) bool {
		return !slices.ContainsFunc(s, func(x *labels.Matcher) bool { return x.Name == orgLabel && !x.Matches(string(m.Org)) })
	})
}

func (r *Released) addMetadata(name string, entries []metadata.Metadata) {
	if r.metadata == nil {
		r.metadata = map[string][]metadata.Metadata{}
	}
	for _, e := range entries {
		if !slices.Contains(r.metadata[name], e) {
			r.metadata[name] = append(r.metadata[name], e)
		}
	}
}

// remoteQuery is a part of a plan that a member answers. One that fails has no
// series: whether that tears the answer is decided when all are there.
type remoteQuery struct {
	answer     *pending
	expression string
	unfit      *atomic.Bool // the asking's
}

func (q *remoteQuery) Exec(ctx context.Context) *promql.Result {
	select {
	case <-q.answer.done:
	case <-ctx.Done():
		return &promql.Result{Err: ctx.Err()}
	}
	if q.answer.err != nil {
		return &promql.Result{Value: promql.Matrix{}}
	}
	matrix, err := q.answer.released.Matrix()
	for _, s := range matrix {
		if len(s.Floats) > 0 && len(s.Histograms) > 0 {
			q.unfit.Store(true)
		}
	}
	return &promql.Result{Value: matrix, Err: err}
}

func (q *remoteQuery) Close()                      {}
func (q *remoteQuery) Cancel()                     {}
func (q *remoteQuery) Statement() parser.Statement { return nil }
func (q *remoteQuery) Stats() *stats.Statistics    { return nil }
func (q *remoteQuery) String() string              { return q.expression }
