package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

const exchangeID = "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"

var (
	now  = time.Unix(1_700_000_000, 0).UTC()
	ada  = tenants.Principal{Org: "acme", Purpose: "incident-response", User: tenants.User{Subject: "ada", Proof: tenants.ProvenByJWT}}
	isUp = metrics.Question{Kind: policy.Instant, Expression: "up", Start: now, End: now}
)

// answer is globex's to isUp, as messages: n series of one sample.
func answer(t *testing.T, org string, n int) []*federationv1.AskResponse {
	t.Helper()
	var series []metrics.ReleasedSeries
	for i := range n {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			t.Fatal(err)
		}
		app.Append(now.UnixMilli(), math.Sqrt(float64(i)))
		series = append(series, metrics.ReleasedSeries{
			Labels: labels.FromStrings("__name__", "up", "instance", string(rune('a'+i/26))+string(rune('a'+i%26)), "org", org),
			Chunks: []chunks.Meta{{Chunk: c}},
		})
	}
	messages, _, err := wire.EncodeAnswer(metrics.Received(series, nil, nil, nil), federation.Part{Org: tenants.OrgID(org), Status: federation.Complete})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func wantError(t *testing.T, err error, kind federation.Kind, message string) {
	t.Helper()
	var e *federation.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *federation.Error", err)
	}
	if e.Kind != kind || e.Org != "globex" || !strings.Contains(e.Message, message) {
		t.Errorf("got %q, want globex: %s: %s", e, kind, message)
	}
}

func TestAskAndDescribe(t *testing.T) {
	a := newAuthority(t)
	g := &globex{}
	var got *federationv1.AskRequest
	g.ask = func(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		got = r
		for _, m := range answer(t, "globex", 3) {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
	startGlobex(t, a, globexID, "127.0.0.1:0", g)
	config := acme(t, a, g.address)
	var counted sync.Map
	config.Count = func(partner tenants.OrgID, flow wire.Flow, n int) { counted.Store(string(partner)+" "+string(flow), n) }
	client := newClient(t, config)

	released, part, err := client.Ask(t.Context(), exchangeID, ada, isUp)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetPurpose() != "incident-response" || got.GetExchangeId() != exchangeID || got.GetUser().GetSubject() != "ada" {
		t.Errorf("globex was asked %v", got)
	}
	if got := released.Disclosed(); got.Series != 3 || got.Samples != 3 || part.Cost.Series != 3 || part.Org != "globex" || part.Status != federation.Complete {
		t.Errorf("got %+v, part %+v", got, part)
	}
	eventually(t, "bytes of both directions are counted", func() bool {
		_, sent := counted.Load("globex sent")
		_, received := counted.Load("globex received")
		return sent && received
	})

	_, err = client.Describe(t.Context())
	wantError(t, err, federation.Unavailable, "doesn't know this kind of request")
}

func (g *globex) Describe(context.Context, *federationv1.DescribeRequest) (*federationv1.DescribeResponse, error) {
	if g.describe == nil {
		return nil, status.Error(codes.Unimplemented, "")
	}
	return g.describe, nil
}

func TestDescribe(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", &globex{describe: description()})
	client := newClient(t, acme(t, a, g.address))
	got, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.Description{Org: "globex", Version: "v1", Signals: []tenants.Signal{tenants.Metrics}}, got); diff != "" {
		t.Error(diff)
	}
	g.describe.Org = "initech"
	_, err = client.Describe(t.Context())
	wantError(t, err, federation.Unavailable, "can't be accepted")
}

func TestAskFailureOfEveryKind(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", &globex{})
	client := newClient(t, acme(t, a, g.address))
	for _, kind := range federation.Kinds {
		if kind == federation.Refused {
			continue // its message is always the same
		}
		g.ask = func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error {
			return wire.EncodeFailure(federation.Errorf(kind, "because")).Err()
		}
		before := g.asked.Load()
		_, part, err := client.Ask(t.Context(), exchangeID, ada, isUp)
		wantError(t, err, kind, "because")
		if part.Org != "globex" || part.Status != federation.StatusOf(err) || part.Reason != "because" {
			t.Errorf("got part %+v", part)
		}
		if n := g.asked.Load() - before; n != 1 {
			t.Errorf("%s: asked %d times, want once", kind, n)
		}
	}
}

// What breaks the protocol is refused whole, and isn't asked for again.
func TestAskGarbage(t *testing.T) {
	a := newAuthority(t)
	for name, g := range map[string]*globex{
		"another's data": sending(answer(t, "initech", 3)),
		"no closing part": func() *globex {
			m := answer(t, "globex", 3)
			return sending(m[:1])
		}(),
		"nothing": sending(nil),
		"corrupt chunk": func() *globex {
			m := answer(t, "globex", 3)
			m[0].GetSeries().Series[1].Chunks[0].Data = []byte{0, 1, 0xff}
			return sending(m)
		}(),
		"bad reference": func() *globex {
			m := answer(t, "globex", 3)
			m[0].GetSeries().Series[1].LabelRefs[0] = 1 << 20
			return sending(m)
		}(),
		"a bomb": func() *globex { // a few KB of zstd that unfold to 64 MB
			m := answer(t, "globex", 1)
			m[0].GetSeries().Symbols = append(m[0].GetSeries().Symbols, strings.Repeat("x", 64<<20))
			return sending(m)
		}(),
		"a status of its own": {ask: func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error {
			return status.Error(codes.Internal, "x")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ask := g.ask
			g.ask = func(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
				if err := grpc.SetSendCompressor(s.Context(), wire.Compression); err != nil {
					return err
				}
				return ask(r, s)
			}
			startGlobex(t, a, globexID, "127.0.0.1:0", g)
			config := acme(t, a, g.address, g.address)
			var log bytes.Buffer
			config.Log = slog.New(slog.NewTextHandler(&log, nil))
			released, part, err := newClient(t, config).Ask(t.Context(), exchangeID, ada, isUp)
			wantError(t, err, federation.Unavailable, "can't be accepted")
			if released != nil || part.Status != federation.Unreachable {
				t.Errorf("got %v, %+v", released, part)
			}
			if n := g.asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if !strings.Contains(log.String(), "globex") || strings.Contains(log.String(), "initech") {
				t.Errorf("the log should name the partner and no data: %s", &log)
			}
		})
	}
}

func sending(messages []*federationv1.AskResponse) *globex {
	g := &globex{}
	g.sendAll(messages)
	return g
}

func TestAskFailsAfterTheFirstByte(t *testing.T) {
	a := newAuthority(t)
	g := &globex{}
	g.ask = func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		if err := s.Send(answer(t, "globex", 1)[0]); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "gone")
	}
	startGlobex(t, a, globexID, "127.0.0.1:0", g)
	_, _, err := newClient(t, acme(t, a, g.address, g.address)).Ask(t.Context(), exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be reached")
	if n := g.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestAskAnotherReplica(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", sending(answer(t, "globex", 1)))
	sick := startGlobex(t, a, globexID, "127.0.0.1:0", &globex{
		ask: func(*federationv1.AskRequest, grpc.ServerStreamingServer[federationv1.AskResponse]) error {
			return wire.EncodeFailure(federation.Errorf(federation.Unavailable, "its audit can't be written")).Err()
		},
	})
	for name, first := range map[string]string{"down": freeAddress(t), "sick": sick.address} {
		if _, _, err := newClient(t, acme(t, a, first, g.address)).Ask(t.Context(), exchangeID, ada, isUp); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A partner that is down is left alone after a while, and found again.
func TestAskBreaker(t *testing.T) {
	a := newAuthority(t)
	address := freeAddress(t)
	config := acme(t, a, address)
	config.BreakerFailures = 2
	config.BreakerDelay = 50 * time.Millisecond
	client := newClient(t, config)
	_, part, err := client.Ask(t.Context(), exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be reached")
	if part.Status != federation.Unreachable {
		t.Errorf("got %+v", part)
	}
	eventually(t, "the breaker opens", func() bool {
		_, _, err := client.Ask(t.Context(), exchangeID, ada, isUp)
		return strings.Contains(federation.AsError(err).Message, "is not answering")
	})

	startGlobex(t, a, globexID, address, sending(answer(t, "globex", 1)))
	eventually(t, "the partner is found again", func() bool {
		_, _, err := client.Ask(t.Context(), exchangeID, ada, isUp)
		return err == nil
	})
}

func TestAskCancelled(t *testing.T) {
	a := newAuthority(t)
	arrived, stopped := make(chan struct{}), make(chan struct{})
	g := &globex{}
	g.ask = func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		close(arrived)
		<-s.Context().Done()
		close(stopped)
		return s.Context().Err()
	}
	startGlobex(t, a, globexID, "127.0.0.1:0", g)
	client := newClient(t, acme(t, a, g.address))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, _, err := client.Ask(ctx, exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "cancelled")
	<-stopped
}

func TestAskOutOfTime(t *testing.T) {
	a := newAuthority(t)
	g := &globex{}
	var deadline atomic.Bool
	g.ask = func(_ *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		_, has := s.Context().Deadline()
		deadline.Store(has)
		<-s.Context().Done()
		return s.Context().Err()
	}
	startGlobex(t, a, globexID, "127.0.0.1:0", g)
	config := acme(t, a, g.address)
	config.Timeout = 200 * time.Millisecond
	_, part, err := newClient(t, config).Ask(t.Context(), exchangeID, ada, isUp)
	wantError(t, err, federation.DeadlineExceeded, "in time")
	if part.Status != federation.Timeout || part.Cost.Latency < config.Timeout {
		t.Errorf("got %+v", part)
	}
	if !deadline.Load() {
		t.Error("the deadline did not travel")
	}
}

// A workload of the partner's that isn't its gateway gets no question.
func TestAskSomebodyElse(t *testing.T) {
	a := newAuthority(t)
	id := spiffeid.RequireFromString("spiffe://globex.example/web")
	g := startGlobex(t, a, id, "127.0.0.1:0", sending(answer(t, "globex", 1)))
	_, _, err := newClient(t, acme(t, a, g.address)).Ask(t.Context(), exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be reached")
	if g.asked.Load() != 0 {
		t.Error("the question left")
	}
}

// Who is at the other end is looked at before every question, on connections
// that are open already.
func TestAskReplierNoLongerTrusted(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", sending(answer(t, "globex", 1)))
	config := acme(t, a, g.address)
	var distrusted atomic.Bool
	config.Verify = func(state tls.ConnectionState) (spiffeid.ID, error) {
		if distrusted.Load() {
			return spiffeid.ID{}, errors.New("expired")
		}
		return a.verify(state)
	}
	client := newClient(t, config)
	if _, _, err := client.Ask(t.Context(), exchangeID, ada, isUp); err != nil {
		t.Fatal(err)
	}
	distrusted.Store(true)
	_, _, err := client.Ask(t.Context(), exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "did not prove who it is")
	if n := g.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want only while it was trusted", n)
	}
	distrusted.Store(false)
	if _, _, err := client.Ask(t.Context(), exchangeID, ada, isUp); err != nil {
		t.Errorf("trusted again: %v", err)
	}
}

// Connections are renewed before certificates expire, while questions are
// under way on the old ones.
func TestAskRenewsConnections(t *testing.T) {
	a := newAuthority(t)
	hold := make(chan struct{})
	g := &globex{}
	messages := answer(t, "globex", 1)
	g.ask = func(r *federationv1.AskRequest, s grpc.ServerStreamingServer[federationv1.AskResponse]) error {
		if r.GetCaseId() == "hold" {
			<-hold
		}
		for _, m := range messages {
			if err := s.Send(proto.Clone(m).(*federationv1.AskResponse)); err != nil {
				return err
			}
		}
		return nil
	}
	startGlobex(t, a, globexID, "127.0.0.1:0", g)
	config := acme(t, a, g.address)
	var passed atomic.Int64
	config.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	client := newClient(t, config)

	held := make(chan error)
	go func() {
		principal := ada
		principal.Case = "hold"
		_, _, err := client.Ask(t.Context(), exchangeID, principal, isUp)
		held <- err
	}()
	eventually(t, "the held question arrives", func() bool { return g.asked.Load() == 1 })
	for i, want := range []int32{1, 2} {
		passed.Store(int64(i) * int64(40*time.Minute)) // certificates last an hour
		if _, _, err := client.Ask(t.Context(), exchangeID, ada, isUp); err != nil {
			t.Fatal(err)
		}
		if got := g.conns.accepted.Load(); got != want {
			t.Errorf("got %d connections, want %d", got, want)
		}
	}
	close(hold)
	if err := <-held; err != nil {
		t.Errorf("the question under way on the old connection: %v", err)
	}
}

func TestAskBadQuestionStaysHome(t *testing.T) {
	a := newAuthority(t)
	g := startGlobex(t, a, globexID, "127.0.0.1:0", sending(nil))
	q := isUp
	q.Expression = "up{"
	_, _, err := newClient(t, acme(t, a, g.address)).Ask(t.Context(), exchangeID, ada, q)
	wantError(t, err, federation.BadQuestion, "parse error")
	if g.asked.Load() != 0 {
		t.Error("the question left")
	}
}
