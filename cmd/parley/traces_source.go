package main

import (
	"fmt"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/otlpreceiver"
	"github.com/parley-gateway/parley/gateway/config"
)

// tracesOf is where our traces are.
type tracesOf struct {
	source traces.Source          // nil: we have none
	spans  *otlpreceiver.Receiver // nil: none are sent to us
	close  func() error
}

// newTracesSource returns no source when the config names no traces.
func newTracesSource(c *config.Config, log *slog.Logger) (tracesOf, error) {
	none := func() error { return nil }
	switch t := c.Traces; {
	case t == nil:
		return tracesOf{close: none}, nil
	case t.Jaeger != nil:
		return newJaeger(t.Jaeger)
	case t.Tempo != nil:
		client, err := backend{"traces", grafanaTenant, t.Tempo.Tenant, t.Tempo.BearerTokenFile, t.Tempo.CAFile}.client()
		if err != nil {
			return tracesOf{}, err
		}
		source, err := traces.NewTempo(traces.TempoConfig{URL: t.Tempo.URL, Client: client, SearchLimit: t.Tempo.SearchLimit})
		return tracesOf{source: source, close: func() error { client.CloseIdleConnections(); return nil }}, err
	default:
		store := traces.NewStore(traces.StoreConfig{MaxBytes: t.Store.MaxBytes, MaxAge: t.Store.MaxAge})
		spans := otlpreceiver.New(otlpreceiver.Config{Store: store, Logger: log})
		return tracesOf{source: store, spans: spans, close: none}, nil
	}
}

func newJaeger(j *config.Jaeger) (tracesOf, error) {
	b := backend{"traces", jaegerTenant, j.Tenant, j.BearerTokenFile, j.CAFile}
	if j.URL != nil {
		client, err := b.client()
		if err != nil {
			return tracesOf{}, err
		}
		source, err := traces.NewJaeger(traces.JaegerConfig{URL: j.URL, Client: client, SearchDepth: j.SearchDepth})
		return tracesOf{source: source, close: func() error { client.CloseIdleConnections(); return nil }}, err
	}
	secured := insecure.NewCredentials()
	if !j.Insecure {
		roots, err := b.tls()
		if err != nil {
			return tracesOf{}, err
		}
		secured = credentials.NewTLS(roots)
	}
	conn, err := grpc.NewClient(j.GRPC, grpc.WithTransportCredentials(secured), grpc.WithPerRPCCredentials(backendCredentials{b}))
	if err != nil {
		return tracesOf{}, fmt.Errorf("the traces backend %s: %w", j.GRPC, err)
	}
	source, err := traces.NewJaeger(traces.JaegerConfig{GRPC: conn, SearchDepth: j.SearchDepth})
	return tracesOf{source: source, close: conn.Close}, err
}
