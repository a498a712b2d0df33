package gatewaytest_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

func TestPartnerIsKilled(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	everybodyAnswers(t, acme)

	globex.Stop()
	missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, "can't be reached")
	statusSeries(t, acme, "globex", federation.Unreachable)
	if record := last(t, acme); record.Outcome != gateway.Partially || record.ErrorKind != "" {
		t.Errorf("acme recorded %+v", record)
	}

	globex.Start()
	acme.Eventually("globex is back", func() bool {
		return acme.Asks(byOrg).Completeness(t)["globex"].Status == federation.Complete
	})
	everybodyAnswers(t, acme)
	statusSeries(t, acme, "globex", federation.Complete)
}

// One of two replicas is away and nobody notices.
func TestOneOfTwoReplicasIsKilled(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	one, other := gatewaytest.NewProxy(t, globex.PeerAddress()), gatewaytest.NewProxy(t, globex.PeerAddress())
	acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{one.Addr(), other.Addr()} })
	world.Start()
	everybodyAnswers(t, acme)
	one.Cut()
	for range 10 {
		everybodyAnswers(t, acme)
	}
	other.Cut()
	missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, "can't be reached")
}

// The network breaks while globex works on the question: acme does not wait
// until time is up.
func TestPartnerIsCutOffWhileAnswering(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	backend := gatewaytest.NewBackend(t)
	globex.Source = backend.Source()
	wire := gatewaytest.NewProxy(t, globex.PeerAddress())
	acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{wire.Addr()} })
	acme.QueryTimeout = time.Minute
	world.Start()

	go func() {
		globex.Eventually("the question is at globex's store", func() bool { return backend.Waiting() > 0 })
		wire.Cut()
	}()
	missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, "can't be reached")
	globex.Eventually("globex stops working on it", func() bool { return backend.Abandoned() > 0 && backend.Waiting() == 0 })
}

// patience is how long a user waits for a slow partner: long enough for the
// others to answer on a busy machine.
const patience = 4 * time.Second

func TestPartnerIsSlow(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	backend := gatewaytest.NewBackend(t)
	globex.Source = backend.Source()
	world.Start()

	reply := acme.AsksWithin(byOrg, patience)
	missing(t, reply, "globex", federation.Timeout, "time")
	globex.Eventually("the deadline stops work at globex", func() bool { return backend.Waiting() == 0 })
	globex.Eventually("globex has a record of it", func() bool { return len(exchange(t, globex, reply)) == 1 })
	record := exchange(t, globex, reply)[0]
	if record.Outcome != gateway.Failed || record.Series != 0 || record.Bytes != 0 {
		t.Errorf("globex recorded %+v", record)
	}
	statusSeries(t, acme, "globex", federation.Timeout)
	backend.Release()
	if diff := cmp.Diff(without("globex"), acme.Asks(byOrg).Vector(t)); diff != "" {
		t.Errorf("globex answers, with nothing: %s", diff)
	}
}

// A network that swallows everything looks like a slow partner, and the
// connection is of use again when it doesn't.
func TestNetworkStalls(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	wire := gatewaytest.NewProxy(t, globex.PeerAddress())
	acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{wire.Addr()} })
	world.Start()
	everybodyAnswers(t, acme)

	wire.Stall()
	missing(t, acme.AsksWithin(byOrg, patience), "globex", federation.Timeout, "did not answer in time")
	wire.Resume()
	everybodyAnswers(t, acme)
}

func TestPartnerDenies(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	globex.Releases("acme", `{"allow": false, "reasons": ["we are not on speaking terms"]}`)
	world.Start()

	reply := acme.Asks(byOrg)
	missing(t, reply, "globex", federation.Denied, federation.NotAllowed)
	statusSeries(t, acme, "globex", federation.Denied)
	record := exchange(t, globex, reply)
	if len(record) != 1 || record[0].Outcome != gateway.Refused || record[0].Decision.Allow ||
		!cmp.Equal(record[0].Decision.Reasons, []string{"we are not on speaking terms"}) {
		t.Errorf("globex recorded %+v", record)
	}
	if denied := globex.Metric("parley_questions_total", "partner", "acme", "direction", "answered", "outcome", "refused"); denied < 1 {
		t.Errorf("globex counted %v refusals of acme", denied)
	}
	if denied := acme.Metric("parley_questions_total", "partner", "globex", "direction", "asked", "outcome", "refused"); denied < 1 {
		t.Errorf("acme counted %v refusals by globex", denied)
	}
	// The others are not concerned.
	everybodyAnswers(t, world.Org("initech"))
}

// avg is asked of partners as sum and count. Who answers one of them is left
// out as a whole: a sum that is there without its count makes a wrong number.
func TestHalfAnAnswerIsNone(t *testing.T) {
	t.Parallel()
	const avg = "avg by (region) (round(rate(http_requests_total[5m])))"
	others := map[string]string{`{region="eu"}`: "1", `{region="us"}`: "2"} // of ann, abe and ida

	t.Run("policy denies the count", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		acme := world.Org("acme")
		world.Org("globex").Decides("acme", `default decision := {"allow": false}

decision := `+releaseRequests+` if not "count" in input.functions
`)
		world.Start()
		reply := acme.Asks(avg)
		if diff := cmp.Diff(others, reply.Vector(t)); diff != "" {
			t.Error(diff)
		}
		if part := reply.Completeness(t)["globex"]; part.Status != federation.Denied {
			t.Errorf("globex is %+v", part)
		}
	})
	t.Run("the second question is over the limit", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		acme := world.Org("acme")
		world.Org("globex").Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1}" })
		world.Start()
		reply := acme.Asks(avg)
		if diff := cmp.Diff(others, reply.Vector(t)); diff != "" {
			t.Error(diff)
		}
		if part := reply.Completeness(t)["globex"]; part.Status != federation.Denied || part.Coverage != (policy.Window{}) {
			t.Errorf("globex is %+v", part)
		}
		if n := len(exchange(t, world.Org("globex"), reply)); n != 2 {
			t.Errorf("globex recorded %d questions, want both", n)
		}
	})
	t.Run("the second question fails", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		acme := world.Org("acme")
		var asked atomic.Int32
		world.Org("globex").Plays(func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			if asked.Add(1)%2 == 0 {
				return nil, federation.Part{}, errors.New("out of memory")
			}
			return released(t, q, 1000, "org", "globex", "region", "eu")
		})
		acme.Start()
		world.Org("initech").Start()
		reply := acme.Asks(avg)
		if diff := cmp.Diff(others, reply.Vector(t)); diff != "" {
			t.Error(diff)
		}
		if part := reply.Completeness(t)["globex"]; part.Status != federation.Unreachable || part.Coverage != (policy.Window{}) {
			t.Errorf("globex is %+v", part)
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("globex was asked %d times", n)
		}
	})
}

// released is an answer of one series with one sample, now.
func released(t *testing.T, q gateway.Question, value float64, ls ...string) (*metrics.Released, federation.Part, error) {
	t.Helper()
	chunk := chunkenc.NewXORChunk()
	app, err := chunk.Appender()
	if err != nil {
		return nil, federation.Part{}, err
	}
	at := q.Asked.Asked().Window.Start.UnixMilli()
	app.Append(at, value)
	meta := chunks.Meta{Chunk: chunk, MinTime: at, MaxTime: at}
	series := metrics.ReleasedSeries{Labels: labels.FromStrings(ls...), Chunks: []chunks.Meta{meta}}
	return metrics.Received([]metrics.ReleasedSeries{series}, nil, nil, nil), federation.Part{Org: "globex", Status: federation.Complete}, nil
}

// Our user gives up: work stops at the owner as well, and both sides say so.
func TestCancelledQuestionStopsWorkAtTheOwner(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	backend := gatewaytest.NewBackend(t)
	globex.Source = backend.Source()
	world.Start()

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := acme.Do(ctx, "/api/v1/query", gatewaytest.Instant(byOrg))
		gone <- err
	}()
	globex.Eventually("the question is at globex's store", func() bool { return backend.Waiting() > 0 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("the user got an answer: %v", err)
	}
	globex.Eventually("globex's store is not kept busy", func() bool { return backend.Abandoned() > 0 && backend.Waiting() == 0 })
	globex.Eventually("globex has a record of it", func() bool { return len(globex.Audited()) == 1 })
	acme.Eventually("acme has a record of it", func() bool { return len(acme.Audited()) == 1 })
	for _, o := range []*gatewaytest.Org{acme, globex} {
		if record := last(t, o); record.Outcome != gateway.Failed || record.Bytes != 0 || record.Exchange != last(t, acme).Exchange {
			t.Errorf("%s recorded %+v", o.ID, record)
		}
	}
}

// Listings are complete or say that they aren't, like queries.
func TestListingsWithoutAPartner(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme := world.Org("acme")
	world.Org("globex").Stop()
	for _, path := range []string{"/api/v1/labels", "/api/v1/label/region/values", "/api/v1/metadata"} {
		reply := acme.Get(path, nil)
		if reply.Code != http.StatusOK || reply.Completeness(t)["globex"].Status != federation.Unreachable {
			t.Errorf("%s: %d %s %v", path, reply.Code, reply.Body, reply.Header)
		}
	}
	reply := acme.Get("/api/v1/series", map[string][]string{
		"match[]": {"http_requests_total"}, "start": {metricstest.Start.Format(time.RFC3339)}, "end": {metricstest.End().Format(time.RFC3339)},
	})
	if reply.Code != http.StatusOK || reply.Completeness(t)["globex"].Status != federation.Unreachable || reply.Completeness(t)["initech"].Status != federation.Complete {
		t.Errorf("%d %s %v", reply.Code, reply.Body, reply.Header)
	}
}
