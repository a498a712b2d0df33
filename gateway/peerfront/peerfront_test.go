package peerfront_test

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/peerfront"
	"github.com/parley-gateway/parley/tenants"
)

// The parts that main puts together fit.
var (
	_ gateway.Peers     = (*peer.Pool)(nil)
	_ peerfront.Gateway = peerfront.Of((*gateway.Gateway)(nil))
)

func TestAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.releases(up(t, 200)...)
	released, part, err := w.as(globexID, nil).Ask(t.Context(), w.exchangeID, ada, isUp)
	if err != nil {
		t.Fatal(err)
	}
	if got := released.Disclosed(); got.Series != 200 || got.Samples != 200*61 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"the label pod is dropped"}, part.Notices); diff != "" {
		t.Error(diff)
	}
	want := gateway.Question{
		Door: gateway.PeerDoor, ExchangeID: w.exchangeID, Asked: isUp,
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
