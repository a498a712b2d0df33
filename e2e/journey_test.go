package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// service is an instrumented service of an organization. Its spans go to the
// organization's store, and are remembered as they were recorded.
type service struct {
	name, org string
	provider  *sdktrace.TracerProvider
	tracer    trace.Tracer
	recorded  *tracetest.InMemoryExporter
}

// w3c is how all of them tell each other which trace it is.
var w3c = propagation.TraceContext{}

// newService exports to an address that takes OTLP over gRPC.
func newService(t testing.TB, org, name, otlp string) *service {
	t.Helper()
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(otlp), otlptracegrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	s := &service{name: name, org: org, recorded: tracetest.NewInMemoryExporter()}
	s.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", name), attribute.String("host.name", secret(org, "host")), attribute.Int("process.pid", 42),
		)),
		sdktrace.WithBatcher(exporter), sdktrace.WithSyncer(s.recorded),
	)
	t.Cleanup(func() {
		if err := s.provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.tracer = s.provider.Tracer("shop")
	return s
}

// handles serves a route, below a span of it.
func (s *service) handles(t testing.TB, route string, handle func(context.Context, string) error) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(route, otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Trace-Id", trace.SpanContextFromContext(r.Context()).TraceID().String())
		if err := handle(r.Context(), r.FormValue("order")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}), "", otelhttp.WithTracerProvider(s.provider), otelhttp.WithPropagators(w3c)))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// calls calls another service over HTTP.
func (s *service) calls(ctx context.Context, url, order string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: otelhttp.NewTransport(transport, otelhttp.WithTracerProvider(s.provider), otelhttp.WithPropagators(w3c))}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"?order="+order, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", request.URL.Path, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// does is a span within the service, that nothing hangs on.
func (s *service) does(ctx context.Context, name string, attributes ...attribute.KeyValue) {
	_, span := s.tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.stacktrace", secret(s.org, "stack"))))
	span.End()
}

// topic is a queue that two consumers get each message of.
type topic struct {
	toMailer, toArchive chan message
	pending             sync.WaitGroup
}

// message has its trace in its headers.
type message struct {
	headers propagation.MapCarrier
	order   string
}

// journeys are three organizations' services: a shop of acme calls the bank of
// globex over HTTP, which calls the ledger of initech over gRPC, by itself and
// through what looks for fraud, and of what is booked a message goes to acme's
// mailer, which goes on with the trace, and to globex's archive, which begins
// another one and links to it.
type journeys struct {
	shop, mailer, bank, fraud, archive, ledger *service
	shopURL, bankURL, fraudURL                 string
	ledgerConn                                 *grpc.ClientConn
	fraudConn                                  *grpc.ClientConn
	receipts                                   topic
}

// newJourneys starts them; otlp is where the spans of each organization go.
func newJourneys(t testing.TB, otlp map[string]string) *journeys {
	t.Helper()
	j := &journeys{receipts: topic{toMailer: make(chan message), toArchive: make(chan message)}}
	for _, s := range []struct {
		to        **service
		org, name string
	}{
		{&j.shop, "acme", "shop"},
		{&j.mailer, "acme", "mailer"},
		{&j.bank, "globex", "bank"},
		{&j.fraud, "globex", "fraud"},
		{&j.archive, "globex", "archive"},
		{&j.ledger, "initech", "ledger"},
	} {
		*s.to = newService(t, s.org, s.name, otlp[s.org])
	}
	address := j.startLedger(t)
	j.ledgerConn, j.fraudConn = dialLedger(t, j.bank, address), dialLedger(t, j.fraud, address)
	j.shopURL = j.shop.handles(t, "GET /checkout", j.checkout)
	j.bankURL = j.bank.handles(t, "POST /pay", j.pay)
	j.fraudURL = j.fraud.handles(t, "POST /score", j.score)
	j.consume(t)
	return j
}

func (j *journeys) services() []*service {
	return []*service{j.shop, j.mailer, j.bank, j.fraud, j.archive, j.ledger}
}

func (j *journeys) checkout(ctx context.Context, order string) error {
	j.shop.does(ctx, "reserve", attribute.String("db.statement", "UPDATE stock SET reserved = 1 WHERE id = "+order))
	return j.shop.calls(ctx, j.bankURL+"/pay", order)
}

func (j *journeys) pay(ctx context.Context, order string) error {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("customer.id", secret("globex", "ada")), attribute.String("card.number", secret("globex", "4111")))
	j.bank.does(ctx, "authorize", attribute.String("customer.id", secret("globex", "ada")))
	if err := j.bank.calls(ctx, j.fraudURL+"/score", order); err != nil {
		return err
	}
	return asksLedger(ctx, j.ledgerConn, "Book", order)
}

func (j *journeys) score(ctx context.Context, order string) error {
	j.fraud.does(ctx, secret("globex", "model"))
	return asksLedger(ctx, j.fraudConn, "Screen", order)
}

// startLedger serves what would have come out of a .proto file.
func (j *journeys) startLedger(t testing.TB) (address string) {
	t.Helper()
	handler := func(do func(context.Context, string) error) grpc.MethodHandler {
		return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var order wrapperspb.StringValue
			if err := decode(&order); err != nil {
				return nil, err
			}
			return &order, do(ctx, order.GetValue())
		}
	}
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(j.ledger.provider), otelgrpc.WithPropagators(w3c))))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "initech.Ledger", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Book", Handler: handler(j.book)},
		{MethodName: "Screen", Handler: handler(func(ctx context.Context, _ string) error {
			j.ledger.does(ctx, secret("initech", "screening"))
			return nil
		})},
	}}, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// dialLedger is a service's connection to the ledger.
func dialLedger(t testing.TB, from *service, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(from.provider), otelgrpc.WithPropagators(w3c))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func asksLedger(ctx context.Context, conn *grpc.ClientConn, method, order string) error {
	return conn.Invoke(ctx, "/initech.Ledger/"+method, wrapperspb.String(order), &wrapperspb.StringValue{})
}

// book refuses orders that can't be paid. What it publishes hangs on what it
// does inside.
func (j *journeys) book(ctx context.Context, order string) error {
	ctx, write := j.ledger.tracer.Start(ctx, secret("initech", "write"), trace.WithAttributes(attribute.String("db.statement", secret("initech", "INSERT"))))
	defer write.End()
	if strings.HasPrefix(order, "broke") {
		return status.Error(grpccodes.Internal, secret("initech", "balance"))
	}
	ctx, span := j.ledger.tracer.Start(ctx, "publish receipts", trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("messaging.destination.name", "receipts"), attribute.String("messaging.message.body", secret("initech", "body"))))
	defer span.End()
	m := message{headers: propagation.MapCarrier{}, order: order}
	w3c.Inject(ctx, m.headers)
	j.receipts.pending.Add(2)
	j.receipts.toMailer <- m
	j.receipts.toArchive <- m
	return nil
}

// consume takes messages until the test ends.
func (j *journeys) consume(t testing.TB) {
	t.Helper()
	var running sync.WaitGroup
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attribute.String("messaging.destination.name", "receipts"))}
	running.Go(func() {
		for m := range j.receipts.toMailer {
			_, span := j.mailer.tracer.Start(w3c.Extract(context.Background(), m.headers), "process receipts", options...)
			span.SetStatus(codes.Ok, "")
			span.End()
			j.receipts.pending.Done()
		}
	})
	running.Go(func() {
		for m := range j.receipts.toArchive {
			producer := trace.LinkFromContext(w3c.Extract(context.Background(), m.headers))
			_, span := j.archive.tracer.Start(context.Background(), "process receipts", append(options, trace.WithLinks(producer))...)
			span.SetAttributes(attribute.String("order", secret("globex", m.order)))
			span.End()
			j.receipts.pending.Done()
		}
	})
	t.Cleanup(func() {
		close(j.receipts.toMailer)
		close(j.receipts.toArchive)
		running.Wait()
	})
}

// buys is a customer of acme: it returns the trace when all that belongs to it is
// recorded and sent.
func (j *journeys) buys(t testing.TB, order string) trace.TraceID {
	t.Helper()
	response, err := oneShot.Get(j.shopURL + "/checkout?order=" + order)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	j.receipts.pending.Wait()
	for _, s := range j.services() {
		if err := s.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	id, err := trace.TraceIDFromHex(response.Header.Get("X-Trace-Id"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// span is one as it was recorded.
type span struct {
	tracetest.SpanStub
	of *service
}

// spans are all that were recorded of a trace, and of those that link to it, by
// their ids.
func (j *journeys) spans(id trace.TraceID) map[trace.SpanID]span {
	out := map[trace.SpanID]span{}
	for _, s := range j.services() {
		for _, stub := range s.recorded.GetSpans() {
			linked := len(stub.Links) > 0 && stub.Links[0].SpanContext.TraceID() == id
			if stub.SpanContext.TraceID() == id || linked {
				out[stub.SpanContext.SpanID()] = span{stub, s}
			}
		}
	}
	return out
}
