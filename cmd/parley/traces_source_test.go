package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/policy"
)

// secured is a gRPC server with a certificate that nobody knows, which says what
// each call brought along.
func secured(t *testing.T) (address, caFile string, brought <-chan metadata.MD) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := make(chan metadata.MD, 10)
	server := grpc.NewServer(
		grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			calls <- md
			return nil // no spans
		}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return listener.Addr().String(), caFile, calls
}

func closes(t *testing.T, of tracesOf) {
	t.Cleanup(func() {
		if err := of.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestJaegerIsAskedWithTokenAndTenant(t *testing.T) {
	address, caFile, brought := secured(t)
	token := filepath.Join(t.TempDir(), "token")
	j := config.Jaeger{GRPC: address, CAFile: caFile, BearerTokenFile: token, Tenant: "acme", SearchDepth: 10}
	of, err := newTracesSource(&config.Config{Traces: &config.Traces{Jaeger: &j}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closes(t, of)
	ask := func() error {
		local, err := traces.NewLocal(traces.LocalConfig{Org: "acme", Source: of.source, Secret: []byte(strings.Repeat("k", 32)), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		id, err := traces.ParseTraceID("1")
		if err != nil {
			t.Fatal(err)
		}
		everything := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
			Name: "all", Spans: []policy.Selector{{}}, Release: policy.Row, Span: policy.Span{Mode: policy.SpanFull},
		}}}}
		question := traces.Question{Kind: policy.Trace}
		question.IDs = append(question.IDs, id)
		_, _, err = local.Answer(context.Background(), question, everything, federation.Asking{Org: "self", ExchangeID: "x"})
		return err
	}
	if err := ask(); err == nil {
		t.Error("there is no token, and it was asked all the same")
	}
	for _, secret := range []string{"first", "second"} { // it is read each time
		if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		md := <-brought
		if got := fmt.Sprint(md["authorization"], md["x-tenant"]); got != "[Bearer "+secret+"] [acme]" {
			t.Errorf("it was asked with %s", got)
		}
	}
	j.CAFile = ""
	other, err := newTracesSource(&config.Config{Traces: &config.Traces{Jaeger: &j}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closes(t, other)
	of.source = other.source
	if err := ask(); err == nil {
		t.Error("a server that nobody vouches for was asked")
	}
}
