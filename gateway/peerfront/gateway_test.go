package peerfront_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/peerfront"
)

// fakeGateway answers as the test says and keeps what it was asked to record.
type fakeGateway struct {
	answer    func(context.Context, gateway.Question) (peerfront.Answer, error)
	tail      func(context.Context, gateway.TailDoor) error
	auditDown atomic.Bool

	mu       sync.Mutex
	asked    []gateway.Question // guarded by mu
	refused  []gateway.Question // guarded by mu
	reasons  []error            // guarded by mu, one for each refused
	recorded int                // guarded by mu; bytes of answers
	closed   int                // guarded by mu; answers
}

func (g *fakeGateway) Answer(ctx context.Context, q gateway.Question) (peerfront.Answer, error) {
	g.mu.Lock()
	g.asked = append(g.asked, q)
	g.mu.Unlock()
	return g.answer(ctx, q)
}

// Tail gives what the test says, as a gateway does.
func (g *fakeGateway) Tail(ctx context.Context, q gateway.Question, door gateway.TailDoor) error {
	g.mu.Lock()
	g.asked = append(g.asked, q)
	g.mu.Unlock()
	return g.tail(ctx, door)
}

func (g *fakeGateway) Refuse(_ context.Context, q gateway.Question, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused, g.reasons = append(g.refused, q), append(g.reasons, err)
	if g.auditDown.Load() {
		return federation.Errorf(federation.Unavailable, "the exchange can't be recorded")
	}
	return err
}

// releases makes the gateway answer with the series.
func (g *fakeGateway) releases(series ...metrics.ReleasedSeries) {
	g.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return fakeAnswer{g, metrics.Received(series, nil, nil, nil)}, nil
	}
}

type fakeAnswer struct {
	gateway  *fakeGateway
	released *metrics.Released
}

func (a fakeAnswer) Close() {
	a.gateway.mu.Lock()
	defer a.gateway.mu.Unlock()
	a.gateway.closed++
}

func (a fakeAnswer) Disclose(_ context.Context, encode func(federation.Released, federation.Completeness) (int, error)) error {
	n, err := encode(a.released, federation.Completeness{{Org: "acme", Status: federation.Complete, Notices: []string{"the label pod is dropped"}}})
	if err != nil {
		return err
	}
	if a.gateway.auditDown.Load() {
		return federation.Errorf(federation.Unavailable, "the exchange can't be recorded")
	}
	a.gateway.mu.Lock()
	defer a.gateway.mu.Unlock()
	a.gateway.recorded = n
	return nil
}

// up is n series of one hour.
func up(t *testing.T, n int) []metrics.ReleasedSeries {
	t.Helper()
	var out []metrics.ReleasedSeries
	for i := range n {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			t.Fatal(err)
		}
		for m := range 61 {
			app.Append(begin.Add(time.Duration(m)*time.Minute).UnixMilli(), float64(i*m))
		}
		out = append(out, metrics.ReleasedSeries{
			Labels: labels.FromStrings("__name__", "up", "instance", strings.Repeat("0", 3-len(itoa(i)))+itoa(i), "org", "acme"),
			Chunks: []chunks.Meta{{Chunk: c}},
		})
	}
	return out
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + itoa(i%10)
}

type disclosing func(func(federation.Released, federation.Completeness) (int, error)) error

func (d disclosing) Close() {}

func (d disclosing) Disclose(_ context.Context, encode func(federation.Released, federation.Completeness) (int, error)) error {
	return d(encode)
}
