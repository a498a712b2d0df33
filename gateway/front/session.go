package front

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
)

// session is one HTTP request: in whose name its questions are asked, and what
// came of them. It rides in the request's context, which we avoid elsewhere:
// between the handler and our adapters stands web/api/v1, and of all it could
// pass along it passes only the context.
type session struct {
	// question has what all questions of the request share; only what is
	// asked differs.
	question gateway.Question
	answerer Answerer

	mu sync.Mutex
	// asked says that at least one question was answered. Guarded by mu.
	asked bool
	// completeness is that of the questions together. Guarded by mu.
	completeness federation.Completeness
	// failure is the first error; it becomes the response whatever web/api/v1
	// makes of it. Guarded by mu.
	failure *federation.Error
}

type sessionKey struct{}

func (s *session) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// sessionOf returns the session of the request that ctx belongs to. Every
// request has one before it reaches web/api/v1; that one has none is a defect,
// and ServeHTTP makes an error of the panic.
func sessionOf(ctx context.Context) *session {
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		panic("front: a question outside of a request")
	}
	return s
}

// ask puts one question about metrics to the gateway.
func (s *session) ask(ctx context.Context, q metrics.Question) (*metrics.Released, error) {
	released, err := s.put(ctx, q)
	if err != nil {
		return nil, err
	}
	answer, ok := released.(*metrics.Released)
	if !ok {
		return nil, s.fail(fmt.Errorf("an answer of type %T to a question about metrics", released))
	}
	return answer, nil
}

// put asks one question and takes down what became of it.
func (s *session) put(ctx context.Context, q federation.Question) (federation.Released, error) {
	question := s.question
	question.Asked = q
	result, err := s.answerer.Ask(ctx, question)
	if err == nil || len(result.Completeness) > 0 {
		s.add(withCoverage(result.Completeness, q))
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return result.Released, nil
}

// withCoverage has a notice for each part that covers less time than a question
// about logs or traces asks for: what isn't shown would look like nothing.
func withCoverage(c federation.Completeness, asked federation.Question) federation.Completeness {
	var start, end time.Time
	switch q := asked.(type) {
	case logs.Question:
		start, end = q.Start, q.End
	case traces.Question:
		start, end = q.Start, q.End
	}
	if start.IsZero() && end.IsZero() {
		return c
	}
	out := slices.Clone(c)
	for i, p := range out {
		if p.Status != federation.Complete && p.Status != federation.Partial {
			continue
		}
		const within = time.Second // coverage is of milliseconds, and the clock goes on
		var says string
		switch {
		case p.Coverage == policy.Window{}:
			says = "shows nothing of that time"
		case p.Coverage.Start.Sub(start) > within:
			says = "shows nothing before " + p.Coverage.Start.UTC().Format(time.RFC3339)
		case end.Sub(p.Coverage.End) > within:
			says = "shows nothing after " + p.Coverage.End.UTC().Format(time.RFC3339)
		default:
			continue
		}
		out[i].Notices = append(slices.Clone(p.Notices), says)
		slices.Sort(out[i].Notices)
	}
	return out
}

// askLogs puts one question about logs to the gateway.
func (s *session) askLogs(ctx context.Context, q logs.Question) (*logs.Released, error) {
	released, err := s.put(ctx, q)
	if err != nil {
		return nil, err
	}
	answer, ok := released.(*logs.Released)
	if !ok {
		return nil, s.fail(fmt.Errorf("an answer of type %T to a question about logs", released))
	}
	return answer, nil
}

// add takes down what became of a question.
func (s *session) add(c federation.Completeness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = true
	s.completeness = together(s.completeness, c)
}

// fail keeps err as what the client is told, unless there is one already.
func (s *session) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = federation.AsError(err)
	}
	return s.failure
}

func (s *session) failed() *federation.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// outcome returns the completeness so far, and whether anything was answered.
func (s *session) outcome() (federation.Completeness, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.completeness, s.asked
}
