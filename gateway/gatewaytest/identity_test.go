package gatewaytest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// instant asks PromQL at the time of the last sample.
func instant(expr string) metrics.Question {
	return metrics.Question{Kind: policy.Instant, Expression: expr, Start: metricstest.End(), End: metricstest.End()}
}

// refused asserts that an error is what everybody is told who is refused.
func refused(t *testing.T, err error) {
	t.Helper()
	var e *federation.Error
	if !errors.As(err, &e) || e.Kind != federation.Refused || e.Message != federation.NotAllowed {
		t.Errorf("got %v, want the refusal that tells nothing", err)
	}
}

// unanswered asserts that who asked didn't get as far as a gateway's word.
func unanswered(t *testing.T, err error) {
	t.Helper()
	var e *federation.Error
	if !errors.As(err, &e) || e.Kind != federation.Unavailable {
		t.Errorf("got %v, want no answer at all", err)
	}
}

// becomes waits until acme's answer lacks globex's part for a status.
func becomes(t *testing.T, acme *gatewaytest.Org, status federation.Status) gatewaytest.Reply {
	t.Helper()
	var reply gatewaytest.Reply
	acme.Eventually("globex is "+string(status), func() bool {
		reply = acme.Asks(byOrg)
		return reply.Completeness(t)["globex"].Status == status
	})
	return reply
}

// The agreement is over: so is the open connection's use, without restart.
func TestAgreementIsRevokedMidConnection(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	wire := gatewaytest.NewProxy(t, globex.PeerAddress())
	acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{wire.Addr()} })
	world.Start()
	everybodyAnswers(t, acme)

	globex.Revokes("acme")
	reply := becomes(t, acme, federation.Denied)
	missing(t, reply, "globex", federation.Denied, federation.NotAllowed)
	record := exchange(t, globex, reply)
	if len(record) != 1 || record[0].Outcome != gateway.Refused || !strings.Contains(record[0].Reason, "no agreement with the trust domain acme.example") {
		t.Errorf("globex recorded %+v", record)
	}
	everybodyAnswers(t, world.Org("initech"))

	globex.Agrees("acme", nil)
	becomes(t, acme, federation.Complete)
	everybodyAnswers(t, acme)
	if n := wire.Accepted(); n != 1 {
		t.Errorf("%d connections were made, want the one", n)
	}
}

// The asker's side of consent: what isn't agreed any more isn't asked.
func TestAskerRevokesItsAgreement(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	everybodyAnswers(t, acme)
	acme.Revokes("globex")
	acme.Eventually("globex is no partner", func() bool {
		_, ok := acme.Asks(byOrg).Completeness(t)["globex"]
		return !ok
	})
	asked := len(globex.Audited())
	if diff := cmp.Diff(without("globex"), acme.Asks(byOrg).Vector(t)); diff != "" {
		t.Error(diff)
	}
	if n := len(globex.Audited()); n != asked {
		t.Errorf("globex was asked %d times more", n-asked)
	}
}

// An SVID that expires ends the use of a connection that is open, and whoever
// shows it is told what everybody is told.
func TestSVIDOfTheAskerExpiresMidConnection(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	globex := world.Org("globex")
	var wire *gatewaytest.Proxy
	var caller *gatewaytest.Caller
	globex.Eventually("the SVID is good for a question", func() bool { // a busy machine may take longer than it lives
		wire = gatewaytest.NewProxy(t, globex.PeerAddress())
		caller = world.Caller(world.Org("acme").Issue("/parley", 2*time.Second), "globex", wire.Addr())
		_, _, err := caller.Asks(instant(byOrg))
		return err == nil
	})
	var err error
	globex.Eventually("the SVID is expired", func() bool {
		_, _, err = caller.Asks(instant(byOrg))
		return err != nil
	})
	refused(t, err)
	if n := wire.Accepted(); n != 1 {
		t.Errorf("%d connections were made, want the one", n)
	}
	if record := last(t, globex); record.Outcome != gateway.Refused || !strings.Contains(record.Reason, "expired") {
		t.Errorf("globex recorded %+v", record)
	}
}

// An owner whose SVID expires is not believed any more on the open connection.
func TestSVIDOfTheOwnerExpiresMidConnection(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex := world.Org("acme"), world.Org("globex")
	globex.SVIDTTL = 3 * time.Second
	world.Start()
	becomes(t, acme, federation.Complete)
	globex.StopsRenewing()
	reply := becomes(t, acme, federation.Unreachable)
	missing(t, reply, "globex", federation.Unreachable, "")
	if ready, checks := globex.Ready(); ready || checks["identity"].OK {
		t.Errorf("globex is ready without an SVID: %+v", checks)
	}
}

// A gateway that can't prove who it is can still answer its own users.
func TestOurOwnSVIDExpires(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme := world.Org("acme")
	acme.SVIDTTL = 3 * time.Second
	world.Start()
	becomes(t, acme, federation.Complete)
	acme.StopsRenewing()
	acme.Eventually("nobody answers acme", func() bool {
		reply := acme.Asks(byOrg)
		parts := reply.Completeness(t)
		return parts["globex"].Status != federation.Complete && parts["initech"].Status != federation.Complete
	})
	reply := acme.Asks(byOrg)
	if diff := cmp.Diff(without("globex", "initech"), reply.Vector(t)); diff != "" {
		t.Error(diff)
	}
	if part := reply.Completeness(t)["acme"]; part.Status != federation.Complete {
		t.Errorf("acme is %+v", part)
	}
}

// Somebody with a certificate of a trust domain that nobody agreed with, or of
// one that only claims to be a partner's, gets no connection.
func TestCertificateOfTheWrongTrustDomain(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	globex := world.Org("globex")
	for _, trustDomain := range []string{"hooli.example", "acme.example"} {
		forged, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: must(tenants.ParseTrustDomain(trustDomain))})
		if err != nil {
			t.Fatal(err)
		}
		svid, err := forged.Issue(must(tenants.ParseSPIFFEID("spiffe://"+trustDomain+"/parley")), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = world.Caller(svid, "globex", "").Asks(instant(byOrg))
		unanswered(t, err)
		globex.Eventually("globex's log says who knocked", func() bool {
			return strings.Contains(globex.Log.Events(), "the peer claims to be spiffe://"+trustDomain+"/parley")
		})
	}
	if n := len(globex.Audited()); n != 0 {
		t.Errorf("globex recorded %d questions of strangers", n)
	}
	everybodyAnswers(t, world.Org("acme"))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The right trust domain is not enough: only the gateway may ask.
func TestWrongWorkloadOfTheRightTrustDomain(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	caller := world.Caller(acme.Issue("/grafana", time.Hour), "globex", "")
	_, _, err := caller.Asks(instant(byOrg))
	refused(t, err)
	record := last(t, globex)
	if record.Outcome != gateway.Refused || record.Principal.Workload != "spiffe://acme.example/grafana" ||
		record.Exchange != string(caller.ExchangeID) || !strings.Contains(record.Reason, string(tenants.WrongWorkload)) {
		t.Errorf("globex recorded %+v", record)
	}
}

// Where globex should be is initech: its answers are not globex's.
func TestSomebodyElseIsAtTheAddress(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, initech := world.Org("acme"), world.Org("initech")
	acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{initech.PeerAddress()} })
	world.Start()
	missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, "can't be reached")
	if n := len(initech.Audited()); n != 1 {
		t.Errorf("initech was asked %d questions, want its own", n)
	}
}

// A peer door speaks TLS 1.3 with client certificates, or not at all.
func TestWithoutCertificate(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	globex := world.Org("globex")
	config := world.CallerTLS(world.Org("acme").Issue("/parley", time.Hour), "globex")
	config.Certificates, config.NextProtos = nil, []string{"h2"}
	conn, err := tls.Dial("tcp", globex.PeerAddress(), config)
	if err == nil { // TLS 1.3: the client is done before the server has refused
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close() // broken already
	}
	if err == nil {
		t.Error("a connection without a certificate")
	}
	config = world.CallerTLS(world.Org("acme").Issue("/parley", time.Hour), "globex")
	config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if conn, err := tls.Dial("tcp", globex.PeerAddress(), config); err == nil {
		_ = conn.Close() // the test has failed
		t.Error("a connection by TLS 1.2")
	}
}

// SVIDs of eight seconds, which every gateway replaces when half of that has
// passed: hundreds of questions, at any moment, and not one notices. Not beside
// the other stories: who gets no time to renew, which on a busy machine can be
// seconds, has something to notice.
func TestSVIDsRotateUnderLoad(t *testing.T) {
	world := three(t)
	orgs := []*gatewaytest.Org{world.Org("acme"), world.Org("globex"), world.Org("initech")}
	for _, o := range orgs {
		o.SVIDTTL = 8 * time.Second
		for _, partner := range orgs {
			if partner != o { // a token bucket for the load
				o.Agrees(partner.ID, func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1_000_000, concurrent: 100}" })
			}
		}
	}
	world.Start()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int32
	var failed sync.Map
	var load sync.WaitGroup
	for _, o := range orgs {
		for range 2 {
			load.Go(func() {
				pace := time.NewTicker(80 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					<-pace.C
					reply, err := o.Do(ctx, "/api/v1/query", gatewaytest.Instant(byOrg))
					switch {
					case ctx.Err() != nil:
					case err != nil:
						failed.Store(err.Error(), o.ID)
					default:
						asked.Add(1)
						for _, part := range reply.Completeness(t) {
							if part.Status != federation.Complete {
								failed.Store(string(o.ID)+" asks, and "+string(part.Org)+" is "+string(part.Status)+": "+part.Reason, o.ID)
							}
						}
					}
				}
			})
		}
	}
	const rotations = 2
	seen := map[string]bool{}
	orgs[0].Eventually("all SVIDs are replaced several times", func() bool {
		for _, o := range orgs {
			seen[o.SVID().Certificates[0].SerialNumber.String()] = true
		}
		return len(seen) >= len(orgs)*(1+rotations) && asked.Load() >= 200
	})
	cancel()
	load.Wait()
	failed.Range(func(what, _ any) bool { t.Error(what); return true })
}
