package peerfront_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/peerfront"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The parts that main puts together fit.
var (
	_ gateway.Peers     = (*peer.Pool)(nil)
	_ peerfront.Gateway = peerfront.Of((*gateway.Gateway)(nil))
)

var (
	acmeID    = spiffeid.RequireFromString("spiffe://acme.example/parley")
	globexID  = spiffeid.RequireFromString("spiffe://globex.example/parley")
	initechID = spiffeid.RequireFromString("spiffe://initech.example/parley")

	begin = time.Unix(1_700_000_000, 0).UTC()
	ada   = tenants.Principal{Org: "globex", Purpose: "slo-review", Case: "SLO-1", User: tenants.User{Subject: "ada", Proof: tenants.ProvenBySVID}}
	isUp  = metrics.Question{Kind: policy.Range, Expression: "up", Start: begin, End: begin.Add(time.Hour), Step: time.Minute}
)

// world is acme's door and what its partners need to knock on it.
type world struct {
	t       *testing.T
	cas     map[spiffeid.TrustDomain]*identity.DevCA
	bundles *x509bundle.Set
	gateway *fakeGateway
	address string
	// exchangeID is that of all questions.
	exchangeID federation.ExchangeID

	mu        sync.Mutex
	agreement map[spiffeid.ID]tenants.Agreement // guarded by mu
	counted   map[string]int                    // guarded by mu
	log       lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newWorld opens acme's door, for globex alone: initech has certificates that
// verify, but no agreement.
func newWorld(t *testing.T, change func(*peerfront.Config)) *world {
	t.Helper()
	w := &world{
		t: t, cas: map[spiffeid.TrustDomain]*identity.DevCA{}, bundles: x509bundle.NewSet(),
		gateway: &fakeGateway{}, counted: map[string]int{}, exchangeID: federation.NewExchangeID(time.Now()),
	}
	for _, id := range []spiffeid.ID{acmeID, globexID, initechID} {
		ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: id.TrustDomain()})
		if err != nil {
			t.Fatal(err)
		}
		w.cas[id.TrustDomain()] = ca
		w.bundles.Add(ca.Bundle().X509Bundle())
	}
	w.agreement = map[spiffeid.ID]tenants.Agreement{globexID: {
		Partner: "globex", TrustDomain: globexID.TrustDomain(), GatewayID: globexID,
		Signals: []tenants.Signal{tenants.Metrics}, Purposes: []tenants.Purpose{"slo-review"}, NotAfter: time.Now().Add(time.Hour),
	}}
	config := peerfront.Config{
		Org: "acme", Version: "v1", TLS: identity.ServerTLS(w.svid(acmeID), w.bundles, time.Now),
		Identify: w.identify, Agreement: w.byWorkload, Gateway: w.gateway,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Count: w.count,
	}
	if change != nil {
		change(&config)
	}
	door, err := peerfront.New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- door.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever is still there is cut off
		door.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) svid(id spiffeid.ID) *x509svid.SVID {
	w.t.Helper()
	svid, err := w.cas[id.TrustDomain()].Issue(id, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return svid
}

func (w *world) identify(state tls.ConnectionState) (spiffeid.ID, error) {
	return identity.Verify(state, w.bundles, time.Now())
}

func (w *world) byWorkload(id spiffeid.ID) (tenants.Agreement, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.agreement[id]
	if !ok {
		return a, &tenants.Refusal{Reason: tenants.UnknownTrustDomain, Detail: id.String()}
	}
	return a, nil
}

func (w *world) revoke(id spiffeid.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.agreement, id)
}

func (w *world) count(partner tenants.OrgID, flow wire.Flow, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted[string(partner)+" "+string(flow)] += n
}

func (w *world) bytes(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counted[key]
}

// as is a client of acme with the SVID of id.
func (w *world) as(id spiffeid.ID, change func(*peer.Config)) *peer.Client {
	w.t.Helper()
	config := peer.Config{
		Agreement: tenants.Agreement{Partner: "acme", GatewayID: acmeID, Addresses: []string{w.address}},
		TLS:       identity.ClientTLS(w.svid(id), w.bundles, time.Now, acmeID),
		Verify:    w.identify,
		Log:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	client, err := peer.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return client
}

// raw is a bare gRPC connection to acme with the SVID of id.
func (w *world) raw(id spiffeid.ID) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient("dns:///"+w.address, grpc.WithTransportCredentials(
		credentials.NewTLS(identity.ClientTLS(w.svid(id), w.bundles, time.Now, acmeID))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// fakeGateway answers as the test says and keeps what it was asked to record.
type fakeGateway struct {
	answer    func(context.Context, gateway.Question) (peerfront.Answer, error)
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

func (a fakeAnswer) Disclose(_ context.Context, encode func(*metrics.Released, federation.Completeness) (int, error)) error {
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

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func wantError(t *testing.T, err error, kind federation.Kind, message string) {
	t.Helper()
	var e *federation.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, message) {
		t.Errorf("got %v, want %s: %s", err, kind, message)
	}
}

func TestAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 200)...)
	released, part, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	if err != nil {
		t.Fatal(err)
	}
	if series, samples := released.Cost(); series != 200 || samples != 200*61 {
		t.Errorf("got %d series, %d samples", series, samples)
	}
	if diff := cmp.Diff([]string{"the label pod is dropped"}, part.Notices); diff != "" {
		t.Error(diff)
	}
	want := gateway.Question{
		Door: gateway.PeerDoor, ExchangeID: w.exchangeID, Metrics: isUp,
		Principal: tenants.Principal{Org: "globex", Workload: globexID, User: ada.User, Purpose: ada.Purpose, Case: ada.Case},
	}
	if diff := cmp.Diff([]gateway.Question{want}, w.gateway.asked, cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b })); diff != "" {
		t.Errorf("the gateway was asked (-want +got):\n%s", diff)
	}
	if part.Cost.Bytes != w.gateway.recorded || part.Cost.Bytes == 0 {
		t.Errorf("recorded %d bytes, the asker got %d", w.gateway.recorded, part.Cost.Bytes)
	}
	eventually(t, "bytes are counted, compressed", func() bool {
		n := w.bytes("globex sent")
		return n > 0 && n < part.Cost.Bytes && w.bytes("globex received") > 0
	})
}

func TestDescribe(t *testing.T) {
	w := newWorld(t, nil)
	got, err := w.as(globexID, nil).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.Description{Org: "acme", Version: "v1", Signals: []tenants.Signal{tenants.Metrics}}, got); diff != "" {
		t.Error(diff)
	}
	_, err = w.as(initechID, nil).Describe(t.Context())
	wantError(t, err, federation.Refused, federation.NotAllowed)

	w.mu.Lock()
	expired := w.agreement[globexID]
	expired.NotAfter = time.Now().Add(-time.Second)
	w.agreement[globexID] = expired
	w.mu.Unlock()
	_, err = w.as(globexID, nil).Describe(t.Context())
	wantError(t, err, federation.Refused, federation.NotAllowed)
}

// Whoever is refused, for whatever reason, is told the same and is recorded.
func TestRefusalsLookTheSame(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return nil, &federation.Error{Kind: federation.Refused, Message: "the purpose is not agreed", Err: &tenants.Refusal{Reason: tenants.PurposeNotAgreed}}
	}
	request, err := wire.EncodeAsk(wire.Ask{ExchangeID: w.exchangeID, Purpose: ada.Purpose, Metrics: isUp})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	otherWorkload := spiffeid.RequireFromString("spiffe://globex.example/web")
	for _, id := range []spiffeid.ID{globexID, initechID, otherWorkload} {
		stream, err := federationv1.NewFederationClient(w.raw(id)).Ask(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: got %v", id, err)
		}
		told[status.Convert(err).Proto().String()] = true
	}
	if len(told) != 1 {
		t.Errorf("refusals differ: %v", told)
	}
	if len(w.gateway.refused) != 2 {
		t.Fatalf("recorded %d refusals of the door, want 2", len(w.gateway.refused))
	}
	for i, id := range []spiffeid.ID{initechID, otherWorkload} {
		q := w.gateway.refused[i]
		var reason *tenants.Refusal
		if q.Principal.Workload != id || q.Principal.Org != "" || q.ExchangeID != w.exchangeID || q.Principal.Purpose != ada.Purpose || q.Metrics.Expression != "up" {
			t.Errorf("recorded %+v", q)
		}
		if !errors.As(w.gateway.reasons[i], &reason) || reason.Reason != tenants.UnknownTrustDomain {
			t.Errorf("recorded the reason %v", w.gateway.reasons[i])
		}
	}
}

// A revoked agreement ends with the next request, on the connection that is
// open.
func TestRevokedMidConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 1)...)
	client := w.as(globexID, nil)
	if _, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp); err != nil {
		t.Fatal(err)
	}
	w.revoke(globexID)
	_, part, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Refused, federation.NotAllowed)
	if part.Status != federation.Denied || len(w.gateway.asked) != 1 {
		t.Errorf("got %+v, the gateway was asked %d times", part, len(w.gateway.asked))
	}
}

// When the record can't be written nothing leaves, not even a refusal's kind.
func TestAuditDown(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 1)...)
	w.gateway.auditDown.Store(true)
	_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be recorded")
	_, _, err = w.as(initechID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Unavailable, "can't be recorded")
}

func TestFailuresOfEveryKind(t *testing.T) {
	w := newWorld(t, nil)
	client := w.as(globexID, nil)
	for _, kind := range federation.Kinds {
		w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
			return nil, &federation.Error{Kind: kind, Message: "because", Err: errors.New("a secret")}
		}
		_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
		want := "because"
		if kind == federation.Refused {
			want = federation.NotAllowed
		}
		wantError(t, err, kind, want)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the cause crossed the border", kind)
		}
	}
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) { return nil, errors.New("a secret") }
	_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
}

// A defect in answering one question is that question's alone.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) { panic("a secret") }
	client := w.as(globexID, nil)
	_, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
	if !strings.Contains(w.log.String(), "service.go") {
		t.Errorf("the log has no stack: %s", w.log.String())
	}
	if n := len(w.gateway.refused); n != 1 {
		t.Errorf("%d records of it", n)
	}
	w.gateway.releases(up(t, 1)...)
	if _, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp); err != nil {
		t.Errorf("the next question: %v", err)
	}
}

// A view that would release another organization's series, or an answer of
// more parts than ours, does not leave.
func TestAnswerThatIsNotOurs(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return disclosing(func(encode func(*metrics.Released, federation.Completeness) (int, error)) error {
			_, err := encode(metrics.Received(nil, nil, nil, nil), federation.Completeness{{Org: "acme"}, {Org: "initech"}})
			return err
		}), nil
	}
	_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	wantError(t, err, federation.Internal, "internal error")
}

type disclosing func(func(*metrics.Released, federation.Completeness) (int, error)) error

func (d disclosing) Close() {}

func (d disclosing) Disclose(_ context.Context, encode func(*metrics.Released, federation.Completeness) (int, error)) error {
	return d(encode)
}

// An asker that doesn't read its answer is left when the question's time is up,
// and the question counts as under way until then.
func TestAnswerNobodyReads(t *testing.T) {
	const most = time.Second
	w := newWorld(t, func(c *peerfront.Config) { c.MaxDuration = most })
	random := rand.NewChaCha8([32]byte{}) // so that no compression makes it small
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf("%d-%x-%x-%x-%x", i, random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
	}
	w.gateway.answer = func(context.Context, gateway.Question) (peerfront.Answer, error) {
		return fakeAnswer{w.gateway, metrics.Received(nil, names, nil, nil)}, nil
	}
	request, err := wire.EncodeAsk(wire.Ask{ExchangeID: w.exchangeID, Purpose: "slo-review", Metrics: isUp})
	if err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	stream, err := federationv1.NewFederationClient(w.raw(globexID)).Ask(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	closed := func() int {
		w.gateway.mu.Lock()
		defer w.gateway.mu.Unlock()
		return w.gateway.closed
	}
	if n := closed(); n != 0 && time.Since(asked) < most {
		t.Errorf("%d answers closed while one is on its way", n)
	}
	eventually(t, "the answer is given up", func() bool { return closed() == 1 })
}

// A question that is cancelled, and one that takes too long, stop work here.
func TestCancelledAndOutOfTime(t *testing.T) {
	stopped := make(chan error, 1)
	arrived := make(chan struct{}, 1)
	waits := func(ctx context.Context, _ gateway.Question) (peerfront.Answer, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	}
	t.Run("cancelled", func(t *testing.T) {
		w := newWorld(t, nil)
		w.gateway.answer = waits
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		_, _, err := w.as(globexID, nil).Ask(ctx, w.exchangeID, ada, isUp)
		wantError(t, err, federation.Unavailable, "cancelled")
		<-stopped
	})
	t.Run("the asker's deadline", func(t *testing.T) {
		w := newWorld(t, nil)
		w.gateway.answer = waits
		_, _, err := w.as(globexID, func(c *peer.Config) { c.Timeout = 200 * time.Millisecond }).Ask(t.Context(), w.exchangeID, ada, isUp)
		wantError(t, err, federation.DeadlineExceeded, "time")
		<-stopped
		<-arrived
	})
	t.Run("ours", func(t *testing.T) {
		w := newWorld(t, func(c *peerfront.Config) { c.MaxDuration = 100 * time.Millisecond })
		w.gateway.answer = waits
		_, _, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
		wantError(t, err, federation.DeadlineExceeded, "ran out of time")
		<-stopped
		<-arrived
	})
}

// What isn't a question gets a clear error and is recorded as well.
func TestGarbage(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.raw(globexID)
	ask := func(message any, options ...grpc.CallOption) error {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/parley.federation.v1.Federation/Ask", options...)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		return stream.RecvMsg(&federationv1.AskResponse{})
	}
	for name, test := range map[string]struct {
		err  error
		want codes.Code
	}{
		"an empty request": {ask(&federationv1.AskRequest{}), codes.InvalidArgument},
		"another message":  {ask(wrapperspb.UInt64(7)), codes.InvalidArgument},
		"a large request":  {ask(&federationv1.AskRequest{Purpose: strings.Repeat("x", wire.MaxRequest+1)}), codes.ResourceExhausted},
		"a bomb":           {ask(&federationv1.AskRequest{Purpose: strings.Repeat("x", 64<<20)}, grpc.UseCompressor(wire.Compression)), codes.ResourceExhausted},
	} {
		if status.Code(test.err) != test.want {
			t.Errorf("%s: got %v, want %v", name, test.err, test.want)
		}
	}
	eventually(t, "all are recorded", func() bool {
		w.gateway.mu.Lock()
		defer w.gateway.mu.Unlock()
		return len(w.gateway.refused) == 4 && w.gateway.refused[3].Principal.Org == "globex"
	})
	// What isn't even there.
	err := conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", &federationv1.AskRequest{}, &federationv1.AskResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("the health service: got %v", err)
	}
}

// A question is one trace at both ends.
func TestTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	w := newWorld(t, func(c *peerfront.Config) { c.Tracer, c.Propagator = tracer, propagation.TraceContext{} })
	w.gateway.releases(up(t, 1)...)
	client := w.as(globexID, func(c *peer.Config) { c.Tracer, c.Propagator = tracer, propagation.TraceContext{} })
	if _, _, err := client.Ask(t.Context(), w.exchangeID, ada, isUp); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two spans end", func() bool { return len(spans.Ended()) == 2 })
	if ended := spans.Ended(); ended[0].SpanContext().TraceID() != ended[1].SpanContext().TraceID() {
		t.Error("they are of different traces")
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t, nil)
	config := peerfront.Config{
		Org: "acme", TLS: identity.ServerTLS(w.svid(acmeID), w.bundles, time.Now), Identify: w.identify,
		Agreement: w.byWorkload, Gateway: w.gateway, Log: slog.New(slog.DiscardHandler),
	}
	if _, err := peerfront.New(config); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*peerfront.Config){
		"no org": func(c *peerfront.Config) { c.Org = "" },
		"no TLS": func(c *peerfront.Config) { c.TLS = nil },
		"a TLS that lets anybody in": func(c *peerfront.Config) {
			c.TLS = c.TLS.Clone()
			c.TLS.ClientAuth = tls.RequestClientCert
		},
		"no gateway": func(c *peerfront.Config) { c.Gateway = nil },
	} {
		changed := config
		change(&changed)
		if _, err := peerfront.New(changed); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
