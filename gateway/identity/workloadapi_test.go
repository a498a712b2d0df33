package identity_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/gateway/identity"
)

// agent is a SPIFFE Workload API that sends what it is given.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	mu      sync.Mutex
	svids   []*x509svid.SVID // none: "no identity issued"
	changed chan struct{}    // closed and replaced when svids changes
	ca      *identity.DevCA
}

func newAgent(ca *identity.DevCA) *agent { return &agent{ca: ca, changed: make(chan struct{})} }

// start listens on a socket until stopped.
func (a *agent) start(t *testing.T, socket string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	must(t, err)
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(listener) })
	stop = sync.OnceFunc(func() {
		server.Stop()
		done.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func (a *agent) offer(svids ...*x509svid.SVID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.svids = svids
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	if md, _ := metadata.FromIncomingContext(stream.Context()); len(md.Get("workload.spiffe.io")) != 1 {
		return status.Error(codes.InvalidArgument, "security header missing from request") // SPIFFE_Workload_Endpoint, section 3
	}
	for {
		a.mu.Lock()
		svids, changed := a.svids, a.changed
		a.mu.Unlock()
		if len(svids) == 0 {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		response := &workload.X509SVIDResponse{}
		for _, svid := range svids {
			chain, key, err := svid.MarshalRaw()
			if err != nil {
				return err
			}
			response.Svids = append(response.Svids, &workload.X509SVID{
				SpiffeId: svid.ID.String(), X509Svid: chain, X509SvidKey: key, Bundle: raw(a.ca.Bundle().X509Authorities()),
			})
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
		}
	}
}

func raw(certs []*x509.Certificate) (der []byte) {
	for _, cert := range certs {
		der = append(der, cert.Raw...)
	}
	return der
}

func TestWorkloadAPI(t *testing.T) {
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	issue := func(path string) *x509svid.SVID {
		svid, err := ca.Issue(spiffeid.RequireFromPath(acme, path), time.Hour)
		must(t, err)
		return svid
	}
	socket, log := filepath.Join(t.TempDir(), "agent.sock"), &logBuffer{}
	source, err := identity.NewWorkloadAPI(identity.WorkloadAPIConfig{
		Address: "unix://" + socket, TrustDomain: acme, ID: gatewayOf(acme), MaxRetry: 50 * time.Millisecond, Logger: log.logger(),
	})
	must(t, err)
	defer func() { must(t, source.Close()) }()

	// The agent isn't there.
	eventually(t, says(source, "no such file"))
	_, err = source.GetX509SVID()
	refused(t, err, "no SVID yet")

	// It comes, and doesn't know us.
	a := newAgent(ca)
	stop := a.start(t, socket)
	eventually(t, says(source, "no identity issued"))
	a.offer(issue("/somebody"))
	eventually(t, says(source, "offers no SVID spiffe://acme.example/parley"))

	// We are registered; our SVID rotates.
	previous := ""
	for range 3 {
		svid := issue("/parley")
		a.offer(issue("/somebody"), svid)
		want := svid.Certificates[0].SerialNumber.String()
		eventually(t, func() error {
			if got := serial(source); got != want {
				return fmt.Errorf("the SVID is %s, want %s", got, want)
			}
			return nil
		})
		previous = want
	}
	must(t, source.Ready())
	bundle, err := source.GetBundleForTrustDomain(acme)
	must(t, err)
	if !bundle.Equal(ca.Bundle()) {
		t.Error("not our trust domain's bundle")
	}
	_, err = source.GetBundleForTrustDomain(globex)
	refused(t, err, "not of globex.example")

	// The agent goes, and our SVID stays; it comes again with a newer one.
	stop()
	if got := serial(source); got != previous {
		t.Errorf("without the agent the SVID is %s", got)
	}
	a = newAgent(ca)
	a.offer(issue("/parley"))
	a.start(t, socket)
	eventually(t, func() error {
		if serial(source) == previous {
			return errors.New("the agent's return was not noticed")
		}
		return nil
	})
	same, err := source.GetBundleForTrustDomain(acme)
	if err != nil || same != bundle {
		t.Errorf("an equal bundle replaced the one there: %v", err)
	}
}

func says(source identity.Source, words string) func() error {
	return func() error {
		err := source.Ready()
		if err == nil || !strings.Contains(err.Error(), words) {
			return fmt.Errorf("want readiness to say %q: %w", words, errors.Join(err))
		}
		return nil
	}
}

func TestWorkloadAPIConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		config identity.WorkloadAPIConfig
		says   string
	}{
		{identity.WorkloadAPIConfig{Address: "unix:///run/agent.sock"}, "trust domain is not given"},
		{identity.WorkloadAPIConfig{Address: "/run/agent.sock", TrustDomain: acme}, "unix:///run/spire/agent.sock"},
		{identity.WorkloadAPIConfig{Address: "unix:///run/agent.sock", TrustDomain: acme, ID: gatewayOf(globex)}, "not in our trust domain"},
	} {
		_, err := identity.NewWorkloadAPI(c.config)
		refused(t, err, c.says)
	}
}
